"""Series' files with holes filled: all that was there comes back byte for byte, and what is new looks like it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings

from fivefold.series.dataset import SeriesSet, place, read_series

LAYOUTS = {
    "%Y-%m-%d %H:%M:%S": "h",
    "%Y-%m-%dT%H:%MZ": "15min",
    "%Y-%m-%d %H:%M:%S.%f": "250ms",
    "%Y-%m-%dT%H:%M:%S+02:00": "h",
    "%Y-%m-%d %H:%M:%S+02": "h",
    "%d.%m.%Y %H:%M": "30min",
    "%-d.%-m.%Y %-H:%M": "h",
    "%-m/%-d/%Y": "D",
    "%Y-%m-%d": "D",
    "%d/%m/%y %H:%M": "h",
    "%d %b %Y %H:%M": "h",
    "%m/%d/%Y %I:%M %p": "h",
    "%Y%m%d": "D",
    "%Y%m%d%H%M": "h",
    "%Y-%m": "MS",
    "%G-W%V": "W-MON",
    "berlin": "h",
    "epoch": "10s",
    "seconds": "50ms",
}
NUMBERS = ("{:.2f}", "{:.0f}", "{:05.1f}", "{:+.1f}", "$ {:.2f}", "{:.1f} %", "{:.4g}")
STEPS = 150
WORDS = (("no", "yes"), ("FALSE", "TRUE"), ("Nein", "Ja"), ("0", "1"))


def stamps(layout: str, n: int) -> list[str]:
    """Texts of an even grid, across a change of clocks."""
    freq = LAYOUTS[layout]
    moments = pd.date_range("2026-10-01", periods=n, freq=freq, tz="UTC")
    if layout == "berlin":
        return [moment.isoformat(sep=" ") for moment in moments.tz_convert("Europe/Berlin")]
    if layout == "epoch":
        return [str(int(moment.timestamp())) for moment in moments]
    if layout == "seconds":
        return [f"{0.05 * step:.2f}" for step in range(n)]
    texts = list(moments.strftime(layout))
    return [text[:-3] for text in texts] if "%f" in layout else texts


DIALECTS = {
    "separator": st.sampled_from(",;\t|"),
    "comma": st.booleans(),
    "quotes": st.sampled_from(["all", "text", "least"]),
    "end": st.sampled_from(["\n", "\r\n"]),
    "last": st.booleans(),
    "layout": st.sampled_from(list(LAYOUTS)),
    "number": st.sampled_from(NUMBERS),
    "words": st.sampled_from(WORDS),
    "missing": st.sampled_from(["", "NA"]),
    "ids": st.booleans(),
    "order": st.sampled_from(["series", "time", "back"]),
    "encoding": st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
    "seed": st.integers(0, 10**6),
}


def written(how: dict[str, Any]) -> list[str]:
    """The lines of a file of series with holes, the header first."""
    rng, rows = np.random.default_rng(how["seed"]), []
    decimal = "," if how["comma"] and how["separator"] != "," else "."
    texts = stamps(how["layout"], STEPS)
    for name in ("007", "x;,y") if how["ids"] else ("",):
        values = 40 + 12 * np.sin(np.arange(STEPS) / 5 + len(name)) + rng.normal(size=STEPS)
        for step, value in enumerate(values):
            x = how["number"].format(value).replace(".", decimal)
            lost = rng.random(3) < (0.1, 0.1, 0.2)
            cells = [name, texts[step], how["missing"] if lost[0] else x, f"{rng.integers(1e4):05d}", 'a "b", c;']
            cells += [how["missing"] if lost[1] else how["words"][int(value > 40)]]
            if step in (0, STEPS - 1) or not lost[2]:
                rows.append((step, len(rows), cells))
    rows.sort(key=lambda row: {"series": (row[1],), "time": row[:2], "back": (-row[0], row[1])}[how["order"]])
    header = ["id", "when", "x", "code", "note", "on"]

    def cell(text: str, name: str) -> str:
        wanted = how["quotes"] == "all" or (how["quotes"] == "text" and name in ("note", "id"))
        doubled = text.replace('"', '""')
        return f'"{doubled}"' if wanted or re.search(f'["{re.escape(how["separator"])}]', text) else text

    first = 0 if how["ids"] else 1
    lines = [header, *(cells for _, _, cells in rows)]
    return [how["separator"].join(map(cell, cells[first:], header[first:])) for cells in lines]


def fill(series: SeriesSet, output: Path) -> Path:
    """What `impute` does, with simple values: those of 7 steps before."""
    dataset = series.to({"": place(output, force=True)})
    collector = dataset.collector()
    for block in dataset.blocks("fill"):
        known = np.nan_to_num(block.items.values, nan=0.5)
        collector.add(
            block, np.where(np.isnan(block.items.values), np.roll(known, 7, axis=1), known), ~block.items.visible()
        )
    found: Path = collector.result()
    return found


def split(line: str, separator: str) -> list[str]:
    """A line's cells with their quotes."""
    return re.findall(rf'(?:^|{re.escape(separator)})("(?:[^"]|"")*"|[^{re.escape(separator)}]*)', line)


def compare(before: list[str], after: list[str], how: dict[str, Any]) -> list[list[str]]:
    """The cells of new lines; asserts that all others are as they were, but for cells that were missing."""
    at, new, empty = 0, [], {how["missing"], f'"{how["missing"]}"'}
    for line in after:
        cells, old = split(line, how["separator"]), split(before[min(at, len(before) - 1)], how["separator"])
        assert len(cells) == len(old)
        alike = all(a == b or (a in empty and b not in empty) for a, b in zip(old, cells, strict=True))
        if alike and at < len(before):
            at += 1
        else:
            new.append(cells)
    assert at == len(before), before[at]
    return new


@pytest.mark.situation("a CSV of series in any dialect, with any stamps", "what was there comes back byte for byte")
@settings(deadline=None, max_examples=25)
@given(how=st.fixed_dictionaries(DIALECTS))
def test_files_of_text(tmp_path_factory, how):
    folder, end = tmp_path_factory.mktemp("files"), how["end"]
    lines = written(how)
    content = (end.join(lines) + end * how["last"]).encode(how["encoding"])
    (folder / "a.csv").write_bytes(content)
    series = read_series(folder / "a.csv", time="when", ids="id" if how["ids"] else None)
    assert set(series.lengths) == {STEPS}
    assert series.schema.channels.names == ("x", "code", "on")
    filled = fill(read_series(folder / "a.csv", series.schema), folder / "b.csv").read_bytes()
    *after, last = filled.decode(how["encoding"]).split(end)
    assert after[0] == lines[0]
    assert (last == "") == how["last"]
    new = compare(lines[1:], after[1:] if how["last"] else [*after[1:], last], how)
    assert len(lines) - 1 + len(new) == series.lengths.sum()
    texts = set(stamps(how["layout"], STEPS))
    for cells in new:
        *_, stamp, x, code, note, on = (cell.strip('"') for cell in cells)
        assert stamp in texts
        assert note == ""
        assert re.fullmatch(r"\d{5}", code)
        assert on in how["words"]
        assert re.fullmatch(r"\$ ?[\d.,]+|[+]?[\d.,]+( %)?", x)
    back = read_series(folder / "b.csv", series.schema)
    assert back.grid.is_whole
    assert back.visible.all()
    known = series.visible
    assert np.array_equal(back.values[known], series.values[known])


def table() -> pa.Table:
    """Rows of two series with holes, of types that are easily lost."""
    rng, hours = np.random.default_rng(0), pd.date_range("2026-10-24", periods=60, freq="h", tz="Europe/Berlin")
    there = rng.random(120) > 0.2
    there[[0, 59, 60, 119]] = True
    n = int(there.sum())
    columns = {
        "id": pa.array(["a"] * 60 + ["b"] * 60).dictionary_encode(),
        "when": pa.array([*hours, *hours], pa.timestamp("ms", "Europe/Berlin")),
        "x": pa.array(np.sin(np.arange(120) / 4).astype("f4"), mask=rng.random(120) < 0.1),
        "whole": pa.array(rng.integers(0, 900, 120), pa.int16()),
        "cost": pa.array([f"{value:.2f}" for value in rng.normal(size=120)]).cast(pa.decimal128(9, 2)),
        "on": pa.array(rng.random(120) < 0.5, mask=rng.random(120) < 0.1),
        "serial": pa.array([f"{at:020d}" for at in range(120)]),
        "big": pa.array(2**62 + np.arange(120)),
        "tags": pa.array([[at, None] for at in range(120)]),
    }
    fields = [pa.field(name, column.type, metadata={b"unit": b"K"}) for name, column in columns.items()]
    whole = pa.table(list(columns.values()), schema=pa.schema(fields, {b"station": b"north"}))
    assert n < 120
    return whole.filter(pa.array(there))


READING = {"time": "when", "ids": "id", "overrides": {"columns": {"big": {"kind": "carried"}}}}


def check_rows(before: pa.Table, after: pa.Table) -> None:
    """All that was there is there, of the same types; series and time are whole."""
    assert after.schema.equals(before.schema, check_metadata=True)
    assert len(after) == 120
    moments = [table["when"].cast(pa.int64()).to_pylist() for table in (before, after)]
    names = [table["id"].to_pylist() for table in (before, after)]
    keys = [list(zip(*key, strict=True)) for key in zip(names, moments, strict=True)]
    places = [keys[1].index(key) for key in keys[0]]
    assert places == sorted(places)
    for name in before.column_names:
        pairs = zip(before[name].to_pylist(), after[name].take(pa.array(places)).to_pylist(), strict=True)
        assert all(old == new or (old is None and name in ("x", "on")) for old, new in pairs), name
    assert all(after[name].null_count == 0 for name in ("id", "when", "x", "whole", "cost", "on"))


@pytest.mark.situation("series in Parquet, Arrow and Feather files", "types, metadata and order of rows stay")
@pytest.mark.parametrize("ending", ["parquet", "arrow", "feather"])
def test_columnar_files(tmp_path, ending):
    before, path, filled = table(), tmp_path / f"a.{ending}", tmp_path / f"b.{ending}"
    if ending == "parquet":
        pq.write_table(before, path)
    elif ending == "arrow":
        with pa.ipc.new_file(path, before.schema) as file:
            file.write_table(before)
    else:
        feather.write_feather(before, path)
    series = read_series(path, **READING)
    fill(series, filled)
    read = pq.read_table if ending == "parquet" else feather.read_table
    check_rows(read(path), read(filled))
    back = read_series(filled, series.schema)
    assert np.array_equal(back.values[series.visible], series.values[series.visible])


def completed(series: SeriesSet) -> Any:
    return series.in_own_form(np.where(series.visible, series.values, 1.0), replace=True)


@pytest.mark.situation("series in frames of pandas, polars and Arrow", "types and order of rows stay")
def test_frames():
    before = table()
    check_rows(before, completed(read_series(before, **READING)))
    frame = before.drop_columns("tags").to_pandas(types_mapper={pa.bool_(): pd.BooleanDtype()}.get)
    frame["kind"] = pd.Categorical(
        ["p", "q"] * (len(frame) // 2) + ["p"] * (len(frame) % 2), ["q", "p", "r"], ordered=True
    )
    after = completed(read_series(frame, **READING))
    assert after.dtypes.drop("big").equals(frame.dtypes.drop("big"))
    assert after["big"].dropna().tolist() == before["big"].to_pylist()
    assert after.columns.tolist() == frame.columns.tolist()
    assert isinstance(after.index, pd.RangeIndex)
    polars = pl.DataFrame(pl.from_arrow(before)).with_columns(kind=pl.lit("p").cast(pl.Enum(["q", "p"])))
    after = completed(read_series(polars, **READING))
    assert after.schema == polars.schema
    assert after.drop_nulls("serial").drop("x", "on").equals(polars.drop("x", "on"))


@pytest.mark.situation("noise removed from a file with lost rows", "the same rows; what is missing stays missing")
def test_rows_that_get_nothing_are_not_added(tmp_path):
    lines = ["t,x,n", *(f"{at},{at % 7}.50,{at:03d}" for at in range(200) if at % 50 != 3)]
    lines[20] = lines[20].replace(".50", "").split(",")[0] + ",NA,007"
    (tmp_path / "a.csv").write_text("\n".join(lines))
    series = read_series(tmp_path / "a.csv", time="t").to({"": place(tmp_path / "b.csv", force=False)})
    collector = series.collector()
    for block in series.blocks("denoise"):
        collector.add(block, block.items.values + 0.25, block.items.visible())
    after = collector.result().read_text().splitlines()
    assert len(after) == len(lines)
    assert ",NA," in after[20]
    assert after[1] == "0,0.75,000"


@pytest.mark.situation("a CSV of series, written as TSV", "its cells as they are written")
def test_another_dialect(tmp_path):
    lines = ["t;x;n", *(f"{at},0;{at % 7},50;{at:03d}" for at in range(100) if at % 50 != 3)]
    (tmp_path / "a.csv").write_text("\n".join(lines))
    fill(read_series(tmp_path / "a.csv", time="t"), tmp_path / "b.tsv")
    after = (tmp_path / "b.tsv").read_text().splitlines()
    assert len(after) == 101
    assert [line.replace("\t", ";") for line in after if line.replace("\t", ";") in lines] == lines
    assert after[4].startswith("3,0\t")


def test_new_rows_of_frames_are_in_order_of_time():
    hours = pd.date_range("2026-01-01", periods=40, freq="h")
    lost = [5, 6, 20, 38]
    frame = pd.DataFrame({"hour": hours, "load": np.sin(np.arange(40.0))}).drop(index=lost)
    after = completed(read_series(frame, time="hour", window=8))
    assert after["hour"].tolist() == hours.tolist()
    assert (after["load"].iloc[lost] == 1.0).all()
