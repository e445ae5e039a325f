"""Series that leave what was fitted for good, and parts of windows: what is flagged, and what is not."""

from __future__ import annotations

import numpy as np
import pytest

from fivefold.jobs.detect import detect
from fivefold.series.changes import Stretch, explanation, find_stretches, kind_of, longest, possible_changes
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
    (stretch,) = find_stretches(values, np.array([2000]), flagged, schema.steps)
    assert stretch == Stretch(1200, 2000, 0, 2000)
    assert kind_of(values, stretch, schema) == kind
    found = explanation(values, stretch, schema, _far_from(noise))
    assert found is not None
    assert (found.last, found.kind) == (2000, kind)
    assert abs(found.first - 1200) < 4
    undone = found.undone(values)
    assert np.array_equal(undone[:1190], noise[:1190])
    assert abs(np.median(undone[1200:])) < 0.2
    assert undone[1200:].std() == pytest.approx(1, abs=0.15)


def _far_from(noise):
    """A measure of what is strange: how far quantiles are from those of the noise."""
    shares = np.linspace(0.02, 0.98, 49)
    usual = np.quantile(noise, shares)
    return lambda versions: np.array([np.abs(np.quantile(part, shares) - usual).sum() for part in versions])


def test_a_shift_is_found_where_it_begins_and_ends_though_the_series_wanders():
    rng, values = np.random.default_rng(3), np.zeros((2000, 2))
    for step in range(1, 2000):
        values[step] = 0.95 * values[step - 1] + rng.normal(size=2)
    schema, flagged = read_series(values[None], window=32).schema, np.zeros(2000, bool)
    values[900:1300] += 12
    flagged[880:1290] = True
    (stretch,) = find_stretches(values, np.array([2000]), flagged, schema.steps)
    places = [(change.first, change.last) for change in possible_changes(values, stretch, schema)]
    assert (900, 1300) in places
    assert any(change.last == 2000 for change in possible_changes(values, stretch, schema))


def test_what_is_strange_and_no_change_explains_is_left_alone(noise):
    schema = read_series(noise[None], window=32).schema
    assert explanation(noise, Stretch(500, 640, 0, 2000), schema, lambda versions: np.full(len(versions), 9.0)) is None
    shifted = noise.copy()
    shifted[500:] += 5
    assert (
        explanation(shifted, Stretch(500, 2000, 0, 2000), schema, lambda versions: np.full(len(versions), 9.0)) is None
    )


def test_short_anomalies_are_no_change(noise):
    schema, flagged = read_series(noise[None], window=32).schema, np.zeros(2000, bool)
    flagged[500:510] = True
    assert find_stretches(noise, np.array([2000]), flagged, schema.steps) == []
    flagged[500:640] = flagged[900:1000] = True
    found, other = find_stretches(noise, np.array([2000]), flagged, schema.steps)
    assert (found.first, other.first) == (500, 900)
    assert 600 < found.last < 640
    assert possible_changes(noise, found, schema) == []
    assert kind_of(noise, found, schema) == "pattern"
    assert longest([found, other], 1) == [[found]]


def test_gaps_and_series_that_begin_changed_are_no_trouble(noise):
    values, lengths = np.concatenate((noise, noise + 9)), np.array([2000, 2000])
    schema, flagged = read_series(noise[None], window=32).schema, np.repeat([False, True], 2000)
    values[2100:2150] = values[2400:2500] = np.nan
    (stretch,) = find_stretches(values, lengths, flagged, schema.steps)
    found = explanation(
        values, stretch, schema, lambda versions: np.array([abs(np.nanmedian(part)) for part in versions])
    )
    assert found is not None
    assert (found.first, found.kind, found.shift.round().tolist()) == (2000, "level", [-9])


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
