import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fivefold.errors import ModelError
from fivefold.modality import schema_from_json
from fivefold.tables.schema import Column, TableSchema

COLUMNS = (
    Column("real", "real", "double", centre=2.0, spread=0.5, low=-3.0, high=90.0),
    Column("cents", "real", "double", centre=2.0, spread=0.5, low=0.0, high=9.0, step=0.1),
    Column("whole", "integer", "int64", centre=300.0, spread=100.0, low=100.0, high=90_000.0, step=100.0),
    Column("when", "datetime", "timestamp[us]", centre=1e15, spread=1e12, low=9e14, high=1.6e15, step=1e6),
    Column("on", "boolean", "bool", low=0.0, high=1.0),
    Column("cut", "category", "string", ("a", "b", "c"), low=0.0, high=2.0, sentinels=("?", -1)),
    Column("flat", "real", "double", centre=5.0, low=5.0, high=5.0),
)
SCHEMA = TableSchema(COLUMNS, (("id", "identifier: all values differ"),))
FIELDS = SCHEMA.to_json()


def rows(shares):
    """Cells of the schema, at shares of the columns' ranges."""
    low, high = (np.array([getattr(column, end) for column in COLUMNS]) for end in ("low", "high"))
    cells = low + shares * (high - low)
    for at, step in ((2, 100.0), (3, 1e6), (4, 1.0), (5, 1.0)):
        cells[:, at] = np.rint(cells[:, at] / step) * step
    return cells[:, None, :, None]


@given(st.lists(st.lists(st.floats(0, 1), min_size=7, max_size=7), min_size=1, max_size=5))
@settings(max_examples=60, deadline=None)
def test_unit_scale_and_back(shares):
    values = rows(np.array(shares))
    unit = SCHEMA.to_unit(values)
    assert unit.shape == values.shape
    assert unit.dtype == np.float32
    assert (unit >= -1e-6).all()
    assert (unit <= 1 + 1e-6).all()
    back = SCHEMA.from_unit(unit)
    assert back.dtype == np.float64
    extent = np.array([column.high - column.low for column in COLUMNS])[:, None]
    assert (np.abs(back - values) <= 2e-6 * extent + 1e-12).all()
    np.testing.assert_array_equal(back[..., 4:, :], values[..., 4:, :])


def test_missing_stays_and_far_values_are_bounded():
    values = rows(np.full((1, 7), 0.5))
    values[..., 0, 0] = np.nan
    values[..., 2, 0] = 1e300
    unit = SCHEMA.to_unit(values)
    assert np.isnan(unit[0, 0, 0, 0])
    assert unit[0, 0, 2, 0] == 10
    assert SCHEMA.from_unit(unit)[0, 0, 2, 0] == 90_000


def test_snapped_numbers_read_as_they_were_written():
    cells = np.zeros((1, 1, 7, 1))
    cells[0, 0, :, 0] = [1 / 3, 0.3000001, 149.0, 1e15 + 1, 0.6, 1.7, 9.0]
    assert SCHEMA.snap(cells)[0, 0, :, 0].tolist()[1:4] == [0.3, 100.0, 1e15]
    assert SCHEMA.snap(cells)[0, 0, 0, 0] == 1 / 3


def test_what_a_schema_says():
    assert (SCHEMA.shape, SCHEMA.size, SCHEMA.dtype) == ((1, 7, 1), 7, "float64")
    assert SCHEMA.describe() == "7 columns (3 real, 1 integer, 1 datetime, 1 boolean, 1 category)"
    assert [column.classes for column in COLUMNS] == [0, 0, 0, 0, 2, 4, 0]
    assert COLUMNS[2].describe() == "integer in [100, 90000]"
    assert COLUMNS[5].describe() == "category of 3 (a, b, c)"


def test_json_round_trip():
    assert schema_from_json(json.loads(json.dumps(FIELDS))) == SCHEMA


def damaged(at=None, **change):
    """The schema's JSON with fields of its own, or of one column, changed."""
    fields = json.loads(json.dumps(FIELDS))
    (fields if at is None else fields["columns"][at]).update(change)
    return fields


@pytest.mark.parametrize(
    "fields",
    [
        None,
        {},
        {"kind": "table"},
        {"kind": "tables"},
        damaged(columns=[]),
        damaged(columns=None),
        damaged(columns=[None]),
        damaged(columns=FIELDS["columns"][:1] * 2),
        damaged(carried=[["real", "twice"]]),
        damaged(carried=[["a"]]),
        damaged(carried=[[1, 2]]),
        damaged(carried=3),
        damaged(0, name=3),
        damaged(0, dtype=None),
        damaged(0, kind="text"),
        damaged(0, kind=[]),
        damaged(0, spread=0.0),
        damaged(0, spread=float("nan")),
        damaged(0, centre="1"),
        damaged(0, high=-4.0),
        damaged(0, high=float("inf")),
        damaged(0, step=-1.0),
        damaged(0, categories=["a"]),
        damaged(0, more=1),
        damaged(0, sentinels=[None]),
        damaged(0, sentinels=None),
        damaged(4, high=2.0),
        damaged(5, categories=[]),
        damaged(5, categories=["a", "a", "b"]),
        damaged(5, categories=["a", ["b"], "c"]),
        damaged(5, categories=list(range(300)), high=299.0),
        damaged(5, high=3.0),
    ],
)
def test_damaged_json_is_refused(fields):
    with pytest.raises(ModelError, match="the model's schema is damaged"):
        schema_from_json(fields)
