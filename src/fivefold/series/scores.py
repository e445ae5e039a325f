"""The anomaly score of steps, also of those beside gaps and in short files."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import final

import numpy as np

from fivefold.arrays import Floats
from fivefold.errors import ModelError
from fivefold.model.calibrations import AnomalyScore, excess_deviation
from fivefold.model.threads import in_parts

_KNOTS = 200
_SEEN = np.array([0, 1, 3, 6, 12, 24])  # visible steps before or after one, from which on they are a class of their own
_STRATA = 2 * _SEEN.size**2
_WHOLE, _FEWEST = 0.9, 40  # visible share of a window that is as good as whole; scores of a class


@final
@dataclass(frozen=True)
class IndependentScore(AnomalyScore):
    """How far the statistics of steps are beyond those of normal ones, each first made normal by itself.

    A step near a strange one is not to be stranger than that, so the statistics are taken for independent: their joint
    density would hold it against a step that it is normal and its surroundings are not.

    Attributes
    ----------
    knots : `(k, q)` float64, ascending quantiles of each statistic
    both : `(k,)` float64, 1 for statistics of which too little is strange as well as too much, else 0
    calibration : `(m,)` float64, ascending scores of steps
    windows : `(w,)` float64, ascending: the lowest score in each window
    partial : `(72, q)` float64, ascending quantiles of the scores of steps in windows of which a part is hidden, by how many
        steps before and after them are visible, and whether the first is; of older models empty
    counts : `(72,)` of how many scores those are
    """

    knots: np.ndarray
    both: np.ndarray
    calibration: np.ndarray
    windows: np.ndarray
    partial: np.ndarray = field(default_factory=lambda: np.empty((0, _KNOTS)))
    counts: np.ndarray = field(default_factory=lambda: np.empty(0))

    def __post_init__(self) -> None:
        k = len(self.knots) if self.knots.ndim == 2 else 0
        finite = all(np.isfinite(array).all() for array in (self.knots, self.both, self.windows))
        ascending = bool((np.diff(self.knots, axis=-1) >= 0).all()) and np.array_equal(
            self.windows, np.sort(self.windows)
        )
        if not (k and self.knots.shape[1] == _KNOTS and self.both.shape == (k,) and finite and ascending):
            raise ModelError("the densities of the steps' statistics are damaged")
        strata = len(self.counts)
        sane = self.partial.shape == (strata, _KNOTS) and strata in (0, _STRATA) and bool((self.counts > 0).all())
        if not (sane and np.isfinite(self.partial).all() and (np.diff(self.partial, axis=1) >= 0).all()):
            raise ModelError("the scores of steps in windows of which a part is hidden are damaged")
        self.check_order()

    @property
    def size(self) -> int:
        return len(self.knots)

    def score(self, statistics: np.ndarray) -> np.ndarray:
        """Log density of `(n, t, k)` statistics but for a constant, as if of normal tails: `(n, t)` float64, nats; NaN stays.

        In windows of which a part is hidden, the score that as few steps of whole windows are below as are below it of such.
        """
        return in_parts(self._score, statistics)

    def _score(self, statistics: np.ndarray) -> np.ndarray:
        score = self._density(statistics)
        if not len(self.counts) or not len(self.calibration):
            return score
        strata = seen_strata(np.isfinite(statistics[..., 0]))
        for stratum in np.unique(strata[strata >= 0]):
            here = strata == stratum
            score[here] = self._as_whole(score[here], int(stratum))
        return score

    def _as_whole(self, score: np.ndarray, stratum: int) -> np.ndarray:
        """Scores `(n,)` of steps in windows of which a part is hidden, as scores in whole ones."""
        quantiles, count, total = self.partial[stratum], self.counts[stratum], len(self.calibration)
        below = np.interp(score, quantiles, np.linspace(0, 1, _KNOTS))
        rank = (1 + count * below) / (1 + count) * (
            1 + total
        ) - 1.5  # between two scores: a step below both counts as their mean
        same = np.interp(rank, np.arange(total), self.calibration)
        least = self.calibration[0] - 1e-6
        shifted: Floats = np.where(rank < 0, least, same) + np.minimum(score - quantiles[0], 0)
        return shifted

    def with_partial(self, statistics: np.ndarray) -> IndependentScore:
        """The same, knowing windows `(w, t, k)` of which a part is hidden; for strata without steps their neighbours stand."""
        score, strata = self._density(statistics), seen_strata(np.isfinite(statistics[..., 0]))
        counts = np.bincount(strata[strata >= 0], minlength=_STRATA)
        enough = np.flatnonzero(counts >= _FEWEST)
        if not len(enough):
            return self
        places = np.stack(np.unravel_index(np.arange(_STRATA), (2, _SEEN.size, _SEEN.size)), axis=1)
        nearest = enough[np.abs(places[:, None] - places[enough]).sum(axis=2).argmin(axis=1)]
        rows = {stratum: np.quantile(score[strata == stratum], np.linspace(0, 1, _KNOTS)) for stratum in enough}
        partial = np.stack([rows[stratum] for stratum in nearest])
        return dataclasses.replace(self, partial=partial, counts=counts[nearest].astype(np.float64))

    def _density(self, statistics: np.ndarray) -> np.ndarray:
        normal = self._normal(statistics)
        with np.errstate(invalid="ignore"):  # NaN
            above = excess_deviation(normal)
            below = above - normal  # softplus(-x) = softplus(x) - x
        log_density: np.ndarray = -0.5 * (np.square(above) + self.both * np.square(below)).sum(axis=-1)
        return log_density

    def window_p_value(self, score: np.ndarray) -> np.ndarray:
        """How often the worst step of a normal window scores as low, `(n,)`."""
        return (1 + np.searchsorted(self.windows, score, side="right")) / (1 + len(self.windows))

    def _normal(self, statistics: np.ndarray) -> np.ndarray:
        """Each statistic as the quantile of a standard normal that it is; beyond the knots on along their last slope."""
        places, normal, tenth = _places(), np.empty(statistics.shape), _KNOTS // 10
        for number, knots in enumerate(self.knots):
            values = statistics[..., number]
            low, high = (
                (places[b] - places[a]) / max(knots[b] - knots[a], 1e-9) for a, b in ((0, tenth), (-1 - tenth, -1))
            )
            beyond = low * np.minimum(values - knots[0], 0) + high * np.maximum(values - knots[-1], 0)
            normal[..., number] = np.interp(values, knots, places) + beyond
        return normal

    @classmethod
    def fit(cls, statistics: np.ndarray, both: np.ndarray, least: np.ndarray) -> IndependentScore | None:
        """From statistics `(w, t, k)` of windows in random order: half shape the densities, the others calibrate.

        `least` `(k,)`: deviations that each statistic has at least, though few windows may not show it. None if fewer than
        2 windows have something visible.
        """
        known = np.isfinite(statistics).all(axis=2)
        statistics, known = statistics[known.any(axis=1)], known[known.any(axis=1)]
        half = len(statistics) // 2
        if half < 1:
            return None
        knots = np.quantile(statistics[:half][known[:half]], (np.arange(_KNOTS) + 0.5) / _KNOTS, axis=0).T
        middle = knots[:, _KNOTS // 2, None]
        spread = (knots[:, round(0.84 * _KNOTS)] - knots[:, round(0.16 * _KNOTS)]) / 2
        knots = middle + (knots - middle) * np.maximum(least / np.maximum(spread, 1e-9), 1)[:, None]
        knots = _with_wide_tails(knots, least)
        scores = cls(knots, both, np.empty(0), np.empty(0))._density(statistics[half:])
        return cls(knots, both, np.sort(scores[known[half:]]), np.sort(np.nanmin(scores, axis=1)))


def seen_strata(visible: np.ndarray) -> np.ndarray:
    """Of steps of windows `(n, t)` a number by how many steps before and after them are visible, and whether the first is; −1 in
    windows that are whole, or nearly, and of hidden steps."""
    before = np.cumsum(visible, axis=1) - visible
    after = visible.sum(axis=1, keepdims=True) - before - visible
    places = (np.searchsorted(_SEEN, count, side="right") - 1 for count in (before, after))
    first, second = places
    whole = visible.mean(axis=1, keepdims=True) >= _WHOLE
    return np.where(visible & ~whole, (visible[:, :1] * _SEEN.size + first) * _SEEN.size + second, -1)


def _places() -> np.ndarray:
    """The standard normal's quantiles of the knots' shares."""
    from scipy.stats import norm

    return np.asarray(norm.ppf((np.arange(_KNOTS) + 0.5) / _KNOTS))


def _with_wide_tails(knots: np.ndarray, least: np.ndarray) -> np.ndarray:
    """Knots `(k, q)` whose outer tenths are at least as wide as those of normal numbers with the deviations `least` `(k,)`."""
    places, tenth = _places(), _KNOTS // 10
    low, high = knots[:, tenth, None], knots[:, -1 - tenth, None]
    return np.concatenate(
        (
            np.minimum(knots[:, :tenth], low + least[:, None] * (places[:tenth] - places[tenth])),
            knots[:, tenth:-tenth],
            np.maximum(knots[:, -tenth:], high + least[:, None] * (places[-tenth:] - places[-1 - tenth])),
        ),
        axis=1,
    )
