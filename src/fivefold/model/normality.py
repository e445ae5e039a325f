"""How the statistics of normal items lie: one joint density, and scores to compare with."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fivefold.errors import ModelError

_RIDGE = 0.05


@dataclass(frozen=True)
class Normality:
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
        if not np.array_equal(self.calibration, np.sort(self.calibration)):
            raise ModelError("the held-out items' scores are not in order")

    def score(self, statistics: np.ndarray) -> np.ndarray:
        """Log density of `(n, k)` statistics but for a constant, `(n,)` float64, nats; higher = more normal."""
        from scipy.linalg import solve_triangular

        scaled = (statistics - self.centre) / self.scale
        return -0.5 * np.square(solve_triangular(self.root, scaled.T, lower=True)).sum(axis=0)

    def p_value(self, score: np.ndarray) -> np.ndarray:
        """How often a normal item scores as low (split conformal: Laxhammar & Falkman 2011), `(n,)`."""
        as_strange = np.searchsorted(self.calibration, score, side="right")
        return (1 + as_strange) / (1 + len(self.calibration))


def fit_normality(statistics: np.ndarray) -> Normality | None:
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
    unsorted = Normality(centre, scale, root, np.empty(0))
    return Normality(centre, scale, root, np.sort(unsorted.score(calibrating)))
