"""The jobs on tables beside their simplest alternatives."""

from __future__ import annotations

import io
import lzma
from collections.abc import Mapping
from typing import cast

import numpy as np

from fivefold.archive.write import coded_size
from fivefold.items import Items
from fivefold.jobs.impute import impute_items
from fivefold.model.fitted import FittedModel
from fivefold.model.verdicts import Trial, Verdict, compare_losses, try_compression, try_detection, try_generation
from fivefold.tables.csv import write_csv
from fivefold.tables.jobs import denoise, generate, statistics
from fivefold.tables.schema import TableSchema
from fivefold.tables.table import as_items, decode_rows

MOST_ITEMS, MOST_ELEMENTS = 300, 1 << 16  # that jobs are tried on
_WRONG, _HIDDEN, _STRANGE = 0.05, 0.3, 0.5  # shares of the cells
_MOST_LOSS = 9.0  # of a cell: three standard deviations
_ERROR = "error per cell, squared deviations or wrong classes"


def denoise_simply(items: Items, name: str) -> dict[str, tuple[np.ndarray, np.ndarray | None]]:
    """What `jobs.denoise` gives, where nothing is to be replaced."""
    nowhere = np.zeros(items.values.shape, bool)
    changes = np.full((*items.values.shape[:3], 2), np.nan)
    return {"": (items.values, nowhere), "changes": (changes, nowhere)}


class _Cells:
    """Encoded cells `(n, d)` of the rows that a job is tried on, NaN where missing; and what is known of their columns."""

    def __init__(self, items: Items, train: Items) -> None:
        self.schema = cast(TableSchema, items.schema)
        self.truth, self.known = (np.where(part.visible(), part.values, np.nan)[:, 0, :, 0] for part in (items, train))
        self.numbers = np.array([not column.classes for column in self.schema.columns])
        counts = np.isfinite(self.known).sum(axis=0)
        self.mean = np.nansum(self.known, axis=0) / np.maximum(counts, 1)
        square = np.nansum(np.square(self.known - self.mean), axis=0) / np.maximum(counts, 1)
        self.spread = np.where(square > 0, np.sqrt(square), 1.0)

    def items(self, cells: np.ndarray) -> Items:
        """Cells as rows."""
        return as_items(cells, self.schema, "held-out rows")

    def centre(self) -> np.ndarray:
        """The mean of each column of numbers, the most frequent class of each other, `(d,)`."""
        modes = [
            0 if number else int(np.bincount(column[np.isfinite(column)].astype(int), minlength=1).argmax())
            for column, number in zip(self.known.T, self.numbers, strict=True)
        ]
        return np.where(self.numbers, self.mean, modes)

    def swapped(self, share: float, rng: np.random.Generator) -> np.ndarray:
        """A share of the cells replaced by those of known rows."""
        others = np.stack([rng.choice(column, len(self.truth)) for column in self.known.T], axis=1)
        where = (rng.random(self.truth.shape) < share) & np.isfinite(others) & np.isfinite(self.truth)
        return np.where(where, others, self.truth)

    def loss(self, cells: np.ndarray, where: np.ndarray) -> np.ndarray:
        """Of each row over its cells `where` something is known, `(n,)`; NaN where there are none."""
        with np.errstate(invalid="ignore", over="ignore"):
            square = np.minimum(np.square((cells - self.truth) / self.spread), _MOST_LOSS)
        loss = np.where(where & np.isfinite(self.truth), np.where(self.numbers, square, cells != self.truth), 0)
        count = (where & np.isfinite(self.truth)).sum(axis=1)
        return np.where(count > 0, loss.sum(axis=1) / np.maximum(count, 1), np.nan)


def _try_denoising(model: FittedModel, items: Items, train: Items, rng: np.random.Generator) -> Verdict:
    """A twentieth of the cells is from other rows; the alternative is to leave them."""
    table = _Cells(items, train)
    damaged = table.swapped(_WRONG, rng)
    cleaned = denoise(model, table.items(damaged))[""][0][:, 0, :, 0]
    everywhere = np.ones(damaged.shape, bool)
    return compare_losses(
        "denoise", table.loss(cleaned, everywhere), {"the input": table.loss(damaged, everywhere)}, _ERROR
    )


def _try_imputation(model: FittedModel, items: Items, train: Items, rng: np.random.Generator) -> Verdict | None:
    table = _Cells(items, train)
    hidden = (rng.random(table.truth.shape) < _HIDDEN) & np.isfinite(table.truth)
    if not hidden.any():
        return None
    filled = impute_items(model, table.items(np.where(hidden, np.nan, table.truth)))[0][:, 0, :, 0]
    simple = {"mean or mode": table.loss(np.broadcast_to(table.centre(), hidden.shape), hidden)}
    return compare_losses("impute", table.loss(filled, hidden), simple, _ERROR)


def _try_detection(model: FittedModel, items: Items, train: Items, rng: np.random.Generator) -> Verdict | None:
    """Strange rows have half of their cells from other rows."""
    normality = model.normality
    if normality is None or len(items) < 2 or model.schema.size < 2:
        return None
    table = _Cells(items, train)
    strange = table.swapped(_STRANGE, rng)
    normal, found = (normality.score(statistics(model, table.items(cells))) for cells in (table.truth, strange))
    encode = Matrices(table.schema, table.known).encode
    known, real, odd = (np.nan_to_num(encode(cells)) for cells in (table.known, table.truth, strange))
    return try_detection((normal, found), (known, real, odd))


def _try_generation(model: FittedModel, items: Items, train: Items, rng: np.random.Generator) -> Verdict | None:
    table = _Cells(items, train)
    made = generate(model, len(items), 0).values[:, 0, :, 0]
    alone = np.stack([rng.choice(column, len(items)) for column in table.known.T], axis=1)
    encode = Matrices(table.schema, table.known).encode
    holes = np.isnan(table.truth)
    real, new, each = (np.nan_to_num(encode(np.where(holes, np.nan, cells))) for cells in (table.truth, made, alone))
    return try_generation(real, new, each)


def _try_compression(model: FittedModel, items: Items, train: Items, rng: np.random.Generator) -> Verdict | None:
    if model.context is None:
        return None
    table, text = decode_rows(cast(TableSchema, model.schema), _Cells(items, train).truth), io.BytesIO()
    write_csv(text, table, ",", header=True)
    sizes = {"CSV, xz": len(lzma.compress(text.getvalue()))}
    return try_compression(sizes, coded_size(model, table), len(items))


class Matrices:
    """Rows as matrices of numbers, for rivals that take nothing else: numbers standardised by the `cells` given, classes
    one-hot, NaN in all their columns where missing.
    """

    def __init__(self, schema: TableSchema, cells: np.ndarray) -> None:
        self._columns = schema.columns
        known = [column[np.isfinite(column)] for column in cells.T]
        self._centre = np.array([column.mean() if len(column) else 0.0 for column in known])
        self._spread = np.array([column.std() if len(column) else 0.0 for column in known])
        self._spread[self._spread == 0] = 1.0

    def encode(self, cells: np.ndarray) -> np.ndarray:
        """Encoded cells `(n, d)` as a matrix."""
        parts, standardised = [], (cells - self._centre) / self._spread
        for number, column in enumerate(self._columns):
            values = cells[:, number, None]
            hot = np.where(np.isnan(values), np.nan, values == np.arange(column.classes))
            parts.append(hot if column.classes else standardised[:, number, None])
        return np.concatenate(parts, axis=1)

    def decode(self, matrix: np.ndarray) -> np.ndarray:
        """The inverse: of classes the one with the largest number."""
        widths = [max(column.classes, 1) for column in self._columns]
        cells = np.empty((len(matrix), len(widths)))
        for number, part in enumerate(np.split(matrix, np.cumsum(widths)[:-1], axis=1)):
            real = part[:, 0] * self._spread[number] + self._centre[number]
            cells[:, number] = part.argmax(axis=1) if self._columns[number].classes else real
        return cells


TRIALS: Mapping[str, Trial] = {
    "compress": _try_compression,
    "denoise": _try_denoising,
    "detect": _try_detection,
    "generate": _try_generation,
    "impute": _try_imputation,
}
