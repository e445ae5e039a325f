import datetime as dt
import warnings

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fivefold.errors import DataError
from fivefold.tables.inference import infer_table_schema
from fivefold.tables.schema import Column, TableSchema
from fivefold.tables.table import Table, as_items, as_native, decode_rows

TIMES = pd.to_datetime(["2020-01-01 10:00", None, "2021-03-04 05:06:07", "2022-01-01"], format="ISO8601").tz_localize(
    "Europe/Berlin"
)


def pandas_frame():
    return pd.DataFrame(
        {
            "real": [1.5, np.nan, -0.0, 4.25],
            "single": np.array([0.1, 0.2, np.nan, 0.3], np.float32),
            "whole": np.array([3, 4, 5, 9], np.int16),
            "holes": [1, 2, None, 4],
            "nullable": pd.array([100, None, 300, 500], "Int64"),
            "flag": [True, False, False, True],
            "maybe": pd.array([True, None, False, True], "boolean"),
            "objects": np.array([True, None, False, True], object),
            "text": ["x", None, "y", "x"],
            "old text": np.array(["x", None, "y", np.nan], object),
            "level": pd.Categorical(["lo", "hi", None, "lo"], ["lo", "hi"], ordered=True),
            "time": TIMES,
            "day": np.array([dt.date(2020, 1, 1), None, dt.date(2021, 1, 1), dt.date(2022, 1, 1)], object),
            "id": [9, 8, 7, 6],
        },
        index=pd.Index([7, 3, 3, -1], name="key"),
    )


def polars_frame():
    return pl.DataFrame(
        {
            "real": [1.5, None, float("nan"), 4.25],
            "single": pl.Series([0.1, None, 0.2, 0.3], dtype=pl.Float32),
            "whole": pl.Series([3, None, 5, 9], dtype=pl.UInt8),
            "flag": [True, None, False, True],
            "text": ["x", None, "y", "x"],
            "level": pl.Series(["lo", None, "hi", "lo"], dtype=pl.Enum(["lo", "hi"])),
            "named": pl.Series(["lo", None, "hi", "lo"], dtype=pl.Categorical),
            "time": pl.Series([dt.datetime(2020, 1, 1), None, dt.datetime(2021, 1, 1, 5), dt.datetime(2022, 1, 1)]),
            "clock": [dt.time(5), None, dt.time(6, 30), dt.time(7)],
            "span": [dt.timedelta(1), None, dt.timedelta(2), dt.timedelta(4)],
            "id": [9, 8, 7, 6],
        }
    )


def arrow_table():
    table = polars_frame().to_arrow()
    money = pa.array([1, None, 3, 4], pa.decimal128(9, 2))
    views = pa.chunked_array([["x", None], ["y", "x"]], pa.string_view())
    return table.append_column("money", money).append_column("view", views).replace_schema_metadata({"who": "me"})


FRAMES = [pandas_frame(), polars_frame(), arrow_table()]
KINDS = ["pandas", "polars", "arrow"]


def fitted(data):
    table = Table.of(data)
    schema = infer_table_schema(table)
    return table, schema, table.cells(schema)


def assert_same(one, other):
    if isinstance(one, pd.DataFrame):
        pd.testing.assert_frame_equal(one, other, check_exact=True)
    elif isinstance(one, pl.DataFrame):
        assert one.schema == other.schema
        assert one.equals(other)
    elif isinstance(one, pa.Table):
        assert one.schema.equals(other.schema, check_metadata=True)
        assert str(one.to_pylist()) == str(other.to_pylist())  # NaN differs from itself
    else:
        assert one.dtype == other.dtype
        if one.dtype == object:
            assert repr(one.tolist()) == repr(other.tolist())
        else:
            assert one.tobytes() == other.tobytes()


@pytest.mark.parametrize(("data", "kind"), list(zip(FRAMES, KINDS, strict=True)))
def test_what_a_table_is(data, kind):
    table = Table.of(data, "mine")
    assert (table.kind, table.source, len(table), table.native is data) == (kind, "mine", 4, True)
    assert table.names == tuple(map(str, data.columns if kind != "arrow" else data.column_names))
    assert table.arrow.num_rows == 4


@pytest.mark.situation("{id} frames of all their types, untouched", "result right")
@pytest.mark.parametrize("data", FRAMES, ids=KINDS)
def test_all_cells_written_back_is_the_same_frame(data):
    table, schema, cells = fitted(data)
    assert cells.shape == (4, schema.size)
    assert cells.dtype == np.float64
    assert np.isnan(cells).any()
    assert_same(table.replace(schema, cells, np.ones(cells.shape, bool)), data)
    assert_same(table.replace(schema, np.zeros_like(cells), np.zeros(cells.shape, bool)), data)


@pytest.mark.situation("{id} frames with holes", "result right")
@pytest.mark.parametrize("data", FRAMES, ids=KINDS)
def test_missing_cells_are_filled_and_others_stay(data):
    table, schema, cells = fitted(data)
    low = np.array([column.low for column in schema.columns])
    filled = table.replace(schema, np.where(np.isnan(cells), low, cells), np.isnan(cells))
    again = Table.of(filled)
    if isinstance(data, pa.Table):
        assert filled.schema.equals(data.schema, check_metadata=True)
    np.testing.assert_array_equal(again.cells(schema), np.where(np.isnan(cells), low, cells))
    assert again.arrow.schema.equals(table.arrow.schema, check_metadata=True)
    assert_same(table.native, data)
    if isinstance(data, pd.DataFrame):
        assert filled.index.equals(data.index)
        assert (filled.dtypes == data.dtypes).all()
        assert np.signbit(filled["real"].iloc[2])


def test_encoding():
    frame = pandas_frame()
    _, schema, cells = fitted(frame)
    at = {column.name: cells[:, number] for number, column in enumerate(schema.columns)}
    np.testing.assert_array_equal(at["text"], [0, np.nan, 1, 0])
    np.testing.assert_array_equal(at["maybe"], [1, np.nan, 0, 1])
    np.testing.assert_array_equal(at["day"], [18262, np.nan, 18628, 18993])
    np.testing.assert_array_equal(at["time"][[0, 2, 3]] / 1e6, [each.timestamp() for each in TIMES[[0, 2, 3]]])
    assert "id" not in at


@pytest.mark.parametrize("dtype", ["float64", "float32", "int32", "uint8", "bool", "object"])
def test_arrays(dtype):
    values = np.array([[1, 0, 3], [4, 5, 6], [7, 0, 0], [1, 5, 0]]).astype(dtype)
    if dtype == "object":
        values[:, 1] = ["a", None, "b", "a"]
        values[0, 0] = np.nan
    elif values.dtype.kind == "f":
        values[0, 1] = np.nan
    table, schema, cells = fitted(values)
    assert (table.kind, schema.names) == ("numpy", ("x0", "x1", "x2"))
    assert_same(table.replace(schema, cells, np.ones(cells.shape, bool)), values)
    other = table.replace(schema, np.ones_like(cells), np.eye(4, 3) > 0)
    assert other is not values
    assert other.dtype == values.dtype
    assert list(np.diag(other)) == [1, "b" if dtype == "object" else 1, 1]


@given(hnp.arrays(np.float64, (6, 3), elements=st.floats(-1e9, 1e9) | st.just(np.nan)), hnp.arrays(bool, (6, 3)))
@settings(max_examples=40, deadline=None)
def test_replace_is_the_inverse_of_cells(values, where):
    values[0] = 1.0
    for data in (values, pd.DataFrame(values, columns=list("abc")), pl.DataFrame(values, schema=list("abc"))):
        table, schema, cells = fitted(data)
        assert_same(table.replace(schema, cells, where), data)


@given(
    st.lists(st.none() | st.text(st.characters(codec="utf-8"), max_size=4), min_size=3, max_size=9),
    st.lists(st.none() | st.integers(1 - 2**53, 2**53 - 1), min_size=9, max_size=9),
    st.lists(st.none() | st.datetimes(dt.datetime(1700, 1, 1), dt.datetime(2200, 1, 1)), min_size=9, max_size=9),
)
@settings(max_examples=40, deadline=None)
def test_rows_decode_to_what_was_encoded(texts, numbers, times):
    n = len(texts)
    data = pa.table(
        {
            "text": pa.array(texts, pa.string()),
            "number": pa.array(numbers[:n], pa.int64()),
            "time": pa.array(times[:n], pa.timestamp("us")),
            "one": pa.array([True] * n),
        }
    )
    _, schema, cells = fitted(data)
    assert decode_rows(schema, cells).equals(data.select(schema.names))


@pytest.mark.situation("columns in another order, and further ones", "read right")
def test_columns_go_by_name_and_others_are_kept():
    data = polars_frame()
    _, schema, cells = fitted(data)
    other = data.select(reversed(data.columns)).with_columns(more=pl.Series([[1], [2], [3], None]))
    table = Table.of(other)
    np.testing.assert_array_equal(table.cells(schema), cells)
    assert_same(table.replace(schema, cells, ~np.isnan(cells)), other)


@pytest.mark.situation("numbers of another type than in the fit", "read right")
def test_numbers_may_change_their_type_and_range():
    schema = infer_table_schema(Table.of(pd.DataFrame({"a": [1, 2], "b": [0.5, 1.5], "c": [True, False]})))
    frame = pd.DataFrame({"a": [0.25, np.nan], "b": [10**6, 3], "c": ["true", None]})
    np.testing.assert_array_equal(Table.of(frame).cells(schema), [[0.25, 10**6, 1], [np.nan, 3, np.nan]])
    texts = pd.DataFrame({"a": [" 7", "8 "], "b": ["1e3", None], "c": [1, 0]})
    np.testing.assert_array_equal(Table.of(texts).cells(schema), [[7, 1000, 1], [8, np.nan, 0]])
    new = Table.of(frame).replace(schema, np.array([[9.0, 2.4, 0], [9.0, 2.6, 0]]), np.ones((2, 3), bool))
    assert new["b"].tolist() == [2, 3]
    assert new["c"].tolist() == ["false", "false"]


@pytest.mark.situation("dates of another type than in the fit", "read right")
def test_dates_may_change_their_type():
    schema = infer_table_schema(Table.of(pl.DataFrame({"t": [dt.datetime(2020, 1, 1), dt.datetime(2020, 1, 3)]})))
    for values in (
        [dt.date(1970, 1, 2)],
        ["1970-01-02"],
        pl.Series([dt.datetime(1970, 1, 2)], dtype=pl.Datetime("ms")),
    ):
        assert Table.of(pl.DataFrame({"t": values})).cells(schema).tolist() == [[86400e6]]


def test_categories_are_met_by_what_they_say():
    schema = infer_table_schema(Table.of(pd.DataFrame({"a": [1, 2, 2]})), {"columns": {"a": {"kind": "category"}}})
    assert schema.columns[0].categories == (2, 1)
    for values in ([1, 2, None], ["1", "2", None], pd.Categorical(["1", "2", None]), [True, 2.0, None]):
        frame = pd.DataFrame({"a": pd.Series(values, dtype=object) if values[0] is not True else [1.0, 2.0, np.nan]})
        np.testing.assert_array_equal(Table.of(frame).cells(schema), [[1], [0], [np.nan]])


@pytest.mark.situation("categories that the fit has not met", "result right")
def test_new_categories_warn_once_and_stay():
    schema = infer_table_schema(Table.of(pd.DataFrame({"a": ["x", "y", "x"], "b": ["u", "u", "v"]})))
    frame = pd.DataFrame({"a": ["z", "x", "q"], "b": ["w", "u", "v"]}).astype("category")
    table = Table.of(frame, "new.csv")
    with pytest.warns(UserWarning, match="has not met") as met:
        cells = table.cells(schema)
    assert [str(each.message) for each in met] == [
        "new.csv: cells of categories that the model has not met: "
        "column 'a' has 2 (such as 'z'), column 'b' has 1 (such as 'w')"
    ]
    np.testing.assert_array_equal(cells, [[2, 2], [0, 0], [2, 1]])
    assert_same(table.replace(schema, cells, np.ones((3, 2), bool)), frame)
    new = table.replace(schema, np.ones((3, 2)), np.eye(3, 2) > 0)
    assert new["a"].tolist() == ["y", "x", "q"]
    assert new["b"].tolist() == ["w", "v", "v"]


BASE = pd.DataFrame(
    {"age": [1, 2, 3, 5], "when": pd.to_datetime(["2020-01-01"] * 3 + ["2021-01-01"]), "on": [True] * 4}
)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"age": ["1", "2", None, "abc"]}, "column 'age', row 3: must be a number as the model was fitted, got 'abc'"),
        ({"age": pd.to_datetime(["2020-01-01"] * 4)}, "column 'age', row 0: must be a number .*, got 2020-01-01"),
        ({"age": [1, 2, -np.inf, np.inf]}, "column 'age', row 2: must be finite, got -inf"),
        ({"age": [b"1"] * 4}, "column 'age', row 0: must be a number .*, got b'1'"),
        ({"when": ["2020-01-01", "soon", "x", None]}, "column 'when', row 1: must be a date or time .*, got 'soon'"),
        ({"when": [1, 2, 3, 4]}, "column 'when', row 0: must be a date or time .*, got 1"),
        ({"when": [dt.time(4)] * 4}, "column 'when', row 0: must be a date or time .*, got 04:00:00"),
        ({"on": [0, 1, 2, 3]}, "column 'on', row 2: must be true or false as the model was fitted, got 2"),
        ({"on": ["true", "no", "x", ""]}, "column 'on', row 1: must be true or false .*, got 'no'"),
        ({"on": pd.to_datetime(["2020-01-01"] * 4)}, "column 'on', row 0: must be true or false"),
    ],
)
def test_what_does_not_fit(change, message):
    schema = infer_table_schema(Table.of(BASE))
    with pytest.raises(DataError, match=f"^new: {message}"):
        Table.of(BASE.assign(**change), "new").cells(schema)


def test_rows_are_numbered_from_the_files_first():
    schema = infer_table_schema(Table.of(BASE))
    table = Table.of(BASE.assign(age=[1, 2, np.inf, 4]), first=100).part(1, 2)
    with pytest.raises(DataError, match="row 102"):
        table.cells(schema)


@pytest.mark.situation("a table without columns of the fit", "refused in one line")
def test_lacking_columns_are_named():
    schema = infer_table_schema(Table.of(BASE))
    with pytest.raises(
        DataError, match=r"^t: must have columns 'age', 'on' as the model was fitted, got column 'when'$"
    ):
        Table.of(BASE[["when"]], "t").cells(schema)


def test_arrays_go_by_place():
    schema = infer_table_schema(Table.of(pd.DataFrame({"a": [1.0, 2], "b": [3.0, 5]})))
    np.testing.assert_array_equal(Table.of(np.array([[1.0, 2]])).cells(schema), [[1, 2]])
    with pytest.raises(DataError, match="must have 2 columns as the model was fitted, got 3"):
        Table.of(np.ones((1, 3))).cells(schema)
    values = np.array([[np.nan, 1], [np.nan, 2]])
    schema = infer_table_schema(Table.of(values))
    assert schema.names == ("x1",)
    np.testing.assert_array_equal(Table.of(values).cells(schema), [[1], [2]])
    with pytest.raises(DataError, match="must have 2 columns as the model was fitted, got 1"):
        Table.of(values[:, 1:]).cells(schema)


@pytest.mark.parametrize(
    ("data", "got"),
    [
        ([[1, 2]], "list"),
        (pl.LazyFrame({"a": [1]}), "LazyFrame"),
        (pd.Series([1]), "Series"),
        (np.ones(3), r"an array \(3,\) of float64"),
        (np.array([["a"]]), r"an array \(1, 1\) of <U1"),
    ],
)
def test_other_things_are_refused(data, got):
    with pytest.raises(DataError, match=f"^t: must be a pandas or polars DataFrame, a pyarrow Table .*, got {got}"):
        Table.of(data, "t")


@pytest.mark.situation("a frame with two columns of one name", "refused in one line")
@pytest.mark.parametrize(
    "data",
    [
        pd.DataFrame([[1, 2]], columns=["a", "a"]),
        pd.DataFrame([[1, 2]], columns=["1", 1]).rename(columns={"1": "a", 1: "a"}),
        pa.table([pa.array([1]), pa.array([2])], ["a", "a"]),
    ],
)
def test_columns_of_one_name_are_refused(data):
    with pytest.raises(DataError, match="columns must have names of their own, got 'a' 2 times"):
        Table.of(data)


@pytest.mark.situation("objects of several types in a column", "result right: carried, and said")
@pytest.mark.parametrize(
    ("data", "why"),
    [
        (pd.DataFrame({"a": [1, None, "x", 2.5], "b": range(4)}), "its cells are int and str and float"),
        (np.array([[1.5, 1], [None, 2], ["x", 3], [b"y", 4]], object), "its cells are float and str and bytes"),
        (pd.DataFrame({"a": [1j, 2j], "b": [1, 2]}), "its cells are complex"),
        (pd.DataFrame({"a": [10**25, 1], "b": [1, 2]}), "its cells are int"),
        (pd.DataFrame({"a": [np.arange(2), "x"], "b": [1, 2]}), "its cells are ndarray and str"),
    ],
)
def test_objects_of_mixed_types_are_carried(data, why):
    table = Table.of(data)
    schema = infer_table_schema(table)
    assert [reason for _, reason in schema.carried] == [why]
    cells = table.cells(schema)
    done = table.replace(schema, cells, np.zeros(cells.shape, bool))
    assert done.equals(data) if isinstance(data, pd.DataFrame) else (done == data).all()
    with pytest.raises(DataError, match=f"can't be archived: {why}"):
        table.exact(schema)
    other = TableSchema(tuple(Column(name, "real", "double") for name in table.names))
    with pytest.raises(DataError, match=f"column '{table.names[0]}': must be a number as the model was fitted, got"):
        table.cells(other)


@pytest.mark.situation("a column of nothing but missing cells, of any type", "result right: filled in")
@pytest.mark.parametrize("frame", [pd.DataFrame, pl.DataFrame, pa.table], ids=["pandas", "polars", "arrow"])
@pytest.mark.parametrize(
    "values", [[1.5, 2.5, 3.25], [1, 2, 3], ["x", "y", "y"], [True, False, True], [dt.date(2020, 1, 1)] * 3]
)
def test_a_column_of_nothing_is_filled_in(frame, values):
    values = values * 20
    fitted = Table.of(pa.table({"a": values, "b": range(60)}))
    schema = infer_table_schema(fitted)
    cells = fitted.cells(schema)
    for kind in (
        pa.null(),
        pa.float32(),
        pa.int8(),
        pa.string(),
        pa.bool_(),
        pa.date32(),
        pa.timestamp("us"),
        pa.duration("s"),
    ):
        holey = pa.table({"a": pa.nulls(60, kind), "b": range(60)})
        given = holey if frame is pa.table else pl.from_arrow(holey) if frame is pl.DataFrame else holey.to_pandas()
        table = Table.of(given)
        assert np.isnan(table.cells(schema)[:, 0]).all()
        done = Table.of(table.replace(schema, cells, np.isnan(table.cells(schema)))).arrow.column("a")
        assert list(map(str, done.cast(fitted.arrow.column("a").type).to_pylist())) == list(map(str, values)), kind


def test_columns_that_arrow_lacks_are_refused():
    with pytest.raises(DataError, match="can't be turned into Arrow columns"):
        Table.of(pl.DataFrame({"a": pl.Series([1], dtype=pl.Int128)}))


@pytest.mark.parametrize("data", [*FRAMES, np.arange(12.0).reshape(4, 3)], ids=[*KINDS, "numpy"])
def test_numbers_beside_a_table(data):
    table, schema, _ = fitted(data)
    numbers = np.arange(4.0 * schema.size).reshape(4, -1)
    new = table.beside(schema, numbers, numbers > 5)
    assert type(new) is type(data)
    np.testing.assert_array_equal(Table.of(new).cells(infer_table_schema(Table.of(new)))[3], numbers[3])
    if not isinstance(data, np.ndarray):
        assert Table.of(new).names == schema.names
        assert np.isnan(np.asarray(new[schema.names[0]], float)[0])
    if isinstance(data, pd.DataFrame):
        assert new.index.equals(data.index)


@pytest.mark.parametrize("data", [*FRAMES, np.arange(12.0).reshape(4, 3)], ids=[*KINDS, "numpy"])
@pytest.mark.parametrize("rows", [slice(1, 3), slice(0, 4), slice(3, 5), slice(2, 2)])
def test_parts(data, rows):
    table, schema, cells = fitted(data)
    some = table.part(rows.start, rows.stop - rows.start)
    assert len(some) == len(np.arange(4)[rows])
    assert type(some.native) is type(data)
    np.testing.assert_array_equal(some.cells(schema), cells[rows])
    np.testing.assert_array_equal(Table.of(some.native).cells(schema), cells[rows])
    assert_same(some.replace(schema, cells[rows], np.ones(cells[rows].shape, bool)), some.native)


@pytest.mark.parametrize("kind", ["pandas", "polars", "arrow", "numpy"])
def test_new_rows_of_each_kind(kind):
    _, schema, cells = fitted(arrow_table())
    native = as_native(decode_rows(schema, cells), kind)
    assert Table.of(native).kind == kind
    if kind == "numpy":
        assert native.dtype == object
    else:
        np.testing.assert_array_equal(Table.of(native).cells(schema), cells)


@pytest.mark.parametrize("values", [np.eye(3), np.eye(3, dtype=int), np.eye(3) > 0])
def test_new_rows_as_arrays(values):
    _, schema, cells = fitted(values)
    assert_same(as_native(decode_rows(schema, cells), "numpy"), values)


def test_unmet_and_missing_cells_decode_to_null():
    _, schema, _ = fitted(pd.DataFrame({"a": ["x", "y"], "b": [1, 2]}))
    assert decode_rows(schema, np.array([[2, np.nan], [1, 2]])).to_pylist() == [
        {"a": None, "b": None},
        {"a": "y", "b": 2},
    ]


def test_items():
    table, schema, cells = fitted(pandas_frame())
    items = as_items(cells, schema, table.source)
    assert items.values.shape == (4, *schema.shape)
    assert items.source == "table"
    np.testing.assert_array_equal(items.visible()[:, 0, :, 0], ~np.isnan(cells))


@pytest.mark.parametrize(
    "values",
    [
        pd.arrays.SparseArray([1.0, 0.0, np.nan]),
        pd.Series(["a", None, "b"], dtype="string[python]"),
        pd.Series([1, None, 3], dtype=pd.ArrowDtype(pa.int32())),
        pd.Series(["a", None, "b"], dtype=pd.ArrowDtype(pa.string())),
        pd.Series([dt.date(2020, 1, 1), None, dt.date(2021, 1, 1)], dtype=pd.ArrowDtype(pa.date32())),
        pd.Series([dt.time(1), None, dt.time(2)], dtype=object),
        pd.to_timedelta([1, None, 2], unit="s"),
        pd.Categorical([3, None, 5]),
    ],
    ids=lambda values: str(values.dtype),
)
def test_pandas_types(values):
    frame = pd.DataFrame({"a": values, 1: [1.0, 2.0, 3.0]})
    table, schema, cells = fitted(frame)
    assert schema.names == ("a", "1")
    assert_same(table.replace(schema, cells, np.ones(cells.shape, bool)), frame)
    low = np.array([column.low for column in schema.columns])
    filled = table.replace(schema, np.where(np.isnan(cells), low, cells), np.isnan(cells))
    assert (filled.dtypes == frame.dtypes).all()
    assert not filled.isna().any(axis=None)


def test_bits_of_other_cells_stay():
    values = np.array([[1.0], [np.nan], [-0.0]])
    values.view(np.int64)[1] |= 12345
    for data in (
        values,
        pa.table({"a": values[:, 0]}),
        pl.DataFrame({"a": values[:, 0]}),
        pd.DataFrame({"a": values[:, 0]}),
    ):
        table, schema, _ = fitted(data)
        new = table.replace(schema, np.full((3, 1), 2.0), np.array([[True], [False], [False]]))
        bits = (new if isinstance(new, np.ndarray) else new["a"].to_numpy()).reshape(3).view(np.int64)
        assert bits[1:].tolist() == values.reshape(3).view(np.int64)[1:].tolist()


def test_dictionaries_that_differ_between_chunks():
    chunks = [pa.array(["a", None]).dictionary_encode(), pa.array(["b", "a"]).dictionary_encode()]
    data = pa.table({"c": pa.chunked_array(chunks)})
    table, schema, cells = fitted(data)
    new = table.replace(schema, np.ones_like(cells), np.isnan(cells))
    assert new.schema == data.schema
    assert new["c"].to_pylist() == ["a", "b", "b", "a"]


def test_no_rows():
    table, schema, _ = fitted(pandas_frame())
    none = table.part(0, 0)
    cells = none.cells(schema)
    assert cells.shape == (0, schema.size)
    assert_same(none.replace(schema, cells, np.ones(cells.shape, bool)), none.native)


def test_many_rows_are_quick():
    n = 200_000
    frame = pd.DataFrame({"a": np.arange(n) % 7 / 10, "b": np.resize(["x", "y", None], n)})
    with warnings.catch_warnings(action="error"):
        _, schema, cells = fitted(frame)
    assert schema.columns[0].step == 0.1
    assert cells.shape == (n, 2)
