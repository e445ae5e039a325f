"""Channels of truth values and words: states, from file to file."""

from __future__ import annotations

import dataclasses
import io

import numpy as np
import polars as pl
import pytest
import torch

import fivefold
from fivefold.jobs.impute import impute
from fivefold.series.context import step_support
from fivefold.series.dataset import place, read_series
from fivefold.tables.likelihood import ColumnLikelihood

MODES = ["off", "warm up", "run"]


@pytest.fixture(scope="module")
def machine():
    """A machine that is off, warms up and runs, by turns; what it draws follows."""
    rng, steps = np.random.default_rng(0), np.arange(600)
    mode = np.select([steps % 24 < 8, steps % 24 < 12], [0, 1], 2)
    power = np.array([0.2, 5.0, 3.0])[mode] + 0.1 * rng.normal(size=600)
    frame = pl.DataFrame({"t": steps, "power": power.round(2), "mode": [MODES[code] for code in mode], "on": mode > 0})
    settings = {"hidden": 16, "first_channels": 8, "context_width": 8, "latent_dim": 4, "window": 48, "epochs": 3}
    settings |= {"shortest_epoch": 10, "longest_epoch": 10, "reach": 8, "accelerator": "cpu", "verdicts": False}
    return fivefold.fit(frame, kind="series", time="t", **settings), frame


@pytest.mark.situation("states that are missing", "filled in with the likeliest, not with a mean of codes")
def test_missing_states(machine, tmp_path):
    model, frame = machine
    hidden = np.arange(600) % 24 >= 18
    holey = frame.with_columns(
        mode=pl.when(pl.lit(hidden)).then(None).otherwise("mode"), on=pl.when(pl.lit(hidden)).then(None).otherwise("on")
    )
    found = impute(model, holey, n_draws=1, interval=0.9)
    for filled in (found.data, *found.draws):
        assert filled.schema == frame.schema
        assert set(filled["mode"]) == set(MODES)
        assert filled.filter(~pl.lit(hidden)).equals(frame.filter(~pl.lit(hidden)))
    assert (found.data["on"] == frame["on"]).mean() > 0.95
    assert (found.data["mode"] == frame["mode"]).mean() > 0.9
    assert found.lower["mode"].null_count() == found.upper["on"].null_count() == hidden.sum()
    holey.write_csv(tmp_path / "a.csv")
    impute(model, read_series(tmp_path / "a.csv", model.schema).to({"": place(tmp_path / "b.csv", False)}))
    assert pl.read_csv(tmp_path / "b.csv")["mode"].null_count() == 0


def test_the_likeliest_state_is_between_no_others():
    schema = read_series(pl.DataFrame({"x": np.arange(90.0), "mode": MODES * 30})).schema
    support = step_support(schema, torch.zeros(1))
    assert support.states.flatten().tolist() == [0, 3]
    ends = torch.tensor([support.low[..., 1].item(), (support.low + support.extent)[..., 1].item()])
    log_weights, locations = torch.tensor([0.45, 0.55]).log().view(1, 2, 1, 1), ends.view(1, 2, 1, 1)
    mixed = ColumnLikelihood(
        log_weights, locations, torch.full_like(locations, 0.01), None, support.columns(torch.tensor([1]))
    )
    assert mixed.point().item() == pytest.approx(1.0)
    numbers = dataclasses.replace(mixed.support, states=None)
    mean = ColumnLikelihood(log_weights, locations, mixed.scales, None, numbers)
    assert 0.2 < mean.point().item() < 0.8
    assert torch.equal(mixed.error(torch.zeros(1)), mean.error(torch.zeros(1))), "the loss has a gradient"
    weight = torch.tensor([0.9, 0.1]).view(1, 1, 2, 1)
    two = ColumnLikelihood(
        torch.zeros(1, 1, 2, 1), ends.view(1, 1, 2, 1), torch.full((1, 1, 2, 1), 0.01), None, mixed.support
    )
    assert two.point(weight).item() == pytest.approx(0.0, abs=1e-6)


@pytest.mark.situation("states in new windows, and in archives", "the labels of the fit")
def test_states_come_back_as_labels(machine, tmp_path):
    model, frame = machine
    new = fivefold.generate(model, 3)
    place(tmp_path / "new.csv", False).write_new(model.schema, new[..., None], {"sample": np.arange(3)}, {})
    rows = pl.read_csv(tmp_path / "new.csv")
    assert set(rows["mode"]) <= set(MODES)
    assert rows["on"].dtype == pl.Boolean
    odd = frame.with_columns(mode=pl.when(pl.col("t") == 30).then(pl.lit("broken")).otherwise("mode"))
    for table in (frame, odd, frame.with_columns(on=pl.when(pl.col("t") % 7 > 0).then("on"))):
        archive = fivefold.compress(model, table)
        assert fivefold.decompress(io.BytesIO(archive).getvalue(), model).equals(table)
    assert len(fivefold.compress(model, frame)) < 0.5 * len(frame.write_csv())
