"""The commands, as a user types them."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fivefold.storage import load

SHORT = ("--epochs", "1", "--latent-dim", "3", "--batch-size", "8", "--quiet")


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
    mask = np.zeros((64, 48), np.uint8)
    mask[20:40, 10:30] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    names = sorted(path.name for path in images.iterdir())

    assert run("fit", images, "-o", "model", *SHORT, "--validation", "0.25").code == 0
    assert run("encode", "model", images, "-o", "z.npy").code == 0
    assert run("decode", "model", "z.npy", "-o", "decoded").code == 0
    assert run("generate", "model", "-n", 5, "-o", "new").code == 0
    assert run("denoise", "model", images, "-o", "clean").code == 0
    assert run("impute", "model", images, "--mask", "mask.png", "-o", "whole").code == 0
    assert run("detect", "model", images, "-o", "scores.csv", "--false-alarm-rate", "0.2").code == 0

    assert np.load("z.npy").shape == (24, 3)
    assert len(list((tmp_path / "decoded").iterdir())) == 24
    assert _pixels("new/0.png").shape == (64, 48, 3)
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


def test_fit_again_needs_force_and_resume_goes_on(run, few):
    words = ("fit", "few.npy", "-o", "model", *SHORT, "--validation", "0.5")
    assert run(*words).code == 0
    assert run(*words).code == 2
    assert run(*words, "--force").code == 0
    longer = [*words, "--resume"]
    longer[longer.index("--epochs") + 1] = "3"
    assert run(*longer).code == 0
    assert len(load("model").record["history"]) == 3
    assert run(*longer, "--learning-rate", "1").code == 2
    assert sorted(path.name for path in Path.cwd().iterdir()) == ["few.npy", "model"]


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
