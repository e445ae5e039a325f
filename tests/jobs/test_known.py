"""What is known to be normal is not flagged, nor is what is like it; other strange things still are."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from fivefold.errors import ModelError
from fivefold.jobs.detect import detect
from fivefold.jobs.known import Known

pytestmark = pytest.mark.filterwarnings("ignore:detection compares with", "ignore:.*is not as it was fitted")


def test_known_items_are_a_class_of_their_own():
    known = Known(torch.tensor([[10.0], [10.4], [11.0]]), np.array([-5.0, -7.0, -6.0]), torch.tensor([[0.0], [1.0]]))
    places = torch.tensor([[10.5], [0.5], [5.4]])
    assert known.near(places).tolist() == [[True] * 3, [False] * 3, [False] * 3]
    assert known.p_value(places, np.array([-6.5, -99.0, -99.0])).tolist() == [0.5, 0, 0]
    assert known.p_value(places, np.array([-99.0] * 3))[0] == 0.25


@pytest.fixture(scope="module")
def strange(trees):
    """20 rows of each of two kinds of strange ones: giants, and young trees that are much too wide."""
    giants = trees[300:320].assign(height=lambda t: 3 * t.height.fillna(10) + 60)
    wide = trees[320:340].assign(girth=lambda t: 8 * t.girth, age=2)
    return giants.reset_index(drop=True), wide.reset_index(drop=True)


def test_rows_like_known_ones_pass_and_others_do_not(table_model, strange, trees):
    giants, wide = strange
    rate = 0.05
    for own, other in ((giants, wide), (wide, giants)):
        assert detect(table_model, own, false_alarm_rate=rate).anomaly.mean() > 0.9
        assert detect(table_model, own[10:], false_alarm_rate=rate, normal=own[:10]).anomaly.mean() <= 0.1
        found, alone = (detect(table_model, other, false_alarm_rate=rate, normal=normal) for normal in (own[:10], None))
        np.testing.assert_array_equal(found.anomaly, alone.anomaly)
        np.testing.assert_array_equal(found.score, alone.score)


def test_the_strangest_are_without_known_ones(table_model, strange):
    import pandas as pd

    giants, wide = strange
    both = pd.concat((giants[10:], wide), ignore_index=True)
    found = detect(table_model, both, top=30, false_alarm_rate=0.05, normal=giants[:10]).strangest
    assert set(range(10, 30)) <= set(found["row"].to_pylist())
    assert len(found) <= 21


def test_images_like_known_ones(model, digits):
    turned = np.ascontiguousarray(255 - digits[600:640])
    before = detect(model, turned, false_alarm_rate=0.05)
    after = detect(model, turned[20:], false_alarm_rate=0.05, normal=turned[:20])
    assert before.anomaly.mean() > 0.9
    assert after.anomaly.mean() < 0.2
    noise = np.random.default_rng(0).integers(0, 256, (20, 28, 28, 1), np.uint8)
    assert detect(model, noise, false_alarm_rate=0.05, normal=turned[:20]).anomaly.mean() > 0.8


def test_stretches_like_known_ones(series_model, waves):
    new = waves[:1, :600].copy()
    new[0, 100:110] += 4.0
    new[0, 400:410] += 4.0
    new[0, 500] -= 6.0
    known = new[0, 60:150]
    before, after = (detect(series_model, new, false_alarm_rate=0.02, normal=normal) for normal in (None, known))
    assert before.anomaly[0, 100:110].any()
    assert before.anomaly[0, 500]
    assert not after.anomaly[0, 90:120].any()
    assert after.anomaly[0, 500]


@pytest.mark.parametrize("kind", ["series", "images"])
def test_models_of_before_know_nothing(series_model, waves, model, digits, kind):
    fitted, data = (series_model, waves) if kind == "series" else (model, digits[:9])
    older = dataclasses.replace(fitted, calibrations=fitted.calibrations | {"patches": None, "reference": None})
    with pytest.raises(ModelError, match="remembers no items"):
        detect(older, data, normal=data)
