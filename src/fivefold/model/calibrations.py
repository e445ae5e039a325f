"""What is fitted to the results of trained networks: anomaly scores, intervals and the prior.

Scores and intervals are calibrated on items that the networks were not fitted to (split conformal).
"""

from __future__ import annotations

import dataclasses
import warnings
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Self, final

import numpy as np

from fivefold.arrays import Floats
from fivefold.errors import ModelError

_RIDGE = 0.05
_KNOTS = 200
_SEEN = np.array([0, 1, 3, 6, 12, 24])  # visible steps before or after one, from which on they are a class of their own
_STRATA = 2 * _SEEN.size**2
_WHOLE, _FEWEST = 0.9, 40  # visible share of a window that is as good as whole; scores of a class
_SHARPNESS = 2.0  # of the bend from statistics that don't count to those that do


class AnomalyScore(ABC):
    """Scores of items, compared with those of normal items.

    Attributes
    ----------
    calibration : `(m,)` float64, ascending: the scores of normal items that nothing was fitted to
    """

    calibration: np.ndarray

    @property
    @abstractmethod
    def size(self) -> int:
        """How many statistics it is of."""

    @abstractmethod
    def score(self, statistics: np.ndarray) -> np.ndarray:
        """Of `(n, k)` statistics: `(n,)` float64; higher = more normal."""

    @final
    def threshold(self, rate: float) -> float:
        """The score below which p-values are at most `rate`; minus infinity if none can be."""
        count = len(self.calibration)
        flagged = np.count_nonzero((1 + np.arange(count)) / (1 + count) <= rate)
        return float(self.calibration[flagged - 1]) if flagged else -np.inf

    @final
    def recalibrated(self, scores: np.ndarray) -> Self:
        """The same, compared with other normal items' scores."""
        return dataclasses.replace(self, calibration=np.sort(scores))  # type: ignore[type-var]  # each heir is a dataclass

    @final
    def p_value(self, score: np.ndarray) -> np.ndarray:
        """How often a normal item scores as low (split conformal: Laxhammar & Falkman 2011), `(n,)`."""
        as_strange = np.searchsorted(self.calibration, score, side="right")
        return (1 + as_strange) / (1 + len(self.calibration))

    @final
    def _check_order(self) -> None:
        if not (self.calibration.ndim == 1 and np.array_equal(self.calibration, np.sort(self.calibration))):
            raise ModelError("the held-out items' scores are not in order")


@final
@dataclass(frozen=True)
class UpperTailScore(AnomalyScore):
    """How far statistics of rows, of which more is stranger, are above those of the rows of the fit.

    Attributes
    ----------
    centre, scale : `(k,)` float64, means and deviations of the statistics
    calibration : `(m,)` float64, ascending scores of held-out rows
    """

    centre: np.ndarray
    scale: np.ndarray
    calibration: np.ndarray

    def __post_init__(self) -> None:
        shapes = self.centre.ndim == 1 and self.scale.shape == self.centre.shape and len(self.centre) > 0
        if not (shapes and np.isfinite(self.centre).all() and np.isfinite(self.scale).all() and (self.scale > 0).all()):
            raise ModelError("the densities of the rows' statistics are damaged")
        self._check_order()

    @property
    def size(self) -> int:
        return len(self.centre)

    def score(self, statistics: np.ndarray) -> np.ndarray:
        """Log density of `(n, k)` statistics but for a constant, as if of normal upper tails: `(n,)` float64."""
        above = np.logaddexp(0, _SHARPNESS * (statistics - self.centre) / self.scale) / _SHARPNESS
        log_density: np.ndarray = -0.5 * np.square(above).sum(axis=1)
        return log_density

    @classmethod
    def fit(cls, statistics: np.ndarray, held_out: np.ndarray) -> UpperTailScore:
        """From statistics `(n, k)` of all rows, held-out ones among them, and `(m, k)` of those that were held out."""
        scale = np.maximum(statistics.std(axis=0), 1e-9)
        unsorted = cls(statistics.mean(axis=0), scale, np.empty(0))
        return cls(unsorted.centre, scale, np.sort(unsorted.score(held_out)))


@final
@dataclass(frozen=True)
class JointScore(AnomalyScore):
    """A normal density over standardised statistics, and the scores of normal items that it was not fitted to.

    Attributes
    ----------
    centre, scale : `(k,)` float64, the statistics' means and deviations
    root : `(k, k)` float64, lower Cholesky factor of their correlations
    calibration : `(m,)` float64, ascending scores
    """

    centre: np.ndarray
    scale: np.ndarray
    root: np.ndarray
    calibration: np.ndarray

    def __post_init__(self) -> None:
        k = len(self.centre) if self.centre.ndim == 1 else 0
        shapes = self.scale.shape == (k,) and self.root.shape == (k, k) and self.calibration.ndim == 1
        finite = np.isfinite(self.centre).all() and np.isfinite(self.scale).all() and np.isfinite(self.root).all()
        if not (k and shapes and finite and (self.scale > 0).all() and (np.diag(self.root) > 0).all()):
            raise ModelError("the densities of the held-out items' statistics are damaged")
        self._check_order()

    @property
    def size(self) -> int:
        return len(self.centre)

    def score(self, statistics: np.ndarray) -> np.ndarray:
        """Log density of `(n, k)` statistics but for a constant, `(n,)` float64, nats; higher = more normal."""
        from scipy.linalg import solve_triangular

        scaled = (statistics - self.centre) / self.scale
        log_density: np.ndarray = -0.5 * np.square(solve_triangular(self.root, scaled.T, lower=True)).sum(axis=0)
        return log_density

    @classmethod
    def fit(cls, statistics: np.ndarray) -> JointScore | None:
        """From the statistics `(m, k)` of normal items in random order; the first half shapes the density, the rest calibrate.

        None if there are fewer than 2 of each.
        """
        half = len(statistics) // 2
        if half < 2:
            return None
        shaping, calibrating = statistics[:half], statistics[half:]
        centre, scale = shaping.mean(axis=0), np.maximum(shaping.std(axis=0), 1e-9)
        scaled = (shaping - centre) / scale
        k = scaled.shape[1]
        correlation = scaled.T @ scaled / half
        root = np.linalg.cholesky((correlation + _RIDGE * np.eye(k)) / (1 + _RIDGE))
        unsorted = cls(centre, scale, root, np.empty(0))
        return cls(centre, scale, root, np.sort(unsorted.score(calibrating)))


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
        self._check_order()

    @property
    def size(self) -> int:
        return len(self.knots)

    def score(self, statistics: np.ndarray) -> np.ndarray:
        """Log density of `(n, t, k)` statistics but for a constant, as if of normal tails: `(n, t)` float64, nats; NaN stays.

        In windows of which a part is hidden, the score that as few steps of whole windows are below as are below it of such.
        """
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
            above, below = (np.logaddexp(0, _SHARPNESS * sign * normal) / _SHARPNESS for sign in (1, -1))
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


_POINTS = 1001


@dataclass(frozen=True)
class IntervalCalibration:
    """Split conformal calibration of central intervals (Romano et al. 2019, arXiv:1905.03222; by probability).

    Attributes
    ----------
    shares : `(1001,)` float64, ascending: what share of the probability the model's intervals must have to hold 0, 0.1 %,
        …, 100 % of held-out numbers
    """

    shares: np.ndarray

    def __post_init__(self) -> None:
        sane = self.shares.shape == (_POINTS,) and bool(((self.shares >= 0) & (self.shares <= 1)).all())
        if not (sane and np.array_equal(self.shares, np.sort(self.shares))):
            raise ModelError("the calibration of intervals is damaged")

    def share(self, nominal: float) -> float:
        """What share to ask of the model's distributions so that intervals hold the share `nominal`."""
        share = float(np.interp(nominal, np.linspace(0, 1, _POINTS), self.shares))
        return min(max(share, 1e-6), 1 - 1e-6)

    @classmethod
    def fit(cls, shares: np.ndarray) -> IntervalCalibration | None:
        """From the shares of the model's central intervals that just reach held-out numbers `(m,)`; None if there are none."""
        if len(shares) == 0:
            return None
        nominal = np.minimum(np.linspace(0, 1, _POINTS) * (1 + 1 / len(shares)), 1)
        return cls(np.quantile(shares, nominal))


_COMPONENTS = (1, 4, 16, 64)
_FEWEST_PER_COMPONENT = 10  # codes, times the dimensions


@dataclass(frozen=True)
class FittedPrior:
    """A mixture of normals over codes.

    Attributes
    ----------
    weights : `(k,)` float64, sum 1
    means : `(k, latent_dim)` float64
    roots : `(k, latent_dim, latent_dim)` float64: lower Cholesky factors of the covariances
    """

    weights: np.ndarray
    means: np.ndarray
    roots: np.ndarray

    def __post_init__(self) -> None:
        k, d = self.means.shape if self.means.ndim == 2 else (0, 0)
        diagonal = np.diagonal(self.roots, axis1=1, axis2=2) if self.roots.shape == (k, d, d) else np.zeros(1)
        sane = k > 0 and self.weights.shape == (k,) and (self.weights >= 0).all() and abs(self.weights.sum() - 1) < 1e-6
        if not (sane and np.isfinite(self.means).all() and np.isfinite(self.roots).all() and (diagonal > 0).all()):
            raise ModelError("the fitted prior is damaged")

    @property
    def components(self) -> int:
        """How many normals are mixed."""
        return len(self.weights)

    def log_prob(self, z: np.ndarray) -> np.ndarray:
        """Log density of codes `(n, latent_dim)`: `(n,)` float64, nats."""
        from scipy.linalg import solve_triangular
        from scipy.special import logsumexp

        d = z.shape[1]
        parts = np.empty((self.components, len(z)))
        for part, weight, mean, root in zip(parts, self.weights, self.means, self.roots, strict=True):
            scaled = solve_triangular(root, (z - mean).T.astype(np.float64), lower=True)
            normalisation = np.log(np.diag(root)).sum() + 0.5 * d * np.log(2 * np.pi)
            with np.errstate(divide="ignore"):  # a weight of 0 is a log density of −∞
                part[:] = np.log(weight) - normalisation - 0.5 * np.square(scaled).sum(axis=0)
        return np.asarray(logsumexp(parts, axis=0))

    def sample(self, n: int, rng: np.random.Generator, temperature: float = 1.0) -> np.ndarray:
        """`n` codes `(n, latent_dim)` float64; the first do not depend on `n`.

        `temperature` is a factor on their deviation from the normals' means.
        """
        from scipy.special import ndtr

        noise = rng.standard_normal((n, self.means.shape[1] + 1))
        chosen = np.searchsorted(np.cumsum(self.weights)[:-1], np.asarray(ndtr(noise[:, 0])))
        moved: np.ndarray = np.einsum("nij,nj->ni", self.roots[chosen], noise[:, 1:])
        return self.means[chosen] + temperature * moved


def fit_prior(codes: np.ndarray, held_out: np.ndarray, seed: int) -> FittedPrior:
    """Fit to codes `(n, latent_dim)` drawn from the posteriors of training items.

    The number of normals, 1, 4, 16 or 64, is the one that explains the `held_out` codes best, as long as there are
    enough codes for each; without held-out codes one normal is fitted.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    codes = codes.astype(np.float64)
    if len(codes) == 1:
        codes = codes.repeat(2, axis=0)  # scikit-learn refuses a single one
    n, d = codes.shape
    enough = [k for k in _COMPONENTS if k == 1 or (len(held_out) and k * _FEWEST_PER_COMPONENT * d <= n)]
    best: tuple[float, FittedPrior] | None = None
    for k in enough:
        mixture = GaussianMixture(k, covariance_type="full", reg_covar=1e-4, max_iter=60, random_state=seed % 2**32)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # 60 rounds are enough to compare by held-out codes
            mixture.fit(codes)
        prior = FittedPrior(
            mixture.weights_ / mixture.weights_.sum(), mixture.means_, np.linalg.cholesky(mixture.covariances_)
        )
        score = float(prior.log_prob(held_out).mean()) if len(held_out) else 0.0
        if best is None or score > best[0]:
            best = score, prior
    assert best is not None
    return best[1]
