"""What comparisons on the rows of a table work on."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np

from fivefold.items import Items
from fivefold.jobs.detect import Detection, detect
from fivefold.model.fitted import FittedModel
from fivefold.seeds import derive_seed
from fivefold.tables.dataset import as_items
from fivefold.tables.generate import generate_rows
from fivefold.tables.schema import TableSchema

_MOST_ROWS = 5_000


@dataclass
class RowMaterial:
    """The model under report, and the rows to report on.

    Attributes
    ----------
    items : test rows, at most 5,000
    train : the training rows, for specialists, at most 5,000; or None
    folder : for the PNG files
    against : compare with specialists
    """

    model: FittedModel
    items: Items
    train: Items | None
    folder: Path
    seed: int = 0
    against: bool = False

    def __post_init__(self) -> None:
        self.items = self._sample(self.items)
        self.train = None if self.train is None else self._sample(self.train)

    @property
    def schema(self) -> TableSchema:
        """Of the rows."""
        return self.model.table_schema

    @property
    def fit_minutes(self) -> float:
        """How long the model was trained."""
        return self.model.record["train_seconds"] / 60

    @cached_property
    def cells(self) -> np.ndarray:
        """Encoded cells of the test rows `(n, d)`, NaN where missing."""
        return _cells(self.items)

    @cached_property
    def known_cells(self) -> np.ndarray:
        """Those of the training rows; without, of the test rows."""
        return self.cells if self.train is None else _cells(self.train)

    @cached_property
    def numbers(self) -> np.ndarray:
        """Which columns hold numbers, `(d,)` bool."""
        return np.array([not column.classes for column in self.schema.columns])

    @cached_property
    def spread(self) -> np.ndarray:
        """Standard deviations of the columns of known rows, `(d,)`; 1 of those that don't vary."""
        spread = np.array([np.nanstd(column) if np.isfinite(column).any() else 0 for column in self.known_cells.T])
        return np.where(spread > 0, spread, 1.0)

    @cached_property
    def detection(self) -> Detection:
        """What `detect` makes of the rows."""
        return detect(self.model, self.items, false_alarm_rate=0.5)

    @cached_property
    def generated(self) -> np.ndarray:
        """Encoded cells of as many new rows as there are test rows, `(n, d)`."""
        return generate_rows(self.model, len(self.items), self.seed)[:, 0, :, 0]

    def rng(self, name: str) -> np.random.Generator:
        """Random numbers for one purpose."""
        return np.random.default_rng(derive_seed(self.seed, name))

    def rows(self, cells: np.ndarray) -> Items:
        """Encoded cells `(n, d)` as rows."""
        return as_items(cells, self.schema, self.items.source)

    def swapped(self, share: float, name: str) -> tuple[np.ndarray, np.ndarray]:
        """The test rows' cells with a share of them replaced by those of other rows, and which became others."""
        rng = self.rng(name)
        others = np.stack([rng.permutation(column) for column in self.cells.T], axis=1)
        where = (rng.random(self.cells.shape) < share) & ~np.isnan(others) & ~np.isnan(self.cells)
        where &= others != self.cells
        return np.where(where, others, self.cells), where

    def errors(self, cells: np.ndarray, where: np.ndarray) -> dict[str, float | None]:
        """Of cells `(n, d)` at `where`: `rmse` of numbers in their columns' standard deviations, and `wrong`, the share of
        classes that are; both are means over columns, None if there are none such.
        """
        squares, wrong = [], []
        for number, truth in enumerate(self.cells.T):
            mine = where[:, number] & ~np.isnan(truth)
            found, truth = cells[mine, number], truth[mine]
            if not len(truth):
                continue
            if self.numbers[number]:
                squares.append(float(np.square((found - truth) / self.spread[number]).mean()))
            else:
                wrong.append(float((found != truth).mean()))
        return {"rmse": float(np.sqrt(mean(squares))) if squares else None, "wrong": mean(wrong) if wrong else None}

    def _sample(self, items: Items) -> Items:
        if len(items) <= _MOST_ROWS:
            return items
        return items.select(np.sort(self.rng("rows").choice(len(items), _MOST_ROWS, replace=False)))


def _cells(items: Items) -> np.ndarray:
    """Encoded cells `(n, d)`, NaN where missing."""
    return np.where(items.visible(), items.values, np.nan)[:, 0, :, 0]


def share(figures: dict[str, Any], part: str) -> dict[str, float | None]:
    """One figure of each competitor."""
    return {name: each[part] for name, each in figures.items()}
