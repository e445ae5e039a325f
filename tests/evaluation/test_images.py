"""The five jobs on images in figures, alone and beside their rivals."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import numpy as np
import pytest

from fivefold.errors import UsageError
from fivefold.evaluation import rivals
from fivefold.evaluation.contest import OURS
from fivefold.evaluation.images import COMPARISONS, Material, generate, restoration
from fivefold.evaluation.metrics import psnr, root_mean_square
from fivefold.evaluation.report import check_rivals, evaluate
from fivefold.images.builtin import load_mnist
from fivefold.images.dataset import make_items
from fivefold.items import Items
from fivefold.jobs.denoise import denoise
from fivefold.jobs.impute import impute
from fivefold.model.corruption import hide_block, replace_uniform
from fivefold.training.fit import fit

CODECS = {"bz2", "xz", "zstd", "PNG", "WebP", "JPEG XL"}


def labelled(model, rows: slice) -> Items:
    values, labels = load_mnist("test")
    return make_items(values[rows], model.schema, "digits", labels=labels[rows])


@pytest.fixture(scope="module")
def material(model) -> Material:
    return Material(model, labelled(model, slice(600, 660)), labelled(model, slice(0, 300)), Path(), seed=2)


@pytest.fixture(scope="module")
def evaluated(model):
    train, test = labelled(model, slice(0, 300)), labelled(model, slice(600, 640))
    return evaluate(model, test, train=train, seed=2)


def test_figures_are_json_of_every_job(evaluated):
    figures, found = evaluated
    assert json.loads(json.dumps(figures, allow_nan=False)) == figures
    assert list(figures) == [*COMPARISONS, "fit_minutes", "environment"]
    assert [comparison.key for comparison in found] == list(COMPARISONS)
    for comparison in found:
        assert figures[comparison.key]["sentences"] == list(comparison.sentences)
        assert figures[comparison.key]["seconds"] >= 0
    about = figures["environment"]
    assert (about["seed"], about["items"], about["source"]) == (2, 40, "digits")


def test_only_the_jobs_asked_for(model, digits):
    figures, found = evaluate(model, make_items(digits[600:605], model.schema), ["detect", "denoise"])
    assert set(figures) == {"detect", "denoise", "fit_minutes", "environment"}
    assert [comparison.key for comparison in found] == ["detect", "denoise"]


def test_fit_minutes_are_the_fits(model, evaluated):
    assert evaluated[0]["fit_minutes"] == pytest.approx(model.record["train_seconds"] / 60)


def test_compress(evaluated):
    figures = evaluated[0]["compress"]
    assert set(figures["sizes"]) == CODECS
    for ways in figures["sizes"].values():
        assert 0 < ways["one_stream"] < ways["per_image"] < 8
    ideal = figures["ideal"]
    assert 0 < ideal["without z"] < 8
    assert 0 < ideal["with z"] < 8
    assert abs(ideal["z"]) < ideal["with z"]
    assert ideal["z_step"] in (1.0, 2.0, 4.0, 8.0)
    (table,) = evaluated[1][0].tables
    assert list(table.header)[:2] == ["bits per element", OURS]
    assert table.rows[0][1] == table.rows[1][1] == f"{min(ideal['without z'], ideal['with z']):.4f}"


def test_compress_without_a_context_decoder_has_no_figure_of_ours(material):
    plain = dataclasses.replace(material, model=dataclasses.replace(material.model, context=None))
    found = COMPARISONS["compress"](plain)
    assert "ideal" not in found.figures
    assert OURS not in found.tables[0].header
    assert set(found.figures["sizes"]) == CODECS


def test_denoise(material):
    found = COMPARISONS["denoise"](material)
    assert set(found.figures) == {"uniform"}
    for row in found.figures["uniform"].values():
        assert set(row["psnr"]) == set(row["ssim"]) == {"noisy", OURS}
    levels = found.figures["uniform"]
    assert list(levels) == ["0.05", "0.1", "0.25", "0.5"]
    noisy = material.noisy(replace_uniform, 0.25, "uniform")
    ours = denoise(material.model, noisy).data / 255
    assert levels["0.25"]["psnr"]["noisy"] == pytest.approx(
        psnr(material.truth, noisy.values / 255, material.seen).mean()
    )
    assert levels["0.25"]["psnr"][OURS] == pytest.approx(psnr(material.truth, ours, material.seen).mean(), abs=1e-3)
    assert levels["0.25"]["psnr"][OURS] > levels["0.25"]["psnr"]["noisy"] + 2
    assert [row[0] for row in found.tables[0].rows] == [f"uniform {level}" for level in levels]


def test_detect(material):
    found = COMPARISONS["detect"](material)
    figures = found.figures
    assert figures["calibrated_on"] == 30
    for rate, nominal in (("0.01", 0.01), ("0.05", 0.05)):
        error = np.sqrt(nominal * (1 - nominal) * (1 / 60 + 1 / 30))
        assert figures["standard_errors"][rate] == pytest.approx(error)
        assert abs(figures["false_alarms"][rate] - nominal) < 5 * error
        assert figures["found"][rate] >= figures["false_alarms"][rate]
        assert any(f"{figures['false_alarms'][rate]:.2%} of the items" in text for text in found.sentences)
    assert set(figures["auroc"]) == {OURS, "reconstruction error"}
    assert all(0.5 < each <= 1 for each in figures["auroc"].values()), "letters against digits"


def test_detect_without_held_out_items(material):
    bare = dataclasses.replace(material, model=dataclasses.replace(material.model, calibrations={}))
    found = COMPARISONS["detect"](bare)
    assert found.figures == {}
    assert "Too few" in found.sentences[0]


def test_generate(evaluated):
    figures = evaluated[0]["generate"]
    for name in ("Fivefold, standard normal", "Fivefold, fitted prior", OURS):
        assert figures[name]["fid"] > 0
        assert all(0 <= figures[name][part] <= 1 for part in ("precision", "recall", "coverage"))
    assert figures["fid_floor"] > 0
    assert figures["Fivefold, standard normal"] != figures["Fivefold, fitted prior"] != figures[OURS]
    assert all(distance > 0 for distance in figures["nearest"].values())
    (table,) = evaluated[1][3].tables
    assert [row[0] for row in table.rows] == ["FID", "precision", "recall", "density", "coverage"]
    sentence = figures["sentences"][-1]
    assert f"{figures['nearest']['generated']:.2f} for generated items" in sentence


@pytest.mark.parametrize("generated", ["closer", "farther"])
def test_what_was_learnt_by_heart_is_said(material, monkeypatch, generated):
    distances = {"generated": 1.0, "items": 2.0 if generated == "closer" else 0.5}
    monkeypatch.setattr(generate, "_nearest", lambda *_: distances)
    cached = dataclasses.replace(material)
    cached.best_generated = cached.generated  # whatever was drawn
    found = generate.compare(cached)
    assert ("generated ones are closer" in found.sentences[-1]) == (generated == "closer")


@pytest.mark.parametrize("labels", [True, False])
def test_generate_takes_labelled_training_items(material, labels):
    train = None if labels else dataclasses.replace(material.train, labels=None)
    found = COMPARISONS["generate"](dataclasses.replace(material, train=train))
    assert found.figures == {}
    assert found.tables == ()


def test_impute(material):
    found = COMPARISONS["impute"](material)
    assert set(found.figures) == {"random_0.5", "block"}
    for row in found.figures.values():
        assert set(row["rmse"]) == {OURS, "mean"}
        assert set(row["coverage"]) == {"varying", "open", "open_share"}
        assert row["coverage"]["varying"] > 0.8
        assert 0 < row["coverage"]["open_share"] <= 1
    holey = material.holey(hide_block, 0.25, "block")
    hidden = ~holey.visible()
    completed = impute(material.model, holey, interval=0.9, seed=2).data / 255
    expected = root_mean_square((material.truth - completed)[hidden])
    assert found.figures["block"]["rmse"][OURS] == pytest.approx(expected, rel=1e-4)
    assert found.figures["random_0.5"]["rmse"][OURS] < found.figures["random_0.5"]["rmse"]["mean"]


@pytest.mark.parametrize("items", [1, 3])
def test_few_items_and_no_training_items(model, digits, items):
    figures, _ = evaluate(model, make_items(digits[600 : 600 + items], model.schema))
    assert not re.search(r"\bnan", json.dumps(figures, allow_nan=False))


@pytest.mark.usefixtures("_blurry")
def test_few_items_and_labelled_training_items(model):
    figures, found = evaluate(model, labelled(model, slice(600, 603)), train=labelled(model, slice(0, 60)))
    json.dumps(figures, allow_nan=False)
    assert OURS not in figures["generate"]
    assert all(len(table.header) > 1 for comparison in found for table in comparison.tables), "an empty table"


@pytest.mark.usefixtures("_blurry")
def test_real_numbers_with_holes(small_settings):
    random = np.random.default_rng(0)
    values = random.normal(3, 20, (60, 8, 7, 2)).astype(np.float32)
    values[random.random(values.shape) < 0.2] = np.nan
    model = fit(values[:40], **{**small_settings, "latent_dim": 2, "validation": 0.25, "likelihood": "gaussian"})
    figures, found = evaluate(model, make_items(values[40:], model.schema), train=make_items(values[:40], model.schema))
    json.dumps(figures, allow_nan=False)
    assert figures["compress"]["sizes"] == {}
    assert np.isfinite(figures["impute"]["block"]["rmse"][OURS])
    assert all(len(table.header) > 1 for comparison in found for table in comparison.tables), "an empty table"


@pytest.fixture(scope="module")
def contested(small_settings):
    """Digits of 7×7 pixels, with opponents that train for a second in all."""
    for package in ("bm3d", "pywt", "skimage"):
        pytest.importorskip(package)
    values, labels = load_mnist("test")
    train, test = (make_items(values[rows, ::4, ::4], labels=labels[rows]) for rows in (slice(0, 60), slice(600, 608)))
    model = fit(train, **small_settings)
    quick = dataclasses.replace(model, record=model.record | {"train_seconds": 0.3})
    kinds = {kind: (damage, levels[1:2]) for kind, (damage, levels) in restoration._NOISE.items()}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(restoration, "_NOISE", kinds)
        return evaluate(quick, test, ["denoise", "impute"], train=train, against=True)


def test_against_denoisers(contested):
    figures = contested[0]["denoise"]
    filters = {"median", "non-local means", "total variation", "BM3D"}
    assert set(figures) == {"uniform", "gaussian", "salt and pepper", "about", "sentences", "seconds"}
    for kind in ("uniform", "gaussian", "salt and pepper"):
        nets = {"U-Net", "U-Net, full time"} if kind == "uniform" else set()
        for row in figures[kind].values():
            assert set(row["psnr"]) == {"noisy", OURS} | filters | nets
    assert set(figures["about"]["minutes"]) == {"U-Net", "U-Net, full time"}
    losers = [text.partition(" does better")[0] for text in figures["sentences"][:-1]]
    rows = [row["psnr"] for kind in ("uniform", "gaussian", "salt and pepper") for row in figures[kind].values()]
    assert set(losers) == {name for row in rows for name in row if row[name] > row[OURS]} - {OURS}
    json.dumps(contested[0], allow_nan=False)


def test_against_imputers(contested):
    figures = contested[0]["impute"]
    peers = {"mean", "U-Net", "k-nearest neighbours", "IterativeImputer", "biharmonic inpainting"}
    for case in ("random_0.5", "block"):
        assert set(figures[case]["rmse"]) == {OURS} | peers
        assert all(0 < error < 1 for error in figures[case]["rmse"].values())


def test_against_detectors(material):
    pytest.importorskip("pyod")
    from fivefold.evaluation.rivals.detectors import IMAGE_DETECTORS

    quick = dataclasses.replace(
        material,
        model=dataclasses.replace(material.model, record=material.model.record | {"train_seconds": 0.3}),
        against=True,
    )
    auroc = COMPARISONS["detect"](quick).figures["auroc"]
    assert set(auroc) == {OURS, "reconstruction error", *(f"PyOD {name}" for name in IMAGE_DETECTORS)}
    assert all(0 <= each <= 1 for each in auroc.values())


def test_against_generators(model):
    pytest.importorskip("pythae")
    quick = dataclasses.replace(model, record=model.record | {"train_seconds": 0.3})
    contest = Material(quick, labelled(model, slice(600, 620)), labelled(model, slice(0, 60)), Path(), against=True)
    contest.best_generated = contest.generated  # not element by element
    figures = COMPARISONS["generate"](contest).figures
    assert {"DCGAN", "Pythae VAE + GMM", "Pythae RAE-L2 + GMM"} <= set(figures)


@pytest.mark.parametrize(("jobs", "named"), [(["denoise"], "bm3d"), (["compress", "generate"], "pythae")])
def test_what_is_not_installed_is_named(monkeypatch, model, jobs, named):
    def missing(module):
        raise ModuleNotFoundError(module)

    monkeypatch.setattr(rivals, "import_module", missing)
    with pytest.raises(UsageError, match=f"{named} .* fivefold.bench"):
        check_rivals(jobs, model.schema)
    check_rivals(["compress"], model.schema)
