"""What windows are like beside those of the fit, and alarms that do not go on for ever."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from fivefold import load, save
from fivefold.errors import ModelError
from fivefold.jobs.detect import detect
from fivefold.series.alarms import score_in_context, smoothed, with_rising_bar
from fivefold.series.patches import PatchScore, tail_nats
from fivefold.series.windows import Windows

STEPS = 32


def _windows(count: int) -> Windows:
    return Windows.of(np.array([count]), STEPS, STEPS // 4)


@pytest.fixture(scope="module")
def waves_and_noise():
    steps = np.arange(1000)
    return np.sin(steps / 3)[:, None] + 0.1 * np.random.default_rng(0).normal(size=(1000, 1))


@pytest.fixture(scope="module")
def patches(waves_and_noise):
    windows = _windows(len(waves_and_noise))
    return PatchScore.fit(waves_and_noise, windows, np.random.default_rng(1).exponential(size=(len(windows), STEPS)))


def test_tails_are_those_of_normal_values_and_exponential_beyond():
    normal = np.sort(np.random.default_rng(0).exponential(size=10_000))
    assert np.allclose(tail_nats(np.array([0.5, 1, 2, 5, 20]), normal), [0.5, 1, 2, 5, 20], rtol=0.1)
    assert np.isnan(tail_nats(np.array([np.nan]), normal)).all()


@pytest.mark.parametrize(
    "change",
    [
        lambda part: part + 3,  # level
        lambda part: 3 * part,  # spread
        lambda part: np.repeat(part[::4], 4, axis=0),  # from step to step
        lambda part: part[::2][:STEPS].repeat(2, axis=0)[: len(part)],  # shape
        lambda part: np.full_like(part, 0.5),  # nothing moves
    ],
)
def test_windows_unlike_those_of_the_fit_are_found(patches, waves_and_noise, change):
    changed, at = waves_and_noise.copy(), slice(480, 544)
    changed[at] = change(changed[at])
    windows = _windows(len(changed))
    against = patches.against(changed, windows)
    inside = (windows.starts >= 480) & (windows.starts + STEPS <= 544)
    assert against[inside].max() > 2 * np.quantile(against[windows.starts < 440], 0.95)


def test_windows_of_the_fit_are_not_compared_with_themselves(patches, waves_and_noise):
    odd = waves_and_noise.copy()
    odd[500] += 2
    windows = _windows(len(odd))
    own = np.ones((len(windows), STEPS))
    fitted = PatchScore.fit(odd, windows, own)
    assert fitted is not None
    near = fitted.against(odd, windows)
    assert near.argmax() in np.flatnonzero((windows.starts <= 500) & (windows.starts + STEPS > 500))


def test_little_that_is_seen_is_taken_for_usual(patches):
    assert patches.against(np.full((100, 1), np.nan), _windows(100)).tolist() == [1.0] * len(_windows(100))


@pytest.mark.parametrize("name", ["memory", "centre", "scale", "knots", "evidence"])
def test_damage_is_refused(patches, name):
    with pytest.raises(ModelError, match="damaged"):
        dataclasses.replace(patches, **{name: np.nan * getattr(patches, name)})


def test_alarms_stay_near_the_rate_however_series_change():
    steps = 5000
    for nats in (np.full(steps, 100.0), np.linspace(0, 40, steps), np.random.default_rng(0).exponential(5, steps)):
        p_value = with_rising_bar(nats, np.array([steps]), 64, 0.01)
        assert (p_value <= 0.01).mean() <= 0.01 + 15 / steps


def test_the_strangest_step_of_an_event_is_flagged_first():
    nats = np.ones(400)
    nats[190:210] = 10.0
    nats[200] = 25.0
    p_value = with_rising_bar(nats, np.array([200, 200]), 64, 0.01)
    assert p_value[200] == p_value.min()
    quiet = np.random.default_rng(0).exponential(size=1000)
    usual = with_rising_bar(quiet, np.array([1000]), 64, 0.01)
    assert 0 < (usual <= 0.01).mean() <= 0.02


def test_means_keep_to_their_series_and_what_is_known():
    evidence = np.array([1.0, np.nan, 3.0, 10.0, 20.0])
    assert smoothed(evidence, np.array([3, 2]), 1).tolist() == pytest.approx([1, np.nan, 3, 15, 15], nan_ok=True)


def test_models_keep_their_windows_and_do_without(series_model, waves, tmp_path):
    save(series_model, tmp_path / "model")
    again = load(tmp_path / "model")
    found = detect(series_model, waves)
    assert np.array_equal(detect(again, waves).score, found.score)
    before = dataclasses.replace(series_model, calibrations={**series_model.calibrations, "patches": None})
    alone = detect(before, waves)
    assert np.array_equal(alone.window_score, found.window_score)
    assert not np.array_equal(alone.score, found.score)
    by_rank = detect(series_model, waves, fdr=0.1)
    assert (by_rank.anomaly <= (by_rank.p_value <= 0.1)).all()


def test_a_strange_step_has_the_lowest_score():
    evidence = np.ones(100)
    evidence[40] = 20.0
    score = score_in_context(evidence, evidence, np.array([100]), 5)
    assert score.argmin() == 40
    assert (score[36:45] < score[10]).all()


def test_windows_that_overlap_are_no_neighbours(patches):
    """Else the least distances in the fit would be 0, and any window strange."""
    assert np.exp(patches.knots[-2, 0]) > 0.05
