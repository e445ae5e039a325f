"""Linear prediction: windows of series as normal vectors, any of their values given any others.

The covariances are those between the values of the fit's windows. All in closed form (Rasmussen & Williams 2006, chapters 2
and 5), for each window's own missing values; in float64.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from fivefold.items import Items
from fivefold.series.schema import SeriesSchema
from fivefold.tables.likelihood import Support

_MOST = 256  # values that covariances are between at once
_LEVELS = (0.0, 0.02, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6)  # of noise, in deviations of the channel
_SHARES, _ORDERS, _RIDGES = (0.0, 0.3, 0.6, 0.9), (4, 16, 64), (1e-7, 1e-5, 1e-3)
_LEVEL = 3.0  # variances that a window's level may be off besides
_JITTER = 1e-5  # of the variance
_FLOOR = 1e-8
_TRIES = 12  # of a decomposition
_EXAMPLES = 600
_CHUNK = 1 << 22  # numbers of all covariances at once

Windowed = tuple[Tensor, Tensor]
"""Values of windows `(n, t, c)`, float64, and which are known."""


@dataclass(frozen=True)
class Predicted:
    """Of each value, `(n, 1, t, c)`: its `mean` and deviation `std`, on its channel's scale."""

    mean: Tensor
    std: Tensor


@dataclass(frozen=True)
class Factor:
    """Of masks' covariances with noise: Cholesky factors `root`, what these leave of the covariances with all values, `shown`,
    both `(m, size, size)`, and the `variance` `(m, size)` that is left of all values."""

    root: Tensor
    shown: Tensor
    variance: Tensor


class LinearPredictor(nn.Module):
    """A normal distribution of windows: means `(t, c)`, and autoregression step by step; in groups of channels if there are many.

    Its methods take values `(n, 1, t, c)` as `Support.scaled` has them, and which are visible.
    """

    mean: Tensor
    regression: Tensor
    own: Tensor
    noise: Tensor

    def __init__(self, schema: SeriesSchema) -> None:
        super().__init__()
        steps, channels = schema.steps, schema.channels.size
        fitting = [size for size in range(1, channels + 1) if channels % size == 0 and size * steps <= _MOST]
        self.steps, self._together = steps, max(fitting, default=1)
        groups, size = channels // self._together, steps * self._together
        self.register_buffer("mean", torch.zeros(steps, channels))
        self.register_buffer("regression", torch.zeros(groups, size, size))
        self.register_buffer("own", torch.ones(groups, size))  # variance that the regression leaves
        self.register_buffer("noise", torch.ones(groups, size))  # variance of noise as strong as the channel
        self._found: dict[tuple[Any, ...], list[Factor]] = {}  # factors of whole windows, as long as buffers stay

    def covariance(self, group: int) -> Tensor:
        """Between the values of a group `(size, size)`, float64, as their regressions have it."""
        rows, own = _wide(self.regression[group]), _wide(self.own[group])
        root: Tensor = torch.linalg.solve_triangular(-rows, own.sqrt().diag(), upper=False, unitriangular=True)
        return root @ root.T

    @torch.no_grad()
    def causal(self, scaled: Tensor, visible: Tensor) -> Predicted:
        """Each value given the visible ones before it: step by step, channels one after the other."""

        def predict(x: Tensor, seen: Tensor, mask_of: Tensor, group: int) -> tuple[Tensor, Tensor]:
            mean, variance = x @ _wide(self.regression[group]).T, _wide(self.own[group]).repeat(len(x), 1)
            holey = ~seen.all(dim=1)
            if (rest := holey[mask_of]).any():
                holey_mask, masks = (holey.cumsum(0) - 1)[mask_of[rest]], seen[holey]
                k = self.covariance(group)
                least = torch.finfo(k.dtype).eps ** 0.5
                root = _root(k, masks, least * _wide(self.noise[group]))
                across = torch.linalg.solve_triangular(root, k * masks.unsqueeze(2), upper=False).triu(1)
                mean[rest] = _times(across.transpose(1, 2), holey_mask, _solve_lower(root, holey_mask, x[rest]))
                variance[rest] = (k.diagonal() - across.square().sum(1))[holey_mask]
            return mean, variance

        return self._predict(scaled, visible, predict)

    @torch.no_grad()
    def missing(self, scaled: Tensor, visible: Tensor) -> Predicted:
        """Each value given all visible ones but itself."""

        def predict(x: Tensor, seen: Tensor, mask_of: Tensor, group: int) -> tuple[Tensor, Tensor]:
            k = self.covariance(group)
            root = _root(k, seen, _JITTER * _wide(self.noise[group]))
            precision = torch.cholesky_inverse(root)
            weighed, own = _times(precision, mask_of, x), precision.diagonal(dim1=1, dim2=2)
            shown = k * seen.unsqueeze(1)
            left = (k.diagonal() - ((shown @ precision) * shown).sum(2))[mask_of]
            hidden = ~seen[mask_of]
            mean = torch.where(hidden, weighed @ k, x - weighed / own[mask_of])
            return mean, torch.where(hidden, left, 1 / own[mask_of])

        return self._predict(scaled, visible, predict)

    @torch.no_grad()
    def noisy(self, scaled: Tensor, visible: Tensor) -> Predicted:
        """Each clean value given all noisy ones: white noise, as strong as it probably is in the window."""

        def predict(x: Tensor, seen: Tensor, mask_of: Tensor, group: int) -> tuple[Tensor, Tensor]:
            evidence, means, variances = [], [], []
            for factor in self._factors(group, seen):
                whitened = _solve_lower(factor.root, mask_of, x)
                size = factor.root.diagonal(dim1=1, dim2=2).log().sum(1)[mask_of]
                evidence.append(-0.5 * whitened.square().sum(1) - size)
                means.append(_times(factor.shown.transpose(1, 2), mask_of, whitened))
                variances.append(factor.variance[mask_of])
            share = torch.softmax(torch.stack(evidence), dim=0).unsqueeze(2)
            mean, square = torch.stack(means), torch.stack(variances) + torch.stack(means).square()
            expected = (share * mean).sum(0)
            return expected, (share * square).sum(0) - expected.square()

        return self._predict(scaled, visible, predict)

    def _factors(self, group: int, seen: Tensor) -> list[Factor]:
        """Of masks `(m, size)`, for each strength of noise. Those of whole windows are kept, if they are not large: they are what
        is mostly asked for."""
        whole = len(seen) == 1 and len(_LEVELS) * 2 * self.regression.numel() <= _CHUNK and bool(seen.all())
        now = group, *((buffer.data_ptr(), buffer._version) for buffer in self.buffers())
        if whole and now in self._found:
            return self._found[now]
        with torch.inference_mode(False):
            k, noise, found = self.covariance(group), _wide(self.noise[group]), list[Factor]()
            for level in _LEVELS:
                root = _root(k, seen, noise * (level**2 + _JITTER))
                shown = torch.linalg.solve_triangular(root, k * seen.unsqueeze(2), upper=False)
                found.append(Factor(root, shown, k.diagonal() - shown.square().sum(1)))
        if whole:
            self._found = {key: kept for key, kept in self._found.items() if key[1:] == now[1:]} | {now: found}
        return found

    def _predict(self, scaled: Tensor, visible: Tensor, predict: _Rule) -> Predicted:
        """`predict` for all groups, as many windows at once as memory is to hold; once for windows that show the same."""
        dtype = scaled.dtype
        x = self._grouped(_wide(scaled[:, 0] - self.mean))
        seen = self._grouped(visible[:, 0])
        mean, variance = torch.empty_like(x), torch.empty_like(x)
        many = max(1, _CHUNK // x.shape[2] ** 2)
        for group in range(x.shape[1]):
            for start in range(0, len(x), many):
                rows = slice(start, start + many)
                masks, mask_of = torch.unique(seen[rows, group], dim=0, return_inverse=True)
                given = torch.where(seen[rows, group], x[rows, group], 0.0)
                mean[rows, group], variance[rows, group] = predict(given, masks, mask_of, group)
        variance = torch.maximum(variance, _FLOOR * self.noise)
        expected, spread = self._ungrouped(mean), self._ungrouped(variance)
        return Predicted((expected + self.mean).to(dtype), spread.sqrt().to(dtype))

    def _ungrouped(self, values: Tensor) -> Tensor:
        """`(n, groups, size)` as `(n, 1, t, c)`."""
        n, groups, _ = values.shape
        return values.view(n, groups, self.steps, -1).transpose(1, 2).reshape(n, 1, self.steps, -1)

    def _grouped(self, values: Tensor) -> Tensor:
        """`(n, t, c)` as `(n, groups, size)`, step after step."""
        n, steps, _ = values.shape
        return values.view(n, steps, -1, self._together).transpose(1, 2).reshape(n, -1, steps * self._together)

    def correlated(self, noise: Tensor) -> Tensor:
        """Standard normal numbers `(n, 1, t, c)` that depend on each other as the values do, from independent ones."""
        x, groups = self._grouped(_wide(noise[:, 0])), []
        for group in range(x.shape[1]):
            k, everything = self.covariance(group), torch.ones(1, x.shape[2], dtype=torch.bool, device=x.device)
            root = _root(k, everything, torch.zeros_like(x[0, group]))[0]
            groups.append(x[:, group] @ root.T / k.diagonal().sqrt())
        return self._ungrouped(torch.stack(groups, dim=1)).to(noise.dtype)

    @torch.no_grad()
    def fit(self, train: Windowed, held_out: Windowed, *, overlaps: bool) -> None:
        """From values of windows: each value's regression on those before it, of which covariances follow (modified Cholesky
        decomposition: Pourahmadi 1999; cut off at an order: Bickel & Levina 2008).

        The order, how much ridge, how much of it depends on the place in the window, and whether the level may wander, are
        those under which held-out windows are most probable.
        """
        x, seen = train
        here = (x * seen).sum(0) / seen.sum(0).clamp_min(1)
        overall = ((x * seen).sum((0, 1)) / seen.sum((0, 1)).clamp_min(1)).expand_as(here)
        x = _interpolated(x, seen)
        best, least = None, math.inf
        for share in (0.0,) if overlaps else _SHARES:
            mean = share * here + (1 - share) * overall
            grouped = self._grouped(x - mean)
            for order in sorted({min(order, self.steps - 1) for order in _ORDERS}):
                moments = [
                    _moments(grouped[:, group], order, self._together, share) for group in range(grouped.shape[1])
                ]
                for ridge in _RIDGES:
                    parts = [_regressions(moment, self.steps, self._together, ridge) for moment in moments]
                    self._set(mean, *(torch.stack(part) for part in zip(*parts, strict=True)))
                    if (loss := self._loss(*held_out)) < least:
                        best, least = [buffer.clone() for buffer in self.buffers()], loss
        for buffer, value in zip(self.buffers(), best or (), strict=True):
            buffer.copy_(value)

    def _set(self, mean: Tensor, *parts: Tensor) -> None:
        for buffer, value in zip(self.buffers(), (mean, *parts), strict=True):
            buffer.copy_(value)

    def _loss(self, x: Tensor, seen: Tensor) -> float:
        """Minus the mean log density of visible values, each given those before."""
        predicted = self.causal(x.unsqueeze(1), seen.unsqueeze(1))
        off = (x.unsqueeze(1) - predicted.mean) / predicted.std
        loss = 0.5 * off.square() + predicted.std.log()
        return float(loss[seen.unsqueeze(1)].mean())


def scaled_windows(schema: SeriesSchema, items: Items) -> Windowed:
    """Values of evenly chosen windows on their channels' scale."""
    unit, visible = items.select(some_windows(len(items))).unit()
    scaled = Support.of(schema.channels, torch.empty(0, dtype=torch.float64)).scaled(
        torch.from_numpy(unit.transpose(0, 3, 1, 2)).double()
    )
    seen = torch.from_numpy(visible[..., 0])
    return torch.where(seen, scaled[:, 0], 0.0), seen


def some_windows(n: int) -> np.ndarray:
    """Numbers of evenly chosen windows, as many as are worth it."""
    return np.linspace(0, n - 1, min(n, _EXAMPLES)).astype(np.int64)


def _interpolated(x: Tensor, seen: Tensor) -> Tensor:
    """What is missing between known steps, along straight lines; at the ends as the nearest."""
    steps = torch.arange(x.shape[1], device=x.device).view(1, -1, 1)
    last = torch.where(seen, steps, -1).cummax(1).values
    following = torch.where(seen, steps, x.shape[1]).flip(1).cummin(1).values.flip(1)
    before, after = (
        torch.where(neighbour.ge(0) & neighbour.lt(x.shape[1]), neighbour, opposite)
        for neighbour, opposite in ((last, following), (following, last))
    )
    before, after = (neighbour.clamp(0, x.shape[1] - 1) for neighbour in (before, after))
    share = (steps - before).to(x.dtype) / (after - before).clamp_min(1)
    return torch.lerp(x.gather(1, before), x.gather(1, after), share)


def _moments(x: Tensor, order: int, width: int, share: float) -> Tensor:
    """Mean products of values at most `order` steps apart, of centred windows `(n, size)`: `(steps, m, m)`, step by step
    that of it with those before, oldest first; or `(1, m, m)`, the same for all, if `share` is 0.
    """
    n, size = x.shape
    sections = x.view(n, size // width, width).unfold(1, order + 1, 1).transpose(2, 3).flatten(2)  # (n, t - order, m)
    common = torch.einsum("nti,ntj->ij", sections, sections) / (n * sections.shape[1])
    if share == 0:
        return common.unsqueeze(0)
    padded = torch.cat((x.new_zeros(n, order * width), x), dim=1)
    sections = padded.view(n, -1, width).unfold(1, order + 1, 1).transpose(2, 3).flatten(2)
    return share * torch.einsum("nti,ntj->tij", sections, sections) / n + (1 - share) * common


def _regressions(moments: Tensor, steps: int, width: int, ridge: float) -> tuple[Tensor, Tensor, Tensor]:
    """Autoregression: weights `(size, size)`; innovation variances, and the channels' variances, repeated, both `(size,)`."""
    order = moments.shape[1] // width - 1
    variance = moments.mean(0).diagonal()[-width:].clamp_min(_FLOOR)
    rows = moments.new_zeros(steps * width, steps * width)
    own = moments.new_empty(steps * width)
    penalty = ridge * variance.mean()
    for step in range(steps):
        if step > order and len(moments) == 1:
            rows[step * width : (step + 1) * width] = rows[(step - 1) * width : step * width].roll(width, dims=1)
            own[step * width : (step + 1) * width] = own[(step - 1) * width : step * width]
            continue
        products = moments[min(step, len(moments) - 1)]
        for channel in range(width):
            here = order * width + channel
            first = (order - min(step, order)) * width
            known = products[first:here, first:here] + penalty * torch.eye(
                here - first, dtype=products.dtype, device=products.device
            )
            weights = torch.linalg.solve(known, products[first:here, here])
            place = step * width + channel
            rows[place, place - len(weights) : place] = weights
            left = products[here, here] - weights @ products[first:here, here]
            own[place] = torch.maximum(left, _JITTER * variance[channel]) if step else (1 + _LEVEL) * variance[channel]
    return rows, own, variance.repeat(steps)


_Rule = Callable[[Tensor, Tensor, Tensor, int], tuple[Tensor, Tensor]]


def _wide(x: Tensor) -> Tensor:
    """In float64, where the device has it."""
    return x if x.device.type == "mps" else x.double()


def _root(covariance: Tensor, seen: Tensor, noise: Tensor) -> Tensor:
    """Cholesky factors of the covariances of what each mask `(m, size)` shows, with noise; hidden values are of variance 1, and
    alone. Where rounding leaves no positive definite matrix, as of series without any noise, there is tenfold noise, and so on.
    """
    pairs, noise = seen.unsqueeze(2) & seen.unsqueeze(1), noise.expand(seen.shape)
    least = torch.finfo(covariance.dtype).eps ** 0.5 * covariance.diagonal()
    for _ in range(_TRIES):
        shown = torch.where(pairs, covariance, 0.0) + torch.diag_embed(torch.where(seen, noise, 1.0))
        root: Tensor
        root, failed = torch.linalg.cholesky_ex(shown)
        if not failed.any():
            break
        noise = torch.where(failed.bool().unsqueeze(1), 10 * noise + least, noise)
    return root


def _times(matrices: Tensor, mask_of: Tensor, x: Tensor) -> Tensor:
    """Each `x` `(n, size)` by its matrix of `(m, size, size)`."""
    if len(matrices) == 1:
        return x @ matrices[0].T
    return (matrices[mask_of] @ x.unsqueeze(2)).squeeze(2)


def _solve_lower(root: Tensor, mask_of: Tensor, x: Tensor) -> Tensor:
    """Each `x` `(n, size)` divided by its lower triangular matrix."""
    alone = len(root) == 1
    matrices, columns = (root[0], x.T) if alone else (root[mask_of], x.unsqueeze(2))
    solved: Tensor = torch.linalg.solve_triangular(matrices, columns, upper=False)
    return solved.T if alone else solved.squeeze(2)
