"""Columns stored verbatim."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest

from fivefold.archive.layers import DamagedLayerError
from fivefold.tables.verbatim import pack_verbatim, to_bytes, unpack_verbatim, verbatim_part

_COLUMNS = {
    "even": pa.array(np.arange(500) * 1000),
    "falling": pa.array(-np.arange(500, dtype=np.int32)),
    "wrapping": pa.array(np.array([2**63 - 1, -(2**63)] * 250)),
    "unsigned": pa.array(np.arange(500, dtype=np.uint64) + np.uint64(2**63)),
    "hourly": pa.array([datetime(2026, 1, 1) + timedelta(hours=at) for at in range(500)]),
    "holey": pa.array([None, *range(499)]),
    "small": pa.array(np.arange(500, dtype=np.int16)),
    "text": pa.array(["a", "b"] * 250),
    "real": pa.array(np.arange(500) / 7),
}


def _there_and_back(columns):
    table = pa.table(columns)
    arrays = [column.combine_chunks() for column in table.columns]
    layer = pack_verbatim([verbatim_part(array, None) for array in arrays], 1 << 20)
    coded, found = unpack_verbatim(layer, table.schema, set(), len(table), 1 << 20)
    assert [to_bytes(array) for array in found] == [to_bytes(array) for array in arrays]
    assert not any(where.any() for where in coded)
    return len(layer)


def test_every_column_comes_back():
    _there_and_back(_COLUMNS)


@pytest.mark.parametrize("name", ["even", "falling", "unsigned", "hourly"])
def test_steady_columns_take_next_to_nothing(name):
    assert _there_and_back({name: _COLUMNS[name]}) < 60


def test_one_row_and_none():
    for n in (0, 1):
        _there_and_back({name: column[:n] for name, column in _COLUMNS.items()})


@pytest.mark.parametrize("kind", [pa.float64(), pa.int16(), pa.string()])
def test_differences_of_what_has_none(kind):
    part = verbatim_part(pa.array(np.arange(500)), None)
    layer = pack_verbatim([part], 1 << 20)
    with pytest.raises(DamagedLayerError, match="as differences"):
        unpack_verbatim(layer, pa.schema({"x": kind}), set(), 500, 1 << 20)
