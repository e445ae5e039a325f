"""`report` and `demo`, on few items."""

from __future__ import annotations

import json

import numpy as np
import pytest

from fivefold.data import builtin

FILES = {"report.html", "report.json", "compress.png", "generate.png", "denoise.png", "detect.png", "impute.png"}


@pytest.fixture
def small_mnist(monkeypatch):
    """MNIST cut to 300 training and 60 test items."""
    whole = builtin.load_mnist
    sizes = {"train": 300, "test": 60}
    monkeypatch.setattr(builtin, "load_mnist", lambda split: tuple(part[: sizes[split]] for part in whole(split)))


def test_report_on_an_array(run, model_folder, digits, tmp_path):
    np.save("test.npy", digits[600:640])
    outcome = run("report", model_folder, "test.npy", "-o", "report")
    assert outcome.code == 0
    assert "report.html" in outcome.out
    assert {path.name for path in (tmp_path / "report").iterdir()} >= FILES
    assert json.loads((tmp_path / "report" / "report.json").read_text())["environment"]["source"] == "test.npy"
    assert run("report", model_folder, "test.npy", "-o", "report").code == 2


@pytest.mark.filterwarnings("ignore:with 30 held-out")
def test_demo_makes_everything(run, small_mnist, tmp_path):
    outcome = run("demo", "-o", "demo", "--seed", "2", "--json")
    assert outcome.code == 0, outcome.err
    figures = json.loads(outcome.out)
    assert {"model", "autoencoder", "gan", "environment"} <= set(figures)
    assert figures["generate"]["fid_floor"] > 0
    folder = tmp_path / "demo"
    assert {path.name for path in folder.iterdir()} >= FILES | {
        "model",
        "plane.png",
        "letters.png",
        "worst.png",
        "gan.png",
    }
    assert run("info", folder / "model").code == 0
    assert run("demo", "-o", "demo").code == 2


def test_a_report_that_fails_leaves_nothing(run, model_folder, digits, tmp_path, monkeypatch):
    np.save("test.npy", digits[600:640])
    monkeypatch.setattr("fivefold.evaluation.report.json.dumps", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run("report", model_folder, "test.npy", "-o", "report")
    assert [path.name for path in tmp_path.iterdir()] == ["test.npy"]
