"""New rows are like the fit's: in types, names, missing cells, codes, and in what holds between columns."""

from __future__ import annotations

import datetime
import decimal

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import fivefold

N = 160
QUICK = {"epochs": 1, "shortest_epoch": 2, "accelerator": "cpu", "hidden": 16, "context_width": 16, "members": 1}


def days(numbers) -> pd.DatetimeIndex:
    return pd.to_datetime("2024-01-01") + pd.to_timedelta(numbers, "D")


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    """Of pandas' own types, with missing cells, a column that is carried, and an index that counts from 5."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "size": pd.Categorical(rng.choice(["small", "large"], N), ["huge", "large", "small"], ordered=True),
            "count": pd.array(rng.integers(0, 50, N), "Int64"),
            "sold": pd.array(rng.random(N) < 0.5, "boolean"),
            "weight": pd.array(rng.normal(size=N), "Float64"),
            "colour": pd.array(rng.choice(["red", "blue"], N), "string"),
            "day": days(rng.integers(0, 99, N)).astype("datetime64[s]"),
            "at": days(rng.integers(0, 99, N)).tz_localize("Europe/Berlin"),
            "small": rng.integers(0, 9, N).astype(np.int8),
            "single": rng.normal(size=N).astype(np.float32),
            "status": rng.choice([200, 404, 500], N),
            "id": [f"row {number}" for number in range(N)],
        }
    )
    frame.loc[::4, ["count", "weight"]] = pd.NA
    frame.loc[1::5, "sold"] = pd.NA
    frame.index = pd.RangeIndex(5, 5 + N)
    return frame


@pytest.fixture(scope="module")
def new(frame):
    return fivefold.generate(fivefold.fit(frame, **QUICK), 400)


@pytest.mark.situation("a pandas frame with categories, nullable types, text, zones: new rows", "of the same types")
def test_types_of_pandas(frame, new):
    assert new.dtypes.equals(frame.drop(columns="id").dtypes)
    assert isinstance(new.index, pd.RangeIndex)
    assert new.index[0] == 0


@pytest.mark.situation(
    "missing cells in the fit: new rows", "missing in the same share and together, none with complete"
)
def test_missing_cells(frame, new):
    share = frame.drop(columns="id").isna().mean()
    assert ((new.isna().mean() - share).abs() < 0.1).all()
    assert (new["count"].isna() == new["weight"].isna()).all()
    model = fivefold.fit(frame, **QUICK)
    assert not fivefold.generate(model, 50, complete=True).isna().any(axis=None)


@pytest.mark.situation("integers that code something: new and filled-in cells", "only values that were met")
def test_codes_stay_among_those_met(frame, new):
    assert set(new["status"]) <= {200, 404, 500}


@pytest.mark.parametrize(
    "columns", [range(11), pd.MultiIndex.from_product([["goods"], list("abcdefghijk")], names=["table", "column"])]
)
@pytest.mark.situation("a pandas frame whose columns are numbered or of several levels: new rows", "of the same names")
def test_names_of_pandas(frame, columns):
    renamed = frame.set_axis(columns, axis=1)
    assert fivefold.generate(fivefold.fit(renamed, **QUICK), 3).columns.equals(renamed.columns[:-1])


@pytest.mark.situation("polars' Enum, Categorical and Decimal, Arrow's dictionaries: new rows", "of the same types")
def test_types_of_polars_and_arrow():
    rng = np.random.default_rng(0)
    letters = rng.choice(["a", "b"], N).tolist()
    amounts = [decimal.Decimal(int(cents)).scaleb(-2) for cents in rng.integers(0, 900, N)]
    times = [datetime.datetime(2024, 1, 1) + datetime.timedelta(hours=int(hours)) for hours in rng.integers(0, 99, N)]
    columns = {
        "enum": pl.Series(letters, dtype=pl.Enum(["b", "a", "unused"])),
        "category": pl.Series(letters, dtype=pl.Categorical),
        "amount": pl.Series(amounts, dtype=pl.Decimal(10, 2)),
        "time": pl.Series(times, dtype=pl.Datetime("ms", "UTC")),
        "number": pl.Series(rng.integers(0, 99, N), dtype=pl.Int16),
    }
    frame = pl.DataFrame(columns)
    assert fivefold.generate(fivefold.fit(frame, **QUICK), 3).schema == frame.schema
    table = pa.table(
        {
            "amount": pa.array(amounts, pa.decimal128(12, 3)),
            "letter": pa.array(letters).dictionary_encode(),
            "day": pa.array(rng.integers(0, 900, N).astype(np.int32)).cast(pa.date32()),
        }
    )
    assert fivefold.generate(fivefold.fit(table, **QUICK), 3).schema.equals(table.schema)


@pytest.fixture(scope="module")
def stays() -> pd.DataFrame:
    rng = np.random.default_rng(1)
    a, b, start = rng.integers(1, 50, 400), rng.integers(1, 50, 400), rng.integers(0, 300, 400)
    town = rng.integers(0, 6, 400)
    return pd.DataFrame(
        {
            "a": a,
            "b": b,
            "total": a + b,
            "start": days(start),
            "end": days(start + rng.integers(0, 30, 400)),
            "town": np.array(list("uvwxyz"))[town],
            "region": np.array(["north", "south"])[town % 2],
        }
    )


@pytest.fixture(scope="module")
def model(stays):
    return fivefold.fit(stays, **QUICK)


def broken(rows: pd.DataFrame) -> np.ndarray:
    region = rows["town"].map(dict(zip("uvwxyz", ["north", "south"] * 3, strict=True)))
    return (
        (rows["a"] + rows["b"] != rows["total"]) | (rows["start"] > rows["end"]) | (rows["region"] != region)
    ).to_numpy()


@pytest.mark.situation(
    "sums, orders, one category that determines another", "found, said, held in new rows; not with free"
)
def test_relations_are_said_and_hold_in_new_rows(model):
    assert set(model.record["relations"]) == {"total = a + b", "start ≤ end", "town determines region"}
    assert not broken(fivefold.generate(model, 500)).any()
    assert broken(fivefold.generate(model, 500, free=True)).mean() > 0.5
    assert (given := fivefold.generate(model, 50, given={"total": "60"}))["total"].eq(60).all()
    assert not broken(given).any()


@pytest.mark.situation(
    "a key of the fit comes twice in new rows", "the later ones are strange, that cell first in surprise"
)
@pytest.mark.parametrize("block_rows", [1 << 16, 70])
def test_a_key_that_comes_twice(stays, tmp_path, monkeypatch, block_rows):
    monkeypatch.setattr("fivefold.tables.dataset._BLOCK_ROWS", block_rows)
    frame = stays.assign(stay=np.random.default_rng(2).permutation(np.arange(1000, 1400)))
    model = fivefold.fit(frame, **QUICK)
    assert "stay is a key: no value is there twice" in model.record["relations"]
    new, twice = frame.iloc[:200].copy(), [40, 90, 150, 199]
    assert fivefold.detect(model, new, false_alarm_rate=0.05).anomaly.mean() < 0.15  # of 60 that calibrate, 9 at most
    new.iloc[twice, new.columns.get_loc("stay")] = new["stay"].iloc[[3, 3, 149, 60]].to_numpy()
    new.to_csv(tmp_path / "new.csv", index=False)
    for data in (new, tmp_path / "new.csv"):
        found = fivefold.detect(model, data, false_alarm_rate=0.05)
        assert found.anomaly[twice].all()
        assert not found.anomaly[[3, 60, 149]].any()
        excess = pa.table(fivefold.surprise(model, data)).to_pandas()
        assert (excess.iloc[twice].idxmax(axis=1) == "stay").all()


@pytest.mark.situation(
    "a cell is missing that follows from the others of its row", "filled in so that the relation holds"
)
def test_relations_hold_in_completed_rows(model, stays):
    holes = stays[:120].astype({"a": "Int64", "total": "Int64"})
    for number, name in enumerate(("a", "total", "end", "region")):
        holes.loc[holes.index % 4 == number, name] = None
    found = fivefold.impute(model, holes, n_draws=1)
    for rows in (found.data, *found.draws):
        assert not broken(rows.astype({"a": int, "total": int})).any()
    assert (found.data["total"] == stays["total"][:120]).all()
    assert broken(fivefold.impute(model, holes, free=True).data.astype({"a": int, "total": int})).any()


@pytest.mark.situation(
    "a row that breaks a relation that held in the fit", "found as strange, its cells first in surprise"
)
def test_broken_rows_are_strange(model, stays):
    wrong = stays[:200].copy()
    wrong.loc[::2, "total"] += 1
    wrong.loc[1::2, "end"] = wrong["start"] - pd.to_timedelta(1, "D")
    assert fivefold.detect(model, wrong, false_alarm_rate=0.05).anomaly.mean() > 0.95
    assert fivefold.detect(model, stays, false_alarm_rate=0.05).anomaly.mean() < 0.1
    first = fivefold.surprise(model, wrong).idxmax(axis=1)
    assert first[::2].isin(["a", "b", "total"]).mean() > 0.95
    assert first[1::2].isin(["start", "end"]).mean() > 0.95
