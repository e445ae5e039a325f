"""Tables in workbooks: read as they are meant, and only filled cells change in them."""

from __future__ import annotations

import datetime
import sys

import numpy as np
import openpyxl
import pyarrow as pa
import pytest

from fivefold.errors import DataError, UsageError
from fivefold.tables import dataset
from fivefold.tables.files import TableOutput, TableReader
from fivefold.tables.inference import infer_table_schema

ROWS = [
    [
        ("Oslo", "Rome", "Bonn")[at % 3],
        at % 7,
        at / 4,
        datetime.datetime(2024, 1, 1 + at % 28),
        datetime.time(at % 24, 30),
        at % 3 == 0,
        "-" if at % 9 == 4 else at * 2,
    ]
    for at in range(40)
]
NAMES = ["town", "count", "price", "day", "open", "sold", 2024]


def workbook(path, rows=ROWS, *, above=(), names=NAMES, others=()):
    book = openpyxl.Workbook()
    sheet = book.active
    sheet.title = "Data"
    for row in (*above, *([names] if names else []), *rows):
        sheet.append(row)
    for name, content in others:
        other = book.create_sheet(name)
        for row in content:
            other.append(row)
    book.save(path)
    return path


def fill(path, output):
    """A copy of the workbook in which holes are filled by each column's least value; and the schema."""
    schema = dataset.open(path).schema
    rows = dataset.open(path, schema).to({"": TableOutput.at(output)})
    low = np.array([column.low for column in schema.columns])
    with rows.collector() as collector:
        for block in rows.blocks("fill"):
            holes = np.isnan(block.items.values)
            collector.add(block, np.where(holes, low[:, None], block.items.values), holes)
    return schema


@pytest.mark.situation("an Excel workbook", "read, with titles and empty rows above, below and beside the table")
def test_a_workbook_is_read(tmp_path):
    path = workbook(tmp_path / "a.xlsx", above=[["Sales of 2024"], []])
    table = TableReader(path).read()
    assert table.names == tuple(map(str, NAMES))
    assert [str(kind) for kind in table.arrow.schema.types] == [
        *("string", "int64", "double", "date32[day]", "time32[s]", "bool", "large_string")
    ]
    schema = infer_table_schema(table)
    assert [column.kind for column in schema.columns] == [
        *("category", "integer", "real", "datetime", "datetime", "boolean", "integer")
    ]
    cells = table.cells(schema)
    assert np.isnan(cells[:, 6]).sum() == sum(row[6] == "-" for row in ROWS)
    np.testing.assert_array_equal(cells[:, 2], [row[2] for row in ROWS])
    assert dataset.open(path).check().summary.endswith("; sheet 'Data'")


def test_parts_are_the_whole(tmp_path):
    path = workbook(tmp_path / "a.xlsx")
    parts = list(TableReader(path, batch_rows=16))
    assert [(part.first, len(part)) for part in parts] == [(0, 16), (16, 16), (32, 8)]
    assert pa.concat_tables([part.arrow for part in parts]).equals(TableReader(path).read().arrow)


def test_messages_name_the_row_of_the_sheet(tmp_path):
    schema = dataset.open(workbook(tmp_path / "a.xlsx")).schema
    wrong = [*ROWS[:3], [], [*ROWS[3][:2], "dear", *ROWS[3][3:]]]
    path = workbook(tmp_path / "b.xlsx", wrong, above=[["Sales of 2024"], []])
    with pytest.raises(DataError, match="column 'price', row 8 of the sheet: must be a number"):
        dataset.open(path, schema).all_items()


@pytest.mark.situation("several sheets in a workbook", "the first that has rows, and said; `--sheet` for another")
def test_sheets(tmp_path):
    path = workbook(
        tmp_path / "a.xlsx", [], names=None, others=[("Two", [["a"], *([at] for at in range(9))]), ("Three", [[1]])]
    )
    found = dataset.open(path).check()
    assert "sheet 'Two'" in found.summary
    assert "'Two' is read, not 'Three' (`sheet` NAME)" in str(found.doubts[0])
    assert TableReader(path, sheet="Three", header="none").read().arrow.to_pydict() == {"x0": [1]}
    with pytest.raises(UsageError, match="`sheet` must be one of Data, Two, Three; got Four"):
        TableReader(path, sheet="Four")


@pytest.mark.situation(
    "cells filled in a workbook", "a copy in which nothing else changes: formats, formulas, other sheets"
)
def test_only_filled_cells_change(tmp_path):
    rows = [list(row) for row in ROWS]
    rows[5][2], rows[6][3], rows[7][0], rows[8][6] = None, None, None, "-"
    path = workbook(tmp_path / "a.xlsx", rows, above=[["Sales"], []], others=[("Notes", [["=1+1", "x"]])])
    book = openpyxl.load_workbook(path)
    sheet = book["Data"]
    sheet.column_dimensions["A"].width = 33
    for row in range(4, 44):
        sheet.cell(row, 3).number_format = "0.00"
    sheet["C9"].number_format = "General"
    book.save(path)
    schema = fill(path, tmp_path / "b.xlsx")
    before, after = (openpyxl.load_workbook(tmp_path / name) for name in ("a.xlsx", "b.xlsx"))
    assert after.sheetnames == ["Data", "Notes"]
    assert after["Notes"]["A1"].value == "=1+1"
    assert after["Data"].column_dimensions["A"].width == 33
    changed = {
        cell.coordinate: (cell.value, cell.number_format)
        for old, new in zip(before["Data"].iter_rows(), after["Data"].iter_rows(), strict=True)
        for was, cell in zip(old, new, strict=True)
        if was.value != cell.value
    }
    low = {column.name: column.low for column in schema.columns}
    numbers = {f"G{4 + at}": (low["2024"], "General") for at, row in enumerate(rows) if row[6] == "-"}
    assert changed.pop("D10")[0] == datetime.datetime(2024, 1, 1)
    assert changed == {"C9": (0, "0.00"), "A11": (schema.columns[0].categories[0], "General"), **numbers}


def test_tables_become_workbooks_and_text(tmp_path):
    path = workbook(tmp_path / "a.xlsx")
    schema = fill(path, tmp_path / "b.csv")
    assert TableReader(tmp_path / "b.csv").read().arrow["price"].to_pylist() == [row[2] for row in ROWS]
    zoned = pa.array([datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC)] * 2)
    table = pa.table(
        {"a": pa.array(["x", "y\x01"]).dictionary_encode(), "b": [1.5, float("nan")], "c": zoned, "d": [None, 3]}
    )
    TableOutput.at(tmp_path / "c.xlsx").write([table, table])
    read = TableReader(tmp_path / "c.xlsx").read().arrow
    assert read["a"].to_pylist() == ["x", "y"] * 2
    assert read["b"].to_pylist() == [1.5, None] * 2
    assert read["c"].to_pylist() == ["2024-01-01 00:00:00.000000Z"] * 4
    assert read["d"].to_pylist() == [None, 3] * 2
    TableOutput.at(tmp_path / "d.xlsx").write_new(
        schema, TableReader(path).read().cells(schema)[:, None, :, None], {}, {}
    )
    assert TableReader(tmp_path / "d.xlsx").read().arrow["day"].to_pylist() == [row[3].date() for row in ROWS]


@pytest.mark.situation("a workbook, without the extra", "one line that says what to install")
def test_without_the_extra(tmp_path, monkeypatch):
    path = workbook(tmp_path / "a.xlsx")
    monkeypatch.setitem(sys.modules, "python_calamine", None)
    with pytest.raises(DataError, match=r"a.xlsx: workbooks need an extra: pip install fivefold\[excel\]"):
        TableReader(path)
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    with pytest.raises(DataError, match="need an extra"):
        TableOutput.at(tmp_path / "b.xlsx").write([pa.table({"a": [1]})])


@pytest.mark.situation("a workbook that is damaged, empty or hostile", "one line")
def test_what_is_no_table(tmp_path):
    damaged, empty, far, old = (tmp_path / name for name in ("d.xlsx", "e.xlsx", "f.xlsx", "o.xls"))
    damaged.write_bytes(workbook(tmp_path / "a.xlsx").read_bytes()[:2000])
    workbook(empty, [], names=None)
    book = openpyxl.Workbook()
    book.active["A1"], book.active["XFD1048576"] = 1, 2
    book.save(far)
    old.write_bytes(b"\xd0\xcf\x11\xe0" * 200)
    named = workbook(tmp_path / "n.xlsx", [])
    for path, text in (
        (damaged, "can't be read as a workbook"),
        (empty, "has no rows"),
        (far, "cells must be within"),
        (old, "can't be read as a workbook"),
        (named, "'Data' has no rows"),
    ):
        with pytest.raises(DataError, match=text):
            TableReader(path, header="first" if path == named else None)
    with pytest.raises(UsageError, match="`separator` goes with tables that are text"):
        TableReader(tmp_path / "a.xlsx", separator=",")
    (tmp_path / "a.csv").write_text("a\n1\n")
    with pytest.raises(UsageError, match="`sheet` goes with workbooks"):
        TableReader(tmp_path / "a.csv", sheet="a")
    with pytest.raises(UsageError, match=r"must be \.csv"):
        TableOutput.at(tmp_path / "a.xls")
