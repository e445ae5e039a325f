"""The jobs on series in figures, alone and beside their rivals; and their report."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from fivefold.evaluation.contest import OURS
from fivefold.evaluation.report import evaluate, make_report
from fivefold.evaluation.rivals.denoisers import FILTERS, filter_series
from fivefold.evaluation.rivals.detectors import SERIES_DETECTORS, score_steps
from fivefold.evaluation.rivals.imputers import SERIES_IMPUTERS, impute_steps
from fivefold.evaluation.series import COMPARISONS
from fivefold.evaluation.series.comparisons import add_noise, hide_at_random, hide_gaps
from fivefold.evaluation.series.events import EVENTS, inject
from fivefold.series.dataset import read_series

pytestmark = pytest.mark.filterwarnings("ignore:detection compares with:UserWarning")
_LENGTHS = np.array([300])


@pytest.mark.usefixtures("_light_reports")
def test_figures_beside_rivals(series_model, waves):
    test, train = (read_series(waves[:, part], series_model.schema) for part in (slice(400, 600), slice(0, 400)))
    figures, sections = evaluate(series_model, test, train=train, against=True)
    assert json.loads(json.dumps(figures)) == figures
    assert [section.key for section in sections] == list(COMPARISONS)
    assert set(figures["detect"]["events"]["spike"]["auroc"]) == {OURS, *SERIES_DETECTORS}
    assert set(figures["denoise"]["gain"]["0 dB"]) == {OURS, *FILTERS}
    for found in (figures["impute"][name] for name in ("20 % of the steps", "gaps of 5–20 steps")):
        assert set(found["rmse"]) == {OURS, *SERIES_IMPUTERS}
        assert 0.3 < found["coverage"] <= 1
    assert figures["detect"]["events"]["spike"]["place"][OURS] > 0.5
    assert math.isfinite(figures["generate"]["nearest_ratio"])


@pytest.mark.usefixtures("_light_reports")
def test_the_report_has_its_pictures(series_model, waves, tmp_path):
    figures, summary = make_report(series_model, read_series(waves[:, 300:], series_model.schema), tmp_path)
    for name in ("report.html", "report.json", "impute.png", "denoise.png", "detect.png", "generate.png", "codes.png"):
        assert (tmp_path / name).stat().st_size > 1000
    assert {name for name, _ in summary} >= {"impute", "denoise", "detect", "generate"}
    assert set(figures) >= {"model", "impute", "denoise", "detect", "generate", "environment"}


def test_what_is_hidden():
    rng, lengths = np.random.default_rng(0), np.array([500, 30])
    few, gaps = hide_at_random(lengths, rng), hide_gaps(lengths, rng)
    assert few.mean() == pytest.approx(0.2, abs=0.06)
    runs = np.diff(np.flatnonzero(np.diff(np.concatenate(([False], gaps[:500], [False])).astype(int))))[::2]
    assert runs.min() >= 5
    assert runs.max() <= 20
    for hidden in (few, gaps):
        assert not hidden[[0, 499, 500, 529]].any()


@pytest.mark.parametrize("kind", EVENTS)
def test_events_are_where_they_are_said_to_be(kind):
    values = np.stack((np.sin(np.arange(300) / 5), np.cos(np.arange(300) / 7)), axis=1)
    damaged, strange, sections = inject(values, _LENGTHS, EVENTS[kind], 50, np.random.default_rng(1))
    changed = (damaged != values).any(axis=1)
    assert changed.any()
    assert not changed[~strange].any()
    assert len(sections) == 3
    assert all(strange[begin:end].any() for begin, end in sections)
    assert ((damaged != values).any(axis=0)).any()


def test_noise_is_as_strong_as_said():
    values = 3 * np.random.default_rng(0).normal(size=(20_000, 1))
    noise = add_noise(values, 10, np.random.default_rng(1)) - values
    assert 10 * np.log10(values.var() / noise.var()) == pytest.approx(10, abs=0.2)


@pytest.mark.parametrize("name", SERIES_IMPUTERS)
def test_rivals_fill_gaps(name):
    wave = np.sin(np.arange(300) / 8)[:, None]
    holey = wave.copy()
    holey[100:104] = np.nan
    filled = impute_steps(name, wave, holey, _LENGTHS)
    assert np.abs(filled - wave).max() < 0.2
    assert np.array_equal(filled[:100], wave[:100])


@pytest.mark.parametrize("name", SERIES_DETECTORS)
@pytest.mark.parametrize("lengths", [[300], [150, 150]])
def test_rivals_find_a_spike(name, lengths):
    rng, lengths = np.random.default_rng(0), np.array(lengths)
    known, test = (np.sin(np.arange(300) / 8)[:, None] + 0.05 * rng.normal(size=(300, 1)) for _ in range(2))
    test[120:124] += 3
    score = score_steps(name, (known, lengths), (test, lengths), 8, 0)
    assert len(score) == 300
    assert score[118:126].mean() > score[:100].mean()


@pytest.mark.parametrize("name", FILTERS)
def test_rivals_remove_noise(name):
    wave = np.sin(np.arange(300) / 15)[:, None]
    noisy = (wave + 0.3 * np.random.default_rng(seed).normal(size=wave.shape) for seed in (0, 1))
    known, test = noisy
    cleaned = filter_series(name, wave, (known, _LENGTHS), (test, _LENGTHS))
    assert np.square(cleaned - wave).mean() < 0.6 * np.square(test - wave).mean()
