"""Columns stored verbatim: the cells of a table's block that are not coded by the model, deflated. No torch here.

An array as bytes: `u8` whether any value is null and, if so, a bit per value, the lowest first, 0 for nulls. Then the values
that are not: of a fixed width one after the other, little-endian; booleans as bits; text and bytes as their lengths, `u32`,
and their content. A dictionary comes first: `u32` how many values, and these, likewise; then the indices.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import types as pt

from fivefold.archive.layers import DamagedLayerError, check_same
from fivefold.codec.numbers import NumberBins
from fivefold.errors import DataError
from fivefold.tables.cells import encode_column, plain
from fivefold.tables.schema import Column

_LEVEL = 19  # of zstd
_SIZE = struct.Struct("<Q")  # of the layer, inflated
_COUNT = struct.Struct("<I")
_HEAD = 1  # bytes of an array without nulls before its values
_PART = struct.Struct("<BQ")  # of a column: its form, and bytes of its verbatim part
_VERBATIM, _SOME_CODED, _ALL_CODED, _DIFFERENCES = range(4)  # forms; of the last all cells are stored, as differences


def number_bins(column: Column, kind: pa.DataType) -> NumberBins:
    """The quantisation bins of a column's numbers."""
    dtype = np.dtype(kind.to_pandas_dtype()) if pt.is_floating(kind) else np.dtype(np.float64)
    return NumberBins(column.centre, column.spread, column.step, dtype)


def cells_of(array: pa.Array, column: Column) -> np.ndarray:
    """Encoded cells of an array, NaN where there is no number."""
    values = plain(pa.chunked_array([array]))
    if pt.is_floating(values.type):
        values = pc.if_else(pc.is_finite(values), values, pa.scalar(None, values.type))
    return encode_column(values, column, "table")


def same_cells(array: pa.Array, decoded: pa.Array) -> np.ndarray:
    """Where values are the same, bit for bit; nulls are not."""
    given, decoded = _values(array), _values(decoded)
    if pt.is_null(given.type):
        return np.zeros(len(given), bool)
    if pt.is_float16(given.type):  # which Arrow can't compare
        given, decoded = given.cast(pa.float32()), decoded.cast(pa.float32())
    same = pc.fill_null(pc.equal(given, decoded), False)
    if pt.is_floating(given.type):  # −0 equals 0; NaN equals nothing
        signs = [np.signbit(values.cast(pa.float64()).to_numpy(zero_copy_only=False)) for values in (given, decoded)]
        same = pc.and_(same, pa.array(signs[0] == signs[1]))
    if pt.is_dictionary(array.type):  # which may hold a value twice
        first = pc.index_in(given, value_set=_values(array.dictionary))
        same = pc.and_(same, pc.fill_null(pc.equal(first, array.indices.cast(pa.int32())), False))
    return np.asarray(same.to_numpy(zero_copy_only=False), bool)


def _values(array: pa.Array) -> pa.Array:
    """Without dictionary or extension type."""
    return plain(pa.chunked_array([array])).combine_chunks()


def merge(verbatim: pa.Array, coded: pa.Array, where: np.ndarray) -> pa.Array:
    """A column of the `coded` cells at `where` and the `verbatim` ones elsewhere, in order."""
    if pt.is_dictionary(verbatim.type):
        places = pc.index_in(_values(coded), value_set=_values(verbatim.dictionary))
        if places.null_count:
            raise DamagedLayerError("a class is not in its dictionary")
        indices = merge(verbatim.indices, places.cast(verbatim.type.index_type), where)
        return pa.DictionaryArray.from_arrays(indices, verbatim.dictionary, ordered=verbatim.type.ordered)
    order = np.empty(len(where), np.int64)
    order[where], order[~where] = np.arange(len(coded)), len(coded) + np.arange(len(verbatim))
    return pa.concat_arrays([coded.cast(verbatim.type), verbatim]).take(pa.array(order))


def verbatim_part(array: pa.Array, coded: np.ndarray | None) -> bytes:
    """A column but for its `coded` cells, bool `(n,)`, as bytes."""
    if coded is None:
        content, form = _shorter(array)
    elif coded.all():
        content, form = to_bytes(array.take(pa.array([], pa.int64()))), _ALL_CODED
    else:
        rest = array.take(pa.array(np.flatnonzero(~coded)))
        content, form = _packed(coded) + to_bytes(rest), _SOME_CODED
    return _PART.pack(form, len(content)) + content


def _shorter(array: pa.Array) -> tuple[bytes, int]:
    """A whole column, or the differences of its numbers if those are shorter when deflated."""
    content = to_bytes(array)
    if (dtype := _unsigned(array.type)) is not None and not array.null_count:
        numbers = np.frombuffer(content, dtype, offset=_HEAD)
        differences = content[:_HEAD] + np.diff(numbers, prepend=numbers[:1] * 0).tobytes()
        if len(deflate(differences)) < len(deflate(content)):
            return differences, _DIFFERENCES
    return content, _VERBATIM


def _unsigned(kind: pa.DataType) -> np.dtype | None:
    """Of which a type's numbers are differences; None if there are none."""
    whole = (pt.is_integer(kind) or pt.is_temporal(kind)) and not pt.is_interval(kind)
    return np.dtype(f"<u{kind.bit_width // 8}") if whole and kind.bit_width in (32, 64) else None


def _sums(content: bytes, kind: pa.DataType) -> bytes:
    """Numbers from their differences."""
    dtype = _unsigned(kind)
    if dtype is None or len(content[_HEAD:]) % dtype.itemsize:
        raise DamagedLayerError("a column is stored as differences that has none")
    differences = np.frombuffer(content, dtype, offset=min(_HEAD, len(content)))
    return content[:_HEAD] + np.cumsum(differences, dtype=dtype).tobytes()


def pack_verbatim(parts: Sequence[bytes], most: int) -> bytes:
    """A layer of all columns' verbatim parts; raises `DataError` if they are more than `most` bytes."""
    content = b"".join(parts)
    if len(content) > most:
        raise DataError(f"a block holds more than {most:,} bytes; give fewer `block_items`")
    return _SIZE.pack(len(content)) + deflate(content)


def unpack_verbatim(
    layer: bytes, columns: pa.Schema, modelled: set[int], n: int, most: int
) -> tuple[list[np.ndarray], list[pa.Array]]:
    """Of a table's columns the cells that are coded, bool `(n,)`, and the verbatim others.

    Raises `DamagedLayerError`, also if columns are coded that are not `modelled`.
    """
    content, coded, arrays = memoryview(_inflate(layer, most)), [], []
    for kind in columns.types:
        head, content = _cut(content, _PART.size)
        form, size = _PART.unpack(head)
        part, content = bytes(content[:size]), content[size:]
        where = np.full(n, form == _ALL_CODED)
        if form == _SOME_CODED:
            bits, rest = _cut(memoryview(part), -(-n // 8))
            part = bytes(rest)
            where = _unpacked(bits, n)
        elif form == _DIFFERENCES:
            part = _sums(part, kind)
        elif form not in (_VERBATIM, _ALL_CODED):
            raise DamagedLayerError(f"a column has the form {form}")
        coded.append(where)
        arrays.append(from_bytes(part, kind, n - int(where.sum())))
    if len(content):
        raise DamagedLayerError("it has more columns than the table")
    if any(where.any() and at not in modelled for at, where in enumerate(coded)):
        raise DamagedLayerError("a column is coded that the model does not know")
    return coded, arrays


def compare(decoded: Any, arrays: Sequence[pa.Array]) -> None:
    """Raise `RuntimeError` if a block did not come back as these columns."""
    columns = [] if isinstance(decoded, str) else map(whole_column, decoded.columns)
    check_same(list(map(to_bytes, columns)) == list(map(to_bytes, arrays)))


def deflate(content: bytes) -> bytes:
    """The content compressed by zstd."""
    return bytes(pa.Codec("zstd", _LEVEL).compress(content, asbytes=True))


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
    return bytes(content)


def whole_column(column: Any) -> pa.Array:
    """A column as one array."""
    if not isinstance(column, pa.ChunkedArray):
        return column
    whole = (column.unify_dictionaries() if pt.is_dictionary(column.type) else column).combine_chunks()
    return whole.chunk(0) if isinstance(whole, pa.ChunkedArray) else whole


def check_type(kind: pa.DataType, name: str, source: str) -> None:
    """Raise `DataError` if arrays of this type can't be turned into bytes here."""
    values = kind.value_type if pt.is_dictionary(kind) else kind
    if not (pt.is_null(values) or _is_long(values) or _width(values)):
        raise DataError(f"{source}: column {name!r} of {kind} can't go into an archive: it is no number, text or time")


def _is_long(kind: pa.DataType) -> bool:
    return any(test(kind) for test in (pt.is_string, pt.is_large_string, pt.is_binary, pt.is_large_binary))


def _width(kind: pa.DataType) -> int:
    """Bits of a value; 0 if they have no width of their own."""
    try:
        return 0 if pt.is_nested(kind) or pt.is_dictionary(kind) else kind.bit_width
    except ValueError:
        return 0


def to_bytes(array: pa.Array) -> bytes:
    """The values of an array, bit for bit."""
    kind = array.type
    if pt.is_dictionary(kind):
        values = array.dictionary
        return _COUNT.pack(len(values)) + to_bytes(values) + to_bytes(array.indices)
    head = b"\1" + _packed(array.is_valid()) if array.null_count else b"\0"
    array = array.drop_null()
    if pt.is_null(kind):
        return head
    if _is_long(kind):
        # of the same layout whatever the offsets were
        content = array.cast(pa.large_binary())
        offsets = np.frombuffer(content.buffers()[1], np.int64)[content.offset : content.offset + len(content) + 1]
        data = content.buffers()[2]
        body = b"" if data is None or not len(array) else data[int(offsets[0]) : int(offsets[-1])].to_pybytes()
        return head + np.diff(offsets).astype("<u4").tobytes() + body
    if pt.is_boolean(kind):
        return head + _packed(array)
    if not len(array):
        return head
    width, buffer = _width(kind) // 8, memoryview(array.buffers()[1])
    return head + bytes(buffer[array.offset * width : (array.offset + len(array)) * width])


def _packed(booleans: Any) -> bytes:
    """As bits, the lowest first."""
    return np.packbits(np.asarray(booleans), bitorder="little").tobytes()


def _unpacked(bits: Any, n: int) -> np.ndarray:
    return np.unpackbits(np.frombuffer(bits, np.uint8), count=n, bitorder="little").astype(bool)


def from_bytes(content: bytes, kind: pa.DataType, n: int) -> pa.Array:
    """The inverse, for `n` values of a type that `check_type` lets pass; raises `DamagedLayerError`."""
    try:
        array, rest = _take(memoryview(content), kind, n)
        array.validate(full=True)
    except (pa.ArrowInvalid, pa.ArrowIndexError) as error:
        raise DamagedLayerError(str(error).splitlines()[0]) from None
    if len(rest):
        raise DamagedLayerError(f"{len(rest)} bytes are left over")
    return array


def _take(content: memoryview, kind: pa.DataType, n: int) -> tuple[pa.Array, memoryview]:
    if pt.is_dictionary(kind):
        head, content = _cut(content, _COUNT.size)
        values, content = _take(content, kind.value_type, _COUNT.unpack(head)[0])
        indices, content = _take(content, kind.index_type, n)
        return pa.DictionaryArray.from_arrays(indices, values, ordered=kind.ordered), content
    flag, content = _cut(content, 1)
    there = np.ones(n, bool)
    if flag[0]:
        bits, content = _cut(content, -(-n // 8))
        there = _unpacked(bits, n)
    count = int(there.sum())
    if pt.is_null(kind):
        return pa.nulls(n), content
    if _is_long(kind):
        sizes, content = _cut(content, 4 * count)
        offsets = np.concatenate(([0], np.frombuffer(sizes, "<u4").astype(np.int64).cumsum()))
        data, content = _cut(content, int(offsets[-1]))
        buffers = [None, pa.py_buffer(offsets.tobytes()), pa.py_buffer(bytes(data))]
        values = pa.Array.from_buffers(pa.large_binary(), count, buffers)
        values = values.cast(kind)
    else:
        width = 1 if pt.is_boolean(kind) else _width(kind)
        data, content = _cut(content, -(-count * width // 8))
        values = pa.Array.from_buffers(kind, count, [None, pa.py_buffer(bytes(data))])
    if count < n:
        places = pa.array(there.cumsum() - 1, mask=~there)
        values = values.take(places)
    return values, content


def _cut(content: memoryview, size: int) -> tuple[memoryview, memoryview]:
    if len(content) < size:
        raise DamagedLayerError("they end too early")
    return content[:size], content[size:]
