"""Latent codes on a quantisation grid, dimension by dimension, each conditioned on those before. No torch here."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fivefold.codec.mixtures import MOST_SYMBOLS, Mixtures, even_edges, to_mixtures, without_ends
from fivefold.codec.rounding import Rounder

_FARTHEST = 16.0  # of z, in the prior's deviations


@dataclass(frozen=True)
class LatentGrid:
    """The quantisation grid of codes: whole multiples of a step per dimension, up to 16 from 0.

    Attributes
    ----------
    steps : `(latent_dim,)` float64, at least 1/2048
    """

    steps: np.ndarray

    def __post_init__(self) -> None:
        if not (
            self.steps.ndim == 1
            and np.isfinite(self.steps).all()
            and (self.steps >= 2 * _FARTHEST / MOST_SYMBOLS).all()
        ):
            raise ValueError("the steps of the codes' grid are out of range")

    @property
    def reach(self) -> np.ndarray:
        """The largest multiple, per dimension."""
        return np.ceil(_FARTHEST / self.steps).astype(np.int64)

    def nearest(self, z: np.ndarray) -> np.ndarray:
        """The symbols of codes `(n, latent_dim)`, int64 from 0."""
        return np.clip(np.rint(z / self.steps), -self.reach, self.reach - 1).astype(np.int64) + self.reach

    def codes(self, symbols: np.ndarray) -> np.ndarray:
        """The inverse: float64."""
        return (symbols - self.reach) * self.steps


class LatentDistributions:
    """The conditional distributions of the dimensions of `n` codes in turn, under a mixture of normals; see `FittedPrior`."""

    def __init__(self, grid: LatentGrid, weights: np.ndarray, means: np.ndarray, roots: np.ndarray, n: int) -> None:
        self._grid, self._means, self._roots = grid, means, roots
        with np.errstate(divide="ignore"):
            self._log_weights = np.tile(np.log(weights), (n, 1))
        self._scaled = np.empty((n, *means.shape))

    @property
    def parameters(self) -> int:
        """The count of numbers that describe one distribution."""
        return 3 * self._log_weights.shape[1] + 2

    def distribution(self, number: int, rounder: Rounder) -> Mixtures:
        """That of z[number] given all before it, which have been observed."""
        step, reach = self._grid.steps[number], int(self._grid.reach[number])
        before, root = self._scaled[:, :, :number], self._roots[:, number, :number]
        self._centres = self._means[:, number] + np.einsum("nki,ki->nk", before, root)
        log_scales = np.log(self._roots[:, number, number] / step)
        return to_mixtures(
            without_ends(self._log_weights),
            self._centres / step + reach,
            np.broadcast_to(log_scales, self._log_weights.shape),
            even_edges(2 * reach),
            "normal",
            rounder,
        )

    def observe(self, number: int, symbols: np.ndarray) -> None:
        """Condition on the symbols `(n,)` of z[number]; dimensions in turn."""
        z = (symbols - self._grid.reach[number]) * self._grid.steps[number]
        scaled = (z[:, None] - self._centres) / self._roots[:, number, number]
        self._scaled[:, :, number] = scaled
        self._log_weights = self._log_weights - 0.5 * scaled**2 - np.log(self._roots[:, number, number])
