"""Scores, p-values and flags."""

from __future__ import annotations

import dataclasses
import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fivefold.errors import ModelError, UsageError
from fivefold.jobs import detect as detect_module
from fivefold.jobs.detect import Detection, detect

SCORES = st.lists(st.integers(-6, 6).map(float), min_size=1, max_size=30)  # ties are likely


def judge(model, digits, calibration, scores, rate: float = 0.5) -> Detection:
    """`detect` for items that score `scores`, with these held-out scores."""
    calibrated = dataclasses.replace(model, held_out_scores=np.sort(np.asarray(calibration, float)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(detect_module, "reconstruction_scores", lambda model, items: np.asarray(scores, float))
        return detect(calibrated, digits[: len(scores)], false_alarm_rate=rate)


@given(calibration=SCORES, scores=SCORES, rate=st.sampled_from([0.5, 0.6, 0.9]))
@settings(max_examples=100, deadline=None)
def test_p_values_are_the_share_that_scores_as_low(model, digits, calibration, scores, rate):
    found = judge(model, digits, calibration, scores, rate)
    n = len(calibration)
    expected = [(1 + sum(other <= score for other in calibration)) / (1 + n) for score in scores]
    np.testing.assert_allclose(found.p_value, expected)
    np.testing.assert_array_equal(found.anomaly, np.array(expected) <= rate)
    np.testing.assert_array_equal(found.score, scores)


@pytest.mark.parametrize("n", [4, 19, 99])
def test_p_values_of_exchangeable_items_are_uniform(model, digits, n):
    """Each of n + 1 items in turn is compared with the others: every p-value occurs once."""
    scores = np.random.default_rng(0).standard_normal(n + 1)
    p_values = [judge(model, digits, np.delete(scores, i), scores[i : i + 1]).p_value[0] for i in range(n + 1)]
    np.testing.assert_allclose(np.sort(p_values), np.arange(1, n + 2) / (n + 1))


@pytest.mark.parametrize("rate", [0.01, 0.05, 0.25])
def test_false_alarms_are_as_frequent_as_asked_for(model, digits, rate):
    """The share flagged of all n + 1 places in the order is the rate, rounded down to a multiple of 1 / (n + 1)."""
    n = 99
    scores = np.random.default_rng(1).standard_normal(n + 1)
    flags = [judge(model, digits, np.delete(scores, i), scores[i : i + 1], rate).anomaly[0] for i in range(n + 1)]
    assert sum(flags) == math.floor(rate * (n + 1) + 1e-9)


def test_the_more_false_alarms_are_allowed_the_more_is_flagged(model, digits):
    calibration, scores = np.arange(100.0), np.linspace(-10, 110, 200)
    flagged = [judge(model, digits, calibration, scores, rate).anomaly for rate in (0.01, 0.1, 0.5, 0.99)]
    counts = [each.sum() for each in flagged]
    assert counts == sorted(set(counts))
    for fewer, more in itertools.pairwise(flagged):
        assert not (fewer & ~more).any()


def test_digits_are_more_normal_than_what_is_none(model, digits):
    normal = detect(model, digits[600:700], false_alarm_rate=0.05)
    noise = np.random.default_rng(0).integers(0, 256, (50, 28, 28, 1), np.uint8)
    for strange in (255 - digits[600:650], noise):
        found = detect(model, strange, false_alarm_rate=0.05)
        assert found.score.max() < np.median(normal.score)
        assert found.anomaly.all()
        assert found.p_value.max() < 0.05
    assert normal.anomaly.mean() < 0.2
    assert normal.p_value.mean() == pytest.approx(0.5, abs=0.15)


def test_shapes_and_types(model, digits):
    found = detect(model, digits[600:605], false_alarm_rate=0.05)
    assert found.score.shape == found.p_value.shape == found.anomaly.shape == (5,)
    assert found.score.dtype == found.p_value.dtype == np.float64
    assert found.anomaly.dtype == bool


def test_items_do_not_depend_on_their_batch(model, digits, monkeypatch):
    items = digits[600:630]
    whole = detect(model, items, false_alarm_rate=0.05)
    alone = np.concatenate([detect(model, items[i : i + 1], false_alarm_rate=0.05).score for i in range(30)])
    np.testing.assert_allclose(alone, whole.score, rtol=1e-5)
    monkeypatch.setattr(type(model), "batch_size", 7)
    np.testing.assert_allclose(detect(model, items, false_alarm_rate=0.05).score, whole.score, rtol=1e-5)


@pytest.mark.parametrize("hidden", [0.1, 0.5, 0.99])
def test_items_with_missing_pixels_score_finitely(model, digits, hidden):
    mask = np.random.default_rng(0).random((20, 28, 28, 1)) < hidden
    found = detect(model, digits[600:620], mask=mask, false_alarm_rate=0.05)
    assert np.isfinite(found.score).all()
    as_nan = np.where(mask, np.nan, digits[600:620].astype(np.float32))
    np.testing.assert_allclose(detect(model, as_nan, false_alarm_rate=0.05).score, found.score, rtol=1e-6)


@pytest.mark.parametrize("n", [1, 9, 48, 49, 99])
def test_a_warning_exactly_when_nothing_could_be_flagged(model, digits, n):
    rate = 1 / (n + 1)
    assert judge(model, digits, np.arange(n), [-1.0], rate).anomaly.all()
    with pytest.warns(UserWarning, match=f"with {n} held-out items"):
        found = judge(model, digits, np.arange(n), [-1.0], rate * 0.999)
    assert not found.anomaly.any()


def test_no_held_out_items(model, digits):
    with pytest.raises(ModelError, match="--validation"):
        detect(dataclasses.replace(model, held_out_scores=np.empty(0)), digits[:3])


@pytest.mark.parametrize("rate", [0, 1, -0.1, 1.5, float("nan")])
def test_a_rate_that_is_none(model, digits, rate):
    with pytest.raises(UsageError, match="--false-alarm-rate"):
        detect(model, digits[:3], false_alarm_rate=rate)
