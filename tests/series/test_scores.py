"""What is normal of steps: kept in the model's file, and refused when that is damaged; levels that wander."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from fivefold.errors import ModelError
from fivefold.series import networks
from fivefold.series.jobs import _levelled
from fivefold.series.scores import IndependentScore


@pytest.mark.parametrize(
    ("name", "spoil"),
    [
        ("knots", lambda a: a[:, ::-1]),
        ("knots", lambda a: a[:, :-1]),
        ("knots", lambda a: a * np.nan),
        ("both", lambda a: a[:-1]),
        ("calibration", lambda a: a[::-1]),
        ("windows", lambda a: a[::-1]),
    ],
)
def test_damage_is_refused(series_model, name, spoil):
    normality = series_model.normality
    assert isinstance(normality, IndependentScore)
    with pytest.raises(ModelError, match=r"damaged|not in order"):
        dataclasses.replace(normality, **{name: spoil(getattr(normality, name))})


def test_what_networks_know_too_well_is_moved_to_where_the_rest_is(series_model, waves, monkeypatch):
    items = series_model.read(waves)
    held_out = np.arange(8)
    known_to_networks = items.origin.starts > items.origin.starts[7]

    def statistics(model, some):
        rows = np.searchsorted(items.origin.starts, some.origin.starts)
        found = np.random.default_rng(0).normal(size=(len(some), 32, 6))
        return found - 5 * known_to_networks[rows, None, None]

    monkeypatch.setattr(networks, "statistics", statistics)
    found = networks.fit_step_score(series_model, items, held_out, 0)
    assert found is not None
    assert np.abs(np.median(found.knots, axis=1)).max() < 0.5


def test_few_steps_that_are_alike_do_not_make_others_strange():
    alike = np.random.default_rng(0).normal(0, 0.01, (40, 32, 1)) + 3.0
    least = np.array([0.5])
    found = IndependentScore.fit(alike, np.ones(1), least)
    assert found is not None
    wide = IndependentScore.fit(3.0 + np.random.default_rng(0).normal(0, 0.5, (40, 32, 1)), np.ones(1), least)
    assert wide is not None
    skewed = np.where(np.random.default_rng(1).random((40, 32, 1)) < 0.5, 3.0, 5.0)
    one_sided = IndependentScore.fit(skewed, np.ones(1), least)
    assert one_sided is not None
    for each, value in ((found, 4.0), (one_sided, 2.0)):  # two deviations, and two beyond a tail without width
        assert each.score(np.full((1, 1, 1), value)).item() > -9
        assert each.score(np.full((1, 1, 1), value)).item() < -0.5
    assert found.score(np.full((1, 1, 1), 4.0)) == pytest.approx(wide.score(np.full((1, 1, 1), 4.0)), rel=0.3)


def test_levels_that_wander_are_brought_to_the_middle(series_model, waves):
    unit, seen = series_model.read(waves).unit(slice(0, 3))
    x, visible = series_model.tensor(unit), series_model.tensor(seen)
    assert torch.equal(_levelled(series_model, x, visible), x), "levels of waves don't wander"
    schema = dataclasses.replace(series_model.schema, wander=(0.3,))
    wandering = dataclasses.replace(series_model, schema=schema)
    moved = [_levelled(wandering, each, visible) for each in (x, x + 0.2)]
    assert torch.allclose(*moved, atol=1e-6)
    assert torch.allclose(moved[0].diff(dim=2), x.diff(dim=2), atol=1e-6)
