"""Linear prediction of each channel from its last steps; it tells at which step a series goes over into another."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

_MOST_LAGS, _ROWS_PER_LAG = 32, 8
_RIDGE = 1e-4  # of the variance
_MOST = 8.0  # mean absolute residuals: more does not count
_MEDIAN = 0.693  # of the standard Laplace distribution's absolute values


@dataclass(frozen=True)
class Autoregression:
    """Least squares of each value on those before (intervention analysis: Box & Tiao 1975).

    Attributes
    ----------
    weights : `(p, c)`, the last step's first
    centre, spread : `(c,)`, medians of values, and mean absolute residuals
    """

    weights: np.ndarray
    centre: np.ndarray
    spread: np.ndarray

    @classmethod
    def fit(cls, values: np.ndarray, centre: np.ndarray, least: np.ndarray) -> Autoregression:
        """Of values `(n, c)`, of which any may be missing, around a `centre` `(c,)`; residuals have at `least` some spread."""
        lags = min(_MOST_LAGS, len(values) // _ROWS_PER_LAG)
        weights = np.zeros((lags, len(centre)))
        for channel, column in enumerate((values - centre).T if lags else ()):
            rows = np.lib.stride_tricks.sliding_window_view(column, lags + 1)
            rows = rows[np.isfinite(rows).all(axis=1)]
            if len(rows) < _ROWS_PER_LAG // 2 * lags:
                continue
            before, now = rows[:, -2::-1], rows[:, -1]
            ridge = _RIDGE * max(float(np.square(rows).sum()) / (lags + 1), 1e-300) * np.eye(lags)
            weights[:, channel] = np.linalg.solve(before.T @ before + ridge, before.T @ now)
        found = cls(weights, centre, least)
        return replace(found, spread=np.fmax(found.spread_of(values), least))

    def spread_of(self, values: np.ndarray) -> np.ndarray:
        """Mean absolute residuals `(c,)` of values `(n, c)`, as their medians say; NaN if there are none."""
        residuals = np.abs(self.residuals(values))
        found = np.full(values.shape[1], np.nan)
        known = np.isfinite(residuals).any(axis=0)
        if known.any():
            found[known] = np.nanmedian(residuals[:, known], axis=0) / _MEDIAN
        return found

    def residuals(self, values: np.ndarray) -> np.ndarray:
        """Of values `(…, n, c)` but for the first p: `(…, n - p, c)`."""
        lags, off = len(self.weights), values - self.centre
        if off.shape[-2] <= lags:
            nothing: np.ndarray = off[..., :0, :]
            return nothing
        rows = np.lib.stride_tricks.sliding_window_view(off, lags + 1, axis=-2)  # (…, n - p, c, p + 1)
        found: np.ndarray = rows[..., -1] - np.einsum("...cp,pc->...c", rows[..., -2::-1], self.weights)
        return found

    def cost(self, values: np.ndarray, scale: np.ndarray) -> np.ndarray:
        """Minus log density of steps of `scale * values` `(…, n, c)` but for the first p, as of Laplace distributions but that
        single steps do not count for much; summed over channels, but for a constant: `(…, n - p)`."""
        off = np.minimum(np.abs(self.residuals(values)) / self.spread, _MOST)
        cost: np.ndarray = np.nan_to_num(off - np.log(scale)).sum(axis=-1)
        return cost

    def turn(self, before: np.ndarray, after: np.ndarray, scales: tuple[np.ndarray, np.ndarray]) -> int:
        """At which step a series `(n, c)` most likely goes over into another, given by what factors `(c,)` each is multiplied.

        The first p steps are of the one series, the last p of the other.
        """
        lags, n = len(self.weights), len(before)
        if n <= 2 * lags:
            return n // 2
        first, second = (
            np.concatenate(([0.0], np.cumsum(self.cost(part, scale))))
            for part, scale in zip((before, after), scales, strict=True)
        )
        places = np.arange(lags, n - lags + 1)
        around = places[:, None] + np.arange(-lags, lags)
        spliced = np.where((around < places[:, None])[..., None], before[around], after[around])
        costs = first[places - lags] + self.cost(spliced, scales[1]).sum(axis=1) + second[-1] - second[places]
        return lags + int(np.argmin(costs))

    def step(self, before: np.ndarray, after: np.ndarray) -> np.ndarray:
        """What to add to `after` `(n, c)` so that it goes on from p steps `before` it with least absolute residuals: `(c,)`."""
        lags, found = len(self.weights), np.zeros(len(self.centre))
        residuals = self.residuals(np.concatenate((before[len(before) - lags :], after)))
        sums = 1 - np.concatenate((np.zeros((1, len(found))), np.cumsum(self.weights, axis=0)))
        effects = sums[np.minimum(np.arange(len(residuals)), lags)]
        for channel in range(len(found)):
            effect, residual = effects[:, channel], residuals[:, channel]
            known = np.isfinite(residual) & (np.abs(effect) > 1e-9)
            if known.any():
                steps, weights = residual[known] / effect[known], np.abs(effect[known])
                found[channel] = -np.quantile(steps, 0.5, weights=weights, method="inverted_cdf")
        return found
