"""A set of items in memory (or memory-mapped), checked once, and scaled one batch at a time."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fivefold.errors import DataError
from fivefold.images.schema import ImageSchema, infer_schema
from fivefold.modality import Schema
from fivefold.seeds import derive_seed
from fivefold.series.windows import Windows, held_out_runs

_CHUNK_ELEMENTS = 1 << 24


@dataclass(frozen=True)
class Items:
    """`n` items of one schema.

    Attributes
    ----------
    values : `(n, h, w, c)`, any numeric dtype; NaN in float arrays means missing
    schema : how to scale them
    source : what to call the set in messages
    hidden : `(n or 1, h, w, c or 1)` bool, further missing elements; or None
    names : a name per item (file names with sub-folder and ending), or None for their index
    labels : `(n,)` class per item, or None
    windows : where the items are in series from which they are cut, or None
    """

    values: np.ndarray
    schema: Schema
    source: str = "array"
    hidden: np.ndarray | None = None
    names: tuple[str, ...] | None = None
    labels: np.ndarray | None = None
    windows: Windows | None = None

    def __len__(self) -> int:
        return len(self.values)

    @property
    def image_schema(self) -> ImageSchema:
        """The schema of images; raises `DataError` if the items are something else."""
        if not isinstance(self.schema, ImageSchema):
            raise DataError(f"{self.source}: must be images, got {self.schema.describe()}")
        return self.schema

    def name(self, index: int) -> str:
        """The item's name, or its index as text."""
        return self.names[index] if self.names else str(index)

    def select(self, indices: np.ndarray | slice) -> Items:
        """The items at `indices`; a slice makes views."""
        return dataclasses.replace(
            self,
            values=self.values[indices],
            hidden=_rows(self.hidden, indices),
            names=None if self.names is None else _names(self.names, indices),
            labels=None if self.labels is None else self.labels[indices],
            windows=None if self.windows is None else self.windows.select(indices),
        )

    def visible(self, indices: np.ndarray | slice = slice(None)) -> np.ndarray:
        """What is there to see: bool, like `values[indices]`."""
        values = self.values[indices]
        seen = ~np.isnan(values) if values.dtype.kind == "f" else np.ones(values.shape, bool)
        hidden = _rows(self.hidden, indices)
        return seen if hidden is None else seen & ~hidden

    def unit(self, indices: np.ndarray | slice = slice(None)) -> tuple[np.ndarray, np.ndarray]:
        """Values scaled to [0, 1], float32 with 0 where hidden, and their visibility; both `(b, h, w, c)`."""
        seen = self.visible(indices)
        return np.where(seen, self.schema.to_unit(self.values[indices]), np.float32(0)), seen

    def batches(self, batch_size: int) -> Iterator[slice]:
        """Consecutive slices that cover all items."""
        return (slice(start, min(start + batch_size, len(self))) for start in range(0, len(self), batch_size))


@dataclass(frozen=True)
class Block:
    """Some of a dataset's items, that memory can hold.

    Attributes
    ----------
    items
    place : where they are in the dataset, for its collectors
    stream : number of the block's random stream; None: the only one, which has the caller's own seed
    """

    items: Items
    place: Any = None
    stream: int | None = None

    def seed(self, seed: int) -> int:
        """Of the block's random numbers."""
        return seed if self.stream is None else derive_seed(seed, "block", self.stream)


def make_items(
    values: np.ndarray,
    schema: ImageSchema | None = None,
    source: str = "array",
    masks: Sequence[np.ndarray] = (),
    names: tuple[str, ...] | None = None,
    labels: np.ndarray | None = None,
) -> Items:
    """Check `values` and wrap them as `Items`; without a `schema`, infer it from them.

    Parameters
    ----------
    values : `(n, h, w, c)`, `(n, h, w)` or one image `(h, w)`; c from 1 to 4; numbers or bool
    schema : that of a fitted model, which the values must fit
    masks : nonzero = missing; each of the shape of all items or of one, its channel axis may be left out or be 1

    Raises
    ------
    DataError : no items, a wrong shape, an infinite visible value, an item with nothing visible, values in
        another scale than the schema's
    """
    values = _as_images(np.asarray(values), schema, source)
    if schema is not None and values.shape[1:] != schema.shape:
        raise DataError(
            f"{source}: items must be {_by(schema.shape)} as the model was fitted, got {_by(values.shape[1:])}"
        )
    if labels is not None:
        if labels.size != len(values):
            raise DataError(f"{source}: there must be a label per item, got {labels.size} for {len(values)} items")
        labels = labels.reshape(len(values))
    hidden = None
    for mask in masks:
        shaped = _shape_mask(np.asarray(mask), values.shape)
        hidden = shaped if hidden is None else hidden | shaped
    low, high = _scan(values, hidden, source, names)
    if schema is None:
        schema = infer_schema(values, low, high)
    else:
        _check_range(low, high, values.dtype, schema, source)
    return Items(values, schema, source, hidden, names, labels)


def split_rows(items: Items, share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Item numbers for training and a random `share` of them for validation, both ascending.

    Windows that overlap are held out in runs, so that no step is in both.

    Raises `DataError` if none are left for training.
    """
    if share and items.windows is not None and items.windows.overlap:
        parts = held_out_runs(items.windows, share, np.random.default_rng([seed, 0]))
        if len(parts[0]) == 0:
            raise DataError(f"{items.source}: the series are too short to hold out {share:.0%} for validation")
        return parts
    held_out = round(len(items) * share)
    if held_out == len(items):
        raise DataError(f"{items.source}: {len(items)} items are too few to hold out {share:.0%} for validation")
    order = np.random.default_rng([seed, 0]).permutation(len(items))
    return np.sort(order[held_out:]), np.sort(order[:held_out])


def _rows(hidden: np.ndarray | None, indices: np.ndarray | slice) -> np.ndarray | None:
    """The rows of a mask, of which one row serves all items."""
    return hidden if hidden is None or len(hidden) == 1 else hidden[indices]


def _names(names: tuple[str, ...], indices: np.ndarray | slice) -> tuple[str, ...]:
    return names[indices] if isinstance(indices, slice) else tuple(np.asarray(names, object)[indices])


def _by(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape))


def _as_images(values: np.ndarray, schema: ImageSchema | None, source: str) -> np.ndarray:
    if values.dtype.kind not in "buif":
        raise DataError(f"{source}: values must be numbers, got {values.dtype}")
    if values.ndim == 3 and schema is not None and values.shape == schema.shape:
        values = values[None]
    elif values.ndim == 2:
        values = values[None, ..., None]
    elif values.ndim == 3:
        values = values[..., None]
    if values.ndim != 4 or not 1 <= values.shape[3] <= 4:
        raise DataError(
            f"{source}: images must be (items, height, width) or (items, height, width, 1 to 4 channels), "
            f"got shape {values.shape}"
        )
    if 0 in values.shape:
        raise DataError(f"{source}: there is nothing in it (shape {values.shape})")
    return values


def _shape_mask(mask: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    n, h, w, c = shape
    if mask.dtype.kind not in "buif":
        raise DataError(f"the mask must hold numbers, got {mask.dtype}")
    if mask.ndim >= 2:
        candidates = (mask,) if mask.ndim == 4 else (mask[None], mask[..., None], mask[None, ..., None])
        for candidate in candidates:
            fits = candidate.ndim == 4 and candidate.shape[1:3] == (h, w)
            if fits and candidate.shape[0] in (1, n) and candidate.shape[3] in (1, c):
                return candidate != 0
    raise DataError(
        f"the mask must have the items' shape {_by(shape)} or one item's {_by(shape[1:])}, got {_by(mask.shape)}"
    )


def _scan(
    values: np.ndarray, hidden: np.ndarray | None, source: str, names: tuple[str, ...] | None
) -> tuple[float, float]:
    """The visible values' minimum and maximum, in bounded memory; raises for what can't be learnt from."""
    step = max(1, _CHUNK_ELEMENTS // values[0].size)
    low, high = np.inf, -np.inf
    for start in range(0, len(values), step):
        chunk = values[start : start + step]
        seen = ~np.isnan(chunk) if chunk.dtype.kind == "f" else np.ones((len(chunk), 1, 1, 1), bool)
        if hidden is not None:
            seen = seen & ~(hidden if len(hidden) == 1 else hidden[start : start + step])
        blank = np.flatnonzero(~seen.any(axis=(1, 2, 3)))
        if len(blank):
            index = start + int(blank[0])
            raise DataError(f"{source}: item {names[index] if names else index} has no visible value: all are missing")
        if chunk.dtype.kind == "f" and (infinite := np.isinf(chunk) & seen).any():
            index = start + int(np.flatnonzero(infinite.any(axis=(1, 2, 3)))[0])
            raise DataError(f"{source}: item {names[index] if names else index} has infinite values")
        if hidden is not None:
            chunk = chunk[np.broadcast_to(seen, chunk.shape)]
        low = min(low, float(np.nanmin(chunk)))
        high = max(high, float(np.nanmax(chunk)))
    return low, high


def _check_range(low: float, high: float, dtype: np.dtype, schema: ImageSchema, source: str) -> None:
    if dtype.kind == "f" and schema.levels is not None and schema.high > 1 and 0 <= low and 0 < high <= 1:
        raise DataError(
            f"{source}: values must be in [{schema.low:g}, {schema.high:g}] as the model was fitted, "
            f"got numbers in [{low:g}, {high:g}]: scale them back"
        )
    if low < schema.low or high > schema.high:
        warnings.warn(
            f"{source}: values in [{low:g}, {high:g}] are clipped to the model's range "
            f"[{schema.low:g}, {schema.high:g}]",
            stacklevel=4,
        )
