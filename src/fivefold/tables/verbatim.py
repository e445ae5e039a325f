"""A table's block as columns: what is kept of them as it is, deflated, and what comes back from encoded cells. No torch here."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import types as pt

from fivefold.codec.numbers import NumberGrid
from fivefold.errors import DataError
from fivefold.images.coding import DamagedLayerError
from fivefold.tables.array_bytes import from_bytes, to_bytes
from fivefold.tables.cells import encode_column, plain
from fivefold.tables.columns import Column
from fivefold.tables.schema import TableSchema

CODED = 1  # the method of blocks
_LEVEL = 19  # of zstd
_SIZE = struct.Struct("<Q")  # of the kept part, inflated
_HEAD = 1  # bytes of an array without nulls before its values
_PART = struct.Struct("<BQ")  # of a column: whether it is coded, and bytes of what is kept of it
_KEPT, _SOME, _ALL, _DIFFERENCES = range(4)  # cells that are coded; none, and those kept as differences


def modelled_columns(columns: pa.Schema, schema: TableSchema) -> list[tuple[int, Column, pa.DataType]]:
    """Where a schema's columns are in a table, in the schema's order; and of what type, dictionaries aside."""
    found = []
    for column in schema.columns:
        at = columns.get_field_index(column.name)
        kind = columns.field(at).type
        found.append((at, column, kind.value_type if pt.is_dictionary(kind) else kind))
    return found


def number_grid(column: Column, kind: pa.DataType) -> NumberGrid:
    """On which a column's numbers lie."""
    dtype = np.dtype(kind.to_pandas_dtype()) if pt.is_floating(kind) else np.dtype(np.float64)
    return NumberGrid(column.centre, column.spread, column.step, dtype)


def cells_of(array: pa.Array, column: Column) -> np.ndarray:
    """Encoded cells of an array, NaN where there is no number."""
    values = plain(pa.chunked_array([array]))
    if pt.is_floating(values.type):
        values = pc.if_else(pc.is_finite(values), values, pa.scalar(None, values.type))
    return encode_column(values, column, "table")


def same_cells(array: pa.Array, decoded: pa.Array) -> np.ndarray:
    """Where the values are the same, bit for bit; what is null is not."""
    given = plain(pa.chunked_array([array])).combine_chunks()
    decoded = plain(pa.chunked_array([decoded])).combine_chunks()
    if pt.is_float16(given.type):  # which Arrow can't compare
        given, decoded = (each.cast(pa.float32()) for each in (given, decoded))
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


def merge(kept: pa.Array, coded: pa.Array, where: np.ndarray) -> pa.Array:
    """`coded` where it says so, else `kept`, in order."""
    if pt.is_dictionary(kept.type):
        values = plain(pa.chunked_array([coded])).combine_chunks()
        places = pc.index_in(values, value_set=_plain_dictionary(kept))
        if places.null_count:
            raise DamagedLayerError("a class is not in its dictionary")
        indices = merge(kept.indices, places.cast(kept.type.index_type), where)
        return pa.DictionaryArray.from_arrays(indices, kept.dictionary, ordered=kept.type.ordered)
    order = np.empty(len(where), np.int64)
    order[where], order[~where] = np.arange(len(coded)), len(coded) + np.arange(len(kept))
    return pa.concat_arrays([coded.cast(kept.type), kept]).take(pa.array(order))


def kept_part(array: pa.Array, coded: np.ndarray | None) -> bytes:
    """What is kept of a column."""
    if coded is None:
        content, how = _shorter(array)
    elif coded.all():
        content, how = to_bytes(array.take(pa.array([], pa.int64()))), _ALL
    else:
        rest = array.take(pa.array(np.flatnonzero(~coded)))
        content, how = np.packbits(coded, bitorder="little").tobytes() + to_bytes(rest), _SOME
    return _PART.pack(how, len(content)) + content


def _shorter(array: pa.Array) -> tuple[bytes, int]:
    """A whole column, or the differences of its numbers if those are shorter when deflated."""
    content = to_bytes(array)
    if _has_differences(array.type) and not array.null_count:
        numbers = np.frombuffer(content, _unsigned(array.type), offset=_HEAD)
        differences = content[:_HEAD] + np.diff(numbers, prepend=numbers[:1] * 0).tobytes()
        if len(deflate(differences)) < len(deflate(content)):
            return differences, _DIFFERENCES
    return content, _KEPT


def _has_differences(kind: pa.DataType) -> bool:
    return (pt.is_integer(kind) or pt.is_temporal(kind)) and not pt.is_interval(kind) and kind.bit_width in (32, 64)


def _unsigned(kind: pa.DataType) -> np.dtype:
    return np.dtype(f"<u{kind.bit_width // 8}")


def _sums(content: bytes, kind: pa.DataType) -> bytes:
    """From what is kept as differences."""
    if not _has_differences(kind) or len(content[_HEAD:]) % (kind.bit_width // 8):
        raise DamagedLayerError("a column is kept as differences that has none")
    differences = np.frombuffer(content, _unsigned(kind), offset=min(_HEAD, len(content)))
    return content[:_HEAD] + np.cumsum(differences, dtype=differences.dtype).tobytes()


def pack_kept(parts: Sequence[bytes], most: int) -> bytes:
    """A layer of what is kept of each column; raises `DataError` if it is more than `most` bytes."""
    content = b"".join(parts)
    if len(content) > most:
        raise DataError(f"a block holds more than {most:,} bytes; give fewer --block-items")
    return _SIZE.pack(len(content)) + deflate(content)


def unpack_kept(
    layer: bytes, columns: pa.Schema, modelled: set[int], n: int, most: int
) -> list[tuple[np.ndarray, pa.Array]]:
    """Of each column of a table where it is coded, `(n,)` bool, and the other cells.

    Raises `DamagedLayerError`, also if columns are coded that are not `modelled`; `DamagedBytesError`.
    """
    content, found = memoryview(_inflate(layer, most)), []
    for kind in columns.types:
        if len(content) < _PART.size:
            raise DamagedLayerError("its columns end too early")
        how, size = _PART.unpack_from(content)
        part, content = bytes(content[_PART.size : _PART.size + size]), content[_PART.size + size :]
        where = np.full(n, how == _ALL)
        if how == _SOME:
            bits, part = part[: -(-n // 8)], part[-(-n // 8) :]
            if len(bits) < -(-n // 8):
                raise DamagedLayerError("its columns end too early")
            where = np.unpackbits(np.frombuffer(bits, np.uint8), count=n, bitorder="little").astype(bool)
        elif how == _DIFFERENCES:
            part = _sums(part, kind)
        elif how not in (_KEPT, _ALL):
            raise DamagedLayerError(f"a column is kept in the way {how}")
        found.append((where, from_bytes(part, kind, n - int(where.sum()))))
    if len(content):
        raise DamagedLayerError("it has more columns than the table")
    if any(where.any() and at not in modelled for at, (where, _) in enumerate(found)):
        raise DamagedLayerError("a column is coded that the model does not know")
    return found


def compare(decoded: Any, arrays: Sequence[pa.Array]) -> None:
    """Raise `RuntimeError` if a block did not come back as these columns."""
    if isinstance(decoded, str) or any(
        to_bytes(whole_column(column)) != to_bytes(array) for column, array in zip(decoded.columns, arrays, strict=True)
    ):
        raise RuntimeError("a block did not come back as it was written; that is a defect of the program")


def deflate(content: bytes) -> bytes:
    """By zstd."""
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


def whole_column(column: Any) -> pa.Array:
    """A column as one array."""
    if isinstance(column, pa.ChunkedArray):
        if pt.is_dictionary(column.type):
            column = column.unify_dictionaries()
        column = column.combine_chunks()
        return column.chunk(0) if isinstance(column, pa.ChunkedArray) else column
    return column
