"""Tables as text: dialects are found, untouched cells come back byte for byte, new ones look like their column's."""

from __future__ import annotations

import bz2
import gzip
import lzma
import zipfile

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fivefold.errors import DataError, UsageError
from fivefold.tables import dataset, records
from fivefold.tables.files import TableOutput, TableReader
from fivefold.tables.inference import infer_table_schema
from fivefold.tables.spelling import NumberSpelling, find_numbers, find_stamps, spelling_of
from fivefold.tables.table import Table

SHOPS = ["Süd", "North", "East"]
LINES = [["shop", "qty", "price", "day"]] + [
    [SHOPS[at % 3], str(at % 7), f"{at % 11}.{at % 4}5", f"2024-0{1 + at % 9}-1{at % 10}"] for at in range(40)
]


def written(lines=LINES, separator=",", end="\n"):
    return "".join(separator.join(line) + end for line in lines)


def saved(folder, text, name="a.csv"):
    (folder / name).write_text(text)
    return folder / name


def fill(path, cells=None, **reading):
    """The file with its holes filled by each column's least value, or by `cells`; and the schema."""
    schema = dataset.open(path, **reading).schema
    rows = dataset.open(
        path, schema, **{name: value for name, value in reading.items() if name not in ("missing", "overrides")}
    )
    to = rows.to({"": TableOutput(path.with_name("filled" + "".join(path.suffixes)))})
    low = np.array([column.low for column in schema.columns])
    with to.collector() as collector:
        for block in to.blocks("fill"):
            holes = np.isnan(block.items.values)
            collector.add(block, np.where(holes, low[:, None], block.items.values), holes)
    return path.with_name("filled" + "".join(path.suffixes)).read_bytes(), schema


@pytest.mark.parametrize(
    ("name", "content", "dialect"),
    [
        pytest.param(
            "a.csv",
            written(separator=";").replace(".", ",").encode(),
            "semicolons, decimal comma",
            marks=pytest.mark.situation("semicolons and decimal commas", "found, and said"),
        ),
        pytest.param(
            "a.txt",
            written(separator="\t").encode(),
            "tabs",
            marks=pytest.mark.situation("tabs in a .txt file", "found, and said"),
        ),
        pytest.param(
            "a.csv", written(separator="|").encode(), "pipes", marks=pytest.mark.situation("pipes", "found, and said")
        ),
        pytest.param("a.tsv", written(separator="\t").encode(), "tabs"),
        pytest.param(
            "a.csv",
            written().encode("latin-1"),
            "cp1252",
            marks=pytest.mark.situation("a CSV in Latin-1", "found, said, and written so"),
        ),
        pytest.param(
            "a.csv",
            written().encode("utf-16"),
            "utf-16-le",
            marks=pytest.mark.situation("a CSV in UTF-16", "found, said, and written so"),
        ),
        pytest.param("a.csv", written().encode("utf-16-be"), "utf-16-be"),
        pytest.param(
            "a.csv",
            written().encode("utf-8-sig"),
            "",
            marks=pytest.mark.situation("a byte order mark", "stays where it is"),
        ),
        pytest.param(
            "a.csv",
            b"# exported\n#\n" + written().encode() + b"# the end\n",
            "comments after #",
            marks=pytest.mark.situation("comment lines", "left out of the rows, and written again"),
        ),
        pytest.param(
            "a.csv",
            written(LINES[1:]).encode(),
            "no header",
            marks=pytest.mark.situation("a CSV without a header", "noticed, and said"),
        ),
        pytest.param("a.csv", written(end="\r\n").encode(), ""),
        pytest.param("a.csv", written(end="\r").encode().rstrip(), ""),
        pytest.param("a.csv", b"\n" + written().replace("\nEast", "\n\nEast").encode(), ""),
    ],
)
def test_dialects(tmp_path, name, content, dialect):
    path = tmp_path / name
    path.write_bytes(content)
    reader = TableReader(path)
    assert reader.origin.dialect.describe() == dialect
    table = reader.read()
    assert len(table) == 40
    assert reader.names == (("x0", "x1", "x2", "x3") if dialect == "no header" else ("shop", "qty", "price", "day"))
    schema = infer_table_schema(table)
    assert [column.kind for column in schema.columns] == ["category", "integer", "real", "datetime"]
    np.testing.assert_array_equal(table.cells(schema)[:, 2], [float(line[2]) for line in LINES[1:]])
    assert fill(path)[0] == content


PACKED = {
    "gz": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "zst": lambda data: pa.compress(data, "zstd", asbytes=True),
}


@pytest.mark.situation("a CSV in gz, bz2, xz, zst or zip", "read, and written likewise")
@pytest.mark.parametrize("ending", [*PACKED, "zip"])
def test_compressed(tmp_path, ending):
    path = tmp_path / f"a.csv.{ending}"
    if ending == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("a.csv", written())
    else:
        path.write_bytes(PACKED[ending](written().encode()))
    assert TableReader(path).read().arrow.num_rows == 40
    fill(path)
    filled = tmp_path / f"filled.csv.{ending}"
    plain = tmp_path / "plain.csv"
    with TableReader(filled).origin.path.open("rb") as file:
        assert not file.read().startswith(b"shop")
    plain.write_bytes(written().encode())
    assert TableReader(filled).read().arrow == TableReader(plain).read().arrow


@settings(deadline=None)  # compiling takes seconds
@given(st.text(alphabet='ab,; "\r\n#', max_size=60), st.sampled_from(", ;"), st.booleans(), st.booleans())
def test_short_texts_are_scanned_as_long_ones(text, separator, blank, last):
    data = np.frombuffer(text.encode(), np.uint8)
    found = []
    for short in (records._SHORT, -1):  # by Python, and compiled
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(records, "_SHORT", short)
            scanned = records.scan(data, separator, "#", blank=blank, last=last)
            copied = records.gather(data, scanned.starts, scanned.ends)
        found.append([*vars(scanned).values(), *copied])
    for one, other in zip(*found, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"%PDF-1.7\nabc", "a PDF document"),
        (b'[{"a": 1}]', "JSON"),
        (b'{"a": [1]}', "JSON"),
        (b"<!doctype html><p>", "an HTML page"),
        (b"PAR1....", "a Parquet file: its name must end in .parquet"),
        (b"a,b\n1,\x002\n", "must be text, got other bytes"),
        (b'a,b\n1,"2\n3,4\n', "line 2: its quotes are not closed"),
        (b"\xff\xfea\0,\0b\0\n\0" + b"\x00\xdc" * 2, "must be UTF-16-LE text, got the byte 0x00 at byte 10"),
    ],
)
@pytest.mark.situation("JSON, PDF, HTML, Parquet or an archive called .csv", "named as what it is")
def test_what_is_no_table(tmp_path, content, message):
    path = tmp_path / "a.csv"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        TableReader(path).read()


@pytest.mark.situation("a dialect that is not found", "`--separator --decimal --encoding --header` set it")
def test_dialects_that_are_given(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes("1~ä\n2~ö\n3~ä\n".encode("cp437"))
    read = dataset.open(path, separator="~", encoding="cp437", header="none")
    assert read.rows.arrow.to_pydict() == {"x0": [1, 2, 3], "x1": ["ä", "ö", "ä"]}
    for parameter, value in [("separator", "::"), ("decimal", ";"), ("encoding", "klingon"), ("header", "second")]:
        with pytest.raises(UsageError, match=f"^`{parameter}` must be"):
            dataset.open(path, **{parameter: value})
    with pytest.raises(UsageError, match="`separator` goes with files of text"):
        dataset.open({"a": [1, 2]}, separator=";")


@pytest.mark.parametrize(
    ("cells", "kind", "new"),
    [
        pytest.param(
            ["00084", "00001"],
            "integer",
            "00001",
            marks=pytest.mark.situation("zero-padded numbers", "stay so, new ones too"),
        ),
        (["6.40", "1.25"], "real", "1.25"),
        (["6.0", "5.53"], "real", "5.53"),
        (["+7", "+3"], "real", "+3"),
        ([" 8 ", " 12 "], "integer", " 8 "),
        ([".5", ".25"], "real", ".25"),
        (["TRUE", "FALSE"], "boolean", "FALSE"),
        (["12:30", "00:10"], "datetime", "00:10"),
        pytest.param(
            ["$1,234.00", "$5.50"],
            "real",
            "$5.50",
            marks=pytest.mark.situation("currency and thousands", "numbers, written so again"),
        ),
        pytest.param(
            ["12.5%", "62.0%"], "real", "12.5%", marks=pytest.mark.situation("per cent", "numbers, written so again")
        ),
        (["1.234,50 €", "2,25 €"], "real", "2,25 €"),
        pytest.param(
            ["12.3 kW", "4.0 kW"],
            "real",
            "4.0 kW",
            marks=pytest.mark.situation("12.3 kW, 5 km, 20 °C, 7kg", "numbers, written so again"),
        ),
        (["5 km", "-12 km"], "integer", "-12 km"),
        (["20 °C", "-3 °C"], "integer", "-3 °C"),
        (["7kg", "12kg"], "integer", "7kg"),
        (["1.234,5 µg/m³", "2,0 µg/m³"], "real", "2,0 µg/m³"),
        (["5 W", "60 W"], "integer", "5 W"),
        (["1'234", "5"], "integer", "5"),
        pytest.param(
            ["16.02.2024", "01.03.2023"],
            "datetime",
            "01.03.2023",
            marks=pytest.mark.situation("dates with dots", "dates, written so again"),
        ),
        pytest.param(
            ["02/16/2024", "12/01/2023"],
            "datetime",
            "12/01/2023",
            marks=pytest.mark.situation("months first", "decided by the column"),
        ),
        pytest.param(
            ["16/02/2024", "12/01/2023"],
            "datetime",
            "12/01/2023",
            marks=pytest.mark.situation("days first", "decided by the column"),
        ),
        (["1/2/2024", "12/31/2023"], "datetime", "12/31/2023"),
        (["1/2/24 8:30", "12/31/23 10:00"], "datetime", "12/31/23 10:00"),
        (["2024-01-01 00:10:00+02:00", "2024-05-01 10:10:00+02:00"], "datetime", "2024-01-01 00:10:00+02:00"),
        (["2024-01-01T00:10:00Z", "2024-05-01T10:10:00Z"], "datetime", "2024-01-01T00:10:00Z"),
        pytest.param(
            ["20240102", "20231231", "20240301"],
            "datetime",
            "20231231",
            marks=pytest.mark.situation("dates as integers", "dates, so that new ones are some"),
        ),
    ],
)
def test_new_cells_look_like_their_columns(tmp_path, cells, kind, new):
    path = tmp_path / "a.csv"
    rows = [*cells * 5, ""]
    path.write_text("other;x\n" + "".join(f"{at % 4};{cell}\n" for at, cell in enumerate(rows)), encoding="utf-8")
    filled, schema = fill(path)
    column = schema.columns[1]
    assert column.kind == kind
    assert filled.decode() == path.read_text(encoding="utf-8")[:-1] + new + "\n"
    again = type(column).from_json(column.to_json())
    assert again == column
    drawn = tmp_path / "new.csv"
    TableOutput(drawn).write_new(schema, np.array([[[[0.0], [column.low]]]] * 2), {}, {})
    assert set(map(str, TableReader(drawn).read().arrow["x"].to_pylist())) == {
        str(TableReader(path).read().arrow["x"][rows.index(new)])
    }


@pytest.mark.situation("5 km and 300 m in one column", "text, and said")
@pytest.mark.parametrize("rows", [40, 4])
def test_several_units(tmp_path, rows):
    path = saved(tmp_path, "x;y\n" + "".join(f"{at % rows} {'m' if at % 2 else 'km'};{at}\n" for at in range(40)))
    found = dataset.open(path)
    (doubt,) = found.check().doubts
    assert doubt.place == "column 'x'"
    assert "in several units (km, m)" in doubt.text
    assert found.schema.columns[-1].name == "y"
    asked = dataset.open(path, overrides={"columns": {"x": {"kind": "category"}}})
    assert not asked.check().doubts or rows > 4


@pytest.mark.parametrize("cells", [["3D", "2D"], ["4th", "5th"], ["12a", "13b"], ["5 km", "7"], ["7", "5 km"]])
def test_what_stands_behind_a_number_and_is_no_unit(cells):
    assert find_numbers(pa.chunked_array([cells]))[0] is None


def test_another_unit_than_the_fits_is_refused(tmp_path):
    rows = [f"{at}.5 kW,{at % 3}" for at in range(20)]
    schema = dataset.open(saved(tmp_path, "\n".join(["x,y", *rows]))).schema
    bare = saved(tmp_path, "\n".join(["x,y", *rows]).replace(" kW", ""), "b.csv")
    assert dataset.open(bare, schema).all_items().values[3, 0, 0, 0] == 3.5
    other = saved(tmp_path, "\n".join(["x,y", *rows]).replace("kW", "W"), "c.csv")
    with pytest.raises(DataError, match=r"column 'x', .*: must be a number .*, got '0.5 W'"):
        dataset.open(other, schema).all_items()


@pytest.mark.situation(
    "a cell or a row of a text that can't be read", "refused in one line, which names its line as editors do"
)
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_messages_name_the_line(tmp_path, monkeypatch, end, encoding):
    above = ["a title", "", "# a note", "x,note", "1,a", '2,"over', 'two lines"', "# another", "", *["3,c"] * 30]
    schema = dataset.open(saved(tmp_path, "x,note\n1,a\n2,b\n4,c\n")).schema
    path = tmp_path / "b.csv"
    for last, said in [
        ("four,d", "column 'x', line 40: must be an? (integer|number)"),
        ("4,d,e", "line 40: must have 2 columns"),
    ]:
        path.write_bytes(end.join([*above, last, "5,e"]).encode(encoding))
        for chunk in (1 << 22, 120):
            monkeypatch.setattr("fivefold.tables.csv._CHUNK", chunk)
            with pytest.raises(DataError, match=said):
                dataset.open(path, schema).all_items()
            with pytest.raises(DataError, match=said):
                list(TableReader(path, schema, batch_rows=2))
    path.write_bytes(end.join([*above, "inf,d"]).encode(encoding))
    with pytest.raises(DataError, match="line 40: must be"):
        dataset.open(path, schema).all_items()


def test_a_byte_that_is_no_text_is_in_a_line(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(b"x,y\n1,a\n2,b\n" + b"3,c\n" * 300_000 + b"4,\xe4\n")
    with pytest.raises(DataError, match="UTF-8 text, got the byte 0xe4 in line 300004; give its `encoding`"):
        dataset.open(path)


@pytest.mark.situation("20-digit account numbers", "text: no digit is lost")
def test_numbers_with_more_digits_than_numbers_have(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("account,n\n" + "".join(f"{10**19 + at},{at % 3 or ''}\n" for at in range(9)))
    assert TableReader(path).read().arrow["account"].to_pylist() == [str(10**19 + at) for at in range(9)]
    assert fill(path)[0].decode().count("1000000000000000000") == 9


@pytest.mark.situation("codes such as 00001 that `schema` calls a category", "their text is the category")
def test_overrides_are_known_before_cells_are_typed(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("zip,n\n" + "".join(f"0000{at % 3},{at % 5}\n" for at in range(12)))
    filled, schema = fill(path, overrides={"columns": {"zip": {"kind": "category"}}})
    assert schema.columns[0].categories == ("00000", "00001", "00002")
    assert filled == path.read_bytes()


@pytest.mark.situation("an index column without a name", "carried, not modelled, and said")
def test_an_index_without_a_name(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text(",n\n" + "".join(f"{at},{at % 5}\n" for at in range(12)))
    _, schema = fill(path)
    assert schema.carried == (("", "identifier: all values differ"),)


@pytest.mark.parametrize("word", ["-", "?", "missing", "N/A", "None", "#N/A", "<NA>"])
@pytest.mark.situation("-, ?, missing, N/A, None among numbers", "missing, and said")
def test_words_for_missing(tmp_path, word):
    path = tmp_path / "a.csv"
    path.write_text("n,m\n" + "".join(f"{word if at % 4 == 0 else f'{at}.50'},{at % 3}\n" for at in range(20)))
    filled, schema = fill(path)
    assert schema.columns[0].kind == "real"
    assert filled.decode() == path.read_text().replace(word, "1.50")
    doubts = dataset.open(path).check().doubts
    assert [doubt.place for doubt in doubts] == (["column 'n'"] if word in ("-", "?", "missing") else [])


@pytest.mark.situation("-999 or 9999 for missing", "said, with the flag that settles it; not taken")
@pytest.mark.parametrize("sentinel", [-999, 9999, -1])
def test_values_that_stand_apart(tmp_path, sentinel):
    path = tmp_path / "a.csv"
    path.write_text("n,m\n" + "".join(f"{sentinel if at % 7 == 0 else at % 40},{at % 3}\n" for at in range(200)))
    (doubt,) = dataset.open(path).check().doubts
    assert (doubt.place, doubt.remedy) == ("column 'n'", f"`missing` n={sentinel}")
    settled = dataset.open(path, missing={"n": [sentinel]})
    assert not settled.check().doubts
    assert settled.schema.columns[0].high == 39


@pytest.mark.situation("01/02/2024", "a doubt, with what settles it")
def test_days_and_months_that_may_be_either(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("day,m\n" + "".join(f"0{1 + at % 9}/1{at % 3}/2024,{at % 3}\n" for at in range(20)))
    (doubt,) = dataset.open(path).check().doubts
    assert "%m/%d/%Y" in doubt.text
    for pattern in ("%d/%m/%Y", "%m/%d/%Y"):
        found = dataset.open(path, overrides={"columns": {"day": {"format": pattern}}})
        assert found.schema.columns[0].spelling == pattern
        assert not found.check().doubts


def test_what_is_given_is_in_no_doubt(tmp_path):
    path = saved(tmp_path, "a;n;w\n" + "".join(f"1.{at:03d};{at},500;{'?' if at == 3 else at}\n" for at in range(20)))
    assert len(dataset.open(path).check().doubts) == 3
    settled = dataset.open(path, decimal=",", missing={"w": ["?"]})
    assert not settled.check().doubts
    path = saved(tmp_path, "a;w\n" + "".join(f"0.{at:03d};{at % 3}\n" for at in range(20)))
    assert "three digits" in str(dataset.open(path).check().doubts[0])
    assert not dataset.open(path, decimal=".").check().doubts


@pytest.mark.situation("a column that is all missing, to a model of a whole one", "filled in")
@pytest.mark.parametrize("kind", ["arrow", "polars", "pandas"])
def test_a_column_of_nothing(kind):
    schema = infer_table_schema(Table.of(pa.table({"a": ["x", "y", "x"], "b": [1, 2, 3]})))
    nothing = pa.table({"a": pa.nulls(2), "b": [1, 2]})
    data = nothing if kind == "arrow" else nothing.to_pandas()
    if kind == "polars":
        data = pytest.importorskip("polars").from_arrow(nothing)
    table = Table.of(data)
    filled = table.replace(schema, np.zeros((2, 2)), np.isnan(table.cells(schema)))
    assert Table.of(filled).arrow.to_pydict() == {"a": ["x", "x"], "b": [1, 2]}


texts = st.text(st.characters(codec="utf-8", exclude_characters='\0\r\n"#'), max_size=6)
plain = st.one_of(
    st.integers(-999, 999).map(str),
    st.floats(-99, 99).map(lambda x: f"{x:.2f}"),
    st.sampled_from(
        ["", "NA", "00012", "+5", " 7 ", "TRUE", "3e2", "2024-01-02", "12:30", '"quoted"', '"a ""b"""', '"x,y;z\n"']
    ),
)


@given(
    st.lists(st.lists(st.one_of(plain, texts), min_size=4, max_size=4), min_size=2, max_size=60),
    st.sampled_from([",", ";", "\t", "|"]),
    st.sampled_from(["\n", "\r\n", "\r"]),
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
    st.booleans(),
)
@settings(max_examples=100, deadline=None)
def test_untouched_cells_come_back_byte_for_byte(tmp_path_factory, rows, separator, end, encoding, ended):
    rows = [[cell if cell.startswith('"') else cell.replace(separator, "_") for cell in row] for row in rows]
    lines = [["k", "l", "m", "n"], *([f"{at % 3}", *row[:3]] for at, row in enumerate(rows))]
    text = written(lines, separator, end)
    content = (text if ended else text[: -len(end)]).encode(encoding)
    path = tmp_path_factory.mktemp("text") / "a.csv"
    path.write_bytes(content)
    reader = TableReader(path, separator=separator, header="first")
    parts = list(reader)
    assert sum(len(part) for part in parts) == len(rows)
    schema = infer_table_schema(Table.of(pa.table({"k": ["0", "1", "2"]})))
    with TableOutput(path.with_name("b.csv")).writer(reader.origin) as write:
        for part in parts:
            write(part.spliced(schema, np.zeros((len(part), 1)), np.zeros((len(part), 1), bool)))
    assert path.with_name("b.csv").read_bytes() == content


def test_filled_cells_alone_change(tmp_path):
    rng = np.random.default_rng(0)
    n = 25_000
    holes = rng.random(n) < 0.2
    spelled = [f"{at:06d}" for at in rng.integers(0, 999, n)]
    lines = [
        f'"{at % 17}";{"" if hole else cell};"a ""{at}""";{at / 8:.3f}'.replace(".", ",")
        for at, (hole, cell) in enumerate(zip(holes, spelled, strict=True))
    ]
    path = tmp_path / "a.csv"
    path.write_bytes("\r\n".join(["a;b;c;d", *lines, ""]).encode("utf-16"))
    filled, schema = fill(path)
    after = filled.decode("utf-16").split("\r\n")[1:-1]
    low = f"{int(schema.columns[1].low):06d}"
    assert [line.split(";")[1] for line in after] == [
        low if hole else cell for hole, cell in zip(holes, spelled, strict=True)
    ]
    assert [(line.split(";")[0], *line.split(";")[2:]) for line in after] == [
        (line.split(";")[0], *line.split(";")[2:]) for line in lines
    ]


@pytest.mark.situation("a CSV, results to .tsv", "cells are written as they were")
def test_another_separator(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("a,b\n" + "".join(f'0{at % 7}.50,"x,{at % 2}"\n' if at else ",x\n" for at in range(20)))
    schema = dataset.open(path).schema
    to = dataset.open(path, schema).to({"": TableOutput(tmp_path / "b.tsv")})
    with to.collector() as collector:
        for block in to.blocks("fill"):
            collector.add(block, np.nan_to_num(block.items.values), np.isnan(block.items.values))
    expected = path.read_text().replace("\n,", "\n00.00,").replace('"', "").replace(",x", "\tx").replace("a,b", "a\tb")
    assert (tmp_path / "b.tsv").read_text() == expected


@pytest.mark.situation("$1,234.00 or 16.02.2024 as text in a frame", "numbers and dates, new ones written so again")
def test_spelled_texts_in_frames():
    table = Table.of(pa.table({"usd": ["$1,234.00", None, "$5.50"], "day": ["16.02.2024", "01.03.2024", None]}))
    schema = infer_table_schema(table)
    assert [column.kind for column in schema.columns] == ["real", "datetime"]
    cells = table.cells(schema)
    filled = table.replace(schema, np.where(np.isnan(cells), [1e6, 0], cells), np.isnan(cells))
    assert filled.to_pydict() == {
        "usd": ["$1,234.00", "$1,000,000.00", "$5.50"],
        "day": ["16.02.2024", "01.03.2024", "01.01.1970"],
    }
    usd, day = schema.columns
    assert (usd.parse("$1,000.00"), usd.parse("7"), day.parse("02.01.1970"), day.parse("1970-01-02")) == (1000, 7, 1, 1)


@pytest.mark.situation("a spreadsheet, JSON, a database", "named as what it is, with what to do")
@pytest.mark.parametrize("ending", [".xlsb", ".json", ".sqlite"])
def test_files_that_are_not_read(tmp_path, ending):
    path = tmp_path / f"a{ending}"
    path.write_bytes(b"something")
    assert dataset.recognises(path)
    with pytest.raises(DataError, match=r"got (a spreadsheet|JSON|a database): save it as \.csv or \.parquet"):
        dataset.open(path)


@pytest.mark.parametrize(
    ("cells", "pattern"),
    [
        (["16 Feb 2024", "01 May 2024"], "%d %b %Y"),
        (["May 1, 2024", "December 12, 2024"], "%B %-d, %Y"),
        (["8:30 AM", "12:05 PM", "12:00 AM"], "%-I:%M %p"),
        (["1/2/2024 8:30 PM", "12/31/2023 10:00 AM"], "%-m/%-d/%Y %-I:%M %p"),
        (["31.12.2023 23:59:59"], "%d.%m.%Y %H:%M:%S"),
    ],
)
def test_dates_and_times_of_many_kinds(cells, pattern):
    texts = pa.chunked_array([pa.array(cells, pa.large_string())])
    (spelling, *_) = find_stamps(texts)
    assert spelling.pattern == pattern
    assert spelling.write(spelling.parse(texts).combine_chunks()).to_pylist() == cells
    refused = pa.chunked_array([pa.array([cells[0] + "x", "", None], pa.large_string())])
    assert spelling.parse(refused).null_count == 3


@given(
    st.lists(st.integers(-(10**9), 10**9), min_size=1, max_size=20),
    st.sampled_from(["0.00", "#,##0.00", "#.##0,0#", "$#,##0.0", "0.## %", "# ##0,00 €", "+0", "€ 0,0", "#'##0"]),
)
@settings(max_examples=100, deadline=None)
def test_what_is_written_is_read(numbers, pattern):
    spelling = NumberSpelling.of(pattern)
    values = pa.array([number / 10**spelling.most for number in numbers])
    texts = pa.chunked_array([spelling.write(values)])
    assert spelling.pattern == pattern
    np.testing.assert_allclose(spelling.parse(texts).to_numpy(), values.to_numpy(), rtol=1e-12)


def test_chunks_and_blocks_do_not_show(tmp_path, monkeypatch):
    path = tmp_path / "a.csv"
    text = "a,b\r\n" + "".join(f'"x\r\n{at}",{at}\r\n' for at in range(300))
    path.write_text(text, newline="")
    monkeypatch.setattr("fivefold.tables.csv._CHUNK", 7)
    for rows in (1, 64, 1000):
        parts = list(TableReader(path, batch_rows=rows))
        assert [len(part) for part in parts][:-1] == [rows] * (len(parts) - 1)
        assert b"".join(part.text.block.text.tobytes() for part in parts) == text[5:].encode()
        assert [row for part in parts for row in part.arrow["b"].to_pylist()] == list(range(300))


SPELLED = {
    "accounting": (["(1,234.50)", "12.00", "0.50"], "#,##0.00;(#,##0.00)", [-1234.5, 12, 0.5]),
    "accounting in dollars": (["($5.00)", "$12.25"], "$0.00;($0.00)", [-5, 12.25]),
    "a minus behind": (["12.5-", "3.0", "4.5"], "0.0;0.0-", [-12.5, 3, 4.5]),
    "exponents": (["3e2", "1.5e-3", "2e10"], "0.#e0", [300, 0.0015, 2e10]),
    "exponents of two digits": (["3.0E+02", "1.5E-03"], "0.0E+00", [300, 0.0015]),
    "a clock beyond a day": (["1:02:03", "25:00:00", "-0:30:00"], "[h]:mm:ss", [3723, 90000, -1800]),
    "hours and minutes beyond a day": (["007:05", "125:30"], "[hhh]:mm", [425, 7530]),
    "a stop watch": (["0:59.5", "1:02.25"], "[h]:mm.0#", [59.5, 62.25]),
    "ISO 8601": (["PT1H30M", "PT2H", "P1DT5M", "PT0M"], "P#DT#H#M", [5400, 7200, 86700, 0]),
    "ISO 8601, padded": (["PT01H05M09S", "PT12H00M00S"], "PT00H00M00S", [3909, 43200]),
    "ISO 8601, decimals": (["-PT1.5S", "PT90.25S"], "PT0.0#S", [-1.5, 90.25]),
    "ISO 8601, weeks": (["P2W", "P1W"], "P0W", [1209600, 604800]),
}


@pytest.mark.parametrize("name", SPELLED)
@pytest.mark.situation(
    "accounting and trailing minus, exponents, durations by a clock and by ISO 8601", "numbers, and written back alike"
)
def test_spellings_of_numbers(tmp_path, name):
    texts, pattern, numbers = SPELLED[name]
    path = tmp_path / "a.csv"
    path.write_text(written([["a", "b"], *([f'"{text}"', str(at)] for at, text in enumerate(texts * 10))]))
    table = TableReader(path).read()
    schema = infer_table_schema(table)
    assert schema.columns[0].spelling == pattern
    np.testing.assert_allclose(table.cells(schema)[: len(texts), 0], numbers)
    assert schema.columns[0].parse(texts[0]) == numbers[0]
    spelling = spelling_of(schema.columns[0].kind, pattern)
    assert spelling.write(pa.array([*numbers, None], pa.float64())).to_pylist() == [*texts, None]
    assert type(schema).from_json(schema.to_json()) == schema


@pytest.mark.parametrize("pattern", ["[h]", "PT", "PT0S0M", "0;1", "0.0;(0)", "PT0M0M"])
def test_spellings_that_can_not_be(pattern):
    with pytest.raises(UsageError, match="format must be"):
        spelling_of("real", pattern)


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=20), st.sampled_from([p for _, p, _ in SPELLED.values()]))
def test_numbers_are_read_as_they_are_written(numbers, pattern):
    spelling = spelling_of("real", pattern)
    texts = spelling.write(pa.array(numbers))
    again = spelling.parse(pa.chunked_array([texts]))
    assert again.null_count == 0
    assert spelling.write(again.combine_chunks()) == texts
    unit = spelling_of("real", pattern).parse(pa.chunked_array([texts])).to_numpy()
    np.testing.assert_allclose(
        unit, numbers, rtol=0.06 if "e" in pattern.lower() else 0, atol=3.1e5 if "W" in pattern else 31
    )


@pytest.mark.parametrize(
    ("content", "names", "dialect"),
    [
        pytest.param(
            "Sales of 2024\nas of today, by me\n\n" + written(),
            LINES[0],
            "2 lines above the header",
            marks=pytest.mark.situation("title lines above the header", "left out, said, and written again"),
        ),
        ("Sales of 2024,,,\n,,,\n" + written(), LINES[0], "2 lines above the header"),
        ("Sales of 2024\n" + written(LINES[1:]), ["x0", "x1", "x2", "x3"], "no header, 1 line above the rows"),
        pytest.param(
            written([LINES[0], *([str(at), *line] for at, line in enumerate(LINES[1:]))]),
            ["", *LINES[0]],
            "",
            marks=pytest.mark.situation("row names without a name, as R writes them", "a column more than names"),
        ),
        pytest.param(
            "".join(f"{a:<8}{b:>5}{c:>9}  {d}\n" for a, b, c, d in LINES),
            LINES[0],
            "spaces",
            marks=pytest.mark.situation("columns aligned by spaces", "found, said, and written so"),
        ),
        ("".join(f"  {a:<8}{b:>5}{c:>9}  {d}  \r\n" for a, b, c, d in LINES) + "   \r\n", LINES[0], "spaces"),
        (
            written(
                [['"shop"', '"price"'], *([f'"{at}"', f'"a {line[0]}"', line[2]] for at, line in enumerate(LINES[1:]))],
                " ",
            ),
            ["", "shop", "price"],
            "spaces",
        ),
        ("full name\n" + "Ann Lee\nBo Li\nJo Po\n" * 20, ["full name"], ""),
        ("when\n" + "".join(f"2024-01-{10 + at % 9} 10:0{at % 10}\n" for at in range(40)), ["when"], ""),
        ("a,b\n" + "1,2\n3,4\n" * 20 + "\n", ["a", "b"], ""),
    ],
)
def test_what_stands_around_a_table(tmp_path, content, names, dialect):
    path = tmp_path / "a.csv"
    path.write_bytes(content.encode())
    reader = TableReader(path)
    assert reader.origin.dialect.describe() == dialect
    assert reader.names == tuple(names)
    again, schema = fill(path)
    assert again == content.encode()
    assert len(dataset.open(path, schema)) == len(reader.read())


def test_a_cell_is_filled_between_spaces(tmp_path):
    lines = [f"{at % 5:>6} {'NA' if at == 3 else at % 7:>4} {at / 4:8.2f}" for at in range(40)]
    path = tmp_path / "a.txt"
    path.write_text("\n".join(["     a    b        c", *lines]) + "\n")
    filled, _ = fill(path)
    assert filled.decode() == path.read_text().replace("NA", "0")


@pytest.mark.situation(
    "a column of numbers or dates with a few cells that are none", "said, with those cells and what to do"
)
@pytest.mark.parametrize(
    ("cells", "said"),
    [
        (
            [*(f"{number / 8:.3f}" for number in range(118)), "cheap", "n.v."],
            "all but 2 of its 120 cells are numbers, not 'cheap', 'n.v.'; mend them, or `missing` a=cheap|n.v.",
        ),
        (
            ["2024-02-31", *(f"2024-{month:02}-{day:02}" for month in range(1, 6) for day in range(1, 26))],
            "all but 1 of its 126 cells are dates, not '2024-02-31'; mend them, or `missing` a=2024-02-31",
        ),
    ],
)
def test_the_cells_that_keep_a_column_from_being_modelled_are_named(tmp_path, cells, said):
    path = saved(tmp_path, "a,b\n" + "".join(f"{cell},{number % 7}\n" for number, cell in enumerate(cells)))
    assert dict(dataset.open(path).schema.carried) == {"a": said}


@pytest.mark.situation("a file with decimal commas to a model of decimal points", "read right, and written as it was")
def test_numbers_may_be_written_otherwise_than_in_the_fit(tmp_path):
    schema = dataset.open(saved(tmp_path, "a,b\n1.50,1\n2.25,2\n3.10,3\n")).schema
    path = saved(tmp_path, "a;b\n1,50;1\n;2\n3,10;3\n", "other.csv")
    rows = next(iter(dataset.open(path, schema).rows))
    np.testing.assert_array_equal(rows.cells(schema)[:, 0], [1.5, np.nan, 3.1])
    new, where = np.array([[0, 0], [2.25, 0], [0, 0]]), np.array([[False, False], [True, False], [False, False]])
    assert rows.spliced(schema, new, where) == b"1,50;1\n2,25;2\n3,10;3\n"


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("%d/%m/%Y", r"column 'a': must be written as %d/%m/%Y as `schema` asks, got '2024-01-02'"),
        ("%Q", "a date's format"),
    ],
)
def test_a_format_that_cells_do_not_have(tmp_path, asked, said):
    path = saved(tmp_path, "a,b\n2024-01-02,1\n2024-01-03,2\n")
    with pytest.raises((DataError, UsageError), match=said):
        dataset.open(path, overrides={"columns": {"a": {"format": asked}}})


def test_a_separator_that_separates_nothing(tmp_path):
    path = saved(tmp_path, "a,b\n" + "".join(f"x{number},y{number}\n" for number in range(30)))
    with pytest.raises(DataError, match="';' does not separate columns, and ',' would: `separator` ,"):
        dataset.open(path, separator=";")


@pytest.mark.situation("semicolons, and a decimal comma in each row", "semicolons: names have no decimal commas")
def test_a_comma_in_each_row(tmp_path):
    lines = ["when;level", *(f"{day % 28 + 1:02d}.10.2026;{day % 7},{day % 10}5" for day in range(400))]
    (tmp_path / "a.csv").write_text("\n".join(lines))
    assert TableReader(tmp_path / "a.csv").names == ("when", "level")
