"""Items of a schema in memory, the blocks that jobs work on, and what collects their results. No torch here."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, Self, final

import numpy as np

from fivefold.errors import DataError
from fivefold.seeds import derive_seed


class Schema(Protocol):
    """What an item is; travels inside the model.

    An item is an array `shape` `(h, w, c)`; networks see its elements on the unit scale, float32: [0, 1] but for rare values of
    columns and channels, which may lie beyond.

    Attributes
    ----------
    kind : what the modality is called on disk
    dtype : of items' values
    levels : how many equidistant values an element can have; None if that is not known, or differs
    """

    kind: ClassVar[str]

    @property
    def shape(self) -> tuple[int, int, int]: ...

    @property
    def size(self) -> int: ...

    @property
    def dtype(self) -> str: ...

    @property
    def levels(self) -> int | None: ...

    @property
    def numbers(self) -> np.ndarray:
        """Which elements are numbers, not classes: bool, broadcastable to `shape`."""

    def to_unit(self, values: np.ndarray) -> np.ndarray: ...

    def from_unit(self, unit: np.ndarray, dtype: np.dtype | str | None = None) -> np.ndarray: ...

    def snap(self, values: np.ndarray) -> np.ndarray:
        """Values as those of real items are: at the steps, and within the range, that were met in the fit."""

    def describe(self) -> str: ...

    def findings(self) -> dict[str, str]:
        """What is known of single columns or channels, by name."""

    def to_json(self) -> dict[str, Any]: ...


class Origin(Protocol):
    """From where in longer data items are cut."""

    def select(self, indices: np.ndarray | slice) -> Self: ...

    def hold_out(self, share: float, rng: np.random.Generator, source: str) -> tuple[np.ndarray, np.ndarray] | None:
        """Item numbers to train on, and those held out, so that the two have nothing in common; None: any will do."""


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
    origin : from where in longer data the items are cut, or None
    repeated : bool like `values`, elements that repeat those of an item before, though in the fit none did; or None
    """

    values: np.ndarray
    schema: Schema
    source: str = "array"
    hidden: np.ndarray | None = None
    names: tuple[str, ...] | None = None
    labels: np.ndarray | None = None
    origin: Origin | None = None
    repeated: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.values)

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
            origin=None if self.origin is None else self.origin.select(indices),
            repeated=None if self.repeated is None else self.repeated[indices],
        )

    def visible(self, indices: np.ndarray | slice = slice(None)) -> np.ndarray:
        """What is there to see: bool, like `values[indices]`."""
        values = self.values[indices]
        seen = ~np.isnan(values) if values.dtype.kind == "f" else np.ones(values.shape, bool)
        hidden = _rows(self.hidden, indices)
        return seen if hidden is None else seen & ~hidden

    def unit(self, indices: np.ndarray | slice = slice(None)) -> tuple[np.ndarray, np.ndarray]:
        """Values on the unit scale, float32 with 0 where hidden, and their visibility; both `(b, h, w, c)`."""
        seen = self.visible(indices)
        return np.where(seen, self.schema.to_unit(self.values[indices]), np.float32(0)), seen

    def batches(self, batch_size: int) -> Iterator[slice]:
        """Consecutive slices that cover all items."""
        return (slice(start, min(start + batch_size, len(self))) for start in range(0, len(self), batch_size))


@dataclass(frozen=True)
class Block:
    """Items of a dataset, as many as memory is to hold at once.

    Attributes
    ----------
    items
    place : where they are in the dataset, for its collectors
    stream : number of the block's random stream; None: the only or first one, which has the caller's own seed
    """

    items: Items
    place: Any = None
    stream: int | None = None

    def seed(self, seed: int) -> int:
        """Of the block's random numbers."""
        return seed if self.stream is None else derive_seed(seed, "block", self.stream)


class Collector(ABC):
    """Takes what a job gives for each block, and gives it back in the form in which the data came.

    Attributes
    ----------
    changed : how many elements were replaced so far
    """

    changed = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:  # noqa: B027  (those that write have something to close)
        pass

    @final
    def add(self, block: Block, values: np.ndarray, where: np.ndarray | None = None) -> None:
        """`values` `(b, h, w, c)` take the place of the block's elements, or of those `where`, bool likewise, says so."""
        self.changed += self._put(block, values, np.ones(values.shape, bool) if where is None else where)

    @abstractmethod
    def _put(self, block: Block, values: np.ndarray, where: np.ndarray) -> int:
        """How many elements were replaced."""

    @abstractmethod
    def result(self) -> Any:
        """All of it."""


class Numbers:
    """Collects one number per item, in the items' order."""

    def __init__(self) -> None:
        self._parts: list[np.ndarray] = []

    def add(self, block: Block, numbers: np.ndarray) -> None:
        """Of a block's items, `(b,)`."""
        self._parts.append(numbers)

    def result(self) -> tuple[np.ndarray, None]:
        """`(n,)`; items that are not cut from longer data have no windows."""
        return np.concatenate(self._parts), None


class Lowest(Numbers):
    """Keeps so many of the lowest numbers alone, the lowest first, and which items they are of; no NaN.

    Attributes
    ----------
    items : `(k,)` int, of the numbers so far
    """

    def __init__(self, most: int) -> None:
        self._most, self._seen = most, 0
        self._lowest, self.items = np.empty(0), np.empty(0, np.int64)

    def add(self, block: Block, numbers: np.ndarray) -> None:
        """Of a block's items, `(b,)`."""
        lowest = np.concatenate((self._lowest, numbers))
        items = np.concatenate((self.items, self._seen + np.arange(len(numbers))))
        order = np.argsort(lowest, kind="stable")[: min(self._most, np.count_nonzero(~np.isnan(lowest)))]
        self._lowest, self.items, self._seen = lowest[order], items[order], self._seen + len(numbers)

    def result(self) -> tuple[np.ndarray, None]:
        """`(k,)`, ascending."""
        return self._lowest, None


def split_rows(items: Items, share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Item numbers for training and a random `share` of them for validation, both ascending.

    Items that are cut from longer data are held out so that no part of it is in both.

    Raises `DataError` if none are left for training.
    """
    if share and items.origin is not None:
        parts = items.origin.hold_out(share, np.random.default_rng([seed, 0]), items.source)
        if parts is not None:
            return parts
    held_out = round(len(items) * share)
    if held_out == len(items):
        raise DataError(f"{items.source}: {len(items)} items are too few to hold out {share:.0%} for validation")
    order = np.random.default_rng([seed, 0]).permutation(len(items))
    return np.sort(order[held_out:]), np.sort(order[:held_out])


def concatenated(parts: Sequence[Items]) -> Items:
    """Items of one schema in one row, without names, labels and origin."""
    first = parts[0]
    if len(parts) == 1:
        return first
    values = np.concatenate([part.values for part in parts])
    hidden, repeated = (_joined([getattr(part, name) for part in parts], parts) for name in ("hidden", "repeated"))
    return Items(values, first.schema, first.source, hidden, repeated=repeated)


def _joined(masks: Sequence[np.ndarray | None], parts: Sequence[Items]) -> np.ndarray | None:
    """Masks of items, each of which may be none, or one row for all items."""
    if all(mask is None for mask in masks):
        return None
    whole = [
        np.broadcast_to(False if mask is None else mask, part.values.shape)
        for mask, part in zip(masks, parts, strict=True)
    ]
    return np.concatenate(whole)


def _rows(hidden: np.ndarray | None, indices: np.ndarray | slice) -> np.ndarray | None:
    """The rows of a mask, of which one row serves all items."""
    return hidden if hidden is None or len(hidden) == 1 else hidden[indices]


def _names(names: tuple[str, ...], indices: np.ndarray | slice) -> tuple[str, ...]:
    return names[indices] if isinstance(indices, slice) else tuple(np.asarray(names, object)[indices])
