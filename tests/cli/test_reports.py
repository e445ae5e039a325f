"""`evaluate`, `report` and `demo`, on few items."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from fivefold.images import builtin

FILES = {"report.html", "report.json", "compress.png", "generate.png", "denoise.png", "detect.png", "impute.png"}
pytestmark = pytest.mark.usefixtures("_few_letters")


@pytest.fixture
def small_mnist(monkeypatch):
    """MNIST cut to 150 training and 40 test items."""
    whole = builtin.load_mnist
    sizes = {"train": 150, "test": 40}
    monkeypatch.setattr(builtin, "load_mnist", lambda split: tuple(part[: sizes[split]] for part in whole(split)))


@pytest.mark.usefixtures("_blurry")
def test_report_on_an_array(run, model_folder, digits, tmp_path):
    np.save("test.npy", digits[600:640])
    outcome = run("report", model_folder, "test.npy", "-o", "report")
    assert outcome.code == 0
    assert "report.html" in outcome.out
    assert {path.name for path in (tmp_path / "report").iterdir()} >= FILES
    assert json.loads((tmp_path / "report" / "report.json").read_text())["environment"]["source"] == "test.npy"
    assert run("report", model_folder, "test.npy", "-o", "report").code == 2


def test_report_needs_training_items_to_compare_with_specialists(run, model_folder, digits, tmp_path):
    np.save("test.npy", digits[600:640])
    outcome = run("report", model_folder, "test.npy", "-o", "report", "--against", "specialists")
    assert outcome.code == 2
    assert "--train" in outcome.err
    assert [path.name for path in tmp_path.iterdir()] == ["test.npy"]


def test_evaluate_prints_tables_and_writes_figures(run, model_folder, digits):
    np.save("test.npy", digits[600:612])
    words = ("evaluate", model_folder, "test.npy", "--jobs", "denoise, detect", "--seed", 4)
    outcome = run(*words, "--json", "figures.json")
    assert outcome.code == 0, outcome.err
    figures = json.loads(Path("figures.json").read_text())
    assert set(figures) == {"denoise", "detect", "fit_minutes", "environment"}
    assert figures["environment"]["source"] == "test.npy"
    assert figures["environment"]["seed"] == 4
    for text in ("Noise reduction", "Fivefold", "uniform 0.25", "items are flagged"):
        assert text in outcome.out
    assert f"{figures['denoise']['uniform']['0.25']['psnr']['Fivefold']:.2f} dB" in outcome.out
    assert run(*words, "--json", "figures.json").code == 2
    again = run(*words, "--json", "figures.json", "--force", "--quiet")
    assert (again.code, again.out) == (0, "")


@pytest.mark.usefixtures("_blurry")
def test_evaluate_measures_generation_with_labelled_training_items(run, model_folder, digits):
    values, labels = builtin.load_mnist("test")
    np.save("test.npy", digits[600:612])
    np.savez("train.npz", images=values[:60], labels=labels[:60])
    words = ("evaluate", model_folder, "test.npy", "--jobs", "generate", "--json", "figures.json")
    assert "no measure" in run(*words).out
    outcome = run(*words, "--train", "train.npz", "--force")
    assert outcome.code == 0, outcome.err
    assert json.loads(Path("figures.json").read_text())["generate"]["Fivefold"]["fid"] > 0


def test_evaluate_beside_codecs(run, model_folder, digits):
    np.save("test.npy", digits[600:612])
    np.save("train.npy", digits[:20])
    words = ("evaluate", model_folder, "test.npy", "--against", "specialists", "--jobs", "compress")
    outcome = run(*words, "--train", "train.npy")
    assert outcome.code == 0, outcome.err
    assert "JPEG XL" in outcome.out
    assert "ideal code length" in outcome.out


def test_an_evaluation_that_fails_leaves_nothing(run, model_folder, digits, tmp_path, monkeypatch):
    np.save("test.npy", digits[600:603])
    monkeypatch.setattr("fivefold.cli.reports.json_module.dumps", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run("evaluate", model_folder, "test.npy", "--jobs", "denoise", "--json", "figures.json")
    assert [path.name for path in tmp_path.iterdir()] == ["test.npy"]


def test_what_is_not_installed_is_told_before_any_work(run, model_folder, digits, monkeypatch):
    def missing(module):
        raise ModuleNotFoundError(module)

    np.save("test.npy", digits[600:603])
    monkeypatch.setattr("fivefold.evaluation.rivals.import_module", missing)
    words = (model_folder, "test.npy", "--train", "test.npy", "--against", "specialists")
    for outcome in (run("evaluate", *words, "--json", "figures.json"), run("report", *words, "-o", "report")):
        assert outcome.code == 2
        assert "pip install fivefold[bench]" in outcome.err
        assert outcome.out == ""


@pytest.mark.filterwarnings("ignore:detection compares with")
@pytest.mark.usefixtures("_blurry")
def test_demo_makes_everything(run, small_mnist, tmp_path, monkeypatch):
    monkeypatch.setattr("fivefold.cli.reports._DEMO_EPOCHS", 1)
    outcome = run("demo", "-o", "demo", "--seed", "2", "--json")
    assert outcome.code == 0, outcome.err
    figures = json.loads(outcome.out)
    assert {"model", "autoencoder", "gan", "environment"} <= set(figures)
    assert figures["generate"]["fid_floor"] > 0
    assert figures["generate"]["Fivefold"]["fid"] > 0
    folder = tmp_path / "demo"
    assert {path.name for path in folder.iterdir()} >= FILES | {
        "model",
        "plane.png",
        "letters.png",
        "worst.png",
        "gan.png",
        "sharp.png",
        "nearest.png",
        "surprise.png",
    }
    assert run("info", folder / "model").code == 0
    assert run("demo", "-o", "demo").code == 2


@pytest.mark.usefixtures("_blurry")
def test_a_report_that_fails_leaves_nothing(run, model_folder, digits, tmp_path, monkeypatch):
    np.save("test.npy", digits[600:640])
    monkeypatch.setattr("fivefold.evaluation.report.json.dumps", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run("report", model_folder, "test.npy", "-o", "report")
    assert [path.name for path in tmp_path.iterdir()] == ["test.npy"]
