"""Series piece by piece: they are scored as the whole is."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from fivefold.errors import DataError, ModelError, UsageError
from fivefold.jobs.detect import detect
from fivefold.series.alarms import Bar, above_bar
from fivefold.series.results import find_events
from fivefold.series.stream import Stream

pytestmark = pytest.mark.filterwarnings("ignore:.*is not as it was fitted")
RATE = 0.03


@pytest.mark.parametrize("rate", [0.01, 0.1])
def test_alarms_go_on_where_they_stopped(rate):
    rng = np.random.default_rng(0)
    nats = rng.exponential(size=3000) * np.where(rng.random(3000) < 0.1, 5, 1)
    whole, _, _ = above_bar(nats, 20, rate)
    decided, judged, bar, parts = 0, 0, Bar(), []
    for until in [*np.sort(rng.choice(2970, 40, replace=False)).tolist(), 2980]:
        left, on, bar = above_bar(nats[judged : until + 20], 20, rate, bar, until - judged)
        parts.append(left[decided - judged : until - judged])
        decided, judged = until, judged + on
    np.testing.assert_array_equal(np.concatenate(parts), whole[:2980])


@pytest.fixture(scope="module")
def long(waves) -> np.ndarray:
    """A series of 900 steps with strange ones, and a gap."""
    series = np.tile(waves[0], 2)[:900].copy()
    for at in (30, 210, 213, 400, 402, 640):
        series[at] += 5.0
    series[500:540] = 0.3
    series[300:306] = np.nan
    return series


def pieces(length: int, seed: int) -> list[slice]:
    cuts = np.sort(np.random.default_rng(seed).choice(np.arange(1, length), 12, replace=False)).tolist()
    return [slice(*pair) for pair in zip([0, *cuts], [*cuts, length], strict=True)]


def same(decided, whole, count):
    """The first `count` steps of one series."""
    np.testing.assert_allclose(decided["score"].to_numpy(), whole.score[:count], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(decided["p_value"].to_numpy(), whole.p_value[:count], rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(decided["anomaly"].to_numpy(), whole.anomaly[:count])


@pytest.mark.parametrize("seed", [0, 1])
def test_pieces_of_an_array(series_model, long, seed, tmp_path):
    whole = detect(series_model, long, false_alarm_rate=RATE)
    stream, parts = Stream(series_model, RATE), []
    for piece in pieces(len(long), seed):
        parts.append(stream.detect(long[piece]))
        stream.save(tmp_path / "state.safetensors")
        stream = Stream.load(series_model, tmp_path / "state.safetensors")
        assert len(stream._cells) <= 5 * series_model.schema.steps + parts[-1].delayed
    steps = pd.concat([part.steps.to_pandas() for part in parts], ignore_index=True)
    assert steps["step"].tolist() == list(range(len(steps)))
    assert len(steps) + parts[-1].delayed == len(long)
    assert parts[-1].delayed <= 3 * series_model.schema.steps
    same(steps, whole, len(steps))
    events = pd.concat([part.events.to_pandas() for part in parts], ignore_index=True)
    expected = find_events(np.array([len(long)]), whole.score, whole.p_value, whole.anomaly)
    ended = np.flatnonzero(expected.end < len(steps) - 5)
    assert len(ended) > 5
    for name in ("start", "end", "peak"):
        assert events[name].tolist() == getattr(expected, name)[ended].tolist()
    alike = pd.DataFrame({name: getattr(whole.events, name) for name in ("start", "end", "farthest", "expected")})
    both = events.merge(alike, on=["start", "end"], suffixes=("", "_whole"))
    assert len(both) > 3
    assert both["farthest"].tolist() == both["farthest_whole"].tolist()
    np.testing.assert_allclose(both["expected"], both["expected_whole"], atol=1e-4)


def test_pieces_of_tables_of_several_series(series_model, waves, tmp_path):
    hours = pd.date_range("2026-01-01", periods=400, freq="h")
    frames = [
        pd.DataFrame({"site": name, "hour": hours[at:], "load": waves[0, at:400] + (np.arange(at, 400) == 250) * 5})
        for name, at in (("a", 0), ("b", 60))
    ]
    table = pd.concat(frames).sort_values("hour", kind="stable").reset_index(drop=True)
    table = table[~((table.site == "a") & (table.hour.between(hours[100], hours[110])))]
    from fivefold.training.fit import fit

    fitted = fit(
        table, kind="series", time="hour", ids="site", window=32, epochs=1, shortest_epoch=5, longest_epoch=5,
        hidden=16, first_channels=8, context_width=8, latent_dim=4, reach=8, accelerator="cpu",
    )  # fmt: skip
    whole = detect(fitted, table, false_alarm_rate=RATE)
    table = table.assign(score=whole.score, p_value=whole.p_value, anomaly=whole.anomaly)
    stream, steps = Stream(fitted, RATE), []
    for piece in pieces(len(table), 3):
        steps.append(stream.detect(table.iloc[piece][["site", "hour", "load"]]).steps.to_pandas())
        stream.save(tmp_path / "state")
        stream = Stream.load(fitted, tmp_path / "state", RATE)
    found = pd.concat(steps).dropna(subset="score").merge(table, on=["site", "hour"], suffixes=("", "_whole"))
    assert len(found) == pd.concat(steps)["score"].notna().sum() > 500
    np.testing.assert_allclose(found["score"], found["score_whole"], rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(found["anomaly"], found["anomaly_whole"])
    with pytest.raises(DataError, match=r"comes twice|must begin after"):
        stream.detect(table.iloc[-50:-20][["site", "hour", "load"]])


def test_what_does_not_go_on(series_model, table_model, long, tmp_path):
    stream = Stream(series_model, RATE)
    stream.detect(long[:200])
    stream.save(tmp_path / "state")
    with pytest.raises(UsageError, match=r"was begun with a `false_alarm_rate` of 0\.03"):
        Stream.load(series_model, tmp_path / "state", 0.01)
    with pytest.raises(DataError, match="must have 1 series as before, got 2"):
        stream.detect(np.stack((long[200:300], long[200:300])))
    (tmp_path / "other").write_bytes(b"nothing")
    with pytest.raises(ModelError, match="is no state of a stream"):
        Stream.load(series_model, tmp_path / "other")
    with pytest.raises(UsageError, match="`state` goes with series, not with tables"):
        Stream(table_model)
