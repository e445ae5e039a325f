"""Arrow arrays as bytes: all kinds come back, and what is damaged is told."""

from __future__ import annotations

import datetime
import decimal

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fivefold.errors import DataError
from fivefold.tables.array_bytes import DamagedBytesError, check_type, from_bytes, to_bytes

ARRAYS = [
    pa.array([1, None, 3]),
    pa.array([1, 2, 3, None, 5])[1:],
    pa.array([2**63], pa.uint64()),
    pa.array(["a", None, "", "é"]),
    pa.array(["a", "b", "c"] * 9)[5:20],
    pa.array(["x", "y"], pa.large_string()),
    pa.array([], pa.string()),
    pa.array([b"xx", None], pa.binary()),
    pa.array([b"xx", None], pa.binary(2)),
    pa.array([True, None, False]),
    pa.array([True, False] * 10)[3:9],
    pa.array([None, None]),
    pa.array([1.5, None], pa.float16()),
    pa.array([decimal.Decimal("1.5"), None]),
    pa.array([datetime.date(2020, 1, 1)]),
    pa.array([1, None], pa.timestamp("ns", "UTC")),
    pa.array([1, None], pa.duration("us")),
    pa.array([(1, 2, 3)], pa.month_day_nano_interval()),
    pa.array(["a", "b", "a", None]).dictionary_encode(),
    pa.DictionaryArray.from_arrays(pa.array([1, None, 0], pa.int8()), pa.array(["unused", "b", "c"]), ordered=True),
]


@pytest.mark.parametrize("array", ARRAYS, ids=lambda array: str(array.type))
def test_they_come_back(array):
    check_type(array.type, "column", "table")
    found = from_bytes(to_bytes(array), array.type, len(array))
    found.validate(full=True)
    assert found.type == array.type
    assert found.equals(array)


def test_nan_and_zero_keep_their_bits():
    bits = np.array([0x7FF8000000000001, 0xFFF800000000BEEF, 1 << 63, 0], np.uint64)
    found = from_bytes(to_bytes(pa.array(bits.view(float))), pa.float64(), 4)
    assert found.to_numpy().view(np.uint64).tolist() == bits.tolist()


@pytest.mark.parametrize("kind", [pa.list_(pa.int8()), pa.struct([("a", pa.int8())]), pa.map_(pa.int8(), pa.int8())])
def test_nested_types_are_refused_by_name(kind):
    with pytest.raises(DataError, match=r"column 'c' of .* can't go into an archive"):
        check_type(kind, "c", "t")


@given(st.data())
def test_damage_is_told_or_harmless(data):
    array = data.draw(st.sampled_from(ARRAYS))
    content = bytearray(to_bytes(array))
    if content:
        at = data.draw(st.integers(0, len(content) - 1))
        content[at] ^= data.draw(st.integers(1, 255))
    try:
        found = from_bytes(bytes(content), array.type, len(array))
    except DamagedBytesError:
        return
    found.validate(full=True)
    assert len(found) == len(array)


def test_too_few_and_too_many_bytes():
    content = to_bytes(pa.array([1, 2, 3]))
    for wrong in (content[:-1], b"", content[:1]):
        with pytest.raises(DamagedBytesError, match="too early"):
            from_bytes(wrong, pa.int64(), 3)
    with pytest.raises(DamagedBytesError, match="1 bytes are left over"):
        from_bytes(content + b"x", pa.int64(), 3)
    dictionary = to_bytes(pa.array(["a", "b"]).dictionary_encode())
    with pytest.raises(DamagedBytesError, match="out of bounds"):
        from_bytes(dictionary[:-1] + b"\1", pa.dictionary(pa.int32(), pa.string()), 2)
