"""The commands, as a user types them."""

from __future__ import annotations

import csv
import json
import shutil
import signal
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from fivefold.jobs.codes import decode, encode
from fivefold.jobs.denoise import denoise
from fivefold.jobs.detect import detect, surprise
from fivefold.jobs.generate import generate
from fivefold.jobs.impute import impute
from fivefold.storage import load

SMALL = ("--field", "5", "--context-width", "16", "--positions", "16", "--batch-size", "8")
SHORT = ("--epochs", "1", "--latent-dim", "3", *SMALL, "--quiet")


def _pixels(path):
    with Image.open(path) as image:
        return np.asarray(image)


@pytest.fixture
def few(tmp_path, digits):
    np.save(tmp_path / "few.npy", digits[:6])
    return digits[:6]


def test_colour_folder_goes_through_fit_and_all_five_jobs(run, colour_folder, tmp_path):
    images = tmp_path / "images"
    shutil.copytree(colour_folder, images)
    mask = np.zeros((32, 24), np.uint8)
    mask[10:20, 5:15] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    names = sorted(path.name for path in images.iterdir())

    assert run("fit", images, "-o", "model", *SHORT, "--validation", "0.5").code == 0
    assert run("encode", "model", images, "-o", "z.npy").code == 0
    assert run("decode", "model", "z.npy", "-o", "decoded").code == 0
    assert run("generate", "model", "-n", 5, "-o", "new").code == 0
    assert run("denoise", "model", images, "-o", "clean").code == 0
    assert run("impute", "model", images, "--mask", "mask.png", "-o", "whole").code == 0
    assert run("detect", "model", images, "-o", "scores.csv", "--false-alarm-rate", "0.2").code == 0

    assert np.load("z.npy").shape == (24, 3)
    assert len(list((tmp_path / "decoded").iterdir())) == 24
    assert _pixels("new/0.png").shape == (32, 24, 3)
    for folder in ("clean", "whole"):
        assert sorted(path.name for path in (tmp_path / folder).iterdir()) == names
    original, whole = (_pixels(tmp_path / folder / names[0]) for folder in ("images", "whole"))
    assert whole.dtype == np.uint8
    assert np.array_equal(whole[mask == 0], original[mask == 0])
    assert not np.array_equal(whole[mask != 0], original[mask != 0])
    with Path("scores.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["item"] for row in rows] == names
    for row in rows:
        assert float(row["score"]) < 0
        assert (float(row["p_value"]) <= 0.2) == (row["anomaly"] == "true")


def test_fit_says_what_it_did_and_info_what_is_in_it(run, few):
    fitted = run("fit", "few.npy", "-o", "model", *SHORT[:-1], "--validation", "0.5", "--json")
    figures = json.loads(fitted.out)
    assert figures["epochs"] == 1
    assert figures["data"] == "few.npy: 6 of 28×28×1 uint8 in [0, 255]"
    assert figures["held_out_negative_elbo"] == pytest.approx(
        figures["held_out_reconstruction"] + figures["held_out_kl"]
    )

    facts = json.loads(run("info", "model", "--json").out)
    assert facts["schema"]["height"] == 28
    assert facts["fit"]["network"]["latent_dim"] == 3
    assert facts["parameters"] == figures["parameters"] == load("model").parameters
    text = run("info", "model").out
    for part in ("28×28×1 uint8", "3 for 784 values", "latent units", "negative ELBO", "epoch"):
        assert part in text


@pytest.mark.filterwarnings("default")
def test_fit_again_needs_force_and_resume_goes_on(run, few):
    words = ("fit", "few.npy", "-o", "model", *SHORT, "--validation", "0.5")
    assert run(*words).code == 0
    assert run(*words).code == 2
    assert run(*words, "--force").code == 0
    longer = [*words, "--resume"]
    longer[longer.index("--epochs") + 1] = "3"
    assert run(*longer).code == 0
    assert len(load("model").record["history"]) == 3
    before = Path("model/config.json").read_bytes()
    again = run(*longer)
    assert (again.code, again.err) == (
        0,
        "warning: nothing was left to train: the fit had ended, after 3 epochs; go on with more --epochs\n",
    )
    assert Path("model/config.json").read_bytes() == before
    assert run(*longer, "--learning-rate", "1").code == 2
    assert sorted(path.name for path in Path.cwd().iterdir()) == ["few.npy", "model"]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_the_exit_code_says_by_what_a_run_was_ended(run, few, monkeypatch, number, code):
    monkeypatch.setattr("fivefold.training.fit.fit", lambda *_, **__: signal.raise_signal(number))
    signal.signal(signal.SIGINT, signal.default_int_handler)  # which a shell's background jobs lack
    assert run("fit", "few.npy", "-o", "model", *SHORT).code == code


@pytest.mark.parametrize(("kept", "hint"), [(True, "continue with --resume"), (False, "nothing is kept")])
def test_an_interrupted_fit_says_how_to_go_on(run, few, monkeypatch, kept, hint):
    def interrupted(*_, workdir, **__):
        workdir.mkdir()
        if kept:
            (workdir / "state.safetensors").touch()
        raise KeyboardInterrupt

    monkeypatch.setattr("fivefold.training.fit.fit", interrupted)
    outcome = run("fit", "few.npy", "-o", "model", *SHORT)
    assert outcome.code == 130
    assert outcome.err.strip() == f"interrupted; {hint}"
    assert Path("model.fitting").exists() == kept
    if kept:
        assert "--resume" in run("fit", "few.npy", "-o", "model", *SHORT).err


def test_same_seed_gives_same_files(run, few, tmp_path):
    for name in ("a", "b"):
        assert run("fit", "few.npy", "-o", name, *SHORT, "--seed", 5).code == 0
        assert run("generate", name, "-n", 3, "-o", f"{name}.npy", "--seed", 1).code == 0
    assert (tmp_path / "a" / "model.safetensors").read_bytes() == (tmp_path / "b" / "model.safetensors").read_bytes()
    assert np.array_equal(np.load("a.npy"), np.load("b.npy"))


def test_encode_writes_means_and_deviations(run, few, model_folder):
    outcome = run("encode", model_folder, "few.npy", "-o", "z.npy", "--std", "--json")
    assert json.loads(outcome.out)["latent_fraction"] == pytest.approx(4 / 784)
    assert run("encode", model_folder, "few.npy", "-o", "z.npz").code == 0
    both = np.load("z.npz")
    assert np.array_equal(both["mean"], np.load("z.npy"))
    assert np.array_equal(both["std"], np.load("z.std.npy"))
    for codes in ("z.npy", "z.npz"):
        assert run("decode", model_folder, codes, "-o", "back.npy", "--force").code == 0
        assert np.load("back.npy").shape == few.shape


def test_morph_ends_at_the_two_items_codes(run, few, model_folder):
    assert run("morph", model_folder, "few.npy", "--from", 1, "--to", 4, "--steps", 7, "-o", "morph.npy").code == 0
    assert run("encode", model_folder, "few.npy", "-o", "z.npy").code == 0
    assert run("decode", model_folder, "z.npy", "-o", "back.npy").code == 0
    walked, back = np.load("morph.npy"), np.load("back.npy")
    assert walked.shape == (7, 28, 28, 1)
    assert np.abs(walked[[0, -1]].astype(int) - back[[1, 4]]).max() <= 1


def test_generate_from_a_prior_and_near_an_item(run, few, model_folder):
    words = ("generate", model_folder, "-n", 3, "--seed", 2)
    for name, more in {
        "standard": (),
        "fitted": ("--prior", "fitted"),
        "warm": ("--temperature", "2"),
        "near": ("--like", "few.npy#4"),
        "same": ("--like", "few.npy#4", "--temperature", "0"),
    }.items():
        assert run(*words, "-o", f"{name}.npy", *more).code == 0
    drawn = {path.stem: np.load(path) for path in Path.cwd().glob("*.npy")}
    model = load(model_folder)
    expected = {
        "standard": generate(model, 3, 2),
        "fitted": generate(model, 3, 2, prior="fitted"),
        "warm": generate(model, 3, 2, temperature=2),
        "near": generate(model, 3, 2, like=few[4:5]),
        "same": np.repeat(decode(model, encode(model, few[4:5])[0]), 3, axis=0),
    }
    for name, items in expected.items():
        np.testing.assert_array_equal(drawn[name], items)
    assert len({items.tobytes() for items in expected.values()}) == 5


def test_generate_near_an_image_of_a_file_and_of_a_set(run, few, model_folder):
    Image.fromarray(few[4, ..., 0]).save("four.png")
    words = ("generate", model_folder, "-n", 2, "--temperature", "0")
    assert run(*words, "-o", "file.npy", "--like", "four.png").code == 0
    assert run(*words, "-o", "set.npy", "--like", "mnist#4").code == 0
    assert np.array_equal(np.load("file.npy"), np.load("set.npy"))


def test_generate_sharply(run, model_folder):
    assert run("generate", model_folder, "-n", 2, "--sharp", "-o", "sharp.npy").code == 0
    items = np.load("sharp.npy")
    assert items.shape == (2, 28, 28, 1)
    assert items.dtype == np.uint8
    assert not np.array_equal(items, generate(load(model_folder), 2))


@pytest.mark.parametrize("out", ["new.npy", "new.png", "new"])
def test_generate_with_the_nearest_items_beside(run, few, model_folder, out):
    words = ("generate", model_folder, "-n", 4, "--prior", "fitted", "--nearest", "few.npy", "--json")
    outcome = run(*words, "-o", out)
    figures = json.loads(outcome.out)
    nearest = out.replace("new", "new-nearest")
    assert figures["nearest"] == nearest
    assert 0 < figures["smallest_distance"] < 28
    drawn = generate(load(model_folder), 4, prior="fitted")
    distances = np.square(drawn[:, None] / 255 - few / 255).sum(axis=(2, 3, 4))
    expected = few[distances.argmin(axis=1)]
    assert figures["smallest_distance"] == pytest.approx(np.sqrt(distances.min()), rel=1e-3)
    if out == "new.npy":
        np.testing.assert_array_equal(np.load(nearest), expected)
    elif out == "new.png":
        assert np.array_equal(_pixels(nearest)[:28, :28], expected[0, ..., 0])
    else:
        assert np.array_equal(_pixels("new-nearest/3.png"), expected[3, ..., 0])
    assert run(*words, "-o", out).code == 2
    assert run(*words, "-o", out, "--force").code == 0


def test_denoise_writes_deviations(run, few, model_folder):
    assert run("denoise", model_folder, "few.npy", "-o", "clean", "--std", "std.npy", "--seed", 3).code == 0
    expected = denoise(load(model_folder), few, seed=3)
    np.testing.assert_array_equal(np.load("std.npy"), expected.std)
    assert np.array_equal(_pixels("clean/5.png"), expected.data[5, ..., 0])


@pytest.mark.parametrize("out", ["whole.npy", "whole.png", "whole"])
def test_impute_writes_draws_and_intervals_beside(run, few, model_folder, out):
    np.save("hole.npy", np.eye(28, dtype=np.uint8))
    words = ("impute", model_folder, "few.npy", "--mask", "hole.npy", "-o", out)
    assert run(*words, "--draws", 2, "--interval", "0.8", "--seed", 1).code == 0
    expected = impute(load(model_folder), few, mask=np.eye(28), n_draws=2, interval=0.8, seed=1)
    stem, ending = Path(out).stem, Path(out).suffix
    parts = {"": expected.data, "-lower": expected.lower, "-upper": expected.upper}
    parts |= {f"-draw{number}": draw for number, draw in enumerate(expected.draws, 1)}
    assert sorted(path.name for path in Path.cwd().glob("whole*")) == sorted(f"{stem}{part}{ending}" for part in parts)
    for part, items in parts.items():
        path = Path(f"{stem}{part}{ending}")
        if ending == ".npy":
            np.testing.assert_array_equal(np.load(path), items)
        elif ending == ".png":
            assert np.array_equal(_pixels(path)[:28, :28], items[0, ..., 0])
        else:
            assert [each.name for each in sorted(path.iterdir())] == [f"{index}.png" for index in range(6)]
            assert np.array_equal(_pixels(path / "5.png"), items[5, ..., 0])


def _detected():
    with Path("scores.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_detect_by_false_discoveries(run, few, model_folder):
    np.save("mixed.npy", np.concatenate([few, 255 - few]))
    outcome = run("detect", model_folder, "mixed.npy", "-o", "scores.csv", "--fdr", "0.1", "--json")
    figures = json.loads(outcome.out)
    found = detect(load(model_folder), np.load("mixed.npy"), fdr=0.1)
    assert figures["fdr"] == 0.1
    assert "false_alarm_rate" not in figures
    assert figures["anomalies"] == found.anomaly.sum() >= 6
    assert figures["calibrated_on"] == found.calibrated_on == 30
    assert [row["anomaly"] == "true" for row in _detected()] == found.anomaly.tolist()
    assert [float(row["score"]) for row in _detected()] == found.score.tolist()
    assert [float(row["p_value"]) for row in _detected()] == found.p_value.tolist()
    assert run("detect", model_folder, "mixed.npy", "-o", "scores.parquet", "--fdr", "0.1").code == 0
    table = pq.read_table("scores.parquet")
    assert table.column_names == ["item", "score", "p_value", "anomaly"]
    assert table["score"].to_pylist() == found.score.tolist()


@pytest.mark.filterwarnings("ignore:detection compares with")
def test_detect_draws_heatmaps(run, colour_free_folder, model_folder):
    words = ("detect", model_folder, "photos", "-o", "scores.csv")
    outcome = run(*words, "--heatmaps", "maps", "--json")
    figures = json.loads(outcome.out)
    assert figures["heatmaps"] == "maps"
    assert figures["false_alarm_rate"] == 0.01
    names = sorted(path.name for path in Path("maps").iterdir())
    assert names == [row["item"] for row in _detected()] == ["a.png", "b.png", "c.png"]
    assert run(*words, "--heatmaps", "maps.npy", "--force").code == 0
    bits = np.load("maps.npy")
    assert bits.dtype == np.float32
    items = np.stack([_pixels(f"photos/{name}") for name in names])[..., None]
    np.testing.assert_allclose(bits, surprise(load(model_folder), items), rtol=1e-4, atol=1e-4)
    for index, name in enumerate(names):
        shown = _pixels(f"maps/{name}")
        np.testing.assert_allclose(shown, (bits[index, ..., 0] / 10).clip(0, 1) * 255, atol=0.6)


@pytest.fixture
def colour_free_folder(tmp_path, digits):
    """Three digits as images with names, the second spoilt."""
    (tmp_path / "photos").mkdir()
    for name, image in zip("abc", digits[[0, 1, 2]].copy(), strict=True):
        if name == "b":
            image[2:5, 2:5] = 255
        Image.fromarray(image[..., 0]).save(tmp_path / "photos" / f"{name}.png")


def test_fit_without_a_context_decoder(run, few):
    words = [word for word in SHORT if word not in ("--field", "5")]
    assert run("fit", "few.npy", "-o", "model", *words, "--field", "0", "--validation", "0.5").code == 0
    assert load("model").context is None
    assert "context decoder" not in run("info", "model").out
    assert run("denoise", "model", "few.npy", "-o", "clean.npy", "--std", "std.npy").code == 0
    assert run("generate", "model", "-o", "new.npy", "--sharp").code == 1


def test_output_kinds(run, model_folder):
    for name in ("new.npy", "new.npz", "new.png", "new"):
        assert run("generate", model_folder, "-n", 4, "-o", name, "--seed", 3).code == 0
    array = np.load("new.npy")
    assert array.dtype == np.uint8
    assert np.array_equal(np.load("new.npz")["images"], array)
    sheet = _pixels("new.png")
    assert np.array_equal(sheet[:28, :28], array[0, ..., 0])
    assert np.array_equal(_pixels("new/3.png"), array[3, ..., 0])


def test_impute_fills_nan_and_keeps_floats(run, few, model_folder, tmp_path):
    holey = few.astype(np.float32)
    holey[:, 5:9] = np.nan
    np.save("holey.npy", holey)
    outcome = run("impute", model_folder, "holey.npy", "-o", "whole.npy", "--json")
    assert json.loads(outcome.out)["missing"] == 6 * 4 * 28
    whole = np.load("whole.npy")
    assert whole.dtype == np.float32
    assert np.isfinite(whole).all()
    assert np.array_equal(whole[:, :5], holey[:, :5])


@pytest.mark.filterwarnings("default")
def test_impute_with_nothing_missing_says_so(run, few, model_folder):
    outcome = run("impute", model_folder, "few.npy", "-o", "same.npy")
    assert "nothing is missing" in outcome.err
    assert np.array_equal(np.load("same.npy"), few)
