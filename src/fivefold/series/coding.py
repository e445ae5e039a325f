"""A block of series' steps as bytes, in two layers: what is kept as it is, and the values under their distributions.

A block is rows of a table, series after series or mixed; each series' rows follow each other in time. They are cut into
stretches, which are gone through side by side. No torch here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

import numpy as np
import pyarrow as pa

from fivefold.codec.numbers import NumberGrid
from fivefold.codec.rans import PRECISION, EmptyCoderError
from fivefold.codec.residuals import Intervals, Nearby
from fivefold.codec.rounding import HintedRounder, HintingRounder, Rounder
from fivefold.errors import DataError
from fivefold.images.coding import DamagedLayerError, check_empty, pack, unpack
from fivefold.series.exact import ExactSteps, StepChain
from fivefold.tables.array_bytes import DamagedBytesError
from fivefold.tables.cells import decode_column
from fivefold.tables.columns import Column
from fivefold.tables.settings import COMPONENTS
from fivefold.tables.verbatim import (
    CODED,
    cells_of,
    compare,
    deflate,
    kept_part,
    merge,
    modelled_columns,
    number_grid,
    pack_kept,
    same_cells,
    unpack_kept,
    whole_column,
)

_LONGEST = 1024  # steps of a stretch, each of which costs its first ones more
_STEPS_AT_ONCE = 1 << 15  # of windows side by side
_LANES, _VALUES_PER_LANE = 32, 512  # of the coder; a lane takes 8 bytes
_NUMBERS = 3 * COMPONENTS + 5  # that are rounded per value
_KEPT_BITS = 64  # about, of a value that is not coded
_FINEST = 2.0**-52
_TINY = 1e-300
_FARTHEST = 9.0  # beyond the range met in the fit, in units of it, that networks are shown


@dataclass(frozen=True)
class StepCodec:
    """Blocks of steps of series under one model.

    Attributes
    ----------
    steps : evaluates the networks
    columns : the table's, in its order
    ids : name of the column that says of which series a row is, or None
    most : bytes of what is kept of a block
    """

    steps: ExactSteps
    columns: pa.Schema
    ids: str | None
    most: int

    @cached_property
    def modelled(self) -> list[tuple[int, Column, pa.DataType]]:
        """See `modelled_columns`."""
        return modelled_columns(self.columns, self.steps.schema.channels)

    @cached_property
    def forms(self) -> list[list[NumberGrid]]:
        """What the channels' numbers may be like; see `NumberGrid.forms`."""
        return [number_grid(column, kind).forms for _, column, kind in self.modelled]

    def values(self, channel: int, grid: NumberGrid, whole: np.ndarray) -> np.ndarray:
        """Whole numbers as what comes back of them in the column's own type, float64: both sides must go on from the same."""
        with np.errstate(over="ignore"):
            return grid.values(whole).astype(self.forms[channel][0].dtype).astype(np.float64)

    def nearby(self, channel: int, grid: NumberGrid, told: tuple[np.ndarray, ...], rounder: Rounder) -> Nearby:
        """The distributions of some of a channel's values, from what `StepChain` says of them."""
        log_weights, locations, log_scales = told
        spread = self.modelled[channel][1].spread
        near = np.clip(locations, -20.0, 20.0)
        log_scales = log_scales + np.log(np.cosh(near) * spread)  # about a location the scale is as good as even
        return Nearby.of(grid, log_weights, np.sinh(near) * spread, log_scales, rounder)

    def scaled(self, channel: int, values: np.ndarray) -> np.ndarray:
        """Values as networks are shown them."""
        column = self.modelled[channel][1]
        low, high = column.scaled(column.low), column.scaled(column.high)
        margin = _FARTHEST * (high - low or 1.0)
        return np.clip(np.arcsinh((values - column.centre) / column.spread), low - margin, high + margin)

    def stretches(self, ids: pa.Array | None, n: int) -> Iterator[list[np.ndarray]]:
        """Rows, step after step, of stretches that are gone through side by side; fewer and fewer, the longest first."""
        if ids is None:
            order, sizes = np.arange(n), np.array([n])
        else:
            indices = ids.dictionary_encode().indices.fill_null(-1).to_numpy()
            order, sizes = np.argsort(indices, kind="stable"), np.unique(indices, return_counts=True)[1]
        schema = self.steps.schema
        longest = _LONGEST if schema.overlaps else schema.steps
        counts = -(-sizes // longest)
        begins = (np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)) * longest
        lengths = np.minimum(np.repeat(sizes, counts) - begins, longest)
        firsts = np.repeat(np.cumsum(sizes) - sizes, counts) + begins
        falling = np.argsort(-lengths, kind="stable")
        firsts, lengths = firsts[falling], lengths[falling]
        lanes = max(_STEPS_AT_ONCE // schema.steps, 1)
        for some in (slice(first, first + lanes) for first in range(0, len(firsts), lanes)):
            first, length = firsts[some], lengths[some]
            yield [order[first[length > step] + step] for step in range(int(length[0]))]


@dataclass
class _Channel:
    """What is to be coded of a channel: what its numbers are like, which values, as whole ones, and what comes of it."""

    form: int
    grid: NumberGrid
    where: np.ndarray
    whole: np.ndarray
    intervals: dict[int, list[Intervals]] = field(default_factory=dict)
    rounder: HintingRounder = field(default_factory=HintingRounder)

    @property
    def bytes(self) -> float:
        """What it takes."""
        frequencies = [each for parts in self.intervals.values() for _, each in parts]
        return float((PRECISION - np.log2(np.concatenate(frequencies))).sum()) / 8 if frequencies else 0.0


def encode_steps(codec: StepCodec, table: pa.Table, verify: bool) -> tuple[int, int, list[bytes]]:
    """Number of rows, method, layers; raises `DataError` if what is kept is too large."""
    n, arrays = len(table), [whole_column(column) for column in table.columns]
    kept = [kept_part(array, None) for array in arrays]
    cells = np.stack([cells_of(arrays[at], column) for at, column, _ in codec.modelled], axis=1)
    channels = [
        _channel(codec, number, arrays[at], cells[:, number]) for number, (at, _, _) in enumerate(codec.modelled)
    ]
    order = 0
    for rows, number, told in _walk(codec, arrays, cells, n):
        channel, order = channels[number], order + 1
        coded = channel.where[rows]
        if coded.any():
            nearby = codec.nearby(number, channel.grid, tuple(part[coded] for part in told()), channel.rounder)
            channel.intervals[order] = nearby.intervals(channel.whole[rows[coded]])
    hints, intervals = [], dict[int, list[Intervals]]()
    for number, (channel, (at, _, _)) in enumerate(zip(channels, codec.modelled, strict=True)):
        part = kept_part(arrays[at], channel.where)
        if channel.bytes + len(deflate(part)) < len(deflate(kept[at])):
            kept[at] = part
            intervals |= channel.intervals
            hints.append(_with_channel(channel.rounder.hints, number, len(channels)))
    ordered = [pair for _, parts in sorted(intervals.items(), key=lambda each: each[0]) for pair in parts]
    lanes = min(_LANES, 1 + sum(len(starts) for starts, _ in ordered) // _VALUES_PER_LANE)
    hint = np.sort(np.concatenate([*hints, np.empty(0, np.int64)]))
    forms = bytes(channel.form for channel in channels)
    layers = [pack_kept(kept, codec.most), forms + pack(ordered, hint, lanes)]
    if verify:
        compare(decode_steps(codec, n, CODED, layers), arrays)
    return n, CODED, layers


def decode_steps(codec: StepCodec, n: int, method: int, layers: list[bytes]) -> Any:
    """The rows, a `pyarrow.Table`; or what is wrong, as text."""
    if method != CODED:
        return f"its method is {method}"
    try:
        kept = unpack_kept(layers[0], codec.columns, {at for at, _, _ in codec.modelled}, n, codec.most)
        count = len(codec.modelled)
        grids = _grids(codec, layers[1][:count])
        coder, hints = unpack(layers[1][count:], n * count * _NUMBERS)
        rounders = [HintedRounder(_of_channel(hints, number, count)) for number in range(count)]
        arrays: list[Any] = [array for _, array in kept]
        where = np.stack([kept[at][0] for at, _, _ in codec.modelled], axis=1)
        cells = np.full((n, count), np.nan)
        for number, (at, column, _) in enumerate(codec.modelled):
            if not where[:, number].all():
                cells[~where[:, number], number] = cells_of(arrays[at], column)
        for rows, number, told in _walk(codec, arrays, cells, n):
            coded = where[rows, number]
            if coded.any():
                nearby = codec.nearby(number, grids[number], tuple(part[coded] for part in told()), rounders[number])
                cells[rows[coded], number] = codec.values(number, grids[number], nearby.pop(coder))
        check_empty(coder)
        for number, (at, column, kind) in enumerate(codec.modelled):
            if (here := where[:, number]).any():
                arrays[at] = merge(arrays[at], decode_column(column, cells[here, number], kind), here)
        return pa.table([whole_column(array) for array in arrays], codec.columns)
    except (EmptyCoderError, DamagedLayerError, DamagedBytesError, DataError, pa.ArrowException) as error:
        return str(error).splitlines()[0]


def _walk(
    codec: StepCodec, arrays: list[Any], cells: np.ndarray, n: int
) -> Iterator[tuple[np.ndarray, int, Callable[[], tuple[np.ndarray, ...]]]]:
    """Rows, channel, and what is told of their values there, in the order in which they are coded.

    Values are known from `cells` once the next are asked for.
    """
    ids = None if codec.ids is None else arrays[codec.columns.get_field_index(codec.ids)]
    for stretches in codec.stretches(ids, n):
        chain = StepChain(codec.steps, len(stretches[0]))
        for rows in stretches:
            chain.advance(len(rows))
            for number in range(len(codec.modelled)):
                yield rows, number, partial(chain.of, number)
                chain.know(number, codec.scaled(number, cells[rows, number]))


def _channel(codec: StepCodec, number: int, array: pa.Array, cells: np.ndarray) -> _Channel:
    """The values that can be coded so that they come back bit for bit, in the form in which that takes least."""
    _, column, kind = codec.modelled[number]
    known = ~np.isnan(cells)
    filled = np.where(known, cells, column.centre)
    best, least = (
        _Channel(0, codec.forms[number][0], np.zeros(len(cells), bool), np.zeros(len(cells), np.int64)),
        math.inf,
    )
    with np.errstate(over="ignore"):
        step = np.abs(np.diff(filled, prepend=filled[:1])).mean()
    for form, grid in enumerate(codec.forms[number]):
        resolution = grid.resolution(filled)
        if not resolution >= _FINEST * np.abs(filled).max(initial=_TINY):
            continue  # floating-point numbers can't tell them apart
        whole = grid.whole(filled)
        back = codec.values(number, grid, whole)
        where = known & (back == cells) & same_cells(array, decode_column(column, np.where(known, back, np.nan), kind))
        cost = np.log2(max(step / resolution, 1.0)) * where.sum() + _KEPT_BITS * (known & ~where).sum()
        if cost < least:
            best, least = _Channel(form, grid, where, whole), cost
    return best


def _grids(codec: StepCodec, forms: bytes) -> list[NumberGrid]:
    if len(forms) < len(codec.forms) or any(at >= len(each) for at, each in zip(forms, codec.forms, strict=True)):
        raise DamagedLayerError("its numbers are in a form that there is not")
    return [each[at] for at, each in zip(forms, codec.forms, strict=True)]


def _with_channel(hints: np.ndarray, channel: int, channels: int) -> np.ndarray:
    """Hints whose places are numbered through all channels."""
    return ((hints >> 1) * channels + channel) << 1 | (hints & 1)


def _of_channel(hints: np.ndarray, channel: int, channels: int) -> np.ndarray:
    """The inverse."""
    mine = hints[(hints >> 1) % channels == channel]
    return (mine >> 1) // channels << 1 | (mine & 1)
