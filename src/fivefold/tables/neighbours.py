"""Distances of rows to the nearest of those of the fit."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any, final

import numpy as np

from fivefold.errors import ModelError
from fivefold.items import Items
from fivefold.seeds import derive_seed
from fivefold.tables.schema import TableSchema

_FEWEST = 256  # rows that are kept at least, if there are
_NUMBERS = 1 << 17  # in a space, beyond which no more rows are kept
_MOST_FEATURES = 512  # whose correlations are taken out
_MOST_CLASSES = 16  # of a column that are told apart
_RIDGE = 3e-3  # of correlations
FLOOR = 1e-3  # distance per column below which neighbours are hardly told apart
_FEWEST_NEAR, _SHARE = 20, 16  # neighbours that a mean is of, at least; otherwise so many parts of the rows
FARTHEST = 1e6  # deviations
_SHORT = 1 << 21  # differences that NumPy takes before what is compiled is loaded
_ALIKE = 0.01  # share of rows with a like one below which two rows that are alike are one


@final
@dataclass(frozen=True)
class Memory:
    """Rows that networks were fitted to, with which others are compared.

    Attributes
    ----------
    rows : `(m, d)` float64, encoded cells, 0 where missing
    missing : `(m, d)` bool
    """

    rows: np.ndarray
    missing: np.ndarray

    def __post_init__(self) -> None:
        shapes = self.rows.ndim == 2 and len(self.rows) > 1 and self.missing.shape == self.rows.shape
        if not (shapes and self.missing.dtype == np.bool_ and np.isfinite(self.rows).all()):
            raise ModelError("the rows that others are compared with are damaged")

    @property
    def cells(self) -> np.ndarray:
        """`(m, d)` float64, NaN where missing."""
        return np.where(self.missing, np.nan, self.rows)

    @classmethod
    def fit(cls, items: Items, most: int, seed: int) -> Memory | None:
        """Of at most so many rows of a table, fewer if they are wide; None if there are fewer than two."""
        assert isinstance(items.schema, TableSchema)
        features = sum(min(max(column.classes, 1), _MOST_CLASSES) for column in items.schema.columns)
        order = np.random.default_rng(derive_seed(seed, "neighbours")).permutation(len(items))
        chosen = items.select(np.sort(order[: min(most, max(_FEWEST, _NUMBERS // features))]))
        visible = chosen.visible()[:, 0, :, 0]
        return cls(np.where(visible, chosen.values[:, 0, :, 0], 0.0), ~visible) if len(visible) > 1 else None


class Neighbours:
    """A memory in three spaces.

    Columns are standardised in the first, and have no correlations in the second; in the third they are normal scores.
    Classes are indicators: as far apart as standardised ones, but not so far that a column counts for more than one of numbers.
    What is missing lies in the middle.
    """

    NORMS = (1.0, 2.0, 1.0)
    """By which distances are measured in each space."""

    def __init__(self, memory: Memory, schema: TableSchema) -> None:
        cells = memory.cells
        self.columns = [
            _Classes(known, column.classes) if column.classes else _Numbers(known)
            for known, column in zip(cells.T, schema.columns, strict=True)
        ]
        standard = self._features(cells, "standardised")
        correlation = standard.T @ standard / len(standard)
        ridge = np.diag(_RIDGE * np.maximum(np.diag(correlation), 1e-3))
        whole = len(correlation) <= _MOST_FEATURES
        root = np.linalg.cholesky(ridge + (correlation if whole else np.diag(np.diag(correlation))))
        self.whitening = np.linalg.inv(root)
        self.spaces = self._in_spaces(cells)
        self.distinct = len(np.unique(standard, axis=0)) > (1 - _ALIKE) * len(standard)

    def log_distances(self, cells: np.ndarray, met: bool = False) -> np.ndarray:
        """Of encoded cells `(n, d)`, NaN where missing, to rows in each space: `(n, 3)` float64.

        In the second it is the distance to the nearest, which finds gaps; in the others the mean over the nearest sixteenth,
        so that a few strange rows in the fit do not hide others like them.

        Rows that were `met` in the fit are not compared with themselves. Nor is any other that is like one in the memory, if
        hardly any two rows of the fit are alike: it will be that row.
        """
        found, own = np.empty((len(cells), len(self.NORMS))), None
        for distance, nearest, norm, space, rows in zip(
            found.T, self.nearest, self.NORMS, self.spaces, self._in_spaces(cells), strict=True
        ):
            count = min(nearest + 1, len(space))
            near = np.sort(np.partition(_powers(rows, space, norm), count - 1, axis=1)[:, :count], axis=1)
            near = near if norm == 1 else np.sqrt(near)
            own = (near[:, :1] == 0) & (met or self.distinct) if own is None else own
            others = np.where(own, near[:, 1:], near[:, :-1]).astype(np.float64)
            distance[:] = others.mean(1) / cells.shape[1] ** (1 / norm)
        return np.log(found + FLOOR)

    @property
    def nearest(self) -> tuple[int, ...]:
        """How many rows distances are to, in each space."""
        many = max(_FEWEST_NEAR, len(self.spaces[0]) // _SHARE)
        return many, 1, many

    def _in_spaces(self, cells: np.ndarray) -> tuple[np.ndarray, ...]:
        standard = self._features(cells, "standardised")
        white = np.einsum(
            "nf,gf->ng", standard, self.whitening
        )  # a product of matrices would depend on how many rows there are
        spaces = standard, white, self._features(cells, "scores")
        return tuple(np.ascontiguousarray(space, np.float32) for space in spaces)

    def normal_scores(self, cells: np.ndarray) -> np.ndarray:
        """Encoded cells `(n, d)`, NaN where missing, in the third space: `(n, f)` float32."""
        return self._features(cells, "scores").astype(np.float32)

    def _features(self, cells: np.ndarray, form: str) -> np.ndarray:
        parts = [getattr(column, form)(own) for column, own in zip(self.columns, cells.T, strict=True)]
        return np.asarray(np.nan_to_num(np.concatenate(parts, axis=1)))


def _powers(rows: np.ndarray, space: np.ndarray, norm: float) -> np.ndarray:
    """Distances, before the root, of rows `(n, f)` to others `(m, f)`: `(n, m)`; to the bit the same of few as of many."""
    others = np.ascontiguousarray(space.T)
    if len(rows) * others.size <= _SHORT:
        off = rows[:, :, None] - others
        return np.asarray((np.abs(off) if norm == 1 else off * off).sum(1))
    powers = np.zeros((len(rows), len(space)), np.float32)
    _compiled_powers()(rows, others, norm == 1, powers)
    return powers


@cache
def _compiled_powers() -> Any:
    from fivefold.codec.kernels import compiled

    return compiled(_add_powers)


def _add_powers(rows: np.ndarray, others: np.ndarray, absolute: bool, powers: np.ndarray) -> None:
    for row in range(rows.shape[0]):
        for feature in range(rows.shape[1]):
            cell = rows[row, feature]
            for other in range(others.shape[1]):
                off = cell - others[feature, other]
                powers[row, other] += abs(off) if absolute else off * off


class _Numbers:
    """Of a column, given known cells `(m,)`: others `(n,)` as features `(n, 1)`, NaN where missing."""

    def __init__(self, known: np.ndarray) -> None:
        from scipy.special import ndtri

        known = known[~np.isnan(known)]
        self.centre, deviation = (float(known.mean()), float(known.std())) if len(known) else (0.0, 0.0)
        self.deviation = deviation if deviation > 0 else 1.0
        self.values, counts = np.unique(known if len(known) else np.zeros(1), return_counts=True)
        upto = np.concatenate(([0], counts.cumsum()))
        twice = np.empty(2 * len(counts) + 1)  # as many are below, and those alike count for half
        twice[::2], twice[1::2] = 2 * upto, upto[:-1] + upto[1:]
        self.normal = ndtri(np.clip(twice / (2 * upto[-1]), 0.5 / upto[-1], 1 - 0.5 / upto[-1]))
        """Normal scores of a number below all values, of the first value, of one between it and the second, and so on."""

    def standardised(self, cells: np.ndarray) -> np.ndarray:
        with np.errstate(over="ignore"):
            deviations = (cells - self.centre) / self.deviation
        return np.asarray(np.clip(deviations, -FARTHEST, FARTHEST)[:, None])

    def scores(self, cells: np.ndarray) -> np.ndarray:
        at = np.searchsorted(self.values, cells)
        met = self.values[np.minimum(at, len(self.values) - 1)] == cells
        return np.where(np.isnan(cells), np.nan, self.normal[2 * at + met])[:, None]


class _Classes:
    """Likewise of classes: features `(n, k)`, one of which is not 0."""

    def __init__(self, known: np.ndarray, classes: int) -> None:
        counts = np.bincount(known[~np.isnan(known)].astype(int), minlength=classes)[:classes]
        shown = min(classes, _MOST_CLASSES)
        place = np.empty(classes, int)
        place[np.argsort(-counts, kind="stable")] = np.minimum(np.arange(classes), shown - 1)
        share = (np.bincount(place, counts, shown) + 1) / (counts.sum() + shown)
        deviation = np.sqrt(share * (1 - share))
        width = 0.5 / (np.maximum(deviation, 1e-6) * max(deviation.sum(), 1.0))
        self.indicators = (place[:, None] == np.arange(shown)) * width  # `(classes, k)`

    def standardised(self, cells: np.ndarray) -> np.ndarray:
        return np.where(np.isnan(cells)[:, None], np.nan, self.indicators[np.nan_to_num(cells).astype(int)])

    scores = standardised
