"""Rows of a table as matrices of numbers, for specialists that take nothing else."""

from __future__ import annotations

import numpy as np

from fivefold.tables.schema import TableSchema


class Matrices:
    """Numbers standardised, classes one-hot; NaN in all their columns where missing.

    Parameters
    ----------
    cells : encoded, `(n, d)`, by which to standardise
    """

    def __init__(self, schema: TableSchema, cells: np.ndarray) -> None:
        self._columns = schema.columns
        known = [column[np.isfinite(column)] for column in cells.T]
        self._centre = np.array([column.mean() if len(column) else 0.0 for column in known])
        self._spread = np.array([column.std() if len(column) else 0.0 for column in known])
        self._spread[self._spread == 0] = 1.0

    def of(self, cells: np.ndarray) -> np.ndarray:
        """Encoded cells `(n, d)` as a matrix."""
        parts = []
        for number, (column, values) in enumerate(zip(self._columns, cells.T, strict=True)):
            if column.classes:
                hot = (values[:, None] == np.arange(column.classes)).astype(float)
                hot[np.isnan(values)] = np.nan
                parts.append(hot)
            else:
                parts.append((values[:, None] - self._centre[number]) / self._spread[number])
        return np.concatenate(parts, axis=1)

    def back(self, matrix: np.ndarray) -> np.ndarray:
        """The inverse: of classes the one with the largest number."""
        widths = [max(column.classes, 1) for column in self._columns]
        cells = np.empty((len(matrix), len(widths)))
        for number, part in enumerate(np.split(matrix, np.cumsum(widths)[:-1], axis=1)):
            if self._columns[number].classes:
                cells[:, number] = part.argmax(axis=1)
            else:
                cells[:, number] = part[:, 0] * self._spread[number] + self._centre[number]
        return cells
