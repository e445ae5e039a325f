"""Items that are rows of a table."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from fivefold.errors import ModelError
from fivefold.findings import Doubt
from fivefold.tables.columns import Column

_MOST_COLUMNS = 1 << 14
_FARTHEST = 9.0  # beyond the range met in the fit, in units of it


@dataclass(frozen=True)
class TableSchema:
    """Rows of `columns`; networks see each cell on a scale of its own.

    An item is a row as an array `(1, columns, 1)` of encoded cells (see `Column`), float64. On the unit scale numbers
    are `asinh((x - centre) / spread)`, with 0 and 1 for the least and greatest met in the fit, and not clipped; of c
    classes number k is `k / (c - 1)`.

    Attributes
    ----------
    columns : those that are modelled, in the table's order
    carried : names of those that are not (identifiers, free text), and why
    """

    kind: ClassVar[str] = "table"
    columns: tuple[Column, ...]
    carried: tuple[tuple[str, str], ...] = ()

    @property
    def shape(self) -> tuple[int, int, int]:
        """`(1, columns, 1)` of one item."""
        return 1, len(self.columns), 1

    @property
    def size(self) -> int:
        """Number of cells of one item."""
        return len(self.columns)

    @property
    def dtype(self) -> str:
        """Type of encoded cells."""
        return "float64"

    @property
    def levels(self) -> None:
        """Cells have no levels in common."""
        return None

    @property
    def numbers(self) -> np.ndarray:
        """Which elements are numbers, not classes: `(columns, 1)`."""
        return np.array([column.classes == 0 for column in self.columns])[:, None]

    @property
    def names(self) -> tuple[str, ...]:
        """Of the modelled columns."""
        return tuple(column.name for column in self.columns)

    def to_unit(self, values: np.ndarray) -> np.ndarray:
        """Scale encoded cells `(…, columns, 1)` to float32, about [0, 1]; NaN stays."""
        at, low, extent = self._scales
        with np.errstate(over="ignore"):
            scaled = np.arcsinh((values[..., 0] - at["centre"]) / at["spread"])
        unit = np.where(at["classes"] > 0, values[..., 0] / np.maximum(at["classes"] - 1, 1), (scaled - low) / extent)
        return np.clip(unit, -_FARTHEST, 1 + _FARTHEST).astype(np.float32)[..., None]

    def from_unit(self, unit: np.ndarray, dtype: np.dtype | str | None = None) -> np.ndarray:
        """The inverse, within the ranges met in the fit: classes and whole numbers are rounded to what can be.

        `dtype` of the result is float64 by default.
        """
        at, low, extent = self._scales
        inside = np.clip(unit[..., 0].astype(np.float64), 0.0, 1.0)
        numbers = at["centre"] + at["spread"] * np.sinh(low + inside * extent)
        numbers = np.where(at["whole"], _round(numbers, at["step"]), numbers)
        classes = np.rint(inside * (at["classes"] - 1))
        values = np.clip(np.where(at["classes"] > 0, classes, numbers), at["low"], at["high"])
        return values[..., None].astype(dtype or self.dtype)

    def snap(self, values: np.ndarray) -> np.ndarray:
        """Encoded cells `(…, columns, 1)` at the columns' steps, as the cells of real rows are."""
        at = self._scales[0]
        return np.clip(_round(values[..., 0], at["step"]), at["low"], at["high"])[..., None]

    @cached_property
    def support(self) -> tuple[np.ndarray, ...]:
        """Per column the number of classes, 0 for numbers, the scaled low end, the scaled range, and the centre and the step
        in units of the spread: each `(d,)`.
        """
        at, low, extent = self._scales
        return at["classes"], low, extent, at["centre"] / at["spread"], at["step"] / at["spread"]

    @cached_property
    def _scales(self) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
        """What the columns say, by name; the scaled low ends; the scaled ranges."""
        at = {
            name: np.array([getattr(column, name) for column in self.columns], np.float64)
            for name in ("centre", "spread", "low", "high", "step", "classes")
        }
        at["whole"] = np.array([column.is_whole for column in self.columns])
        low = np.array([column.scaled(column.low) for column in self.columns])
        extent = np.array([column.scaled(column.high) for column in self.columns]) - low
        return at, low, np.where(extent > 0, extent, 1.0)

    def describe(self) -> str:
        """`7 columns (3 real, 1 integer, 3 category)`."""
        kinds = [column.kind for column in self.columns]
        counts = ", ".join(f"{kinds.count(kind)} {kind}" for kind in dict.fromkeys(kinds))
        return f"{len(kinds)} column{'s' if len(kinds) > 1 else ''} ({counts})"

    def findings(self) -> dict[str, str]:
        """What each column is, by name, modelled or not."""
        carried = {name: f"carried along, not modelled ({reason})" for name, reason in self.carried}
        return {column.name: column.describe() for column in self.columns} | carried

    def doubts(self) -> list[Doubt]:
        """Which columns are not modelled, and why."""
        return [Doubt(f"column {name!r}", f"carried along, not modelled: {reason}") for name, reason in self.carried]

    def to_json(self) -> dict[str, Any]:
        """The schema as plain JSON values."""
        columns = [column.to_json() for column in self.columns]
        return {"kind": self.kind, "columns": columns, "carried": [list(each) for each in self.carried]}

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> TableSchema:
        """The inverse of `to_json`; raises `ModelError` for anything else."""
        try:
            carried = tuple((name, why) for name, why in fields["carried"])
            schema = cls(tuple(Column.from_json(column) for column in fields["columns"]), carried)
            names = [*schema.names, *(name for name, _ in carried)]
            sane = (
                0 < len(schema.columns) <= _MOST_COLUMNS
                and all(isinstance(text, str) for each in carried for text in each)
                and len(set(names)) == len(names)
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ModelError(f"the model's schema is damaged: {error!r}") from None
        if not sane:
            raise ModelError("the model's schema is damaged: its columns must be some, and have names of their own")
        return schema


SCHEMA = TableSchema


def _round(numbers: np.ndarray, step: np.ndarray) -> np.ndarray:
    """To the nearest multiples; those of steps below 1 are quotients, so that 3 steps of 0.1 are 0.3."""
    times = np.rint(numbers / np.where(step > 0, step, 1.0))
    parts = np.rint(1 / np.where((step > 0) & (step < 1), step, 1.0))
    return np.where(step > 0, np.where(step < 1, times / parts, times * step), numbers)
