"""A block of a table's rows as bytes, in two layers: what is kept as it is, and the cells under their distributions.

No torch here.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import types as pt

from fivefold.codec.alphabets import Classes, to_classes
from fivefold.codec.mixtures import LOCATION_STEPS, Mixtures, to_mixtures
from fivefold.codec.numbers import LARGEST_DIGIT, UNIT, NumberGrid
from fivefold.codec.rans import PRECISION, Distributions, Rans
from fivefold.codec.rounding import HintedRounder, HintingRounder, Rounder
from fivefold.data.array_bytes import DamagedBytesError, from_bytes, to_bytes
from fivefold.data.table_cells import decode_column, encode_column, plain
from fivefold.errors import DataError
from fivefold.jobs.blocks import DamagedLayerError, check_empty, pack, pop, unpack
from fivefold.model.exact_rows import ExactRows, RowChain
from fivefold.schema import Column

CODED = 1
_LANES, _CELLS_PER_LANE = 32, 512  # a lane takes 8 bytes
_LEVEL = 19  # of zstd
_SIZE = struct.Struct("<Q")  # of the kept part, inflated
_PART = struct.Struct("<BQ")  # of a column: whether it is coded, and bytes of what is kept of it
_KEPT, _SOME, _ALL = range(3)  # cells that are coded


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
        """Where the schema's columns are in the table, in the schema's order; and of what type, dictionaries aside."""
        found = []
        for column in self.rows.schema.columns:
            at = self.columns.get_field_index(column.name)
            kind = self.columns.field(at).type
            found.append((at, column, kind.value_type if pt.is_dictionary(kind) else kind))
        return found

    @cached_property
    def grids(self) -> list[NumberGrid | None]:
        """On which a modelled column's numbers lie; None for classes."""
        grids: list[NumberGrid | None] = []
        for _, column, kind in self.modelled:
            dtype = np.dtype(kind.to_pandas_dtype()) if pt.is_floating(kind) else np.dtype(np.float64)
            grid = NumberGrid(column.centre, column.spread, column.step, dtype)
            grids.append(None if column.classes else grid)
        return grids

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
    n, arrays = len(table), [_whole(column) for column in table.columns]
    kept = [_part(array, None) for array in arrays]
    chain, intervals, hints, count = RowChain(codec.rows, n), [], [], 0
    for number, (at, column, kind) in enumerate(codec.modelled):
        cells = _cells(arrays[at], column)
        coded = _code(codec, number, chain, arrays[at], kind, cells)
        if coded.where.any():
            part = _part(arrays[at], coded.where)
            if coded.bytes + len(_deflate(part)) < len(_deflate(kept[at])):
                kept[at], cells = part, coded.cells
                intervals += coded.intervals
                hints.append(coded.rounder.hints + 2 * count)
                count += coded.rounder.count
        chain.know(number, cells)
    content = b"".join(kept)
    if len(content) > codec.most:
        raise DataError(f"{n} rows hold more than {codec.most:,} bytes; give fewer --block-items")
    hint = np.concatenate(hints) if hints else np.empty(0, np.int64)
    lanes = min(_LANES, 1 + sum(len(starts) for starts, _ in intervals) // _CELLS_PER_LANE)
    layers = [_SIZE.pack(len(content)) + _deflate(content), pack(intervals, hint, lanes)]
    if verify:
        decoded = decode_rows(codec, n, CODED, layers)
        if isinstance(decoded, str) or any(
            to_bytes(_whole(column)) != to_bytes(array) for column, array in zip(decoded.columns, arrays, strict=True)
        ):
            raise RuntimeError("a block did not come back as it was written; that is a defect of the program")
    return n, CODED, layers


def decode_rows(codec: RowCodec, n: int, method: int, layers: list[bytes]) -> Any:
    """The rows, a `pyarrow.Table`; or what is wrong, as text."""
    if method != CODED:
        return f"its method is {method}"
    try:
        kept = _unpack_kept(codec, layers[0], n)
        coder, hints = unpack(layers[1], n * len(codec.modelled) * codec.rows.parameters + _most_edges(codec))
        rounder, chain = HintedRounder(hints), RowChain(codec.rows, n)
        arrays: list[Any] = [array for _, array in kept]
        for number, (at, column, kind) in enumerate(codec.modelled):
            where = kept[at][0]
            cells = np.full(n, np.nan)
            if (~where).any():
                cells[~where] = _cells(arrays[at], column)
            if where.any():
                parameters = tuple(part[where] for part in chain.of(number))
                cells[where] = _pop_cells(codec, number, codec.distributions(number, parameters, rounder), coder)
                arrays[at] = _merge(arrays[at], decode_column(column, cells[where], kind), where)
            chain.know(number, cells)
        check_empty(coder)
        return pa.table([_whole(array) for array in arrays], codec.columns)
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
    same = _same(array, decode_column(column, np.where(known, found, np.nan), kind))
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


def _cells(array: pa.Array, column: Column) -> np.ndarray:
    """Encoded cells of an array, NaN where there is no number."""
    values = plain(pa.chunked_array([array]))
    if pt.is_floating(values.type):
        values = pc.if_else(pc.is_finite(values), values, pa.scalar(None, values.type))
    return encode_column(values, column, "table")


def _same(array: pa.Array, decoded: pa.Array) -> np.ndarray:
    """Where the values are the same, bit for bit; what is null is not."""
    given = plain(pa.chunked_array([array])).combine_chunks()
    decoded = plain(pa.chunked_array([decoded])).combine_chunks()
    same = pc.fill_null(pc.equal(given, decoded), False).to_numpy(zero_copy_only=False)
    if pt.is_floating(given.type):
        signs = (np.signbit(_numbers(each)) for each in (given, decoded))
        same &= np.equal(*signs)  # −0 equals 0; NaN equals nothing
    if pt.is_dictionary(array.type):  # which may hold a value twice
        first = pc.index_in(given, value_set=_plain_dictionary(array))
        same &= pc.fill_null(pc.equal(first, array.indices.cast(pa.int32())), False).to_numpy(zero_copy_only=False)
    return same


def _numbers(array: pa.Array) -> np.ndarray:
    return array.cast(pa.float64()).to_numpy(zero_copy_only=False)


def _plain_dictionary(array: pa.DictionaryArray) -> pa.Array:
    return plain(pa.chunked_array([array.dictionary])).combine_chunks()


def _merge(kept: pa.Array, coded: pa.Array, where: np.ndarray) -> pa.Array:
    """`coded` where it says so, else `kept`, in order."""
    if pt.is_dictionary(kept.type):
        values = plain(pa.chunked_array([coded])).combine_chunks()
        places = pc.index_in(values, value_set=_plain_dictionary(kept))
        if places.null_count:
            raise DamagedLayerError("a class is not in its dictionary")
        indices = _merge(kept.indices, places.cast(kept.type.index_type), where)
        return pa.DictionaryArray.from_arrays(indices, kept.dictionary, ordered=kept.type.ordered)
    order = np.empty(len(where), np.int64)
    order[where], order[~where] = np.arange(len(coded)), len(coded) + np.arange(len(kept))
    return pa.concat_arrays([coded.cast(kept.type), kept]).take(pa.array(order))


def _part(array: pa.Array, coded: np.ndarray | None) -> bytes:
    """What is kept of a column."""
    if coded is None:
        content, how = to_bytes(array), _KEPT
    elif coded.all():
        content, how = to_bytes(array.take(pa.array([], pa.int64()))), _ALL
    else:
        rest = array.take(pa.array(np.flatnonzero(~coded)))
        content, how = np.packbits(coded, bitorder="little").tobytes() + to_bytes(rest), _SOME
    return _PART.pack(how, len(content)) + content


def _unpack_kept(codec: RowCodec, layer: bytes, n: int) -> list[tuple[np.ndarray, pa.Array]]:
    """Of each column of the table where it is coded, `(n,)` bool, and the other cells."""
    content, found = memoryview(_inflate(layer, codec.most)), []
    for kind in codec.columns.types:
        if len(content) < _PART.size:
            raise DamagedLayerError("its columns end too early")
        how, size = _PART.unpack_from(content)
        part, content = content[_PART.size : _PART.size + size], content[_PART.size + size :]
        where = np.full(n, how == _ALL)
        if how == _SOME:
            bits, part = part[: -(-n // 8)], part[-(-n // 8) :]
            if len(bits) < -(-n // 8):
                raise DamagedLayerError("its columns end too early")
            where = np.unpackbits(np.frombuffer(bits, np.uint8), count=n, bitorder="little").astype(bool)
        elif how not in (_KEPT, _ALL):
            raise DamagedLayerError(f"a column is kept in the way {how}")
        found.append((where, from_bytes(bytes(part), kind, n - int(where.sum()))))
    if len(content):
        raise DamagedLayerError("it has more columns than the table")
    modelled = {at for at, _, _ in codec.modelled}
    if any(where.any() and at not in modelled for at, (where, _) in enumerate(found)):
        raise DamagedLayerError("a column is coded that the model does not know")
    return found


def _deflate(content: bytes) -> bytes:
    return pa.Codec("zstd", _LEVEL).compress(content, asbytes=True)


def _inflate(layer: bytes, most: int) -> bytes:
    if len(layer) < _SIZE.size:
        raise DamagedLayerError("it is too short")
    size = _SIZE.unpack_from(layer)[0]
    if size > most:
        raise DamagedLayerError(f"it would inflate to {size:,} bytes, more than the {most:,} allowed")
    try:
        content = pa.Codec("zstd").decompress(layer[_SIZE.size :], decompressed_size=size, asbytes=True)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DamagedLayerError(f"it can't be inflated ({str(error).splitlines()[0]})") from None
    if len(content) != size:
        raise DamagedLayerError("it inflates to another size than it says")
    return content


def _most_edges(codec: RowCodec) -> int:
    return sum(len(grid.starts) for grid in codec.grids if grid is not None)


def _whole(column: Any) -> pa.Array:
    """A column as one array."""
    if isinstance(column, pa.ChunkedArray):
        if pt.is_dictionary(column.type):
            column = column.unify_dictionaries()
        column = column.combine_chunks()
        return column.chunk(0) if isinstance(column, pa.ChunkedArray) else column
    return column
