"""What the context decoder of series may see, and what it may not."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fivefold.config import Conditioning
from fivefold.model.conditional import Conditional
from fivefold.model.context import by_element
from fivefold.series.jobs import _doubting


@pytest.fixture
def windows(series_model, waves):
    unit, seen = series_model.read(waves).unit(slice(0, 3))
    return series_model.tensor(unit), series_model.tensor(seen)


def _points(model, window, x, visible, z=None):
    return by_element(Conditional(model, window, x, visible, z).map(lambda p, i, e: p.point().view(-1, 1))[0])


@pytest.mark.parametrize("at", [0, 7, 31])
def test_causal_is_told_of_earlier_steps_alone(series_model, windows, at):
    x, visible = windows
    other = x.clone()
    other[:, 0, at] += 0.2
    before, after = (_points(series_model, Conditioning.CAUSAL, each, visible) for each in (x, other))
    assert torch.allclose(before[:, : at + 1], after[:, : at + 1], atol=1e-6)
    if at < 31:
        assert (before[:, at + 1] != after[:, at + 1]).all()


def test_missing_is_told_of_both_sides_but_not_of_what_is_hidden(series_model, windows):
    x, visible = windows
    hidden = visible.clone()
    hidden[:, 0, 10:14] = False
    secret, left, right = (x.clone() for _ in range(3))
    secret[:, 0, 10:14] += 0.3
    left[:, 0, 9] += 0.2
    right[:, 0, 14] += 0.2
    told, same, *others = (
        _points(series_model, Conditioning.MISSING, each, hidden)[:, 10:14] for each in (x, secret, left, right)
    )
    assert torch.equal(told, same)
    assert all((told != other).all() for other in others)


def test_noisy_is_told_of_the_value_itself(series_model, windows):
    x, visible = windows
    other = x.clone()
    other[:, 0, 5] += 0.05
    before, after = (_points(series_model, Conditioning.NOISY, each, visible) for each in (x, other))
    assert (before[:, 5] != after[:, 5]).all()


def test_each_code_has_its_own_distribution(series_model, windows):
    x, visible = windows
    codes = series_model.codes(np.random.default_rng(0).normal(size=(3, 2, 4)).astype(np.float32))
    items, elements = torch.arange(3), torch.tensor([4, 9, 20])
    together = Conditional(series_model, Conditioning.CAUSAL, x, visible, codes)(items, elements)
    for number in range(2):
        alone = Conditional(series_model, Conditioning.CAUSAL, x, visible, codes[:, number])(items, elements)
        assert torch.allclose(together.point()[:, :, [number]], alone.point(), atol=1e-5)


def test_what_is_put_is_seen(series_model, windows):
    x, visible = windows
    hidden = visible.clone()
    hidden[:, 0, 10:] = False
    given = Conditional(series_model, Conditioning.CAUSAL, torch.where(hidden, x, 0.0), hidden, None)
    items, ten, eleven = torch.arange(3), torch.full((3,), 10), torch.full((3,), 11)
    before = given(items, eleven).point()
    given.put(items, ten, by_element(x)[:, 10])
    whole = _points(series_model, Conditioning.CAUSAL, x, visible)[:, 11]
    assert not torch.allclose(before.view(-1), whole, atol=1e-4)
    assert torch.allclose(given(items, eleven).point().view(-1), whole, atol=1e-4)


def test_the_first_value_that_is_far_off_is_not_trusted(series_model, windows):
    x, visible = windows
    x = x.clone()
    x[:, 0, 12] += 3.0
    with torch.inference_mode():
        _, trusted = _doubting(series_model, x, visible)
    assert not trusted[:, 0, 12].any()
    assert trusted[:, 0, :10].all()
