"""Damage is what it says: how much, where, and to whom."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from fivefold.config import CorruptionConfig
from fivefold.model.corruption import (
    add_gaussian,
    add_white,
    corrupt_for_training,
    hide_at_random,
    hide_block,
    hide_gaps,
    replace_uniform,
    salt_and_pepper,
)

KINDS = ["hide", "block", "uniform", "gaussian", "salt_and_pepper"]
HIDING = ["hide", "block"]
ALL = [hide_at_random, hide_block, replace_uniform, add_gaussian, salt_and_pepper]
BY_PLACE = [hide_at_random, replace_uniform, salt_and_pepper]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def grey(n: int = 40, channels: int = 3, height: int = 20, width: int = 30) -> Tensor:
    """Items without a 0 or 1, so that each replaced element differs."""
    return torch.full((n, channels, height, width), 0.4)


def damaged(kind, x: Tensor, strength: Tensor, seed: int = 0) -> Tensor:
    """Where `kind` damages `x`: bool, `(n, 1 or c, h, w)`."""
    result = kind(x, strength, generator(seed))
    return ~result if result.dtype == torch.bool else result != x


@pytest.mark.parametrize("kind", ALL)
def test_seeded(kind):
    x, strength = grey(), torch.full((40,), 0.3)
    first, again, other = (kind(x, strength, generator(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert (x == 0.4).all(), "the input was changed"


@pytest.mark.parametrize("kind", BY_PLACE)
def test_share_of_damaged_places_is_each_items_strength(kind):
    strength = torch.linspace(0, 1, 40)
    share = damaged(kind, grey(height=60, width=60), strength).float().mean(dim=(1, 2, 3))
    spread = (strength * (1 - strength) / 3600).sqrt()
    assert ((share - strength).abs() <= 5 * spread + 1e-6).all()


@pytest.mark.parametrize("kind", [*BY_PLACE, hide_block])
def test_channels_are_damaged_together(kind):
    where = damaged(kind, grey(), torch.full((40,), 0.4))
    assert (where == where[:, :1]).all()
    assert where.any()
    assert not where.all()


@pytest.mark.parametrize("share", [0.02, 0.25, 0.5, 1.0])
def test_a_block_is_one_rectangle_of_that_share(share):
    visible = hide_block(grey(), torch.full((40,), share), generator())
    assert visible.shape == (40, 1, 20, 30)
    corners = set()
    for hidden in ~visible[:, 0]:
        rows, columns = hidden.any(1).nonzero()[:, 0], hidden.any(0).nonzero()[:, 0]
        height, width = int(rows[-1] - rows[0]) + 1, int(columns[-1] - columns[0]) + 1
        assert hidden.sum().item() == height * width
        assert abs(height - share**0.5 * 20) <= 0.5
        assert abs(width - share**0.5 * 30) <= 0.5
        corners.add((int(rows[0]), int(columns[0])))
    assert len(corners) > 10 or share == 1.0


def test_a_block_reaches_every_edge():
    hidden = ~hide_block(grey(2000, 1, 6, 5), torch.full((2000,), 0.1), generator())
    assert hidden.any(0).all()
    assert (hidden.flatten(1).sum(1) > 0).all()


def test_uniform_noise_is_uniform():
    x = grey(200)
    noise = replace_uniform(x, torch.ones(200), generator()).flatten()
    assert 0 <= noise.min() < 0.001
    assert 0.999 < noise.max() <= 1
    assert noise.mean().item() == pytest.approx(0.5, abs=0.005)
    assert noise.var().item() == pytest.approx(1 / 12, rel=0.02)


@pytest.mark.parametrize("strength", [0.01, 0.05])
def test_gaussian_noise_has_that_deviation(strength):
    noise = add_gaussian(grey(), torch.full((40,), strength), generator()) - grey()
    assert noise.std().item() == pytest.approx(strength, rel=0.02)
    assert noise.mean().item() == pytest.approx(0, abs=strength / 50)


def test_gaussian_noise_is_clipped():
    noisy = add_gaussian(grey(), torch.full((40,), 5.0), generator())
    assert noisy.min() == 0
    assert noisy.max() == 1


def test_salt_and_pepper_are_at_even_odds():
    extreme = salt_and_pepper(grey(200), torch.ones(200), generator())
    assert set(extreme.unique().tolist()) == {0.0, 1.0}
    assert extreme[:, 0].mean().item() == pytest.approx(0.5, abs=0.01)


def test_nothing_is_touched_without_corruption():
    x, visible = grey(), torch.rand(40, 3, 20, 30) < 0.9
    seen = corrupt_for_training(x, visible, vars(CorruptionConfig()), generator())
    assert torch.equal(seen.x, x)
    assert torch.equal(seen.visible, visible)
    assert seen.hidden.shape == seen.noisy.shape == (40,)
    assert not (seen.hidden | seen.noisy).any()


@pytest.mark.parametrize("kind", KINDS)
def test_the_share_of_items_is_damaged_and_the_rest_clean(kind):
    x = grey(3000, 1, 6, 6)
    visible = torch.ones_like(x, dtype=torch.bool)
    seen = corrupt_for_training(x, visible, {kind: 0.3}, generator())
    hit = ((seen.x != x) | ~seen.visible).flatten(1).any(1)
    assert hit.float().mean().item() == pytest.approx(0.3, abs=0.05)
    assert seen.visible.all() == (kind not in HIDING)
    assert (x == 0.4).all(), "the clean items, which are the target, were changed"
    assert visible.all()


def test_kinds_share_the_items_out():
    """With shares that add up to 1 each item is damaged by one kind: none is hidden and noisy at once."""
    x = grey(3000, 1, 8, 8)
    config = {"hide": 0.5, "uniform": 0.5}
    seen = corrupt_for_training(x, torch.ones_like(x, dtype=torch.bool), config, generator())
    hidden = (~seen.visible).flatten(1).any(1)
    noisy = ((seen.x != x) & seen.visible).flatten(1).any(1)
    assert not (hidden & noisy).any()
    assert (hidden | noisy).float().mean() > 0.97
    assert hidden.float().mean().item() == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize("kind", KINDS)
def test_it_says_what_was_done_to_whom(kind):
    """The flags are those of the items that changed, but for a few that a weak corruption leaves as they are."""
    x = grey(1000, 1, 12, 12)
    config = {kind: 0.4}
    seen = corrupt_for_training(x, torch.ones_like(x, dtype=torch.bool), config, generator())
    said, other = (seen.hidden, seen.noisy) if kind in HIDING else (seen.noisy, seen.hidden)
    changed = ((seen.x != x) | ~seen.visible).flatten(1).any(1)
    assert not (changed & ~said).any()
    assert (said & ~changed).float().mean() < 0.01
    assert not other.any()


def test_each_kind_has_its_flag():
    x = grey(2000, 1, 8, 8)
    config = vars(CorruptionConfig(hide=0.2, block=0.2, uniform=0.1, gaussian=0.2, salt_and_pepper=0.1))
    seen = corrupt_for_training(x, torch.ones_like(x, dtype=torch.bool), config, generator())
    assert not (seen.hidden & seen.noisy).any()
    assert not ((~seen.visible).flatten(1).any(1) & ~seen.hidden).any()
    assert seen.hidden.float().mean().item() == pytest.approx(0.4, abs=0.05)
    assert seen.noisy.float().mean().item() == pytest.approx(0.4, abs=0.05)


def test_strengths_vary_from_item_to_item():
    x = grey(500, 1, 20, 20)
    config = {"hide": 1.0}
    seen = corrupt_for_training(x, torch.ones_like(x, dtype=torch.bool), config, generator())
    share = (~seen.visible).float().mean(dim=(1, 2, 3))
    assert share.min() < 0.15
    assert share.max() > 0.8


@pytest.mark.parametrize("kind", KINDS)
def test_hidden_elements_are_zero_and_stay_hidden(kind):
    visible = torch.rand(200, 1, 9, 9, generator=generator(9)) < 0.7
    x = torch.where(visible, 0.4, 0.0)
    seen = corrupt_for_training(x, visible, {kind: 1.0}, generator())
    assert not (seen.visible & ~visible).any()
    assert (seen.x[~seen.visible] == 0).all()
    assert (seen.x != x).any()


def test_gaps_are_runs_of_steps_of_bounded_length():
    x = torch.zeros(400, 1, 100, 2)
    hidden = ~hide_gaps(x, torch.full((400,), 0.1), torch.Generator().manual_seed(0))
    assert hidden.shape == x.shape
    assert 0 < hidden.float().mean() < 0.2
    assert hidden.sum(2).max() <= 30
    alike = (hidden[..., 0] == hidden[..., 1]).flatten(1).all(1).float().mean()
    assert 0.05 < alike < 0.6


def test_white_noise_is_as_strong_as_the_channel_times_its_strength():
    generator = torch.Generator().manual_seed(0)
    x = 0.5 + torch.randn((500, 1, 64, 2), generator=generator) * torch.tensor([0.01, 0.1])
    visible = torch.rand(x.shape, generator=generator) < 0.8
    noise = add_white(x, visible, torch.full((500,), 0.5), generator) - x
    assert torch.allclose(noise.std((0, 1, 2)), torch.tensor([0.005, 0.05]), rtol=0.05)
