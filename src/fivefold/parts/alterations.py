"""Made-up defects: what real ones look like is not known, so networks learn from all sorts to tell what does not belong.

Spots, patches and lines of random shape are put into good pictures, filled with another picture, another level, noise or a blur
(after Zavrtanik et al. 2021, DRAEM, arXiv:2108.07610, whose noise is Perlin's; Li et al. 2021, CutPaste, arXiv:2104.04015).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

_GRID = 24  # places of the noise that shapes are cut from, along each side
_WAVES = (2.0, 12.0)  # of it, along a patch
_LINES = 0.4  # share of shapes that are lines
_AREAS = (0.003, 0.15)  # shares of a patch
_RADII = (0.06, 0.6)  # of the circle that a shape is in, in sides of the patch
_WHOLE = 0.4  # share of patches that stay as they are, at each of two turns
_STEPS = (1.0, 6.0)  # of the level, in deviations of a patch
_LEAST_STRENGTH = 0.5
_LEAST_CHANGE, _MOST_NEEDED = 0.3, 0.03  # of a deviation of the patch, and on the unit scale, that a changed pixel has


@dataclass(frozen=True)
class _Dice:
    """Random numbers for each of `n` patches, `(n, 1, 1, 1)`."""

    n: int
    generator: torch.Generator

    def uniform(self, low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(
            (self.n, 1, 1, 1), generator=self.generator, device=self.generator.device
        )

    def even_on_log(self, ends: tuple[float, float]) -> Tensor:
        return self.uniform(*map(math.log, ends)).exp()

    def chance(self, share: float) -> Tensor:
        return self.uniform(0, 1) < share


def alter(x: Tensor, generator: torch.Generator) -> Tensor:
    """Patches `(n, c, h, w)` on the unit scale with up to two made-up defects each."""
    dice = _Dice(len(x), generator)
    for _ in range(2):
        mask = _shapes(x, dice).to(x.dtype)
        mask = torch.where(dice.chance(0.5), F.avg_pool2d(mask, 3, 1, 1), mask)
        strength = dice.uniform(_LEAST_STRENGTH, 1) * ~dice.chance(_WHOLE)
        x = x + (_filling(x, dice) - x) * mask * strength
    return x


def changed(x: Tensor, altered: Tensor) -> Tensor:
    """Which pixels are clearly other than they were, `(n, 1, h, w)` bool."""
    least = _LEAST_CHANGE * x.flatten(1).std(1).clamp_max(_MOST_NEEDED / _LEAST_CHANGE)
    return ((x - altered).abs() > least[:, None, None, None].clamp_min(1e-3)).any(1, keepdim=True)


def _shapes(x: Tensor, dice: _Dice) -> Tensor:
    """Where smooth noise is highest, or next to 0, which makes lines; within a circle, `(n, 1, h, w)` bool."""
    n, device = len(x), x.device
    noise = torch.randn((n, 1, _GRID, _GRID), generator=dice.generator, device=device)
    angle, waves = dice.uniform(0, math.pi), [dice.even_on_log(_WAVES) / _GRID for _ in range(2)]
    turn = torch.cat((angle.cos(), -angle.sin(), angle.sin(), angle.cos()), dim=1).view(n, 2, 2)
    turn = turn * torch.cat(waves, dim=1).view(n, 2, 1)
    affine = torch.cat((turn, torch.zeros((n, 2, 1), device=device)), dim=2)
    grid = F.affine_grid(affine, [n, 1, *x.shape[2:]], align_corners=False)
    level = F.grid_sample(noise, grid, mode="bicubic", padding_mode="reflection", align_corners=False)
    level = torch.where(dice.chance(_LINES), -level.abs(), level)
    rows, columns = (torch.linspace(0, 1, side, device=device) for side in x.shape[2:])
    away = (rows[:, None] - dice.uniform(0, 1)).square() + (columns - dice.uniform(0, 1)).square()
    inside = away.sqrt() < dice.even_on_log(_RADII)
    level = torch.where(inside, level, -torch.inf)
    area = dice.even_on_log(_AREAS).flatten()
    ranked = level.flatten(1).sort(1, descending=True).values
    last = torch.minimum(area * ranked.shape[1], 0.5 * inside.flatten(1).sum(1)).long()
    return level >= ranked.gather(1, last[:, None])[:, :, None, None]


def _filling(x: Tensor, dice: _Dice) -> Tensor:
    """What defects are filled with, `(n, c, h, w)`."""
    other = x.roll(1, 0)
    other = torch.where(dice.chance(0.5), other.transpose(2, 3), other)
    deviation = x.std((2, 3), keepdim=True) + 0.02
    sign = torch.where(torch.rand((*x.shape[:2], 1, 1), generator=dice.generator, device=x.device) < 0.5, -1.0, 1.0)
    step = dice.uniform(*_STEPS) * torch.where(dice.chance(0.5), sign[:, :1], sign) * deviation
    noise = torch.randn(x.shape, generator=dice.generator, device=x.device)
    fillings = (
        other,
        x + step,
        torch.rand(x.shape, generator=dice.generator, device=x.device),
        x.mean((2, 3), keepdim=True) + step.abs() * noise,
        F.avg_pool2d(x, 7, 1, 3, count_include_pad=False) + 0.5 * step,
    )
    kind = dice.uniform(0, len(fillings)).long().clamp_max(len(fillings) - 1)
    return torch.stack(fillings).gather(0, kind.expand_as(x)[None])[0].clamp(0, 1)
