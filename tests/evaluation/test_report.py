"""The report: complete, consistent, self-contained; for digits with everything, for other images with what applies."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from bs4 import BeautifulSoup

from fivefold.evaluation.contest import OURS
from fivefold.evaluation.images import Material, detect
from fivefold.evaluation.report import make_report
from fivefold.images.builtin import load_mnist
from fivefold.images.dataset import make_items, read_items
from fivefold.jobs.codes import decode, encode
from fivefold.model.corruption import replace_uniform
from fivefold.model.scoring import reconstruction_scores
from fivefold.training.fit import fit


@pytest.fixture(scope="module")
def digit_report(model, tmp_path_factory):
    """A report on 100 digits, compared with the other models trained on 150."""
    folder = tmp_path_factory.mktemp("report")
    values, labels = load_mnist("test")
    test, train = (
        make_items(values[rows], model.schema, "digits", labels=labels[rows])
        for rows in (slice(600, 700), slice(0, 150))
    )
    figures, summary = make_report(model, test, folder, train=train, seed=3)
    return folder, figures, summary, test


def test_json_has_every_figure(digit_report):
    folder, figures, _, test = digit_report
    written = json.loads((folder / "report.json").read_text())
    assert written == json.loads(json.dumps(figures))
    expected = {
        "model": {
            "negative_elbo",
            "reconstruction",
            "kl",
            "latent_dim",
            "parameters",
            "train_seconds",
            "train_items_per_second",
        },
        "compress": {"latent_fraction", "psnr", "ssim", "ideal", "sizes"},
        "generate": {
            OURS,
            "Fivefold, standard normal",
            "Fivefold, fitted prior",
            "fid_floor",
            "nearest",
            "classes_covered",
        },
        "denoise": {"uniform"},
        "detect": {"auroc", "false_alarms", "found", "calibrated_on", "threshold", "letters", "readings"},
        "impute": {"random_0.5", "block"},
        "autoencoder": {"psnr", "fid", "interpolation_fid", "train_seconds"},
        "gan": {"fid", "precision", "recall", "density", "coverage", "classes_covered", "train_seconds"},
        "environment": {"versions", "cores", "seed", "seconds"},
    }
    assert set(written) == set(expected)
    for section, names in expected.items():
        assert names <= set(written[section]), section
    assert list(written["denoise"]["uniform"]) == ["0.05", "0.1", "0.25", "0.5"]
    for row in written["denoise"]["uniform"].values():
        assert set(row["psnr"]) == set(row["ssim"]) == {"noisy", OURS}
    assert all(set(row["rmse"]) == {"mean", OURS} for row in written["impute"].values())
    assert {"fid", "precision", "recall", "density", "coverage"} <= set(written["generate"][OURS])
    letters = written["detect"]["letters"]
    assert {chr(code) for code in range(ord("A"), ord("Z") + 1)} <= set(letters)
    assert all({"error", "percentile", "looks_like"} <= set(row) for row in letters.values())
    assert all(row["looks_like"] in "0123456789" for row in letters.values())
    assert written["environment"]["seed"] == 3
    assert written["environment"]["items"] == len(test)


def test_figures_are_the_jobs_own(digit_report, model):
    _, figures, _, test = digit_report
    elbo = figures["model"]
    assert elbo["negative_elbo"] == pytest.approx(elbo["reconstruction"] + elbo["kl"])
    assert figures["compress"]["latent_fraction"] == pytest.approx(4 / 784)
    truth = test.values / 255
    error = np.square(truth - decode(model, encode(model, test)[0]) / 255).mean(axis=(1, 2, 3))
    assert figures["compress"]["psnr"] == pytest.approx((-10 * np.log10(error)).mean(), abs=1e-3)
    noisy = [row["psnr"]["noisy"] for row in figures["denoise"]["uniform"].values()]
    assert noisy == sorted(noisy, reverse=True)
    assert figures["gan"]["reconstruction"] is None
    assert figures["gan"]["vae"]["fid"] == figures["generate"]["Fivefold, standard normal"]["fid"]
    errors = -reconstruction_scores(model, test)
    assert (errors > figures["detect"]["threshold"]).mean() == pytest.approx(0.01)


def test_page_stands_alone_and_shows_every_picture(digit_report):
    folder, figures, summary, _ = digit_report
    page = BeautifulSoup((folder / "report.html").read_text(encoding="utf-8"), "html.parser")
    pictures = sorted(path.name for path in folder.glob("*.png"))
    assert len(page.find_all("img")) == len(pictures) >= 15
    assert {"sharp.png", "nearest.png", "surprise.png", "impute.png"} <= set(pictures)
    assert all(image["src"].startswith("data:image/png;base64,") for image in page.find_all("img"))
    assert all(image["alt"] for image in page.find_all("img"))
    assert not page.find_all("script")
    assert not page.find_all("link")
    assert page.find("meta", attrs={"name": "viewport"})
    sections = [section["id"] for section in page.find_all("section")]
    assert sections == [key for key in figures if key != "environment"]
    for name, text in summary:
        assert name in page.text
        assert text in page.text


@pytest.mark.usefixtures("_blurry", "_least_effort")
def test_colour_images_without_training_items(colour_folder, tmp_path, small_settings):
    model = fit(colour_folder, validation=0.25, **small_settings)
    items = read_items(colour_folder, model.schema)
    figures, _ = make_report(model, items, tmp_path)
    assert {"compress", "generate", "denoise", "detect", "impute"} <= set(figures)
    assert not {"autoencoder", "gan"} & set(figures)
    assert OURS not in figures["generate"]
    assert "letters" not in figures["detect"]
    assert "auroc" not in figures["detect"]
    text = BeautifulSoup((tmp_path / "report.html").read_text(encoding="utf-8"), "html.parser").text
    assert not {"NaN", "nan"} & set(text.split())


@pytest.mark.usefixtures("_blurry", "_least_effort")
def test_unlabelled_training_items_give_comparisons_without_fid(model, digits, tmp_path):
    train, test = (make_items(digits[rows], model.schema) for rows in (slice(0, 100), slice(600, 640)))
    figures, _ = make_report(model, test, tmp_path, train=train)
    assert figures["gan"]["sharpness"] > 0
    assert "fid" not in figures["gan"]
    assert figures["autoencoder"]["psnr"] > 0


@pytest.mark.usefixtures("_blurry", "_least_effort")
def test_items_with_holes_are_measured_on_what_is_there(model, digits, tmp_path):
    values = digits[600:640].astype(np.float32)
    values[:, :6] = np.nan
    figures, _ = make_report(model, make_items(values, model.schema), tmp_path)
    assert np.isfinite([row["rmse"][OURS] for row in figures["impute"].values()]).all()
    assert figures["compress"]["sizes"] == {}, "a stream has no holes"
    assert 0 < figures["compress"]["psnr"] < 100


@pytest.mark.usefixtures("_blurry", "_least_effort")
@pytest.mark.parametrize("count", [1, 3, 17])
def test_few_items_are_enough(model, digits, tmp_path, count):
    train = make_items(digits[:20], model.schema, labels=np.arange(20) % 2)
    figures, _ = make_report(model, make_items(digits[600 : 600 + count], model.schema), tmp_path, train=train)
    assert (OURS in figures["generate"]) == (count > 5)
    assert "NaN" not in (tmp_path / "report.json").read_text()


@pytest.mark.usefixtures("_blurry", "_least_effort")
def test_one_item_and_nothing_else(model, digits, tmp_path):
    figures, _ = make_report(model, make_items(digits[600:601], model.schema), tmp_path)
    json.dumps(figures, allow_nan=False)
    assert "autoencoder" not in figures


@pytest.mark.usefixtures("_blurry", "_least_effort")
def test_a_model_without_context_decoder_prior_and_held_out_items(model, digits, tmp_path):
    plain = dataclasses.replace(model, context=None, calibrations={})
    figures, summary = make_report(plain, make_items(digits[600:610], model.schema), tmp_path)
    assert "detect" not in figures
    assert "ideal" not in figures["compress"]
    assert "detect" not in dict(summary)


def test_noise_leaves_holes_as_they_are(model, digits, tmp_path):
    values = digits[600:610].astype(np.float32)
    values[:, :6] = np.nan
    material = Material(model, make_items(values, model.schema), None, tmp_path)
    noisy = material.noisy(replace_uniform, 0.5, "noise")
    assert np.array_equal(noisy.visible(), material.items.visible())


@pytest.mark.usefixtures("_blurry", "_least_effort")
def test_thorough_repeats_over_seeds_and_sizes(model, digits, tmp_path):
    train, test = (make_items(digits[rows], model.schema) for rows in (slice(0, 60), slice(600, 630)))
    figures, _ = make_report(model, test, tmp_path, train=train, thorough=True)
    assert [run["seed"] for run in figures["gan"]["seeds"]] == [0, 1, 2]
    assert len({run["sharpness"] for run in figures["gan"]["vae_seeds"]}) == 3
    assert list(figures["compress"]["psnr_by_latent_dim"]) == ["2", "4", "8", "16", "32"]


def test_readings_say_what_holds():
    capitals = {chr(code): {"error": 100.0 + code} for code in range(ord("A"), ord("Z") + 1)}
    capitals["Z"]["error"], capitals["G"]["error"], capitals["M"]["error"] = 1.0, 2.0, 900.0
    readings = detect._readings(capitals, threshold=150.0)
    assert readings["lowest"].endswith("Z: holds")
    assert readings["second"].endswith("H: does not hold, it is G")
    assert readings["highest"].endswith("M: holds")
    assert "holds (24 of 26" in readings["most_are_anomalies"]


def test_a_quick_report_takes_fewer_items_for_what_takes_long(model, digits, tmp_path, monkeypatch):
    monkeypatch.setattr("fivefold.evaluation.images.material._FEW_ITEMS", 20)
    items = make_items(digits[600:650], model.schema)
    for settings, expected in (({}, 20), ({"thorough": True}, 50), ({"against": True}, 50)):
        material = Material(model, items, None, tmp_path, **settings)
        assert len(material.quick().items) == expected
        assert len(material.fewer().items) == 20
        assert len(material.items) == 50


def test_large_sets_are_sampled(model, digits, tmp_path, monkeypatch):
    monkeypatch.setattr("fivefold.evaluation.images.material._MOST_ITEMS", 50)
    material = Material(model, make_items(digits, model.schema), None, tmp_path)
    again = Material(model, make_items(digits, model.schema), None, tmp_path)
    assert len(material.items) == 50
    assert np.array_equal(material.items.values, again.items.values)
    assert len(set(material.shown)) == len(material.shown) == 10
