"""What is normal of steps: kept in the model's file, and refused when that is damaged; levels that wander."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from fivefold.errors import ModelError
from fivefold.model.normality import StepNormality
from fivefold.model.step_statistics import _levelled


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
    assert isinstance(normality, StepNormality)
    with pytest.raises(ModelError, match=r"damaged|not in order"):
        dataclasses.replace(normality, **{name: spoil(getattr(normality, name))})


def test_levels_that_wander_are_brought_to_the_middle(series_model, waves):
    unit, seen = series_model.read(waves).unit(slice(0, 3))
    x, visible = series_model.tensor(unit), series_model.tensor(seen)
    assert torch.equal(_levelled(series_model, x, visible), x), "levels of waves don't wander"
    schema = dataclasses.replace(series_model.series_schema, wander=(0.3,))
    wandering = dataclasses.replace(series_model, schema=schema)
    moved = [_levelled(wandering, each, visible) for each in (x, x + 0.2)]
    assert torch.allclose(*moved, atol=1e-6)
    assert torch.allclose(moved[0].diff(dim=2), x.diff(dim=2), atol=1e-6)
