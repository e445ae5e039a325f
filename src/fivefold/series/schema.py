"""Items that are windows of series."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from dataclasses import fields as dataclass_fields
from typing import Any, ClassVar, Literal, get_args

import numpy as np

from fivefold.errors import ModelError
from fivefold.tables.schema import Column, TableSchema

Unit = Literal["", "number", "second", "month"]
MOST_STEPS = 1024


@dataclass(frozen=True)
class SeriesSchema:
    """Windows of `steps` steps; each channel is a `Column`, on a scale of its own.

    An item is an array `(steps, channels, 1)` of encoded values, float64, NaN where missing; see `TableSchema` for the
    unit scale.

    Attributes
    ----------
    channels : what is measured at each step
    steps : of a window
    stride : steps from one window to the next, where results are stitched; `steps` if windows don't overlap
    time, ids : names of the columns that say when a step is, and of which series; None if there are none
    interval, unit : how far apart steps are; 0 and "" if that is not known
    wander : of each channel, how far its level may come to be elsewhere in further series, on the unit scale
    tolerance : of a step, that time stamps may be off the grid
    time_zone : of local time stamps, or None
    sound : samples per second, and bytes of a sample, of the sound that was fitted to; or None
    states : columns of categories or truth values that channels of the same names have the codes of
    """

    kind: ClassVar[str] = "series"
    channels: TableSchema
    steps: int
    stride: int
    time: str | None = None
    ids: str | None = None
    interval: float = 0.0
    unit: Unit = ""
    wander: tuple[float, ...] = ()
    tolerance: float = 0.5
    time_zone: str | None = None
    states: tuple[Column, ...] = ()
    sound: tuple[int, int] | None = None

    @property
    def shape(self) -> tuple[int, int, int]:
        """`(steps, channels, 1)` of one item."""
        return self.steps, self.channels.size, 1

    @property
    def size(self) -> int:
        """Number of values of one item."""
        return self.steps * self.channels.size

    @property
    def dtype(self) -> str:
        """Type of encoded values."""
        return self.channels.dtype

    @property
    def levels(self) -> None:
        """Channels have no levels in common."""
        return None

    @property
    def numbers(self) -> np.ndarray:
        """Which elements are numbers, not codes of states: `(channels, 1)`."""
        states = {column.name for column in self.states}
        return np.array([[name not in states] for name in self.channels.names])

    @property
    def columns(self) -> TableSchema:
        """The columns of tables, of which the channels are the encoded cells."""
        states = {column.name: column for column in self.states}
        return replace(self.channels, columns=tuple(states.get(c.name, c) for c in self.channels.columns))

    @property
    def is_real(self) -> bool:
        """Whether its values came as floating-point numbers."""
        return self.channels.columns[0].dtype in ("float", "double")

    @property
    def overlaps(self) -> bool:
        """Whether windows are cut from longer series."""
        return self.stride < self.steps

    @property
    def central(self) -> slice:
        """The steps of a window for which it is the one to ask."""
        margin = (self.steps - self.stride) // 2
        return slice(margin, margin + self.stride)

    def to_unit(self, values: np.ndarray) -> np.ndarray:
        """See `TableSchema.to_unit`."""
        return self.channels.to_unit(values)

    def from_unit(self, unit: np.ndarray, dtype: np.dtype | str | None = None) -> np.ndarray:
        """See `TableSchema.from_unit`."""
        return self.channels.from_unit(unit, dtype)

    def snap(self, values: np.ndarray) -> np.ndarray:
        """See `TableSchema.snap`."""
        return self.channels.snap(values)

    def describe(self) -> str:
        """`windows of 128 steps, 2 channels (2 real)`."""
        return f"windows of {self.steps} steps, {self.channels.describe().replace('column', 'channel')}"

    def findings(self) -> dict[str, str]:
        """What each channel is, and each column that is none."""
        return self.channels.findings()

    def to_json(self) -> dict[str, Any]:
        """The schema as plain JSON values."""
        fields = {field.name: getattr(self, field.name) for field in dataclass_fields(self)}
        for name, default in _DEFAULTS.items():
            if fields[name] == default:
                del fields[name]
        if self.states:
            fields["states"] = [column.to_json() for column in self.states]
        return {**fields, "kind": self.kind, "channels": self.channels.to_json(), "wander": list(self.wander)}

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> SeriesSchema:
        """The inverse of `to_json`; raises `ModelError` for anything else."""
        try:
            own = {name: value for name, value in fields.items() if name != "kind"}
            channels = TableSchema.from_json(fields["channels"])
            states = tuple(Column.from_json(column) for column in own.get("states", ()))
            schema = cls(**{**own, "channels": channels, "wander": tuple(fields["wander"]), "states": states})
            if schema.sound is not None:
                rate, width = schema.sound
                schema = replace(schema, sound=(rate, width))
            sane = (
                all(isinstance(name, str | None) for name in (schema.time, schema.ids, schema.time_zone))
                and isinstance(schema.tolerance, int | float)
                and 0 <= schema.tolerance <= 0.5
                and all(column.classes and column.name in channels.names for column in states)
                and all(type(number) is int for number in (schema.steps, schema.stride, *(schema.sound or ())))
                and (schema.sound is None or (schema.sound[0] > 0 and schema.sound[1] in (1, 2, 3, 4, 8)))
                and 1 <= schema.stride <= schema.steps <= MOST_STEPS
                and isinstance(schema.interval, int | float)
                and 0 <= schema.interval < math.inf
                and schema.unit in get_args(Unit)
                and len(schema.wander) == channels.size
                and all(isinstance(level, int | float) and 0 <= level < math.inf for level in schema.wander)
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ModelError(f"the model's schema is damaged: {error!r}") from None
        if not sane or any(column.classes for column in schema.channels.columns):
            raise ModelError("the model's schema is damaged: its windows must have steps, and channels of numbers")
        return schema


_DEFAULTS = {"tolerance": 0.5, "time_zone": None, "states": (), "sound": None}  # not written, as older models lack them
SPREADS = 4.0  # of a column, or deviations, that are one of a channel: there the scale is nearly linear, as dynamics mostly are


SCHEMA = SeriesSchema


def as_channel(column: Column, deviation: float) -> Column:
    """A column of numbers, of that standard deviation, as a channel, which may leave the range that was met, but not its sign."""
    margin = (column.high - column.low) / 2 or 1.0
    low = column.low - margin if column.low < 0 or column.low >= margin else 0.0
    high = column.high + margin if column.high > 0 or column.high <= -margin else 0.0
    if column.is_whole and column.step:
        low, high = (float(round(bound / column.step) * column.step) for bound in (low, high))
    fields = {**vars(column), "spread": SPREADS * max(column.spread, deviation), "low": low, "high": high}
    return Column(**fields)


def as_state(column: Column, centre: float, deviation: float) -> Column:
    """The codes of a column of categories or truth values, with that median and standard deviation, as a channel."""
    spread = SPREADS * max(deviation, 0.5)
    return Column(column.name, "integer", "int64", (), centre, spread, 0.0, count_states(column) - 1.0, 1.0)


def count_states(column: Column) -> int:
    """How many a column of categories or truth values has."""
    return max(len(column.categories), 2)
