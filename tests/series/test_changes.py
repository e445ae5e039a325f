"""Series that leave what was fitted for good, and parts of windows: what is flagged, and what is not."""

from __future__ import annotations

import numpy as np
import pytest

from fivefold.jobs.detect import detect
from fivefold.series.changes import find_changes
from fivefold.series.dataset import read_series
from fivefold.series.scores import IndependentScore, seen_strata


@pytest.fixture(scope="module")
def noise():
    return np.random.default_rng(0).normal(size=(2000, 1))


@pytest.mark.parametrize(
    ("change", "kind"), [(lambda x: x + 5, "level"), (lambda x: 3 * x, "amplitude"), (lambda x: 3 * x - 9, "level")]
)
def test_what_changes_for_good_is_described_and_undone(noise, change, kind):
    schema = read_series(noise[None], window=32).schema
    values, flagged = noise.copy(), np.zeros(2000, bool)
    values[1200:] = change(noise[1200:])
    flagged[1200:] = np.random.default_rng(1).random(800) < 0.7
    flagged[1200] = flagged[300] = True
    (found,) = find_changes(values, np.array([2000]), flagged, schema)
    assert (found.first, found.last, found.kind) == (1200, 2000, kind)
    undone = found.undone(values)
    assert np.array_equal(undone[:1200], noise[:1200])
    assert abs(np.median(undone[1200:])) < 0.2
    assert undone[1200:].std() == pytest.approx(1, abs=0.25)


def test_short_anomalies_are_no_change(noise):
    schema, flagged = read_series(noise[None], window=32).schema, np.zeros(2000, bool)
    flagged[500:510] = True
    assert find_changes(noise, np.array([2000]), flagged, schema) == []
    flagged[500:640] = True
    (found,) = find_changes(noise, np.array([2000]), flagged, schema)
    assert (found.first, found.kind) == (500, "pattern")
    assert 600 < found.last < 640


@pytest.mark.situation("the level of a series changes for good", "one event that says so; `adapt` goes on from there")
def test_a_level_shift(series_model, waves):
    shifted = waves.copy()
    shifted[0, 300:] += 6 * waves.std()
    with pytest.warns(UserWarning, match=r"from step \d+ on, the level is not as it was fitted.*`adapt`, or fit again"):
        found = detect(series_model, shifted, false_alarm_rate=0.05)
    assert found.events.change.tolist().count("level") == 1
    adapted = detect(series_model, shifted, false_alarm_rate=0.05, adapt=True)
    (begin,) = adapted.events.start[adapted.events.change == "level"]
    assert abs(begin - 300) < 8
    usual, after = detect(series_model, waves, false_alarm_rate=0.05), slice(300 + 2 * 32, None)
    assert adapted.anomaly[0, after].mean() <= usual.anomaly[0, after].mean() + 0.05


@pytest.mark.situation("files of few steps, and gaps", "as many are flagged as were asked for")
def test_steps_of_which_little_is_seen_are_compared_with_such():
    rng, steps = np.random.default_rng(0), 48

    def statistics(windows: int, start: int, stop: int) -> np.ndarray:
        found = np.full((windows, steps, 2), np.nan)
        found[:, start:stop] = rng.normal(size=(windows, stop - start, 2)) * (1 + 2 / (stop - start))
        return found

    score = IndependentScore.fit(statistics(400, 0, steps), np.ones(2), np.zeros(2))
    assert score is not None
    runs = [(start, start + length) for length in (1, 2, 4, 8, 13, 20, 32) for start in (0, 8, 16)]
    calibrated = score.with_partial(np.concatenate([statistics(600, *run) for run in runs]))
    for length in (1, 2, 5, 10, 20):
        fresh = statistics(1000, 0, length)
        flagged = np.nanmean(calibrated.p_value(calibrated.score(fresh))[:, :length] <= 0.05)
        assert 0.03 < flagged < 0.07
    assert np.nanmean(score.p_value(score.score(statistics(1000, 0, 1)))[:, 0] <= 0.05) > 0.2
    whole = statistics(10, 0, steps)
    assert np.array_equal(calibrated.score(whole), score.score(whole))
    assert (seen_strata(np.isfinite(whole[..., 0])) == -1).all()
