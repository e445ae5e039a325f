"""Items of a fit in few numbers, with which others are compared as a whole."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np

from fivefold.arrays import Floats
from fivefold.errors import ModelError
from fivefold.items import Items
from fivefold.model.fitted import FittedModel
from fivefold.model.scoring import encode_items
from fivefold.seeds import derive_seed

MOST = 1024  # items


@final
@dataclass(frozen=True)
class Reference:
    """At most 1,024 items of the fit, those that were held out first.

    Attributes
    ----------
    codes : `(m, latent_dim)` float32, posterior means
    levels : `(m, c)` float64, the mean of each channel; of tables cells, NaN where missing, which are not stored
    """

    codes: np.ndarray
    levels: np.ndarray

    def __post_init__(self) -> None:
        shapes = self.codes.ndim == self.levels.ndim == 2 and len(self.codes) == len(self.levels) > 0
        if not (shapes and np.isfinite(self.codes).all() and not np.isinf(self.levels).any()):
            raise ModelError("the items that others are compared with are damaged")

    @classmethod
    def fit(
        cls, model: FittedModel, items: Items, rows: tuple[np.ndarray, np.ndarray], axes: tuple[int, ...]
    ) -> Reference | None:
        """Of items numbered in the first part of `rows`, and where these are few of those in the second; channels lie along other
        axes than `axes`. None if no item shows something of each channel."""
        rng = np.random.default_rng(derive_seed(model.config.training.seed, "reference"))
        some = items.select(np.concatenate([rng.permutation(part) for part in rows])[:MOST])
        levels = mean_levels(some, axes)
        whole = np.flatnonzero(~np.isnan(levels).any(axis=1))
        return cls(encode_items(model, some.select(whole))[0], levels[whole]) if len(whole) else None


def mean_levels(items: Items, axes: tuple[int, ...]) -> Floats:
    """Means of the visible elements along some axes of items `(n, h, w, c)`, NaN where there are none."""
    seen = items.visible()
    sums, counts = np.where(seen, items.values, 0).sum(axis=axes, dtype=np.float64), seen.sum(axis=axes)
    means: Floats = np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)
    return means
