"""A density fitted to the aggregate posterior: where the codes of real items lie."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np

from fivefold.errors import ModelError

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
        return logsumexp(parts, axis=0)

    def sample(self, n: int, rng: np.random.Generator, temperature: float = 1.0) -> np.ndarray:
        """`n` codes `(n, latent_dim)` float64; the first do not depend on `n`.

        `temperature` is a factor on their deviation from the normals' means.
        """
        from scipy.special import ndtr

        noise = rng.standard_normal((n, self.means.shape[1] + 1))
        chosen = np.searchsorted(np.cumsum(self.weights)[:-1], ndtr(noise[:, 0]))
        return self.means[chosen] + temperature * np.einsum("nij,nj->ni", self.roots[chosen], noise[:, 1:])


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
