"""A block of a table's rows as bytes, in two layers: what is kept as it is, and the cells under their distributions.

No torch here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa

from fivefold.codec.alphabets import Classes, to_classes
from fivefold.codec.mixtures import LOCATION_STEPS, Mixtures, to_mixtures
from fivefold.codec.numbers import LARGEST_DIGIT, UNIT, NumberGrid
from fivefold.codec.rans import PRECISION, Distributions, Rans
from fivefold.codec.rounding import HintedRounder, HintingRounder, Rounder
from fivefold.errors import DataError
from fivefold.images.coding import DamagedLayerError, check_empty, pack, pop, unpack
from fivefold.tables.array_bytes import DamagedBytesError
from fivefold.tables.cells import decode_column
from fivefold.tables.columns import Column
from fivefold.tables.exact import ExactRows, RowChain
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

_LANES, _CELLS_PER_LANE = 32, 512  # a lane takes 8 bytes


@dataclass(frozen=True)
class RowCodec:
    """Blocks of rows of one table under one model.

    Attributes
    ----------
    rows : evaluates the networks
    columns : the table's, in its order
    most : bytes of what is kept of a block
    """

    rows: ExactRows
    columns: pa.Schema
    most: int

    @cached_property
    def modelled(self) -> list[tuple[int, Column, pa.DataType]]:
        """See `modelled_columns`."""
        return modelled_columns(self.columns, self.rows.schema)

    @cached_property
    def grids(self) -> list[NumberGrid | None]:
        """On which a modelled column's numbers lie; None for classes."""
        return [None if column.classes else number_grid(column, kind) for _, column, kind in self.modelled]

    def distributions(self, number: int, parameters: tuple[np.ndarray, ...], rounder: Rounder) -> Mixtures | Classes:
        """Of a modelled column's cells, from what `RowChain` says of them."""
        grid = self.grids[number]
        if grid is None:
            return to_classes(parameters[0], rounder)
        log_weights, locations, log_scales = parameters
        edges = rounder(grid.edges * LOCATION_STEPS)
        log_weights = log_weights - log_weights.max(axis=1, keepdims=True)
        never = np.full((len(log_weights), 2), -np.inf)
        weights = np.concatenate((log_weights, never), axis=1)
        return to_mixtures(weights, locations / UNIT, log_scales - np.log(UNIT), edges, "logistic", rounder)


@dataclass
class _Coded:
    """Of one modelled column: which cells can be coded, what a reader then finds, the intervals, and what was rounded."""

    where: np.ndarray
    cells: np.ndarray
    intervals: list[tuple[np.ndarray, np.ndarray]] = field(default_factory=list)
    rounder: HintingRounder = field(default_factory=HintingRounder)

    @property
    def bytes(self) -> float:
        """What they take."""
        return sum(float((PRECISION - np.log2(frequencies)).sum()) for _, frequencies in self.intervals) / 8


def encode_rows(codec: RowCodec, table: pa.Table, verify: bool) -> tuple[int, int, list[bytes]]:
    """Number of rows, method, layers; raises `DataError` if what is kept is too large."""
    n, arrays = len(table), [whole_column(column) for column in table.columns]
    kept = [kept_part(array, None) for array in arrays]
    chain, intervals, hints, count = RowChain(codec.rows, n), [], [], 0
    for number, (at, column, kind) in enumerate(codec.modelled):
        cells = cells_of(arrays[at], column)
        coded = _code(codec, number, chain, arrays[at], kind, cells)
        if coded.where.any():
            part = kept_part(arrays[at], coded.where)
            if coded.bytes + len(deflate(part)) < len(deflate(kept[at])):
                kept[at], cells = part, coded.cells
                intervals += coded.intervals
                hints.append(coded.rounder.hints + 2 * count)
                count += coded.rounder.count
        chain.know(number, cells)
    hint = np.concatenate(hints) if hints else np.empty(0, np.int64)
    lanes = min(_LANES, 1 + sum(len(starts) for starts, _ in intervals) // _CELLS_PER_LANE)
    layers = [pack_kept(kept, codec.most), pack(intervals, hint, lanes)]
    if verify:
        compare(decode_rows(codec, n, CODED, layers), arrays)
    return n, CODED, layers


def decode_rows(codec: RowCodec, n: int, method: int, layers: list[bytes]) -> Any:
    """The rows, a `pyarrow.Table`; or what is wrong, as text."""
    if method != CODED:
        return f"its method is {method}"
    try:
        kept = unpack_kept(layers[0], codec.columns, {at for at, _, _ in codec.modelled}, n, codec.most)
        coder, hints = unpack(layers[1], n * len(codec.modelled) * codec.rows.parameters + _most_edges(codec))
        rounder, chain = HintedRounder(hints), RowChain(codec.rows, n)
        arrays: list[Any] = [array for _, array in kept]
        for number, (at, column, kind) in enumerate(codec.modelled):
            where = kept[at][0]
            cells = np.full(n, np.nan)
            if (~where).any():
                cells[~where] = cells_of(arrays[at], column)
            if where.any():
                parameters = tuple(part[where] for part in chain.of(number))
                cells[where] = _pop_cells(codec, number, codec.distributions(number, parameters, rounder), coder)
                arrays[at] = merge(arrays[at], decode_column(column, cells[where], kind), where)
            chain.know(number, cells)
        check_empty(coder)
        return pa.table([whole_column(array) for array in arrays], codec.columns)
    except (DamagedLayerError, DamagedBytesError, DataError, pa.ArrowException) as error:
        return str(error).splitlines()[0]


def _code(
    codec: RowCodec, number: int, chain: RowChain, array: pa.Array, kind: pa.DataType, cells: np.ndarray
) -> _Coded:
    """The cells that can be coded so that they come back bit for bit."""
    column, grid, n = codec.modelled[number][1], codec.grids[number], len(cells)
    known, bins = ~np.isnan(cells), np.zeros(n, np.int64)
    found = np.where(known, cells, column.low)
    whole = np.zeros(n, np.int64)
    if grid is None:
        bins = np.clip(found, 0, column.classes - 1).astype(np.int64)
    else:
        whole = grid.whole(found)
        bins, found = grid.locate(whole), grid.values(whole)
        known &= bins >= 0
    same = same_cells(array, decode_column(column, np.where(known, found, np.nan), kind))
    coded = _Coded(known & same, np.where(known & same, found, cells))
    if coded.where.any():
        parameters = tuple(part[coded.where] for part in chain.of(number))
        distributions = codec.distributions(number, parameters, coded.rounder)
        bins = bins[coded.where]
        coded.intervals.append(distributions.interval(bins))
        if grid is not None:
            rest = whole[coded.where] - grid.starts[bins]
            for shift, digits in grid.digits(bins):
                coded.intervals.append(digits.interval(rest >> shift & LARGEST_DIGIT))
    return coded


def _pop_cells(codec: RowCodec, number: int, distributions: Distributions, coder: Rans) -> np.ndarray:
    """Encoded cells."""
    bins, grid = pop(coder, distributions), codec.grids[number]
    if grid is None:
        return bins.astype(np.float64)
    whole = grid.starts[bins]
    for shift, digits in grid.digits(bins):
        whole = whole + (pop(coder, digits) << shift)
    return grid.values(whole)


def _most_edges(codec: RowCodec) -> int:
    return sum(len(grid.starts) for grid in codec.grids if grid is not None)
