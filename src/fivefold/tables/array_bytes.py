"""Arrow arrays as bytes, and back: the format of columns that archives store verbatim. No torch here.

`u8` whether any is null and, if so, a bit for each value, the lowest first, 1 where there is one. Then the values that are
there: of a fixed width one after the other, little-endian; booleans as bits; text and bytes as their lengths, `u32` each,
and all of them. A dictionary comes first: `u32` how many values, and these, likewise; then the places in it.
"""

from __future__ import annotations

import struct

import numpy as np
import pyarrow as pa
from pyarrow import types as pt

from fivefold.errors import DataError

_COUNT = struct.Struct("<I")


class DamagedBytesError(ValueError):
    """The bytes are not what `to_bytes` writes."""


def check_type(kind: pa.DataType, name: str, source: str) -> None:
    """Raise `DataError` if arrays of this type can't be turned into bytes here."""
    if not (_is_plain(kind) or (pt.is_dictionary(kind) and _is_plain(kind.value_type))):
        raise DataError(f"{source}: column {name!r} of {kind} can't go into an archive: it is no number, text or time")


def _is_plain(kind: pa.DataType) -> bool:
    return pt.is_null(kind) or _is_long(kind) or _width(kind) > 0


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
    there = array.is_valid().to_numpy(zero_copy_only=False)
    head = b"\0" if there.all() else b"\1" + np.packbits(there, bitorder="little").tobytes()
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
        return head + np.packbits(array.to_numpy(zero_copy_only=False), bitorder="little").tobytes()
    width = _width(kind) // 8
    buffer = array.buffers()[1]
    return head + (
        buffer[array.offset * width : (array.offset + len(array)) * width].to_pybytes() if len(array) else b""
    )


def from_bytes(content: bytes, kind: pa.DataType, n: int) -> pa.Array:
    """The inverse, for `n` values of a type that `check_type` lets pass; raises `DamagedBytesError`."""
    try:
        array, rest = _take(memoryview(content), kind, n)
        array.validate(full=True)
    except (pa.ArrowInvalid, pa.ArrowIndexError) as error:
        raise DamagedBytesError(str(error).splitlines()[0]) from None
    if len(rest):
        raise DamagedBytesError(f"{len(rest)} bytes are left over")
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
        there = np.unpackbits(np.frombuffer(bits, np.uint8), count=n, bitorder="little").astype(bool)
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
        raise DamagedBytesError("they end too early")
    return content[:size], content[size:]
