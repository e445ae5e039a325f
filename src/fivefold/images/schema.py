"""What an item is: its shape, its type, its range. Travels inside the model."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from fivefold.errors import DataError, ModelError

_NUMERIC_KINDS = "buif"
_MAX_SIDE = 1 << 16
_MAX_VALUE = float(np.finfo(np.float32).max) / 2


@dataclass(frozen=True)
class ImageSchema:
    """Items that are images of `(height, width, channels)`, with values in `[low, high]`.

    `dtype` is the type the training data came in. Networks see values scaled to [0, 1].
    """

    kind: ClassVar[str] = "image"
    height: int
    width: int
    channels: int
    dtype: str
    low: float
    high: float

    @property
    def shape(self) -> tuple[int, int, int]:
        """`(h, w, c)` of one item."""
        return self.height, self.width, self.channels

    @property
    def size(self) -> int:
        """Number of elements of one item."""
        return self.height * self.width * self.channels

    @property
    def levels(self) -> int | None:
        """How many values an element can take; None for real numbers."""
        return None if np.dtype(self.dtype).kind == "f" else round(self.high - self.low) + 1

    @property
    def numbers(self) -> np.ndarray:
        """Which elements are numbers, not classes: all of them, `(1,)`."""
        return np.ones(1, bool)

    def to_unit(self, values: np.ndarray) -> np.ndarray:
        """Scale `values` (any shape, the data's own range) to float32 in [0, 1]; outliers are clipped."""
        unit = scaled_to_unit(values, self.low, self.high)
        return np.clip(unit, 0.0, 1.0, out=unit).astype(np.float32, copy=False)

    def from_unit(self, unit: np.ndarray, dtype: np.dtype | str | None = None) -> np.ndarray:
        """Scale values in [0, 1] back to the data's range, in `dtype` (default: the training data's).

        What an integer `dtype` can't hold becomes its nearest value.
        """
        return scaled_from_unit(np.clip(unit, 0.0, 1.0), self.low, self.high, np.dtype(dtype or self.dtype))

    def snap(self, values: np.ndarray) -> np.ndarray:
        """`values` as they are: `from_unit` gives nothing else than images can have."""
        return values

    def findings(self) -> dict[str, str]:
        """None: all elements are alike."""
        return {}

    def describe(self) -> str:
        """`28×28×1 uint8 in [0, 255]`."""
        return f"{self.height}×{self.width}×{self.channels} {self.dtype} in [{self.low:g}, {self.high:g}]"

    def to_json(self) -> dict[str, Any]:
        """The schema as plain JSON values."""
        return {"kind": self.kind, **dataclasses.asdict(self)}

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> ImageSchema:
        """The inverse of `to_json`; raises `ModelError` for anything else."""
        try:
            schema = cls(*(fields[field.name] for field in dataclasses.fields(cls)))
            sane = fields["kind"] == cls.kind and schema.channels <= 4 and schema.low < schema.high
            sane &= all(type(side) is int and 0 < side <= _MAX_SIDE for side in schema.shape)
            sane &= all(type(bound) in (int, float) and abs(bound) <= _MAX_VALUE for bound in (schema.low, schema.high))
            sane &= isinstance(schema.dtype, str) and np.dtype(schema.dtype).kind in _NUMERIC_KINDS
            dtype = np.dtype(schema.dtype)
            sane = sane and (dtype.kind not in "iu" or schema.high - schema.low <= 2.0 ** (8 * dtype.itemsize))
        except (KeyError, TypeError, ValueError, SyntaxError, AttributeError) as error:
            raise ModelError(f"the model's schema is damaged: {error!r}") from None
        if not sane:
            raise ModelError(f"the model's schema is damaged: {fields}")
        return schema


SCHEMA = ImageSchema


def infer_schema(values: np.ndarray, low: float, high: float) -> ImageSchema:
    """The schema of `values` `(n, h, w, c)` whose finite values span `[low, high]`.

    Integers keep the range of their bit depth (8-bit: 0–255; 12-bit values in uint16: 0–4095); reals keep
    [0, 1] if they lie in it, else what they span.
    """
    dtype = values.dtype
    if dtype.kind not in _NUMERIC_KINDS:
        raise DataError(f"values must be numbers, got {dtype}")
    if dtype.kind == "f":
        if max(-low, high) > _MAX_VALUE:
            raise DataError(f"values must be below {_MAX_VALUE:g}, got numbers in [{low:g}, {high:g}]")
        if 0.0 <= low and high <= 1.0:
            low, high = 0.0, 1.0
        elif low == high:
            high = low + max(1.0, float(np.spacing(abs(low))))
    else:
        low = min(float(low), 0.0)
        bits = max(int(high) - int(low), 1).bit_length()
        high = low + (255 if dtype == np.uint8 or 1 < bits <= 8 else 2**bits - 1)
        high = max(high, float(np.nextafter(low, np.inf)))  # far from 0, adding 1 changes nothing
        if dtype.kind in "iu":
            high = min(high, np.iinfo(dtype).max)
    height, width, channels = values.shape[1:]
    return ImageSchema(height, width, channels, dtype.name, float(low), float(high))


def scaled_to_unit(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """`[low, high]` as [0, 1], floats as exact as the values need."""
    wide = np.result_type(values.dtype, np.float32).type  # float64 where float32 would round neighbours together
    unit: np.ndarray = (values.astype(wide) - wide(low)) / wide(high - low)
    return unit


def scaled_from_unit(unit: np.ndarray, low: float, high: float, target: np.dtype) -> np.ndarray:
    """The inverse, as `target`: what an integer can't hold becomes its nearest value."""
    wide = np.float32 if target.itemsize <= 2 else np.float64
    values: np.ndarray = unit.astype(wide) * wide(high - low) + wide(low)  # type: ignore[operator]  # either
    if target.kind in "iu":
        limits = np.iinfo(target)
        top = wide(limits.max)
        values = np.clip(values, limits.min, top if int(top) <= limits.max else np.nextafter(top, wide(0)))
    return (values if target.kind == "f" else np.rint(values)).astype(target)
