"""What a table's columns are, and items that are rows of them."""

from __future__ import annotations

import math
import re
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, ClassVar, Literal, get_args

import numpy as np
import pyarrow as pa

from fivefold.errors import ModelError, UsageError
from fivefold.findings import Doubt
from fivefold.tables.spelling import StampSpelling, spelling_of

Kind = Literal["real", "integer", "datetime", "boolean", "category"]
Category = str | int | float | bool
MOST_CATEGORIES = 255
_MOST_TEXT = 1 << 16
MOST_COLUMNS = 1 << 14
FARTHEST = 9.0  # beyond the range met in the fit, in units of it


@dataclass(frozen=True)
class Column:
    """One column, as it was met in the fit.

    Cells are encoded as float64: numbers as they are, dates as a count of `dtype`'s unit since 1970, booleans as 0 and 1,
    categories by their place in `categories` (one that was not met: `len(categories)`); missing ones as NaN.

    Attributes
    ----------
    name, kind
    dtype : Arrow's name for its type, such as `double`, `int64`, `string`, `timestamp[us, tz=UTC]`
    categories : the values of a category, in the order of their codes
    centre, spread : where numbers lie, robustly: their median and about a standard deviation of their bulk
    low, high : the least and the greatest met, as encoded: of k categories 0 and k - 1
    step : all numbers met are whole multiples of it; whole itself, or 1 / a whole number; 0: of none that is known
    sentinels : values that stand for missing
    spelling : how cells are written as text, if not as Arrow does; see `tables/spelling.py`
    hashed : whether there were more than the most frequent `categories`, so that any other shares the code of one, by its hash
    """

    name: str
    kind: Kind
    dtype: str
    categories: tuple[Category, ...] = ()
    centre: float = 0.0
    spread: float = 1.0
    low: float = 0.0
    high: float = 0.0
    step: float = 0.0
    sentinels: tuple[Category, ...] = ()
    spelling: str = ""
    hashed: bool = False

    @property
    def classes(self) -> int:
        """How many classes a cell may be in, one for what was not met among them; 0 for numbers."""
        if self.kind == "boolean":
            return 2
        return len(self.categories) + 1 if self.kind == "category" else 0

    @property
    def is_whole(self) -> bool:
        """Whether its numbers can only be multiples of the step."""
        return self.kind in ("integer", "datetime")

    @property
    def unit(self) -> str:
        """Of encoded dates and times, as NumPy calls it."""
        if met := re.search(r"\[(s|ms|us|ns)", self.dtype):
            return met[1]
        return StampSpelling(self.spelling).unit if self.spelling and not self.dtype.startswith("date") else "D"

    def scaled(self, value: float) -> float:
        """A number on the column's own scale, where the bulk is about -1 to 1 and far tails are near."""
        return math.asinh((value - self.centre) / self.spread)

    def parse(self, text: str) -> float:
        """A cell from its text, encoded; raises `UsageError` if it can't be one of this column."""
        if self.kind in ("boolean", "category"):
            words = ("false", "true") if self.kind == "boolean" else tuple(map(str, self.categories))
            asked = text.lower() if self.kind == "boolean" else text
            if asked not in words:
                raise UsageError(f"{self.name} must be {', '.join(words[:8])}{' …' * (len(words) > 8)}; got {text!r}")
            return float(words.index(asked))
        if self.spelling:
            spelling = spelling_of(self.kind, self.spelling)
            if (value := spelling.parse(pa.chunked_array([[text]], pa.large_string()))[0]).is_valid:
                if isinstance(spelling, StampSpelling):
                    return float(
                        np.array(value.value, f"M8[{spelling.unit}]").astype(f"M8[{self.unit}]").astype(np.int64)
                    )
                return float(value.as_py())
        try:
            if self.kind == "datetime":
                return float(np.datetime64(text).astype(f"M8[{self.unit}]").astype(np.int64))
            number = float(text)
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            kind = "an integer" if self.kind == "integer" else f"a {self.kind}"
            raise UsageError(f"{self.name} must be {kind}, got {text!r}")
        return number

    def describe(self) -> str:
        """`integer in [326, 18823]`."""
        if self.kind == "category":
            shown = ", ".join(map(str, self.categories[:4])) + (", …" if len(self.categories) > 4 else "")
            return f"category of {len(self.categories)} ({shown})"
        if self.kind == "boolean":
            return "boolean"
        written = f", written {self.spelling}" if self.spelling.strip(" #0.") else ""
        if self.kind != "datetime" or self.dtype.startswith("duration"):
            return f"{self.kind} in [{self.low:g}, {self.high:g}]{written}"
        unit = "D" if self.unit == "D" else "s"
        low, high = (str(np.array(int(end), f"M8[{self.unit}]").astype(f"M8[{unit}]")) for end in (self.low, self.high))
        text = not self.dtype.startswith(("time", "date"))
        if self.dtype.startswith(("time32", "time64")) or (text and StampSpelling(self.spelling).is_clock):
            return f"time of day from {low.split('T')[1]} to {high.split('T')[1]}{written}"
        return f"datetime from {low} to {high}{written}"

    def to_json(self) -> dict[str, Any]:
        """The column as plain JSON values."""
        fields = {**asdict(self), "categories": list(self.categories), "sentinels": list(self.sentinels)}
        return {name: value for name, value in fields.items() if value or name not in ("spelling", "hashed")}

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> Column:
        """The inverse of `to_json`; raises `ModelError` for anything else."""
        try:
            lists = {name: tuple(fields[name]) for name in ("categories", "sentinels")}
            column = cls(**{**fields, **lists})
            numbers = (column.centre, column.spread, column.low, column.high, column.step)
            sane = (
                isinstance(column.name, str)
                and isinstance(column.dtype, str)
                and isinstance(column.spelling, str)
                and isinstance(column.hashed, bool)
                and (not column.spelling or column.kind != "category")
                and (not column.spelling or spelling_of(column.kind, column.spelling) is not None)
                and column.kind in get_args(Kind)
                and (len(column.categories) > 0) == (column.kind == "category")
                and len(column.categories) <= MOST_CATEGORIES
                and all(isinstance(value, str | int | float) for value in column.categories + column.sentinels)
                and len(set(column.categories)) == len(column.categories)
                and len({isinstance(value, str) for value in column.categories}) <= 1
                and all(type(number) in (int, float) and math.isfinite(number) for number in numbers)
                and column.spread > 0
                and column.low <= column.high
                and column.step >= 0
                and (column.kind != "category" or (column.low, column.high) == (0, len(column.categories) - 1))
                and (column.kind != "boolean" or 0 <= column.low <= column.high <= 1)
            )
        except (KeyError, TypeError, UsageError) as error:
            raise ModelError(f"the model's schema is damaged: {error!r}") from None
        if not sane:
            raise ModelError(f"the model's schema is damaged: column {str(fields)[:_MOST_TEXT]}")
        return column


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

    def __hash__(self) -> int:
        return self._hash  # what is kept by schema is asked for at each step of a fit

    def __deepcopy__(self, memo: object) -> TableSchema:
        return self  # nothing of it changes; copies would have to be compared column by column

    @cached_property
    def _hash(self) -> int:
        return hash((self.columns, self.carried))

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
        return np.asarray(np.clip(unit, -FARTHEST, 1 + FARTHEST), np.float32)[..., None]

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
        return np.asarray(np.clip(_round(values[..., 0], at["step"]), at["low"], at["high"]))[..., None]

    def rounded(self, numbers: np.ndarray, columns: Any = slice(None)) -> np.ndarray:
        """Numbers `(…, c)` of columns by their places, at their steps."""
        return _round(numbers, self._scales[0]["step"][columns])

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
        return {"kind": self.kind, "columns": columns, "carried": [list(pair) for pair in self.carried]}

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> TableSchema:
        """The inverse of `to_json`; raises `ModelError` for anything else."""
        try:
            carried = tuple((name, why) for name, why in fields["carried"])
            schema = cls(tuple(Column.from_json(column) for column in fields["columns"]), carried)
            names = [*schema.names, *(name for name, _ in carried)]
            sane = (
                0 < len(schema.columns) <= MOST_COLUMNS
                and all(isinstance(text, str) for pair in carried for text in pair)
                and len(set(names)) == len(names)
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ModelError(f"the model's schema is damaged: {error!r}") from None
        if not sane:
            raise ModelError("the model's schema is damaged: it must have columns, and those names of their own")
        return schema


SCHEMA = TableSchema


def _round(numbers: np.ndarray, step: np.ndarray) -> np.ndarray:
    """To the nearest multiples; those of steps below 1 are quotients, so that 3 steps of 0.1 are 0.3."""
    times = np.rint(numbers / np.where(step > 0, step, 1.0))
    parts = np.rint(1 / np.where((step > 0) & (step < 1), step, 1.0))
    return np.where(step > 0, np.where(step < 1, times / parts, times * step), numbers)
