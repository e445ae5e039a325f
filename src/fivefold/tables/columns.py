"""A column of a table: what its values are, how they came, and how they are scaled."""

from __future__ import annotations

import math
import re
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

import numpy as np

from fivefold.errors import ModelError, UsageError

Kind = Literal["real", "integer", "datetime", "boolean", "category"]
Category = str | int | float | bool
MOST_CATEGORIES = 255
_MOST_TEXT = 1 << 16


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

    def scaled(self, value: float) -> float:
        """A number on the column's own scale, where the bulk is about -1 to 1 and far tails are near."""
        return math.asinh((value - self.centre) / self.spread)

    def parse(self, text: str) -> float:
        """A cell from its text, encoded; raises `UsageError` if it can't be one of this column."""
        if self.kind in ("boolean", "category"):
            words = ("false", "true") if self.kind == "boolean" else tuple(str(each) for each in self.categories)
            asked = text.lower() if self.kind == "boolean" else text
            if asked not in words:
                raise UsageError(f"{self.name} must be {', '.join(words[:8])}{' …' * (len(words) > 8)}; got {text!r}")
            return float(words.index(asked))
        try:
            if self.kind == "datetime":
                unit = re.search(r"\[(s|ms|us|ns)", self.dtype)
                return float(np.datetime64(text).astype(f"M8[{unit[1] if unit else 'D'}]").astype(np.int64))
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
        return f"{self.kind} in [{self.low:g}, {self.high:g}]"

    def to_json(self) -> dict[str, Any]:
        """The column as plain JSON values."""
        fields = asdict(self)
        return {**fields, "categories": list(self.categories), "sentinels": list(self.sentinels)}

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
                and column.kind in get_args(Kind)
                and (len(column.categories) > 0) == (column.kind == "category")
                and len(column.categories) <= MOST_CATEGORIES
                and all(isinstance(each, str | int | float) for each in column.categories + column.sentinels)
                and len(set(column.categories)) == len(column.categories)
                and all(type(number) in (int, float) and math.isfinite(number) for number in numbers)
                and column.spread > 0
                and column.low <= column.high
                and column.step >= 0
                and (column.kind != "category" or (column.low, column.high) == (0, len(column.categories) - 1))
                and (column.kind != "boolean" or 0 <= column.low <= column.high <= 1)
            )
        except (KeyError, TypeError) as error:
            raise ModelError(f"the model's schema is damaged: {error!r}") from None
        if not sane:
            raise ModelError(f"the model's schema is damaged: column {str(fields)[:_MOST_TEXT]}")
        return column
