"""What the comparisons and sections of tables work on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from statistics import mean
from typing import cast

import numpy as np
from matplotlib.axes import Axes

from fivefold.evaluation import Material
from fivefold.evaluation.drawing import figure
from fivefold.items import Items
from fivefold.jobs.detect import Detection, detect
from fivefold.jobs.generate import new_items
from fivefold.jobs.impute import impute
from fivefold.modality import Dataset
from fivefold.tables import jobs
from fivefold.tables.schema import TableSchema
from fivefold.tables.table import as_items
from fivefold.tables.verdicts import Matrices

_MOST_ROWS = 5_000
_MOST_PLOTS, _ACROSS = 12, 4


@dataclass
class TableMaterial(Material[Items]):
    """At most 5,000 test rows, and as many training rows; worked on as encoded cells `(n, d)`, NaN where missing."""

    def __post_init__(self) -> None:
        self.data, self.train = _items(self.data), None if self.train is None else _items(self.train)
        self.data = self.sample(self.data, _MOST_ROWS, "rows")
        self.train = None if self.train is None else self.sample(self.train, _MOST_ROWS, "rows")

    @property
    def items(self) -> Items:
        """The test rows."""
        return self.data

    @property
    def schema(self) -> TableSchema:
        """Of the rows."""
        return cast(TableSchema, self.model.schema)

    @cached_property
    def cells(self) -> np.ndarray:
        """Of the test rows."""
        return _flat(np.where(self.items.visible(), self.items.values, np.nan))

    @cached_property
    def known_cells(self) -> np.ndarray:
        """Of the training rows; without, of the test rows."""
        return self.cells if self.train is None else _flat(np.where(self.train.visible(), self.train.values, np.nan))

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
    def matrices(self) -> Matrices:
        """The encoding for rivals, by the known rows."""
        return Matrices(self.schema, self.known_cells)

    @cached_property
    def generated(self) -> np.ndarray:
        """The cells of as many new rows as there are test rows."""
        return _flat(new_items(self.model, len(self.items), self.seed, complete=True).values)

    @cached_property
    def detection(self) -> Detection:
        """What `detect` makes of the test rows."""
        return self.detect(self.cells)

    def detect(self, cells: np.ndarray) -> Detection:
        """What `detect` makes of rows."""
        return detect(self.model, self.rows(cells), false_alarm_rate=0.5)

    def impute(self, cells: np.ndarray, interval: float = 0.9) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Cells with the missing ones at their expected values, and the lower and upper ends of their intervals."""
        imputed = impute(self.model, self.rows(cells), interval=interval, seed=self.seed)
        assert imputed.lower is not None
        assert imputed.upper is not None
        return _flat(imputed.data), _flat(imputed.lower), _flat(imputed.upper)

    def denoise(self, cells: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Cells with the wrong ones replaced; which these are; the probability of being wrong; and the expected cells."""
        results = jobs.denoise(self.model, self.rows(cells))
        (cleaned, replaced), (changes, _) = results[""], results["changes"]
        assert replaced is not None
        expected = self.schema.snap(changes[..., :1])
        return _flat(cleaned), _flat(replaced), _flat(changes[..., 1:]), _flat(expected)

    def rows(self, cells: np.ndarray) -> Items:
        """Cells as items."""
        return as_items(cells, self.schema, self.items.source)

    def swapped(self, share: float, purpose: str) -> tuple[np.ndarray, np.ndarray]:
        """The test rows' cells with a share of them replaced by those of other rows, and which became others."""
        rng = self.rng(purpose)
        others = np.stack([rng.permutation(column) for column in self.cells.T], axis=1)
        where = (rng.random(self.cells.shape) < share) & ~np.isnan(others) & ~np.isnan(self.cells)
        where &= others != self.cells
        return np.where(where, others, self.cells), where

    def errors(self, cells: np.ndarray, where: np.ndarray) -> dict[str, float | None]:
        """Of cells at `where`: `rmse` of numbers in their columns' standard deviations, and `wrong`, the share of classes
        that are; both are means over columns, None if there are none such.
        """
        squares, wrong = [], []
        for number, truth in enumerate(self.cells.T):
            chosen = where[:, number] & ~np.isnan(truth)
            estimate, truth = cells[chosen, number], truth[chosen]
            if not len(truth):
                continue
            if self.numbers[number]:
                squares.append(float(np.square((estimate - truth) / self.spread[number]).mean()))
            else:
                wrong.append(float((estimate != truth).mean()))
        return {"rmse": float(np.sqrt(mean(squares))) if squares else None, "wrong": mean(wrong) if wrong else None}

    @contextmanager
    def plots(self, file: str, columns: range | np.ndarray) -> Iterator[Iterator[tuple[int, Axes]]]:
        """A small plot for each of the first columns, named after it."""
        shown = [int(column) for column in columns[:_MOST_PLOTS]]
        height, width = -(-len(shown) // _ACROSS), min(_ACROSS, len(shown))
        with figure(self.folder / file, 2.4 * width, 1.9 * height) as drawn:
            axes = drawn.subplots(height, width, squeeze=False).ravel()
            for ax in axes[len(shown) :]:
                ax.set_visible(False)
            for number, ax in zip(shown, axes, strict=False):
                ax.set_title(self.schema.names[number][:28], fontsize=9)
                ax.tick_params(labelsize=7)
                ax.locator_params(nbins=5)
                ax.ticklabel_format(useOffset=False)
            yield zip(shown, axes, strict=False)


def _flat(items: np.ndarray) -> np.ndarray:
    """`(n, 1, d, 1)` as `(n, d)`."""
    return items[:, 0, :, 0]


def _items(data: Items | Dataset) -> Items:
    return data if isinstance(data, Items) else data.all_items()
