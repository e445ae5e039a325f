"""Series: arrays and tables to steps, steps to windows, and back."""

from __future__ import annotations

import wave
from datetime import date, timedelta
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given

from fivefold.errors import DataError, UsageError
from fivefold.items import split_rows
from fivefold.modality import schema_from_json
from fivefold.series.dataset import SeriesSet, read_series
from fivefold.series.schema import SeriesSchema
from fivefold.series.windows import Windows, choose_steps


def _table(rows: int = 60, **columns: object) -> pl.DataFrame:
    days = [date(2026, 1, 1) + timedelta(days=each) for each in range(rows)]
    return pl.DataFrame({"day": days, "load": np.sin(np.arange(rows) / 3), **columns})


def _in_form(series: SeriesSet, values: np.ndarray) -> Any:
    return series.in_own_form(values, replace=True)


@given(
    lengths=st.lists(st.integers(1, 40), min_size=1, max_size=5),
    steps=st.integers(1, 12),
    stride=st.integers(1, 12),
)
def test_windows_are_stitched_to_what_they_were_cut_from(lengths, steps, stride):
    lengths = np.array(lengths)
    windows = Windows.of(lengths, steps, min(stride, steps))
    values = np.arange(lengths.sum(), dtype=float)[:, None]
    whole = np.full_like(values, np.nan)
    for rows in windows.batches(3):
        windows.stitch(whole, rows, windows.cut(values, rows))
    assert np.array_equal(whole, values)


def test_a_step_is_told_by_the_window_in_whose_middle_it_is():
    windows = Windows.of(np.array([20]), 8, 4)
    told = np.full(20, -1)
    windows.stitch(told, slice(None), np.repeat(np.arange(len(windows))[:, None], 8, axis=1))
    middles = windows.starts + 3.5
    expected = np.abs(np.arange(20)[:, None] - middles).min(axis=1)
    assert np.allclose(np.abs(np.arange(20) - middles[told]), expected)


def test_windows_follow_the_data():
    assert choose_steps(np.array([2284]), 1, None, None) == (128, 32)
    assert choose_steps(np.array([200]), 1, None, None) == (50, 12)
    assert choose_steps(np.full(100, 150), 1, None, None) == (150, 150)
    assert choose_steps(np.array([5000]), 8, None, None) == (32, 8)
    assert choose_steps(np.array([5000]), 1, 256, 100) == (256, 100)
    for window, stride in ((2000, None), (1, None), (128, 129), (128, 0)):
        with pytest.raises(UsageError):
            choose_steps(np.array([5000]), 1, window, stride)
    with pytest.raises(UsageError, match="must not be longer than the longest series, which has 50 steps; got 64"):
        choose_steps(np.array([50, 20]), 1, 64, None)


@pytest.mark.parametrize("shape", [(400,), (1, 400), (3, 200), (3, 200, 2)])
def test_arrays_come_back_as_they_were(shape):
    array = np.random.default_rng(0).normal(size=shape)
    series = read_series(array)
    assert np.array_equal(_in_form(series, series.values), array)
    assert series.in_form(np.zeros(len(series.values))).shape == shape[:2]
    windows = series.windows
    whole = np.empty_like(series.values)
    windows.stitch(whole, slice(None), windows.cut(series.values))
    assert np.array_equal(whole, series.values)


@pytest.mark.situation("series of unequal length", "read right")
def test_series_of_unequal_length():
    parts = [np.arange(length, dtype=float) for length in (100, 7, 60)]
    series = read_series(parts)
    assert series.lengths.tolist() == [100, 7, 60]
    assert all(np.array_equal(a[:, 0], b) for a, b in zip(_in_form(series, series.values), parts, strict=True))
    short = series.items().values[series.windows.series == 1, :, 0, 0]
    assert np.array_equal(short[0, :7], parts[1])
    assert np.isnan(short[0, 7:]).all()


def test_integers_stay_integers():
    series = read_series(np.random.default_rng(0).integers(-5, 90, (1, 300)))
    (column,) = series.schema.channels.columns
    assert (column.kind, column.step) == ("integer", 1.0)
    assert series.schema.snap(np.array([[[1.6]]])).item() == 2.0


@pytest.mark.situation("gaps of rows in a series", "result right")
def test_gaps_in_time_become_missing_steps_and_are_filled_in():
    frame = _table().filter(~pl.col("day").is_in([date(2026, 1, 11), date(2026, 1, 12), date(2026, 1, 31)]))
    series = read_series(frame, time="day")
    assert series.lengths.tolist() == [60]
    assert np.flatnonzero(~series.visible[:, 0]).tolist() == [10, 11, 30]
    assert (series.schema.interval, series.schema.unit) == (86400, "second")
    filled = _in_form(series, np.nan_to_num(series.values, nan=7.0))
    assert isinstance(filled, pl.DataFrame)
    assert filled["day"].to_list() == _table()["day"].to_list()
    assert filled["load"][10] == 7.0
    assert filled["load"][9] == frame["load"][9]
    assert len(series.in_form(np.arange(60))) == len(frame)


@pytest.mark.situation("time stamps with zones and of other types", "result right")
def test_time_stamps_stay_as_they_were():
    texts = [f"{day}T00:00" for day in _table()["day"].to_list()]
    frame = _table().with_columns(day=pl.Series(texts)).filter(pl.int_range(pl.len()) != 10)
    series = read_series(frame, time="day")
    filled = _in_form(series, np.nan_to_num(series.values))["day"].to_list()
    assert filled[:10] + filled[11:] == texts[:10] + texts[11:]
    assert filled[10].startswith("2026-01-11")


@pytest.mark.situation("monthly series", "read right")
def test_months_are_steps():
    days = [date(year, month, 1) for year in (2020, 2021, 2022) for month in range(1, 13)]
    frame = pl.DataFrame({"month": days, "x": np.arange(36.0)}).filter(pl.col("x") != 17)
    series = read_series(frame, time="month")
    assert (series.lengths.tolist(), series.schema.unit, series.schema.interval) == ([36], "month", 1)
    assert _in_form(series, np.zeros((36, 1)))["month"].to_list() == days
    ends = [date(2020 + at // 12, at % 12 + 1, 1) + timedelta(days=-1) for at in range(2, 30)]
    assert read_series(pl.DataFrame({"t": ends, "x": np.arange(28.0)}), time="t").lengths.tolist() == [28]


def test_pandas_keeps_its_index():
    frame = _table().to_pandas().set_index(pd.Index(range(100, 160)))
    frame.loc[105, "load"] = np.nan
    series = read_series(frame, time="day")
    filled = _in_form(series, np.nan_to_num(series.values, nan=1.0))
    assert filled.index.equals(frame.index)
    assert filled.loc[105, "load"] == 1.0


@pytest.mark.situation("many series in one table, by id", "read right")
def test_many_series_by_id():
    frame = pl.concat([_table(40, sensor=["a"] * 40), _table(25, sensor=["b"] * 25)])
    series = read_series(frame, time="day", ids="sensor")
    assert series.lengths.tolist() == [40, 25]
    assert series.grid is not None
    assert series.grid.names is not None
    assert series.grid.names.to_pylist() == ["a", "b"]


@pytest.mark.situation("channels of text and truth values", "modelled as states; free text is carried along")
def test_text_and_truth_values_are_states():
    table = _table(note=[f"n{at}" for at in range(60)], mode=["x", None, "y"] * 20, on=[True, False] * 30)
    series = read_series(table, time="day")
    assert series.schema.channels.names == ("load", "mode", "on")
    assert {name for name, _ in series.schema.channels.carried} == {"note"}
    assert series.schema == schema_from_json(series.schema.to_json())
    filled = _in_form(series, np.where(np.isnan(series.values), 0.8, series.values))
    assert filled["mode"].to_list() == ["x", "y", "y"] * 20
    assert filled["on"].to_list() == table["on"].to_list()


def test_sound(tmp_path):
    samples = (1000 * np.sin(np.arange(4000) / 20)).astype("<i2").reshape(-1, 2)
    with wave.open(str(tmp_path / "a.wav"), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(samples.tobytes())
    series = read_series(tmp_path / "a.wav")
    assert np.array_equal(series.values, samples)
    assert series.schema.channels.columns[0].kind == "integer"
    (tmp_path / "b.wav").write_bytes(b"RIFF")
    with pytest.raises(DataError, match=r"b.wav: can't be read as PCM sound"):
        read_series(tmp_path / "b.wav")


@pytest.mark.situation("series twice at one time, or without steps", "refused in one line")
@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (pl.concat([_table()[:11], _table()[10:]]), "column 'day', row 11: 2026-01-11 comes twice"),
        (_table()[:1], "must have at least 2 steps in a series, got 1"),
        (_table(load=[None] * 60), "none of its columns can be modelled"),
        (_table().select("day"), "must have a column of numbers besides day"),
        (_table().drop("day"), "must have a column 'day'"),
        (_table()[:0], "must have rows, got none"),
        (_table().with_columns(day=pl.lit(None, pl.Date)), "column 'day', row 0: must be a time stamp, got nothing"),
        (_table().with_columns(day=pl.lit("soon")), "column 'day', row 0: must hold time stamps of one layout"),
        (_table(load=[np.inf] * 60), "inf"),
    ],
)
def test_bad_tables(frame, message):
    with pytest.raises(DataError) as told:
        read_series(frame, time="day")
    assert message in str(told.value)
    assert "\n" not in str(told.value)


@pytest.mark.situation("arrays that are no series", "refused in one line")
@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((2, 0)), "there is nothing in it"),
        (np.zeros((2, 3, 4, 5)), "must be numbers of shape"),
        (np.array([["a"]]), "must be numbers of shape"),
        (np.full((1, 50), np.nan), "none of its columns can be modelled"),
        ([np.zeros((5, 2)), np.zeros((5, 3))], "as many channels as the first"),
        ([], "must be some, got none"),
        (np.zeros((3, 1)), "must have at least 2 steps"),
    ],
)
def test_bad_arrays(array, message):
    with pytest.raises(DataError, match=message):
        read_series(array)


@pytest.mark.situation("series of another rate than the fit's", "refused in one line")
def test_new_series_must_fit():
    schema = read_series(_table(200), time="day").schema
    hours = _table().with_columns(day=pl.datetime_range(pl.datetime(2026, 1, 1), pl.datetime(2026, 1, 3, 11), "1h"))
    with pytest.raises(
        DataError, match="steps must be 1 day, 0:00:00 apart as the model was fitted, got 1:00:00: resample"
    ):
        read_series(hours, schema)
    with pytest.raises(DataError, match="must have column 'load'"):
        read_series(_table().rename({"load": "lode"}), schema)
    with pytest.raises(DataError, match="must have 1 column"):
        read_series(np.zeros((1, 60, 2)), schema)
    with pytest.raises(UsageError, match="`time` goes with tables"):
        read_series(np.zeros((1, 60)), time="day")


@pytest.mark.situation("a channel that never changes", "result right")
def test_a_constant_channel_is_no_trouble():
    series = read_series(_table(still=np.full(60, 3.0)), time="day")
    unit = series.items().unit()[0]
    assert np.isfinite(unit).all()
    assert np.allclose(series.schema.from_unit(unit)[:, :, 1], 3.0)


def test_held_out_windows_share_no_step_with_others():
    items = read_series(np.random.default_rng(0).normal(size=(1, 1500))).examples()
    train, held_out = split_rows(items, 0.15, 0)
    windows = items.origin
    assert isinstance(windows, Windows)
    steps = [set(windows.places(rows)[0].ravel().tolist()) for rows in (train, held_out)]
    assert len(train) > 0
    assert len(held_out) > 0
    assert not steps[0] & steps[1]


def test_whole_series_are_held_out_if_there_are_many():
    items = read_series([np.random.default_rng(at).normal(size=60 + at) for at in range(30)]).examples()
    train, held_out = split_rows(items, 0.15, 0)
    assert isinstance(items.origin, Windows)
    assert not set(items.origin.series[train]) & set(items.origin.series[held_out])


def test_the_schema_survives_json():
    schema = read_series(_table(200), time="day").schema
    back = schema_from_json(schema.to_json())
    assert isinstance(back, SeriesSchema)
    assert back == schema


@pytest.mark.situation("a word among the numbers of a series", "taken for missing, and said")
def test_a_word_among_numbers_is_said(tmp_path):
    lines = [f"2026-01-01 {hour:02}:00,{hour / 4:.2f}" for hour in range(24)]
    lines[5] = "2026-01-01 05:00,err"
    (tmp_path / "meter.csv").write_text("\n".join(["hour,power", *lines]) + "\n")
    found = read_series(tmp_path / "meter.csv", time="hour", window=8).check()
    assert "'err', once, is taken for missing" in str(found)
