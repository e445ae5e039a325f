"""The few things that all jobs ask of a fitted model."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from fivefold.errors import DataError
from fivefold.images.dataset import make_items
from fivefold.images.schema import ImageSchema
from fivefold.model.fitted import standard_normal, uniform


def test_sizes(model):
    assert model.latent_dim == 4
    assert model.device == torch.device("cpu")
    assert not model.vae.training
    assert not model.context.training


def test_parameters_are_those_of_all_networks(model):
    vae, context = (sum(w.numel() for w in each.state_dict().values()) for each in (model.vae, model.context))
    assert model.parameters == vae + context
    assert list(dict(model.networks.named_children())) == ["vae", "context"]
    without = dataclasses.replace(model, context=None)
    assert without.parameters == vae
    assert list(dict(without.networks.named_children())) == ["vae"]


@pytest.mark.parametrize(("side", "expected"), [(1, 500), (28, 500), (100, 52), (2000, 1)])
def test_batches_are_the_smaller_the_larger_the_items(model, side, expected):
    larger = dataclasses.replace(model, schema=ImageSchema(side, side, 1, "uint8", 0.0, 255.0))
    assert larger.batch_size == expected


def test_tensors_and_back(model):
    images = np.random.default_rng(0).integers(0, 256, (3, 28, 28, 1), np.uint8)
    unit = model.schema.to_unit(images)
    tensor = model.tensor(unit)
    assert tensor.shape == (3, 1, 28, 28)
    assert tensor[1, 0, 5, 7].item() == unit[1, 5, 7, 0]
    np.testing.assert_array_equal(model.values(tensor), images)
    assert model.values(tensor).dtype == np.uint8
    assert model.values(tensor, np.float32).dtype == np.float32


def test_batches_cover_all_items_once(model, digits, monkeypatch):
    monkeypatch.setattr(type(model), "batch_size", 8)
    mask = np.zeros((28, 28), bool)
    mask[:3] = True
    items = make_items(digits[:20], model.schema, masks=[mask])
    covered = []
    for rows, x, visible in model.batches(items):
        assert x.shape == visible.shape == (rows.stop - rows.start, 1, 28, 28)
        assert (x[:, :, :3] == 0).all()
        assert not visible[:, :, :3].any()
        assert visible[:, :, 3:].all()
        torch.testing.assert_close(x[:, 0, 3:], torch.from_numpy(digits[rows][:, 3:, :, 0] / np.float32(255)))
        covered += range(rows.start, rows.stop)
    assert covered == list(range(20))


def test_reading_refuses_other_items(model):
    with pytest.raises(DataError, match="28×28×1"):
        model.read(np.zeros((3, 20, 20), np.uint8))


@pytest.mark.parametrize("cuts", [(1,) * 10, (3, 7), (10,)])
@pytest.mark.parametrize("draw", [standard_normal, uniform])
@pytest.mark.parametrize("size", [(2, 3), (3,)])
def test_draws_do_not_depend_on_the_cuts(draw, cuts, size):
    generator = np.random.default_rng(0)
    parts = [draw(generator, (n, *size), torch.device("cpu")) for n in cuts]
    whole = draw(np.random.default_rng(0), (10, *size), torch.device("cpu"))
    assert torch.equal(torch.cat(parts), whole)
    assert whole.dtype == torch.float32


def test_uniform_draws_are_uniform():
    draws = uniform(np.random.default_rng(0), (10_000,), torch.device("cpu")).sort().values
    assert (draws - torch.arange(10_000) / 10_000).abs().max() < 0.02


@pytest.mark.parametrize("extreme", [0.0, 1 - 2.0**-24])
def test_uniform_draws_lie_between_0_and_1(extreme):
    class Extreme:
        def random(self, shape, dtype):
            return np.full(shape, extreme, dtype)

    draws = uniform(Extreme(), (3,), torch.device("cpu"))
    assert ((draws > 0) & (draws < 1)).all()
    assert draws.log().isfinite().all()
