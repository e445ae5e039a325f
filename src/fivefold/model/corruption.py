"""Corruption of items: elements hidden, or replaced. Seeded, vectorised, a strength per item.

All take `x` `(n, c, h, w)` on the unit scale, a `strength` `(n,)`, and a generator on the same device; those that look at other
items, what is `visible` too. A place is damaged in all its channels at once. The hiding ones return `visible` `(n, 1, h, w)`, the
others the noisy `x`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from fivefold.config import Conditioning


def hide_at_random(x: Tensor, strength: Tensor, generator: torch.Generator) -> Tensor:
    """`visible`: each place is hidden with probability `strength`."""
    return ~_chosen(x, strength, generator)


def hide_block(x: Tensor, strength: Tensor, generator: torch.Generator) -> Tensor:
    """`visible`: a rectangle of the image's proportions covering the share `strength` is hidden, anywhere inside."""
    bounds = []
    for side in x.shape[2:]:
        length = (strength.sqrt() * side).round().clamp(1, side)
        start = (torch.rand(len(x), generator=generator, device=x.device) * (side - length + 1)).floor()
        place = torch.arange(side, device=x.device)
        bounds.append((place >= start[:, None]) & (place < (start + length)[:, None]))
    rows, columns = bounds
    return ~(rows[:, None, :, None] & columns[:, None, None, :])


def hide_gaps(x: Tensor, strength: Tensor, generator: torch.Generator) -> Tensor:
    """`visible`: up to three runs of steps are hidden, each of up to the share `strength`; in all channels, or in half of them.

    Of windows `(n, 1, t, c)`.
    """
    n, _, steps, channels = x.shape

    def draw(*shape: int) -> Tensor:
        return torch.rand(shape, generator=generator, device=x.device)

    lengths = (draw(n, 3) * (strength[:, None] * steps)).ceil()
    starts = (draw(n, 3) * (steps - lengths)).floor()
    place = torch.arange(steps, device=x.device).view(1, 1, -1, 1)
    runs = (place >= starts[:, :, None, None]) & (place < (starts + lengths)[:, :, None, None])
    chosen = (draw(n, 3, 1, channels) < 0.5) | (draw(n, 3, 1, 1) < 0.5)
    return ~(runs & chosen).any(1, keepdim=True)


def replace_uniform(x: Tensor, strength: Tensor, generator: torch.Generator) -> Tensor:
    """Each place is replaced by uniform values in [0, 1] with probability `strength` (the publication's noise)."""
    noise = torch.rand(x.shape, generator=generator, device=x.device)
    return torch.where(_chosen(x, strength, generator), noise, x)


def add_gaussian(x: Tensor, strength: Tensor, generator: torch.Generator) -> Tensor:
    """Normal noise of standard deviation `strength` is added; the sum is clipped to [0, 1]."""
    noise = torch.randn(x.shape, generator=generator, device=x.device)
    return (x + noise * strength.view(-1, 1, 1, 1)).clamp(0, 1)


def salt_and_pepper(x: Tensor, strength: Tensor, generator: torch.Generator) -> Tensor:
    """Each place becomes all 0 or all 1, at even odds, with probability `strength`."""
    n, _, h, w = x.shape
    extreme = (torch.rand((n, 1, h, w), generator=generator, device=x.device) < 0.5).to(x.dtype)
    return torch.where(_chosen(x, strength, generator), extreme, x)


def add_white(x: Tensor, visible: Tensor, strength: Tensor, generator: torch.Generator) -> Tensor:
    """White noise is added whose deviation is `strength` times that of the channel, the last axis, among all items."""
    count = visible.sum((0, 1, 2)).clamp_min(1)
    mean = (x * visible).sum((0, 1, 2)) / count
    spread = (((x - mean) * visible).square().sum((0, 1, 2)) / count).sqrt()
    noise = torch.randn(x.shape, generator=generator, device=x.device)
    return x + noise * spread * strength.view(-1, 1, 1, 1)


def swap_cells(x: Tensor, visible: Tensor, strength: Tensor, generator: torch.Generator) -> Tensor:
    """Each place gets another item's value there, if it is visible in both, with probability `strength`."""
    other = torch.randperm(len(x), generator=generator, device=x.device)
    return torch.where(_chosen(x, strength, generator) & visible & visible[other], x[other], x)


def _chosen(x: Tensor, strength: Tensor, generator: torch.Generator) -> Tensor:
    n, _, h, w = x.shape
    return torch.rand((n, 1, h, w), generator=generator, device=x.device) < strength.view(-1, 1, 1, 1)


_HIDING = {"hide": hide_at_random, "block": hide_block, "gap": hide_gaps}
_NOISE = {"uniform": replace_uniform, "gaussian": add_gaussian, "salt_and_pepper": salt_and_pepper}
_TOGETHER = {"swap": swap_cells, "white": add_white}  # which look at all items
TAUGHT_BY = {Conditioning.MISSING: frozenset(_HIDING), Conditioning.NOISY: frozenset(_NOISE) | frozenset(_TOGETHER)}
_STRENGTHS = {  # ranges drawn from in training; wide, since the strength met in use is unknown
    "hide": (0.05, 0.9),
    "block": (0.02, 0.5),
    "uniform": (0.02, 0.6),
    "gaussian": (0.05, 0.5),
    "salt_and_pepper": (0.02, 0.5),
    "swap": (0.02, 0.3),
    "white": (0.03, 1.5),
    "gap": (0.05, 0.4),
}


@dataclass(frozen=True)
class Corrupted:
    """Items as the encoder is to see them: `x` `(n, c, h, w)` and `visible`, 0 where hidden.

    `hidden` and `noisy` `(n,)` bool say whose elements were hidden or replaced.
    """

    x: Tensor
    visible: Tensor
    hidden: Tensor
    noisy: Tensor

    def by_conditioning(self) -> list[tuple[Conditioning, Tensor]]:
        """Numbers `(m,)` of the items that teach each kind of conditioning: clean, hidden and noisy ones, in turn."""
        kinds = {
            Conditioning.CAUSAL: ~(self.hidden | self.noisy),
            Conditioning.MISSING: self.hidden,
            Conditioning.NOISY: self.noisy,
        }
        return [(conditioning, chosen.nonzero()[:, 0]) for conditioning, chosen in kinds.items()]


def draw_strength(kind: str, n: int, generator: torch.Generator) -> Tensor:
    """Strengths of a kind of damage as they are met in training, `(n,)`."""
    weakest, strongest = _STRENGTHS[kind]
    chance = torch.rand(n, generator=generator, device=generator.device)
    if kind == "white":  # decibels, evenly
        return weakest * (strongest / weakest) ** chance
    return weakest + (strongest - weakest) * chance


def corrupt_for_training(
    x: Tensor, visible: Tensor, damage: Mapping[str, float], generator: torch.Generator
) -> Corrupted:
    """Damage a share of the items by each kind, each item at a strength of its own.

    Parameters
    ----------
    x, visible : `(n, c, h, w)` float and bool; items in random order
    damage : the share of items per kind; the rest stay clean
    """
    shares = {kind: share for kind, share in damage.items() if share > 0}
    hidden, noisy = torch.zeros((2, len(x)), dtype=torch.bool, device=x.device)
    if not shares:
        return Corrupted(x, visible, hidden, noisy)
    x, visible = x.clone(), visible.clone()
    place = torch.rand(len(x), generator=generator, device=x.device)
    low = 0.0
    for kind, share in shares.items():
        rows = ((place >= low) & (place < low + share)).nonzero()[:, 0]
        low += share
        strength = draw_strength(kind, len(rows), generator)
        if kind in _HIDING:
            visible[rows] &= _HIDING[kind](x[rows], strength, generator)
            hidden[rows] = True
        elif kind in _TOGETHER:
            x[rows] = _TOGETHER[kind](x[rows], visible[rows], strength, generator)
            noisy[rows] = True
        else:
            x[rows] = _NOISE[kind](x[rows], strength, generator)
            noisy[rows] = True
    return Corrupted(torch.where(visible, x, 0.0), visible, hidden, noisy)
