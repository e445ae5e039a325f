"""What an item is: its shape, its type, its range. Travels inside the model."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from fivefold.errors import DataError, ModelError

_NUMERIC_KINDS = "buif"
_MAX_SIDE = 1 << 16


@dataclass(frozen=True)
class ImageSchema:
    """Items that are images of `(height, width, channels)`, with values in `[low, high]`.

    `dtype` is the type the training data came in. Networks see values scaled to [0, 1].
    """

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

    def to_unit(self, values: np.ndarray) -> np.ndarray:
        """Scale `values` (any shape, the data's own range) to float32 in [0, 1]; outliers are clipped."""
        unit = (values.astype(np.float32) - np.float32(self.low)) / np.float32(self.high - self.low)
        return np.clip(unit, 0.0, 1.0, out=unit)

    def from_unit(self, unit: np.ndarray, dtype: np.dtype | str | None = None) -> np.ndarray:
        """Scale values in [0, 1] back to the data's range, in `dtype` (default: the training data's)."""
        target = np.dtype(dtype or self.dtype)
        values = np.clip(unit, 0.0, 1.0) * (self.high - self.low) + self.low
        return (values if target.kind == "f" else np.rint(values)).astype(target)

    def describe(self) -> str:
        """`28×28×1 uint8 in [0, 255]`."""
        return f"{self.height}×{self.width}×{self.channels} {self.dtype} in [{self.low:g}, {self.high:g}]"

    def to_json(self) -> dict[str, Any]:
        """The schema as plain JSON values."""
        return {"kind": "image", **asdict(self)}

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> ImageSchema:
        """The inverse of `to_json`; raises `ModelError` for anything else."""
        try:
            kind, *rest = (fields[name] for name in ("kind", *cls.__dataclass_fields__))
            schema = cls(*rest)
            sane = (
                kind == "image"
                and all(isinstance(side, int) and 0 < side <= _MAX_SIDE for side in schema.shape)
                and np.dtype(schema.dtype).kind in _NUMERIC_KINDS
                and schema.low < schema.high
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise ModelError(f"the model's schema is damaged: {error!r}") from None
        if not sane:
            raise ModelError(f"the model's schema is damaged: {fields}")
        return schema


def infer_schema(values: np.ndarray, low: float, high: float) -> ImageSchema:
    """The schema of `values` `(n, h, w, c)` whose finite values span `[low, high]`.

    Integers keep the range of their bit depth (8-bit: 0–255; 12-bit values in uint16: 0–4095); reals keep
    [0, 1] if they lie in it, else what they span.
    """
    dtype = values.dtype
    if dtype.kind not in _NUMERIC_KINDS:
        raise DataError(f"values must be numbers, got {dtype}")
    if dtype.kind == "f":
        if 0.0 <= low and high <= 1.0:
            low, high = 0.0, 1.0
    else:
        low = min(float(low), 0.0)
        bits = max(int(high) - int(low), 1).bit_length()
        high = low + (255 if dtype == np.uint8 or 1 < bits <= 8 else 2**bits - 1)
    return ImageSchema(*values.shape[1:], dtype.name, float(low), float(high if high > low else low + 1.0))
