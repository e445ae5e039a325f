"""Scores, p-values, flags, and where the surprise lies."""

from __future__ import annotations

import dataclasses
import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fivefold.errors import ModelError, UsageError
from fivefold.images import jobs as images_jobs
from fivefold.images.builtin import load_mnist
from fivefold.images.dataset import make_items
from fivefold.images.jobs import statistics
from fivefold.jobs.detect import Detection, benjamini_hochberg, detect, surprise
from fivefold.model.calibrations import JointScore

SCORES = st.lists(st.integers(-6, 6).map(float), min_size=1, max_size=30)  # ties are likely


def judge(model, digits, calibration, scores, rate: float = 0.5, **changed) -> Detection:
    """`detect` for items that score `scores`, with these held-out scores."""
    normality = JointScore(np.zeros(1), np.ones(1), np.ones((1, 1)), np.sort(np.asarray(calibration, float)))
    calibrated = dataclasses.replace(model, calibrations=model.calibrations | {"normality": normality})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(images_jobs, "statistics", lambda model, items: np.zeros((len(items), 1)))
        patch.setattr(JointScore, "score", lambda self, statistics: np.asarray(scores, float))
        return detect(calibrated, digits[: len(scores)], false_alarm_rate=None if "fdr" in changed else rate, **changed)


@given(calibration=SCORES, scores=SCORES, rate=st.sampled_from([0.5, 0.6, 0.9]))
@settings(max_examples=100, deadline=None)
def test_p_values_are_the_share_that_scores_as_low(model, digits, calibration, scores, rate):
    found = judge(model, digits, calibration, scores, rate)
    n = len(calibration)
    expected = [(1 + sum(other <= score for other in calibration)) / (1 + n) for score in scores]
    np.testing.assert_allclose(found.p_value, expected)
    np.testing.assert_array_equal(found.anomaly, np.array(expected) <= rate)
    np.testing.assert_array_equal(found.score, scores)
    assert found.calibrated_on == n


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


def naive_benjamini_hochberg(p_value, fdr):
    """As the publication words it: with k the largest i for which p(i) ≤ i q / m, reject all H(i) for i up to k."""
    order = sorted(range(len(p_value)), key=lambda i: p_value[i])
    k = max((i for i, at in enumerate(order, 1) if p_value[at] <= fdr * i / len(order)), default=0)
    return [any(at == each for each in order[:k]) for at in range(len(order))]


@given(
    p_value=st.lists(st.integers(1, 40).map(lambda i: i / 40), min_size=1, max_size=40),
    fdr=st.sampled_from([0.03, 0.1, 0.25, 0.5, 0.9]),
)
@settings(max_examples=200, deadline=None)
def test_the_false_discovery_rate_is_benjaminis_and_hochbergs(p_value, fdr):
    np.testing.assert_array_equal(benjamini_hochberg(np.array(p_value), fdr), naive_benjamini_hochberg(p_value, fdr))


def test_false_discoveries_are_the_share_asked_for():
    """50 of 500 p-values are those of anomalies; of what is flagged no more than the rate is normal, on average."""
    random = np.random.default_rng(0)
    shares = []
    for _ in range(200):
        p_value = np.concatenate([random.random(50) * 1e-4, random.random(450)])
        flagged = benjamini_hochberg(p_value, 0.2)
        assert flagged[:50].all()
        shares.append(flagged[50:].sum() / flagged.sum())
    assert 0.15 < np.mean(shares) < 0.2  # 0.2 · 450 / 500, to be exact


def test_fdr_flags_by_the_batch(model, digits):
    calibration, scores = np.arange(99.0), np.concatenate([np.full(5, -1.0), np.linspace(40, 90, 45)])
    found = judge(model, digits, calibration, scores, 0.01, fdr=0.15)
    np.testing.assert_array_equal(found.anomaly, benjamini_hochberg(found.p_value, 0.15))
    assert found.anomaly[:5].all()
    assert not found.anomaly[5:].any()
    alone = judge(model, digits, calibration, scores[4:], 0.01, fdr=0.15)
    assert not alone.anomaly.any()
    np.testing.assert_array_equal(alone.p_value, found.p_value[4:])


@pytest.mark.parametrize("fdr", [0, 1, -0.1, 1.5, float("nan")])
def test_an_fdr_that_is_none(model, digits, fdr):
    with pytest.raises(UsageError, match="`fdr`"):
        detect(model, digits[:3], fdr=fdr)


def test_digits_are_more_normal_than_what_is_none(model, digits):
    normal = detect(model, digits[600:700], false_alarm_rate=0.05)
    noise = np.random.default_rng(0).integers(0, 256, (50, 28, 28, 1), np.uint8)
    for strange in (255 - digits[600:650], noise):
        found = detect(model, strange, false_alarm_rate=0.05)
        assert found.score.max() < np.median(normal.score)
        assert found.anomaly.all()
        assert found.p_value.max() < 0.05
    assert normal.anomaly.mean() < 0.2


def test_p_values_of_held_out_digits_are_uniform(model, digits):
    """Calibrated on 200, seen with 300: shares flagged are as asked for, within what chance explains."""
    values = load_mnist("test")[0][900:1300]
    normality = JointScore.fit(statistics(model, make_items(values, model.schema)))
    found = detect(
        dataclasses.replace(model, calibrations=model.calibrations | {"normality": normality}),
        digits[600:],
        false_alarm_rate=0.05,
    )
    assert found.calibrated_on == 200
    assert found.p_value.min() > 0
    assert found.p_value.max() <= 1
    for rate in (0.05, 0.2, 0.5, 0.8):
        error = np.sqrt(rate * (1 - rate) * (1 / 200 + 1 / 300))
        assert abs((found.p_value <= rate).mean() - rate) < 4 * error
    np.testing.assert_array_equal(found.anomaly, found.p_value <= 0.05)


def test_shapes_and_types(model, digits):
    found = detect(model, digits[600:605], false_alarm_rate=0.05)
    assert found.score.shape == found.p_value.shape == found.anomaly.shape == (5,)
    assert found.score.dtype == found.p_value.dtype == np.float64
    assert found.anomaly.dtype == bool
    assert found.calibrated_on == 30  # half of the 60 that were held out


def test_items_do_not_depend_on_their_batch(model, digits, monkeypatch):
    items = digits[600:630]
    whole = detect(model, items, false_alarm_rate=0.05)
    alone = np.concatenate([detect(model, items[i : i + 1], false_alarm_rate=0.05).score for i in range(30)])
    np.testing.assert_allclose(alone, whole.score, rtol=1e-3, atol=1e-3)
    monkeypatch.setattr("fivefold.model.fitted._BATCH_ELEMENTS", 7 * 784)
    np.testing.assert_allclose(detect(model, items, false_alarm_rate=0.05).score, whole.score, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("hidden", [0.1, 0.5, 0.99])
def test_items_with_missing_pixels_score_finitely(model, digits, hidden):
    mask = np.random.default_rng(0).random((20, 28, 28, 1)) < hidden
    found = detect(model, digits[600:620], mask=mask, false_alarm_rate=0.05)
    assert np.isfinite(found.score).all()
    as_nan = np.where(mask, np.nan, digits[600:620].astype(np.float32))
    np.testing.assert_allclose(detect(model, as_nan, false_alarm_rate=0.05).score, found.score, rtol=1e-6)


@pytest.mark.parametrize("n", [1, 9, 48, 49, 99])
@pytest.mark.parametrize("kind", ["false_alarm_rate", "fdr"])
def test_a_warning_exactly_when_nothing_could_be_flagged(model, digits, n, kind):
    """One item, which makes the two kinds of rate the same."""
    rate = 1 / (n + 1)

    def flags(rate):
        rates = {"rate": rate} if kind == "false_alarm_rate" else {"rate": 1e-9, "fdr": rate}
        return judge(model, digits, np.arange(n), [-1.0], **rates).anomaly

    assert flags(rate).all()
    with pytest.warns(UserWarning, match=f"with {n} held-out items"):
        assert not flags(rate * 0.999).any()


def test_no_held_out_items(model, digits):
    with pytest.raises(ModelError, match="`validation`"):
        detect(dataclasses.replace(model, calibrations=model.calibrations | {"normality": None}), digits[:3])


@pytest.mark.parametrize("rate", [0, 1, -0.1, 1.5, float("nan")])
def test_a_rate_that_is_none(model, digits, rate):
    with pytest.raises(UsageError, match="`false_alarm_rate`"):
        detect(model, digits[:3], false_alarm_rate=rate)


@pytest.fixture
def holes() -> np.ndarray:
    return np.random.default_rng(0).random((20, 28, 28, 1)) < 0.3


def test_surprise_is_about_none_on_average(model, digits, holes):
    found = surprise(model, digits[600:620], mask=holes)
    assert found.shape == (20, 28, 28, 1)
    assert found.dtype == np.float32
    assert (found[holes] == 0).all()
    assert abs(found[~holes].mean()) < 0.5, "a pixel costs what is expected"


def test_surprise_lies_where_an_item_was_made_strange(model, digits):
    strange = digits[600:620].copy()
    strange[:, 1, 26] = 200  # a corner, black in all digits
    assert (digits[600:620, 1, 26] == 0).all()
    before, after = surprise(model, digits[600:620]), surprise(model, strange)
    assert (after[:, 1, 26] > before[:, 1, 26] + 3).all()
    rise = (after - before)[..., 0]
    places = rise.reshape(20, -1).argmax(axis=1)
    assert np.median(np.abs(places // 28 - 1)) <= 1


def test_surprise_does_not_depend_on_the_batch(model, digits, monkeypatch):
    whole = surprise(model, digits[600:620])
    np.testing.assert_allclose(surprise(model, digits[605:606]), whole[5:6], atol=1e-3, rtol=1e-3)
    monkeypatch.setattr("fivefold.model.fitted._BATCH_ELEMENTS", 7 * 784)
    np.testing.assert_allclose(surprise(model, digits[600:620]), whole, atol=1e-3, rtol=1e-3)
