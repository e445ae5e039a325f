"""What a noisy picture is: its channels, its type, its range; of any size. Travels inside the model."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from fivefold.errors import DataError, ModelError
from fivefold.images.schema import scaled_from_unit, scaled_to_unit

PATCH = 64  # side of what a fit learns from at once
LEAST_SIDE = 16
_MAX_VALUE = float(np.finfo(np.float32).max) / 2


@dataclass(frozen=True)
class PictureSchema:
    """Pictures of `channels`, of any size; a fit learns from square patches of them.

    `dtype` is the type the training data came in. Networks see `[low, high]` as [0, 1]; noise may lead beyond.
    """

    kind: ClassVar[str] = "picture"
    patch: int
    channels: int
    dtype: str
    low: float
    high: float

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of a patch, `(h, w, c)`."""
        return self.patch, self.patch, self.channels

    @property
    def size(self) -> int:
        """Number of elements of a patch."""
        return self.patch * self.patch * self.channels

    @property
    def levels(self) -> int | None:
        """None: what a pixel's signal can be is not known."""
        return None

    @property
    def values(self) -> int | None:
        """How many whole numbers a pixel can be; None of real numbers."""
        return int(self.high - self.low) + 1 if np.dtype(self.dtype).kind in "iu" else None

    @property
    def numbers(self) -> np.ndarray:
        """Which elements are numbers, not classes: all of them, `(1,)`."""
        return np.ones(1, bool)

    def to_unit(self, values: np.ndarray) -> np.ndarray:
        """Values (any shape, the data's own range) as float32, `[low, high]` as [0, 1]."""
        return scaled_to_unit(values, self.low, self.high).astype(np.float32, copy=False)

    def from_unit(self, unit: np.ndarray, dtype: np.dtype | str | None = None) -> np.ndarray:
        """The inverse, in `dtype` (default: the training data's); what an integer can't hold becomes its nearest value."""
        return scaled_from_unit(unit, self.low, self.high, np.dtype(dtype or self.dtype))

    def snap(self, values: np.ndarray) -> np.ndarray:
        """`values` as they are."""
        return values

    def findings(self) -> dict[str, str]:
        """None: all pixels are alike."""
        return {}

    def describe(self) -> str:
        """`pictures of 1 channel, uint8 in [0, 255]`."""
        channels = f"{self.channels} channel{'s' * (self.channels > 1)}"
        return f"pictures of {channels}, {self.dtype} in [{self.low:g}, {self.high:g}]"

    def to_json(self) -> dict[str, Any]:
        """The schema as plain JSON values."""
        return {"kind": self.kind, **dataclasses.asdict(self)}

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> PictureSchema:
        """The inverse of `to_json`; raises `ModelError` for anything else."""
        try:
            schema = cls(*(fields[field.name] for field in dataclasses.fields(cls)))
            sane = fields["kind"] == cls.kind and 1 <= schema.channels <= 4 and schema.low < schema.high
            sane &= type(schema.channels) is int and schema.patch in (LEAST_SIDE, 2 * LEAST_SIDE, PATCH)
            sane &= all(type(bound) in (int, float) and abs(bound) <= _MAX_VALUE for bound in (schema.low, schema.high))
            sane &= isinstance(schema.dtype, str) and np.dtype(schema.dtype).kind in "uif"
        except (KeyError, TypeError, ValueError, SyntaxError) as error:
            raise ModelError(f"the model's schema is damaged: {error!r}") from None
        if not sane:
            raise ModelError(f"the model's schema is damaged: {fields}")
        return schema


SCHEMA = PictureSchema


def infer_schema(pictures: Sequence[np.ndarray], dtype: np.dtype, source: str) -> PictureSchema:
    """The schema of pictures `(h, w, c)` whose values came as `dtype`.

    Integers keep the range of their bit depth (8-bit: 0-255; 12-bit values in uint16: 0-4095), real numbers what they span,
    from 0 if none is negative. Raises `DataError` if there are none that are finite.
    """
    low = min(float(np.nanmin(picture)) for picture in pictures)
    high = max(float(np.nanmax(picture)) for picture in pictures)
    if not max(-low, high) <= _MAX_VALUE:
        raise DataError(f"{source}: values must be below {_MAX_VALUE:g}, got numbers in [{low:g}, {high:g}]")
    low = min(low, 0.0)
    if dtype.kind in "iu":
        high = low + 2.0 ** max(8 * (dtype.itemsize == 1), (int(high) - int(low)).bit_length()) - 1
    elif high == low:
        high = low + 1.0
    shortest = min(min(picture.shape[:2]) for picture in pictures)
    patch = next(side for side in (PATCH, PATCH // 2, LEAST_SIDE) if side <= shortest)
    return PictureSchema(patch, pictures[0].shape[2], dtype.name, low, high)
