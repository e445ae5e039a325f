"""What a fit looks at when it is done: every job is tried, all rows are compared with, and what can't work is said."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

import fivefold
from fivefold.errors import FivefoldWarning
from fivefold.model.figures import figure_rows
from fivefold.storage import fingerprint, load, save
from fivefold.training.examination import remarks

pytestmark = pytest.mark.usefixtures("examined")
JOBS = {"compress", "denoise", "detect", "generate", "impute"}
TINY = {"accelerator": "cpu", "epochs": 1, "hidden": 8, "context_width": 8, "latent_dim": 2}
OF_ROWS = TINY | {"members": 1, "shortest_epoch": 5}
OF_IMAGES = TINY | {"first_channels": 2, "max_channels": 4, "field": 3, "positions": 8, "validation": 0.4}
OF_STEPS = TINY | {"kind": "series", "window": 16, "first_channels": 4, "reach": 2, "shortest_epoch": 5}


def rows(n: int, seed: int = 0) -> pd.DataFrame:
    """Two numbers and a class that hang together."""
    rng = np.random.default_rng(seed)
    kind, x = rng.choice(["a", "b"], n), rng.normal(size=n)
    return pd.DataFrame({"kind": kind, "x": x, "y": 2 * x + (kind == "a") + 0.1 * rng.normal(size=n)})


def fit(data, **settings) -> fivefold.FittedModel:
    """Whatever it warns of."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return fivefold.fit(data, **settings)


@pytest.fixture(scope="module")
def models() -> dict[str, fivefold.FittedModel]:
    """Of each kind of data a small one."""
    rng = np.random.default_rng(0)
    waves = np.sin(np.arange(400) / 5)[None, :, None] + 0.1 * rng.normal(size=(2, 400, 1))
    return {
        "images": fit(rng.integers(0, 256, (60, 6, 8, 1)).astype(np.uint8), **OF_IMAGES),
        "tables": fit(rows(80), **OF_ROWS, folds=3),
        "series": fit(waves, **OF_STEPS),
    }


@pytest.mark.parametrize("name", ["images", "tables", "series"])
@pytest.mark.situation(
    "a fit", "each job tried on held-out items beside the simplest alternative; shown by fit and info"
)
def test_every_job_is_tried(models, name, tmp_path):
    model = models[name]
    verdicts = json.loads(json.dumps(model.record["verdicts"]))
    assert {verdict["job"] for verdict in verdicts} == JOBS
    assert all(np.isfinite([verdict["figure"], verdict["alternative"]]).all() for verdict in verdicts)
    assert all(verdict["held_out"] and verdict["items"] > 5 for verdict in verdicts)
    before = fingerprint(model)
    save(model, tmp_path / "model")
    again = load(tmp_path / "model", "cpu")
    assert again.record["verdicts"] == verdicts
    shown = dict(figure_rows(again))
    assert all(shown[job].startswith(("better: ", "even: ", "WORSE: ")) for job in JOBS)
    again.record.pop("verdicts")
    assert fingerprint(again) == before


def test_verdicts_can_be_left_out():
    assert "verdicts" not in fit(rows(40), **OF_ROWS, folds=1, verdicts=False).record


@pytest.mark.situation("60 rows, of which few are held out", "all rows calibrate detection, each by a fit without it")
def test_few_rows_are_all_compared_with(models):
    few = models["tables"]
    assert len(few.normality.calibration) == 80
    assert len(fit(rows(60), **OF_ROWS, folds=1, verdicts=False, validation=0.2).normality.calibration) == 12
    json_of = few.config.to_json()["rows"]
    assert json_of["folds"] == 3
    assert "folds" not in fit(rows(40), **OF_ROWS, verdicts=False).config.to_json()["rows"]


def test_no_more_rows_are_compared_with_than_it_takes():
    model = fit(rows(140), **OF_ROWS, folds=4, verdicts=False, validation=0.2)
    assert 100 <= len(model.normality.calibration) < 140


@pytest.mark.situation("three rows", "said at the fit, with what would help")
def test_what_cannot_work_is_said_at_the_fit():
    with pytest.warns(FivefoldWarning) as caught:
        model = fivefold.fit(rows(3), **OF_ROWS)
    text = " ".join(str(warning.message) for warning in caught)
    assert "3 rows can't say what others are like" in text
    assert "`false_alarm_rate` below 0.25 nothing can be flagged; for 0.01 it takes 99" in text
    assert remarks(model)


def test_a_collapsed_posterior_is_said_at_the_fit(models):
    model = models["tables"]
    figures = model.record["figures"]["held_out"]
    inactive = figures["inactive_units"]
    try:
        figures["inactive_units"] = (0, 1)
        assert any("posterior has collapsed" in remark and "`kl_warmup`" in remark for remark in remarks(model))
    finally:
        figures["inactive_units"] = inactive


@pytest.mark.situation("two noisy pictures, to fit to and to denoise", "no worse than they came, and said")
def test_denoising_with_a_fit_to_two_pictures_is_no_worse_than_they_came():
    rng = np.random.default_rng(0)
    clean = np.add.outer(np.arange(16.0) * 8, np.arange(16.0) * 4)
    noisy = np.clip(clean + 20 * rng.normal(size=(2, 16, 16)), 0, 255).astype(np.uint8)
    model = fit(noisy, **OF_IMAGES | {"validation": 0.0})
    assert not model.record["verdicts"][0]["held_out"]
    with pytest.warns(FivefoldWarning, match="denoise by"):
        cleaned = fivefold.denoise(model, noisy).data.reshape(noisy.shape)
    assert np.square(cleaned - clean).mean() <= np.square(noisy - clean).mean()


@pytest.mark.situation("150 rows, predict at 1 %", "predict and p-values agree, always")
@pytest.mark.filterwarnings("ignore:detect")
def test_predict_and_p_values_agree():
    estimator = fivefold.VAE(random_state=0, accelerator="cpu", epochs=1, false_alarm_rate=0.04, settings=_quick())
    estimator.fit(rows(30))
    fresh = rows(200, seed=1)
    for rate in (0.04, 0.1, 0.33):
        estimator.set_params(false_alarm_rate=rate)
        estimator.offset_ = estimator.model_.normality.threshold(rate)
        np.testing.assert_array_equal(estimator.predict(fresh) == -1, estimator.p_values(fresh) <= rate)


def _quick() -> dict[str, object]:
    return {name: value for name, value in OF_ROWS.items() if name not in ("accelerator", "epochs", "latent_dim")}
