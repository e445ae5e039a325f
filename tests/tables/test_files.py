import datetime as dt
import gzip
import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import feather

from fivefold.errors import DataError, UsageError
from fivefold.tables import dataset
from fivefold.tables.files import OUTPUT_ENDINGS, TableOutput, TableReader, is_table_path
from fivefold.tables.inference import infer_table_schema
from fivefold.tables.table import Table

N = 50


def rows(n=N):
    return pa.table(
        {
            "whole": pa.array([None if at == 3 else at for at in range(n)], pa.int64()),
            "real": pa.array([None if at == 4 else at / 10 for at in range(n)]),
            "text": pa.array([None if at == 5 else "a,b" if at % 2 else 'say "x"\n' for at in range(n)]),
            "flag": pa.array([at % 3 == 0 for at in range(n)]),
            "day": pa.array([dt.date(2020, 1, 1 + at % 28) for at in range(n)]),
        }
    )


def write(path, table=None, parts=1):
    table = rows() if table is None else table
    size = -(-len(table) // parts)
    TableOutput.at(path).write(table.slice(at, size) for at in range(0, len(table), size))
    return path


def lay(path, text, encoding="utf-8"):
    path.write_bytes(gzip.compress(text.encode(encoding)) if path.suffix == ".gz" else text.encode(encoding))
    return path


@pytest.mark.situation("tables in files, {ending}", "result right")
@pytest.mark.parametrize("ending", [*OUTPUT_ENDINGS, ".CSV", ".Csv.GZ", ".PARQUET"])
@pytest.mark.parametrize("parts", [1, 4])
def test_round_trip(tmp_path, ending, parts):
    path = write(tmp_path / f"a{ending}", parts=parts)
    assert is_table_path(path)
    assert is_table_path(str(path))
    table = TableReader(path).read()
    assert (table.kind, table.source, table.arrow) == ("arrow", str(path), rows())
    assert list(tmp_path.iterdir()) == [path]
    for schema in (None, infer_table_schema(table)):
        reader = TableReader(path, schema, batch_rows=15)
        assert reader.names == tuple(rows().column_names)
        assert reader.rows in (N, None)
        assert (reader.rows is None) == TableOutput(path).is_text
        for _ in range(2):
            batches = list(reader)
            assert [len(each) for each in batches] == [15, 15, 15, 5]
            assert [each.first for each in batches] == [0, 15, 30, 45]
            assert pa.concat_tables([each.arrow for each in batches]) == rows()


def test_csv_text(tmp_path):
    table = pa.table(
        {
            "a,b": [1, None, -3],
            "r": [0.1, float("nan"), 2.0],
            "t": pa.array(["x", "y;\t", 'q"'], pa.string()),
            "c": pa.array(["u", None, "u"]).dictionary_encode(),
        }
    )
    assert write(tmp_path / "a.csv", table).read_text() == '"a,b",r,t,c\n1,0.1,x,u\n,,y;\t,\n-3,2,"q""",u\n'
    assert write(tmp_path / "a.tsv", table).read_text() == 'a,b\tr\tt\tc\n1\t0.1\tx\tu\n\t\t"y;\t"\t\n-3\t2\t"q"""\tu\n'
    once = write(tmp_path / "a.csv.gz", table).read_bytes()
    assert gzip.decompress(once) == (tmp_path / "a.csv").read_bytes()
    assert write(tmp_path / "b.csv.gz", table).read_bytes() == once


@pytest.mark.situation("empty cells, NaN, NA and null in CSV", "read right")
def test_what_is_missing_in_csv(tmp_path):
    path = lay(tmp_path / "a.csv", "\ufeffa,b\n1,x\nNA,NA\nNaN,\n,null\n\n2,y\n")
    assert TableReader(path).read().arrow.to_pydict() == {
        "a": [1, None, None, None, 2],
        "b": ["x", None, None, None, "y"],
    }


def test_one_column_keeps_its_missing_cells(tmp_path):
    table = pa.table({"a": [1, None, 3]})
    assert TableReader(write(tmp_path / "a.csv", table)).read().arrow == table


def test_csv_types_come_from_the_schema(tmp_path):
    def text(zips, ages):
        return "id,zip,age,when,on\n" + "".join(
            f"0{at},{code},{age},2020-01-0{at},true\n" for at, (code, age) in enumerate(zip(zips, ages, strict=True), 1)
        )

    fitted = lay(tmp_path / "a.csv", text(["01", "02", "x"], [1, 2, 3]))
    schema = infer_table_schema(TableReader(fitted).read(), {"columns": {"id": {"kind": "carried"}}})
    new = lay(tmp_path / "b.csv", text(["01", "02"], ["1.5", ""]))
    for table in (TableReader(new, schema).read(), *TableReader(new, schema)):
        assert table.arrow["zip"].to_pylist() == ["01", "02"]
        assert table.arrow["id"].to_pylist() == ["01", "02"]
        cells = table.cells(schema)
        np.testing.assert_array_equal(cells[:, 1], [1.5, np.nan])
    TableOutput.at(tmp_path / "c.csv").write([table.replace(schema, cells, np.isnan(cells))])
    assert (tmp_path / "c.csv").read_text() == new.read_text()


@pytest.mark.situation("-999 or ? for missing, with `--schema`", "read right")
def test_sentinels_in_csv(tmp_path):
    path = lay(tmp_path / "a.csv", "age\n31\n?\n-999\n47\n")
    schema = infer_table_schema(TableReader(path).read(), {"columns": {"age": {"missing": ["?", -999]}}})
    assert (schema.columns[0].kind, schema.columns[0].low) == ("integer", 31)
    np.testing.assert_array_equal(TableReader(path, schema).read().cells(schema)[:, 0], [31, np.nan, np.nan, 47])


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.csv", "", "is empty"),
        ("a.csv.gz", "", "has no rows"),
        ("a.csv", "a,b\n", "has no rows"),
        ("a.csv", "a,b", "has no rows"),
        ("a.csv", "a,b\n1,2\n1,2,3\n", "line 3: must have 2 columns, got 3"),
        ("a.tsv.gz", "a\tb\n1\t2\n1\n", "line 3: must have 2 columns, got 1"),
        ("a.csv", "a,b,a\n1,2,3\n", "columns must have names of their own, got 'a' more than once"),
    ],
)
def test_csv_that_is_refused(tmp_path, whole, name, text, message):
    path = lay(tmp_path / name, text)
    with pytest.raises(DataError, match=f"^{path}: {message}$"):
        TableReader(path).read() if whole else list(TableReader(path))


def test_a_type_that_changes_later(tmp_path):
    path = lay(tmp_path / "a.csv", "a,age\n" + "1,20000\n" * 600_000 + "1,abc\n")
    with pytest.raises(
        DataError, match="column 'age', line 600002: must be an integer like the rows before, got 'abc'"
    ):
        list(TableReader(path))
    schema = infer_table_schema(Table.of(pa.table({"a": [1.5, 2.5], "age": [1, 2]})))
    for whole in (True, False):
        with pytest.raises(
            DataError, match=r"column .age., line 600002: must be an? (integer|number) as the model was fitted"
        ):
            TableReader(path, schema).read().cells(schema) if whole else list(TableReader(path, schema))


@pytest.mark.situation("Parquet, Arrow, Feather, gzipped CSV: {damage}", "refused in one line")
@pytest.mark.parametrize("name", ["a.parquet", "a.arrow", "a.feather", "a.csv.gz"])
@pytest.mark.parametrize("damage", ["garbage", "cut", "flipped"])
def test_damaged_files(tmp_path, name, damage):
    path = write(tmp_path / name, rows(5000))
    data = bytearray(path.read_bytes())
    if damage == "garbage":
        data = b"no table at all, but long enough"
    elif damage == "cut":
        data = data[: len(data) // 2]
    else:
        data[-12:] = bytes(12)
    path.write_bytes(data)
    with pytest.raises(DataError, match=f"^{path}: "):
        TableReader(path).read()
    with pytest.raises(DataError, match=f"^{path}: "):
        list(TableReader(path))


@pytest.mark.situation("a file that is no table", "refused in one line")
def test_what_is_no_table(tmp_path):
    (tmp_path / "b.csv").mkdir()
    cases = [
        ("a.csv", "no such file"),
        ("b.csv", "must be a file, got a folder"),
        ("c.ods", r"must be a table \(.csv, "),
    ]
    for name, message in cases:
        assert is_table_path(name) == name.endswith("csv")
        with pytest.raises(DataError, match=message):
            TableReader(tmp_path / name).read()


def test_offsets_that_lead_out_of_the_file(tmp_path):
    path, offsets = tmp_path / "a.arrow", np.array([0, 2, 5, 9], "<i4").tobytes()
    table = pa.table({"text": ["ab", "cde", "fghi"]})
    with pa.ipc.new_file(str(path), table.schema) as writer:
        writer.write_table(table)
    content = path.read_bytes()
    assert content.count(offsets) == 1
    path.write_bytes(content.replace(offsets, np.array([0, 2, 1 << 28, 1 << 30], "<i4").tobytes()))
    with pytest.raises(DataError, match="is it damaged"):
        list(TableReader(path))


@pytest.mark.parametrize("ending", ["parquet", "arrow", "feather"])
def test_no_rows(tmp_path, ending):
    path = write(tmp_path / f"a.{ending}", rows(1))
    TableOutput.at(path, force=True).write([rows(0)])
    with pytest.raises(DataError, match="has no rows"):
        TableReader(path).read()
    with pytest.raises(DataError, match="has no rows"):
        list(TableReader(path))


@pytest.mark.situation("Parquet with two columns of one name", "refused in one line")
def test_names_must_differ_in_parquet(tmp_path):
    pq.write_table(pa.table([[1], [2]], ["a", "a"]), tmp_path / "a.parquet")
    with pytest.raises(DataError, match="columns must have names of their own, got 'a' more than once"):
        TableReader(tmp_path / "a.parquet").read()


@pytest.mark.situation("types and metadata of {ending}", "result right")
@pytest.mark.parametrize("ending", ["parquet", "arrow"])
def test_types_and_metadata_are_kept(tmp_path, ending):
    table = rows().append_column("c", rows()["text"].dictionary_encode()).replace_schema_metadata({"who": "me"})
    other = table.slice(30).set_column(5, "c", pa.array(["new"] * 20).dictionary_encode())
    path = tmp_path / f"a.{ending}"
    TableOutput.at(path).write([table.slice(0, 30), other])
    met = TableReader(path).read().arrow
    assert met.schema.metadata[b"who"] == b"me"
    assert met.schema.types == table.schema.types
    assert met["c"].to_pylist() == table["c"].to_pylist()[:30] + ["new"] * 20
    assert next(iter(TableReader(path))).arrow.schema.metadata[b"who"] == b"me"


@pytest.mark.situation("Arrow streams and old Feather files", "read right")
def test_streams_and_old_feather(tmp_path):
    buffer = io.BytesIO()
    with pa.ipc.new_stream(buffer, rows().schema) as writer:
        writer.write_table(rows())
    (tmp_path / "a.arrow").write_bytes(buffer.getvalue())
    assert TableReader(tmp_path / "a.arrow").read().arrow == rows()
    assert [len(each) for each in TableReader(tmp_path / "a.arrow", batch_rows=40)] == [40, 10]
    plain = rows().select(["whole", "text"])
    feather.write_feather(plain, str(tmp_path / "b.feather"), compression="lz4")
    assert TableReader(tmp_path / "b.feather").read().arrow == plain


def test_outputs(tmp_path):
    with pytest.raises(UsageError, match=r"^`table` must be \.csv, .* or \.xlsx; got a\.png$"):
        TableOutput.at("a.png", flag="table")
    path = write(tmp_path / "new" / "a.csv")
    with pytest.raises(UsageError, match="exists; give `force`"):
        TableOutput.at(path)
    (tmp_path / "b.csv").mkdir()
    with pytest.raises(UsageError, match="is a folder; give another `output`"):
        TableOutput.at(tmp_path / "b.csv", force=True)
    with pytest.raises(DataError, match="there is nothing to write"):
        TableOutput.at(path, force=True).write([])
    for ending in ("csv", "parquet"):
        with pytest.raises(DataError, match="rows must be of the first ones' types"):
            TableOutput.at(tmp_path / f"c.{ending}").write([rows(), rows().select(["text"])])
    with pytest.raises(DataError, match=r"column 'a' of type list.* can't be written as CSV"):
        TableOutput.at(tmp_path / "c.csv").write([pa.table({"a": [[1]]})])
    assert sorted(each.name for each in tmp_path.iterdir()) == ["b.csv", "new"]
    assert TableReader(path).read().arrow == rows()


@pytest.mark.parametrize("ending", [".parquet", ".arrow"])
def test_new_rows_have_the_types_of_the_fit(tmp_path, ending):
    native = pa.table(
        {
            "kind": pa.array(["a", "b"] * 20).dictionary_encode(),
            "price": pa.array([at * 100 for at in range(40)], pa.decimal128(7, 2)),
            "count": pa.array(range(40), pa.int16()),
        }
    )
    fitted = dataset.open(native)
    values = fitted.all_items().values[:3]
    record = {"form": fitted.form, "layout": fitted.layout}
    path = tmp_path / f"new{ending}"
    TableOutput.at(path).write_new(fitted.schema, values, {}, record)
    again = TableReader(path).read().arrow
    assert again.schema.types == native.schema.types
    assert again.equals(dataset.new(fitted.schema, values, record))
