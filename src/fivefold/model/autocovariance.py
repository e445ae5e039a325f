"""Windows of series as normal vectors: what linear prediction makes of any of their values, given any others.

The covariances are those between the values of the fit's windows. All in closed form (Rasmussen & Williams 2006, chapters 2
and 5), for each window's own missing values; in float64.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from fivefold.data import Items
from fivefold.model.columns import Support
from fivefold.schema import SeriesSchema

_MOST = 512  # values that covariances are between at once
_LEVELS = (0.0, 0.02, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6)  # of noise, in deviations of the channel
_SHARES, _LEVEL = (0.0, 0.3, 0.6, 0.9), (0.0, 4.0)
_JITTER = 1e-5  # of the variance
_FLOOR = 1e-8
_EXAMPLES = 4000
_CHUNK = 1 << 22  # numbers of all covariances at once


@dataclass(frozen=True)
class Predicted:
    """Of each value, `(n, 1, t, c)`: its `mean` and deviation `std`, on its channel's scale."""

    mean: Tensor
    std: Tensor


class Autocovariance(nn.Module):
    """Means `(t, c)` and covariances `(groups, size, size)` of values, step by step; in groups of channels if there are many.

    Its methods take values `(n, 1, t, c)` as `Support.scaled` has them, and which are visible.
    """

    mean: Tensor
    covariance: Tensor
    noise: Tensor

    def __init__(self, schema: SeriesSchema) -> None:
        super().__init__()
        steps, channels = schema.steps, schema.channels.size
        fitting = [size for size in range(1, channels + 1) if channels % size == 0 and size * steps <= _MOST]
        self._together = max(fitting, default=1)
        groups, size = channels // self._together, steps * self._together
        self.register_buffer("mean", torch.zeros(steps, channels))
        self.register_buffer("covariance", torch.eye(size).expand(groups, -1, -1).contiguous())
        self.register_buffer("noise", torch.ones(groups, size))  # variance of noise as strong as the channel

    @torch.no_grad()
    def causal(self, scaled: Tensor, visible: Tensor) -> Predicted:
        """Each value given the visible ones before it: step by step, channels one after the other."""

        def predict(x: Tensor, seen: Tensor, which: Tensor, k: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
            root = torch.linalg.cholesky(_shown(k, seen, noise * _JITTER))
            across = torch.linalg.solve_triangular(root, k * seen.unsqueeze(2), upper=False).triu(1)
            told = _solve_lower(root, which, x)
            mean = _times(across.transpose(1, 2), which, told)
            return mean, (k.diagonal() - across.square().sum(1))[which]

        return self._predict(scaled, visible, predict)

    @torch.no_grad()
    def missing(self, scaled: Tensor, visible: Tensor) -> Predicted:
        """Each value given all visible ones but itself."""

        def predict(x: Tensor, seen: Tensor, which: Tensor, k: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
            root = torch.linalg.cholesky(_shown(k, seen, noise * _JITTER))
            precision = torch.cholesky_inverse(root)
            weighed, own = _times(precision, which, x), precision.diagonal(dim1=1, dim2=2)
            shown = k * seen.unsqueeze(1)
            left = (k.diagonal() - ((shown @ precision) * shown).sum(2))[which]
            hidden = ~seen[which]
            mean = torch.where(hidden, weighed @ k, x - weighed / own[which])
            return mean, torch.where(hidden, left, 1 / own[which])

        return self._predict(scaled, visible, predict)

    @torch.no_grad()
    def noisy(self, scaled: Tensor, visible: Tensor) -> Predicted:
        """Each clean value given all noisy ones: white noise, as strong as it probably is in the window."""

        def predict(x: Tensor, seen: Tensor, which: Tensor, k: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
            evidence, means, variances = [], [], []
            for level in _LEVELS:
                root = torch.linalg.cholesky(_shown(k, seen, noise * (level**2 + _JITTER)))
                told = _solve_lower(root, which, x)
                size = root.diagonal(dim1=1, dim2=2).log().sum(1)[which]
                evidence.append(-0.5 * told.square().sum(1) - size)
                shown = torch.linalg.solve_triangular(root, k * seen.unsqueeze(2), upper=False)
                means.append(_times(shown.transpose(1, 2), which, told))
                variances.append((k.diagonal() - shown.square().sum(1))[which])
            share = torch.softmax(torch.stack(evidence), dim=0).unsqueeze(2)
            mean, square = torch.stack(means), torch.stack(variances) + torch.stack(means).square()
            expected = (share * mean).sum(0)
            return expected, (share * square).sum(0) - expected.square()

        return self._predict(scaled, visible, predict)

    def _predict(self, scaled: Tensor, visible: Tensor, predict: _Rule) -> Predicted:
        """`predict` for all groups, as many windows at once as memory is to hold; once for windows that show the same."""
        shape, dtype = scaled.shape, scaled.dtype
        x = self._grouped((scaled[:, 0] - self.mean).double())
        seen = self._grouped(visible[:, 0])
        mean, variance = torch.empty_like(x), torch.empty_like(x)
        many = max(1, _CHUNK // x.shape[2] ** 2)
        for group in range(x.shape[1]):
            k, noise = self.covariance[group].double(), self.noise[group].double()
            for some in torch.arange(len(x), device=x.device).split(many):
                masks, which = seen[some, group].unique(dim=0, return_inverse=True)
                given = torch.where(seen[some, group], x[some, group], 0.0)
                mean[some, group], variance[some, group] = predict(given, masks, which, k, noise)
        variance = torch.maximum(variance, _FLOOR * self.noise)
        steps, channels = shape[2:]
        back = (
            part.unflatten(2, (steps, -1)).transpose(1, 2).reshape(-1, 1, steps, channels) for part in (mean, variance)
        )
        found, spread = back
        return Predicted((found + self.mean).to(dtype), spread.sqrt().to(dtype))

    def _grouped(self, values: Tensor) -> Tensor:
        """`(n, t, c)` as `(n, groups, size)`, step after step."""
        n, steps, _ = values.shape
        return values.view(n, steps, -1, self._together).transpose(1, 2).reshape(n, -1, steps * self._together)

    @torch.no_grad()
    def fit(self, schema: SeriesSchema, train: Items, held_out: Items) -> None:
        """From windows; how much of the covariances depends on where in the window they are, and how far the level may
        wander, is chosen by what the held-out ones are most probable under.
        """
        x, seen = self._values(schema, train)
        totals = seen.sum(0)
        here = (x * seen).sum(0) / totals.clamp_min(1)
        overall = ((x * seen).sum((0, 1)) / seen.sum((0, 1)).clamp_min(1)).expand_as(here)
        shares = (0.0,) if schema.overlaps else _SHARES
        best, least = None, math.inf
        tested = held_out if len(held_out) else train
        for share in shares:
            mean = share * here + (1 - share) * overall
            covariance, noise = self._covariance(x - mean, seen, share)
            for level in _LEVEL:
                same = torch.arange(covariance.shape[1], device=x.device) % self._together
                wander = (same[:, None] == same) * level * noise.unsqueeze(1)
                self.mean.copy_(mean)
                self.covariance.copy_(covariance + wander)
                self.noise.copy_(noise)
                loss = self._loss(*self._values(schema, tested))
                if loss < least:
                    best, least = (mean, covariance + wander, noise), loss
        assert best is not None
        for buffer, value in zip((self.mean, self.covariance, self.noise), best, strict=True):
            buffer.copy_(value)

    def _values(self, schema: SeriesSchema, items: Items) -> tuple[Tensor, Tensor]:
        """Scaled values and their visibility of evenly chosen windows, float64 `(n, t, c)` and bool."""
        rows = np.linspace(0, len(items) - 1, min(len(items), _EXAMPLES)).astype(np.int64)
        unit, visible = items.unit(rows)
        unit = torch.from_numpy(unit[..., 0]).to(self.mean.device, torch.float64)
        support = Support.of(schema.channels, unit)
        seen = torch.from_numpy(visible[..., 0]).to(unit.device)
        return torch.where(seen, support.scaled(unit.unsqueeze(1))[:, 0], 0.0), seen

    def _covariance(self, x: Tensor, seen: Tensor, share: float) -> tuple[Tensor, Tensor]:
        """Covariances of centred values, `share` of them as they are at each place of the window, the rest by distance."""
        x, seen = self._grouped(torch.where(seen, x, 0.0)), self._grouped(seen).double()
        products = torch.einsum("ngi,ngj->gij", x, x)
        pairs = torch.einsum("ngi,ngj->gij", seen, seen)
        width, size = self._together, x.shape[2]
        steps = size // width
        lags = torch.arange(steps, device=x.device)
        lag = (lags[:, None] - lags[None]).abs().flatten()

        def by_distance(each: Tensor) -> Tensor:
            blocks = each.view(-1, steps, width, steps, width).permute(0, 1, 3, 2, 4)
            lower = torch.where((lags[:, None] >= lags[None])[None, :, :, None, None], blocks, blocks.transpose(3, 4))
            flat = lower.reshape(len(each), steps * steps, width, width)
            sums = flat.new_zeros(len(each), steps, width, width).index_add_(1, lag, flat)
            spread = sums[:, lag].view(len(each), steps, steps, width, width)
            upper = (lags[:, None] < lags[None])[None, :, :, None, None]
            return torch.where(upper, spread.transpose(3, 4), spread).permute(0, 1, 3, 2, 4).reshape(-1, size, size)

        stationary = by_distance(products) / by_distance(pairs).clamp_min(1)
        covariance = share * products / pairs.clamp_min(1) + (1 - share) * stationary
        variance = stationary.diagonal(dim1=1, dim2=2).clamp_min(1e-8)
        values, vectors = torch.linalg.eigh((covariance + covariance.transpose(1, 2)) / 2)
        least = 1e-6 * variance.mean(1)[:, None]
        return (vectors * torch.maximum(values, least).unsqueeze(1)) @ vectors.transpose(1, 2), variance

    def _loss(self, x: Tensor, seen: Tensor) -> float:
        """Minus the mean log density of visible values, each given those before."""
        found = self.causal(x.unsqueeze(1), seen.unsqueeze(1))
        off = (x.unsqueeze(1) - found.mean) / found.std
        loss = 0.5 * off.square() + found.std.log()
        return float(loss[seen.unsqueeze(1)].mean())


_Rule = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]


def _shown(covariance: Tensor, seen: Tensor, noise: Tensor) -> Tensor:
    """Covariances of what each mask `(m, size)` shows, with noise; hidden values are of variance 1, and alone."""
    both = seen.unsqueeze(2) & seen.unsqueeze(1)
    return torch.where(both, covariance, 0.0) + torch.diag_embed(torch.where(seen, noise, 1.0))


def _times(matrices: Tensor, which: Tensor, x: Tensor) -> Tensor:
    """Each `x` `(n, size)` by its matrix of `(m, size, size)`."""
    if len(matrices) == 1:
        return x @ matrices[0].T
    return (matrices[which] @ x.unsqueeze(2)).squeeze(2)


def _solve_lower(root: Tensor, which: Tensor, x: Tensor) -> Tensor:
    """Each `x` `(n, size)` divided by its lower triangular matrix."""
    if len(root) == 1:
        return torch.linalg.solve_triangular(root[0], x.T, upper=False).T
    return torch.linalg.solve_triangular(root[which], x.unsqueeze(2), upper=False).squeeze(2)
