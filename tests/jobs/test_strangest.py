"""The strangest of many, with what is strange about each."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from fivefold.errors import UsageError
from fivefold.items import Lowest
from fivefold.jobs.detect import detect

pytestmark = pytest.mark.filterwarnings("ignore:detection compares with", "ignore:.*did worse")


def test_the_lowest_of_blocks_are_those_of_all():
    numbers = np.random.default_rng(0).normal(size=100).round(1)
    numbers[[3, 50]] = np.nan
    lowest = Lowest(12)
    for part in np.split(numbers, [5, 7, 60]):
        lowest.add(None, part)
    np.testing.assert_array_equal(lowest.items, np.argsort(numbers, kind="stable")[:12])
    np.testing.assert_array_equal(lowest.result()[0], np.sort(numbers)[:12])


def test_the_lowest_are_no_more_than_there_are():
    lowest = Lowest(5)
    lowest.add(None, np.array([np.nan, 2.0, 1.0]))
    assert lowest.items.tolist() == [2, 1]


def test_rows_come_with_their_strangest_cell(table_model, trees):
    rows = trees[300:400].reset_index(drop=True)
    rows.loc[7, "girth"] = 99_000.0
    whole, found = detect(table_model, rows), detect(table_model, rows, top=5)
    order = np.argsort(whole.score, kind="stable")[:5]
    np.testing.assert_array_equal(found.score, whole.score[order])
    np.testing.assert_array_equal(found.p_value, whole.p_value[order])
    np.testing.assert_array_equal(found.anomaly, whole.anomaly[order])
    table = found.strangest.to_pandas()
    assert table["row"].tolist() == order.tolist()
    first = table.iloc[0]
    assert (first["row"], first["column"], float(first["found"])) == (7, "girth", 99_000)
    assert float(first["expected"]) < 1000
    assert first["surprise"] > 3


def test_a_table_read_part_by_part_gives_the_same(table_model, trees, tmp_path, monkeypatch):
    monkeypatch.setattr("fivefold.tables.dataset._BLOCK_ROWS", 64)
    rows = trees[300:500].reset_index(drop=True)
    rows.to_parquet(tmp_path / "rows.parquet")
    of_file, of_frame = (detect(table_model, source, top=9).strangest for source in (tmp_path / "rows.parquet", rows))
    assert of_file.drop_columns("surprise").equals(of_frame.drop_columns("surprise"))
    np.testing.assert_allclose(of_file["surprise"], of_frame["surprise"], atol=1e-4)


def test_images_come_with_their_strangest_pixel(model, digits):
    spoilt = digits[600:620].copy()
    spoilt[4, 2, 3] = 255
    spoilt[4, 20:, 20:] = 255
    found = detect(model, spoilt, top=1).strangest.to_pylist()[0]
    assert found["item"] == "4"
    assert found["found"] == spoilt[4, found["y"], found["x"], 0] != found["expected"]


def test_no_rows(table_model, trees):
    assert len(detect(table_model, trees[:0], top=2).strangest) == 0


def test_steps_are_a_window_apart(series_model, waves):
    strange = waves[:1].copy()
    strange[0, 300] += 4
    found = detect(series_model, strange, top=3)
    steps = found.strangest["step"].to_numpy()
    assert len(steps) == 3
    assert steps[0] == 300
    assert np.diff(np.sort(steps)).min() >= series_model.schema.steps
    assert (np.diff(found.score) >= 0).all()
    first = found.strangest.to_pylist()[0]
    assert first["farthest"] == 300
    assert first["found"] == pytest.approx(strange[0, first["farthest"]].max())
    assert abs(first["expected"] - waves[0, first["farthest"]].max()) < 4


def test_events_say_which_channel_it_was(series_settings):
    from fivefold.training.fit import fit

    rng, at = np.random.default_rng(0), np.arange(600)
    both = np.stack((np.sin(at / 5), np.cos(at / 5)), axis=1)[None] + 0.1 * rng.normal(size=(1, 600, 2))
    fitted = fit(both, kind="series", **series_settings)
    spoilt = both.copy()
    spoilt[0, 200, 1] += 6
    spoilt[0, 400, 0] -= 6
    events = detect(fitted, spoilt, false_alarm_rate=0.05).events
    for step, channel in ((200, 1), (400, 0)):
        event = int(np.flatnonzero((events.start <= step) & (events.end >= step))[0])
        name = fitted.schema.channels.names[channel]
        assert events.channels[event].split(", ")[0] == name
        assert events.farthest[event] == step
        assert events.found[event] == pytest.approx(spoilt[0, step, channel])
        assert abs(events.expected[event] - both[0, step, channel]) < 2


@pytest.mark.parametrize("wrong", [{"top": 0}, {"top": 3, "fdr": 0.1}])
def test_what_can_not_be_asked_for(table_model, trees, wrong):
    with pytest.raises(UsageError, match="`top`"):
        detect(table_model, trees[:9], **wrong)


def test_an_estimator_tells_the_strangest(table_model, trees):
    from fivefold import VAE

    vae = VAE()
    vae.model_ = table_model
    assert vae.strangest(pd.DataFrame(trees[:50]), 2).num_rows == 2
