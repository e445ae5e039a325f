"""What is fitted to the results of trained networks: anomaly scores, intervals and the prior.

Scores and intervals are calibrated on items that the networks were not fitted to (split conformal).
"""

from __future__ import annotations

import dataclasses
import warnings
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Self, final

import numpy as np

from fivefold.arrays import Floats
from fivefold.errors import ModelError

_ROUNDING = 1e-9  # of scores, relative
_RIDGE = 0.05
_SHARPNESS = 2.0  # of the bend from deviations that don't count to those that do


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
        rounded = score + _ROUNDING * (1 + np.abs(score))  # an item of the calibration counts itself on every machine
        as_strange = np.searchsorted(self.calibration, rounded, side="right")
        p_value: np.ndarray = (1 + as_strange) / (1 + len(self.calibration))
        return p_value

    @final
    def check_order(self) -> None:
        """Raise `ModelError` if `calibration` is not ascending."""
        if not (self.calibration.ndim == 1 and np.array_equal(self.calibration, np.sort(self.calibration))):
            raise ModelError("the held-out items' scores are not in order")


def excess_deviation(deviation: np.ndarray) -> Floats:
    """How far deviations are above 0, with a smooth bend there: `softplus(2 x) / 2`."""
    above: Floats = np.logaddexp(0, _SHARPNESS * deviation) / _SHARPNESS
    return above


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
        self.check_order()

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
