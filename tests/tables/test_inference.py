import datetime as dt
import re
from decimal import Decimal

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from fivefold.errors import DataError, UsageError
from fivefold.tables.cells import encode_column
from fivefold.tables.inference import infer_table_schema
from fivefold.tables.schema import Column, TableSchema
from fivefold.tables.table import Table

N = 400


def infer(columns, overrides=None):
    data = columns if isinstance(columns, pd.DataFrame | pl.DataFrame | pa.Table | np.ndarray) else pa.table(columns)
    return infer_table_schema(Table.of(data, "t"), overrides)


def only(values, **asked):
    """The column that these values become."""
    return infer({"a": values}, {"columns": {"a": asked}} if asked else None).columns[0]


def reason(values, name="a", **asked):
    schema = infer(
        {name: values, "other": pa.array([1.0] * len(values))}, {"columns": {name: asked}} if asked else None
    )
    assert schema.names == ("other",)
    ((carried, why),) = schema.carried
    assert carried == name
    return why


NUMBERS = np.arange(N)
DAYS = [dt.date(2020, 1, 1) + dt.timedelta(int(day)) for day in NUMBERS % 31]


@pytest.mark.parametrize(
    ("values", "kind", "dtype"),
    [
        (NUMBERS, "integer", "int64"),
        (NUMBERS.astype(np.uint16), "integer", "uint16"),
        (NUMBERS / 7, "real", "double"),
        ((NUMBERS / 7).astype(np.float32), "real", "float"),
        (pa.array([Decimal(each) for each in range(N)], pa.decimal128(9, 2)), "real", "decimal128(9, 2)"),
        (NUMBERS > 7, "boolean", "bool"),
        (DAYS, "datetime", "date32[day]"),
        (pa.array(DAYS).cast(pa.timestamp("ms", "Asia/Tokyo")), "datetime", "timestamp[ms, tz=Asia/Tokyo]"),
        (pa.array(NUMBERS).cast(pa.duration("s")), "datetime", "duration[s]"),
        (pa.array(NUMBERS).cast(pa.time64("us")), "datetime", "time64[us]"),
        (pa.array(NUMBERS % 3).cast(pa.string()), "category", "string"),
        (pa.array(NUMBERS % 3).cast(pa.large_string()), "category", "string"),
        (pa.array(NUMBERS % 3).dictionary_encode(), "category", "int64"),
        (pa.array(["x"] * N).dictionary_encode(), "category", "string"),
        (pa.array(DAYS).dictionary_encode(), "datetime", "date32[day]"),
    ],
)
def test_kinds(values, kind, dtype):
    column = only(values)
    assert (column.kind, column.dtype) == (kind, dtype)
    assert TableSchema.from_json(TableSchema((column,)).to_json()) == TableSchema((column,))


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ([f"{at}" for at in range(N)], "identifier: all values differ"),
        ([f"{at % 399}" for at in range(N)], "free text: 399 different values"),
        (pa.array([None] * N), "all values are missing"),
        (np.full(N, np.nan), "all values are missing"),
        ([[1]] * N, "its type list<.*> is not modelled"),
        ([b"x"] * N, "its type binary is not modelled"),
        ([{"x": 1}] * N, "its type struct<.*> is not modelled"),
        ([1, 2**53 + 1], "its integers are beyond 2.53"),
        ([1.0, 1e200], "its numbers are beyond 1e.150"),
        (pa.array(range(N)).dictionary_encode(), "identifier: all values differ"),
        (pa.array([each % 390 for each in range(N)]).dictionary_encode(), "category of 390 different values"),
    ],
)
def test_carried(values, why):
    assert re.fullmatch(why, reason(values))


@pytest.mark.situation("a column of keys, called id, uuid, Unnamed: 0, …", "read right")
@pytest.mark.parametrize("name", ["id", "ID", "user_id", "Index", "uuid", "rowid", "Unnamed: 0"])
def test_keys_are_carried_if_they_differ(name):
    assert reason(NUMBERS, name) == "identifier: all values differ"
    assert infer({name: NUMBERS % 9}).columns[0].kind == "integer"
    assert infer({name: NUMBERS}, {"columns": {name: {"kind": "integer"}}}).columns[0].kind == "integer"


@pytest.mark.situation("an index that pandas wrote into the file", "read right")
def test_pandas_index_in_a_file_is_carried():
    assert reason(NUMBERS % 2, "__index_level_0__") == "index of a pandas DataFrame"


@pytest.mark.situation(
    "a column of more categories than can be modelled", "result right: the 255 most frequent are, others as one of them"
)
def test_other_categories_share_the_codes_of_the_most_frequent():
    values = [f"often {at % 255}" for at in range(1000)] + [f"seldom {at}" for at in range(100)]
    table = pa.table({"a": pa.array(values), "b": range(1100)})
    column = infer_table_schema(Table.of(table)).columns[0]
    assert column.hashed
    assert {name.split()[0] for name in column.categories} == {"often"}
    assert Column.from_json(column.to_json()) == column
    cells = encode_column(table.column("a"), column, "t")
    assert cells.max() < len(column.categories) == 255
    assert len(np.unique(cells[1000:])) > 50
    again = encode_column(table.column("a").slice(1050), column, "t")
    np.testing.assert_array_equal(again, cells[1050:])
    assert only(range(300), kind="category").hashed


def test_how_many_categories_are_few():
    assert len(only([f"{at}" for at in range(20)]).categories) == 20
    assert reason([f"{at}" for at in range(21)]) == "identifier: all values differ"
    assert len(only([f"{at % 100}" for at in range(N)]).categories) == 100
    assert reason([f"{at % 101}" for at in range(N)]) == "free text: 101 different values"
    assert len(only([f"{at % 255}" for at in range(1200)]).categories) == 255
    assert reason([f"{at % 300}" for at in range(599)]) == "free text: 300 different values"


def test_categories_do_not_depend_on_the_order_of_rows():
    values = np.array(["b"] * 3 + ["a"] * 3 + ["c"] * 5 + ["d"], object)
    column = only(values)
    assert column.categories == ("c", "a", "b", "d")
    assert (column.low, column.high, column.classes) == (0, 3, 5)
    assert only(np.random.default_rng(0).permutation(values)) == column


@pytest.mark.parametrize(
    ("values", "step"),
    [
        ([1.0, 2, 7], 1),
        ([0.5, 2, 7], 0.5),
        ([0.25, 2, 7], 0.25),
        ([0.1, 0.2, 0.3, 0.7], 0.1),
        ([0.15, 0.2], 0.05),
        (np.arange(9999) / 100, 0.01),
        ((np.arange(9999) / 100).astype(np.float32), 0.01),
        ([1.005, 2], 0.005),
        ([1e-6, 1], 1e-6),
        ([1 / 3, 2 / 7], 0),
        ([1e-7, 1], 0),
        ([2.0**60, 1 / 3], 0),
        ([100, 300, 700], 100),
        ([-6, 9], 3),
        ([0, 0], 1),
        ([1, 2], 1),
        (pa.array([dt.datetime(2020, 1, 1), dt.datetime(2020, 1, 2)], pa.timestamp("us")), 86400e6),
    ],
)
def test_steps(values, step):
    assert only(values).step == step


def test_statistics():
    column = only([1.0, 2, 3, 4, None, 100])
    assert (column.centre, column.low, column.high) == (3, 1, 100)
    assert column.spread == pytest.approx(2 / 1.349)
    assert only([1.0] * 9 + [2.0]).spread == pytest.approx(0.3)
    assert only([5, 5, 5]).spread == 1
    assert only([7.5]).spread == 1
    assert only([True, True]).low == 1
    rng = np.random.default_rng(0)
    many = only(np.append(rng.normal(3, 2, 500_000), 99.0))
    assert (many.centre, many.spread) == (pytest.approx(3, abs=0.05), pytest.approx(2, abs=0.05))
    assert many.high == 99


def test_missing_values_do_not_count():
    frame = pd.DataFrame({"a": [1.5, None, 3], "b": ["x", None, np.nan], "c": pd.array([1, None, 3], "Int64")})
    schema = infer(frame)
    assert [column.kind for column in schema.columns] == ["real", "category", "integer"]
    assert schema.columns[1].categories == ("x",)
    assert infer(pl.from_pandas(frame)).columns == schema.columns


def test_overrides():
    columns = {"zip": [101, 102, 101], "age": ["31", "?", "-999"], "on": [0, 1, 1], "notes": ["a", "b", "c"]}
    asked = {
        "zip": {"kind": "category"},
        "age": {"missing": [-999, "?"]},
        "on": {"kind": "boolean"},
        "notes": {"kind": "carried"},
    }
    schema = infer(columns, {"columns": asked})
    zips, age, on = schema.columns
    assert (zips.categories, zips.dtype) == ((101, 102), "int64")
    assert (age.kind, age.dtype, age.low, age.high, age.sentinels) == ("integer", "int64", 31, 31, (-999, "?"))
    assert (on.kind, on.dtype, on.low, on.high) == ("boolean", "int64", 0, 1)
    assert schema.carried == (("notes", "as `schema` asks"),)
    cells = Table.of(pa.table(columns)).cells(schema)
    np.testing.assert_array_equal(cells, [[0, 31, 0], [1, np.nan, 1], [0, np.nan, 1]])
    assert TableSchema.from_json(schema.to_json()) == schema


@pytest.mark.parametrize(
    ("values", "kind", "dtype", "low"),
    [
        ([1, 2], "real", "int64", 1),
        ([1.0, 2.0], "integer", "double", 1),
        (["1.5", "2"], "real", "double", 1.5),
        (["1", "2"], "integer", "int64", 1),
        (["true", "false"], "boolean", "bool", 0),
        (["1970-01-02", "1970-01-03"], "datetime", "string", 1),
        ([True, False], "category", "bool", 0),
        ([0.5, 1.5], "category", "double", 0),
        ([dt.date(2020, 1, 1)], "category", "date32[day]", 0),
    ],
)
def test_kinds_that_are_asked_for(values, kind, dtype, low):
    column = only(values, kind=kind)
    assert (column.kind, column.dtype, column.low) == (kind, dtype, low)
    table = Table.of(pa.table({"a": values}))
    schema = TableSchema((column,))
    cells = table.cells(schema)
    assert not np.isnan(cells).any()
    assert table.replace(schema, cells[::-1], np.ones(cells.shape, bool))["a"].to_pylist() == [*reversed(values)]


@pytest.mark.parametrize("values", [[-999, 5, 7], [-999.0, 5, 7], ["-999", "5", "7"]])
@pytest.mark.parametrize("sentinel", [-999, -999.0, "-999"])
def test_sentinels(values, sentinel):
    column = only(values, missing=[sentinel, "?"])
    assert (column.low, column.high) == (5, 7)


def test_all_missing_by_sentinels():
    assert reason([-1, -1], missing=[-1]) == "all values are missing"


@pytest.mark.parametrize(
    ("values", "kind", "message"),
    [
        (["1", "x"], "real", "column 'a', row 1: must be a number as `schema` asks, got 'x'"),
        ([1, 2.5], "integer", "column 'a', row 1: must be an integer as `schema` asks, got 2.5"),
        ([1, 2], "boolean", "column 'a', row 1: must be true or false as `schema` asks, got 2"),
        ([1, 2], "datetime", "column 'a', row 0: must be a date or time as `schema` asks, got 1"),
    ],
)
def test_what_can_not_be_as_asked(values, kind, message):
    with pytest.raises(DataError, match=f"^t: {message}"):
        only(list(values), kind=kind)


@pytest.mark.situation("a schema that can't be", "refused in one line")
@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ([], "`schema` must hold"),
        ({"colums": {}}, "`schema` must hold"),
        ({"columns": []}, "`schema` must hold"),
        ({"columns": {"b": {}}}, "`schema` or `missing`: there is no column 'b'; there are 'a'"),
        ({"columns": {"a": "real"}}, "`schema`: column 'a' may have 'kind', 'missing' and 'format', got 'real'"),
        ({"columns": {"a": {"type": 1}}}, "`schema`: column 'a' may have 'kind', 'missing' and 'format', got 'type'"),
        ({"columns": {"a": {"kind": "text"}}}, "`schema`: column 'a': kind must be one of real, .*, got 'text'"),
        ({"columns": {"a": {"kind": []}}}, r"`schema`: column 'a': kind must be one of .*, got \[\]"),
        ({"columns": {"a": {"missing": -1}}}, "`schema`: column 'a': missing must be a list of values, got -1"),
        ({"columns": {"a": {"missing": [None]}}}, "`schema`: column 'a': missing must be a list"),
    ],
)
def test_overrides_that_are_refused(overrides, message):
    with pytest.raises(UsageError, match=f"^{message}"):
        infer({"a": [1.0]}, overrides)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"a": pa.array([], pa.int64())}, "must have rows, got none"),
        ({"a": [1.0, np.inf]}, "column 'a', row 1: must be finite, got inf"),
        ({"a": pa.array([None, None])}, "none of its columns can be modelled .'a': all values are missing."),
        (pd.DataFrame(index=[1, 2]), "none of its columns can be modelled .there are none."),
        (np.ones((2, 0)), "none of its columns can be modelled"),
    ],
)
def test_tables_that_are_refused(data, message):
    with pytest.raises(DataError, match=f"^t: {message}"):
        infer(data)


@pytest.mark.situation("a table of one row", "refused in one line")
def test_one_row():
    assert infer({"a": [1.5], "b": ["x"], "id": [3]}).names == ("a", "b", "id")
