"""Series as they are logged: rows of uneven, local, and oddly written time stamps to steps of an even grid, and back."""

from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings

from fivefold.errors import DataError, UsageError
from fivefold.series.dataset import SeriesSet, read_series

HOURS = pd.date_range("2026-01-01", periods=400, freq="h")


def _frame(stamps: object, **columns: object) -> pd.DataFrame:
    n = len(stamps)  # type: ignore[arg-type]
    return pd.DataFrame({"t": stamps, "x": np.sin(np.arange(n) / 4), **columns})


def _filled(series: SeriesSet) -> pd.DataFrame:
    found = series.in_own_form(np.nan_to_num(series.values, nan=7.0), replace=True)
    assert isinstance(found, pd.DataFrame)
    return found


def _ahead(frame: pd.DataFrame, steps: int) -> list[object]:
    return read_series(frame, time="t").grid.ahead(steps).to_pylist()


@pytest.fixture(scope="module")
def hourly():
    return read_series(_frame(HOURS), time="t").schema


@pytest.mark.situation("new rows every third hour, or two a day apart", "steps of the fitted interval, with holes")
@pytest.mark.parametrize("rows", [slice(None, None, 3), [0, 24], [7]])
def test_the_fitted_interval_is_the_grid(hourly, rows):
    series = read_series(_frame(HOURS).iloc[rows], hourly)
    places = np.arange(400)[rows]
    assert series.lengths.tolist() == [places[-1] - places[0] + 1]
    assert np.flatnonzero(series.visible[:, 0]).tolist() == (places - places[0]).tolist()


@pytest.mark.situation("more than half of the rows lost", "the interval is found; the lost ones are holes")
@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 1000), lost=st.floats(0, 0.7))
def test_lost_rows_are_holes(seed, lost):
    there = np.random.default_rng(seed).random(400) >= lost
    there[[0, -1]] = True
    series = read_series(_frame(HOURS)[there], time="t")
    assert series.schema.interval == 3600
    assert np.array_equal(series.visible[:, 0], there)
    assert _filled(series)["t"].tolist() == HOURS.tolist()


@pytest.mark.situation("rows of another rate than the fit's", "refused: resample, or fit to them")
@pytest.mark.parametrize("apart", ["10min", "90min", "25min"])
def test_another_rate_is_refused(hourly, apart):
    with pytest.raises(DataError, match=r"steps must be 1:00:00 apart as the model was fitted, got .*: resample"):
        read_series(_frame(pd.date_range("2026-01-01", periods=50, freq=apart)), hourly)


@pytest.mark.situation("time stamps that jitter", "snapped; filled rows are within a tenth of a step of the truth")
@pytest.mark.parametrize("jitter", [0.05, 0.2, 0.35])
def test_jitter_is_snapped(jitter):
    rng, n = np.random.default_rng(0), 10_000
    there = rng.random(n) < 0.8
    there[[0, -1]] = True
    true = 60.0 * np.arange(n)
    stamps = pd.to_datetime((true + rng.uniform(-jitter, jitter, n) * 60)[there], unit="s")
    series = read_series(_frame(stamps), time="t")
    assert np.array_equal(series.visible[:, 0], there)
    filled = _filled(series)
    seconds = filled["t"].to_numpy().astype("M8[us]").astype(np.int64) / 1e6
    assert np.abs(seconds - true)[~there].max() < 6
    assert filled["t"].is_monotonic_increasing
    assert read_series(filled, series.schema).grid.is_whole
    assert jitter < 0.1 or "off an even grid: snapped" in str(series.check().doubts[0])


def test_a_tolerance_is_kept():
    stamps = HOURS + pd.to_timedelta(np.random.default_rng(0).uniform(-10, 10, 400), unit="min")
    assert read_series(_frame(stamps), time="t").schema.interval == pytest.approx(3600, rel=1e-3)
    with pytest.raises(DataError, match=r"row \d+: time stamps must be a whole number of steps .*`tolerance`"):
        read_series(_frame(stamps), time="t", tolerance=0.05)
    with pytest.raises(UsageError, match=r"`tolerance` must be from 0 to 0.5"):
        read_series(_frame(stamps), time="t", tolerance=2)


@pytest.mark.situation("time stamps at random", "refused: two are in one step")
def test_random_stamps_are_refused():
    stamps = HOURS[0] + pd.to_timedelta(np.cumsum(np.random.default_rng(0).exponential(1, 200)), unit="h")
    with pytest.raises(DataError, match=r"row \d+: .* is in one step of .* with the one before it"):
        read_series(_frame(stamps), time="t")


@pytest.mark.situation("stamps as 31.01.2026, 31/01/2026 12:00, 2026-01, 2026-W05, …", "read, and written alike")
@pytest.mark.parametrize(
    ("layout", "freq"),
    [
        ("%d.%m.%Y", "D"),
        ("%d/%m/%Y %H:%M", "h"),
        ("%m/%d/%Y", "D"),
        ("%Y-%m", "MS"),
        ("%m/%Y", "MS"),
        ("%G-W%V", "W-MON"),
        ("%Y%m%d", "D"),
        ("%Y-%m-%dT%H:%M:%S", "h"),
        ("%Y-%m-%dT%H:%MZ", "h"),
        ("%Y-%m-%dT%H:%M:%S+02:00", "15min"),
    ],
)
def test_layouts_of_texts(layout, freq):
    whole = _frame(pd.date_range("2026-01-05", periods=200, freq=freq).strftime(layout))
    series = read_series(whole.drop(index=[5, 6, 50]), time="t")
    assert series.lengths.tolist() == [200]
    filled = _filled(series)
    assert filled["t"].tolist() == whole["t"].tolist()
    assert read_series(filled, series.schema).grid.is_whole
    assert _ahead(whole[:150], 50) == whole["t"].tolist()[150:]


@pytest.mark.situation("how a series goes on, drawn", "with the time stamps that are next, as the column has them")
@pytest.mark.parametrize(
    "stamps", [np.arange(80) * 5 + 2, np.arange(80) / 4, pd.date_range("2026-01-31", periods=80, freq="ME")]
)
def test_stamps_of_steps_to_come(stamps):
    whole = _frame(stamps)
    assert _ahead(whole[:60], 20) == whole["t"].tolist()[60:]
    series = read_series(pd.concat([whole[:60].assign(id="a"), whole[:70].assign(id="b")]), time="t", ids="id")
    assert series.grid.ahead(10).to_pylist() == whole["t"].tolist()[60:70] + whole["t"].tolist()[70:]


@pytest.mark.situation("days across a change of clocks", "days: filled ones begin at midnight, too")
def test_days_across_a_change_of_clocks():
    days = pd.date_range("2026-03-20", periods=30, freq="D", tz="Europe/Berlin")
    series = read_series(_frame(days).drop(index=[9, 10, 11]), time="t")
    assert _filled(series)["t"].tolist() == days.tolist()
    assert _ahead(_frame(days)[:8], 22) == days.tolist()[8:]


@pytest.mark.situation("local times around a change of clocks", "asked for the time zone, by which they are told apart")
def test_hours_that_clocks_show_twice():
    moments = pd.date_range("2026-10-24 22:00", periods=72, freq="30min", tz="UTC")
    whole = _frame(moments.tz_convert("Europe/Berlin").tz_localize(None))
    with pytest.raises(DataError, match=r"row 6: 2026-10-25 02:00:00 comes twice; .* give `time_zone`"):
        read_series(whole, time="t")
    with pytest.raises(UsageError, match="`time_zone` must be a name such as Europe/Berlin, got 'Europe/Nowhere'"):
        read_series(whole, time="t", time_zone="Europe/Nowhere")
    series = read_series(whole.drop(index=[3, 30, 31]), time="t", time_zone="Europe/Berlin")
    assert _filled(series)["t"].tolist() == whole["t"].tolist()
    assert read_series(whole, series.schema).grid.is_whole, "the schema knows the zone"


@pytest.mark.situation("a pandas frame whose index is the time", "the index is the time, and comes back")
@pytest.mark.parametrize("name", [None, "when"])
def test_an_index_of_times(name):
    whole = _frame(HOURS).drop(columns="t").set_index(HOURS.rename(name))
    series = read_series(whole.drop(index=HOURS[5]))
    filled = _filled(series)
    assert filled.index.tolist() == HOURS.tolist()
    assert filled.columns.tolist() == ["x"]
    assert read_series(whole, series.schema).grid.is_whole


@pytest.mark.situation("rows by time, then by id", "taken series by series, and given back in their order")
def test_rows_by_time_then_id():
    frame = pd.concat([_frame(HOURS, id="a"), _frame(HOURS, id="b")]).sort_values(["t", "id"])
    series = read_series(frame, time="t", ids="id")
    assert series.lengths.tolist() == [400, 400]
    assert _filled(series).equals(frame)
    assert np.array_equal(series.in_form(series.values[:, 0]), frame["x"])


@pytest.mark.situation("the newest rows first", "sorted by time, said, and given back in their order")
def test_rows_out_of_order():
    series = read_series(_frame(HOURS)[::-1], time="t")
    assert series.values[:, 0].tolist() == _frame(HOURS)["x"].tolist()
    assert "not in order of time" in str(series.check().doubts[0])
    assert _filled(series).equals(_frame(HOURS)[::-1])


@pytest.mark.situation("two rates in one file; weekdays only", "said, with what to do")
def test_rhythms_are_said():
    faster = pd.date_range(HOURS[-1] + pd.Timedelta("10min"), periods=300, freq="10min")
    (doubt,) = read_series(_frame(HOURS.append(faster)), time="t").check().doubts
    assert "several rates, 0:10:00 and 1:00:00 apart" in str(doubt)
    (doubt,) = read_series(_frame(pd.bdate_range("2026-01-05", periods=100)), time="t").check().doubts
    assert "no rows at weekends" in str(doubt)
