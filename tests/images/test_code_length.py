"""Code lengths against the probabilities that they come from."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from scipy.stats import norm

from fivefold.config import Conditioning
from fivefold.images.dataset import make_items
from fivefold.images.jobs import code_length
from fivefold.model.calibrations import FittedPrior
from fivefold.model.conditional import Conditional

FINE = 1e-6  # a grid so fine that z is the posterior mean


@pytest.fixture
def items(model, digits):
    mask = np.random.default_rng(0).random((20, 28, 28, 1)) < 0.1
    return make_items(digits[600:620], model.schema, masks=[mask])


def seen(model, items):
    return (model.tensor(part) for part in items.unit())


def nats_of_elements(model, items, with_z: bool) -> np.ndarray:
    """From the probabilities of the visible elements, at the posterior mean if there is a z."""
    x, visible = seen(model, items)
    with torch.no_grad():
        z = model.vae.posterior(x, visible).mu if with_z else None
        log_prob = Conditional(model, Conditioning.CAUSAL, x, visible, z).log_prob(x)
    return -(log_prob.double() * visible).sum(dim=(1, 2, 3)).numpy()


def wide(scale: float) -> FittedPrior:
    """A prior so wide that its density is the same everywhere."""
    return FittedPrior(np.ones(1), np.zeros((1, 4)), scale * np.eye(4)[None])


def test_without_a_step_there_is_no_z(model, items):
    found = code_length(model, items, None)
    assert (found.z == 0).all()
    np.testing.assert_allclose(found.elements, nats_of_elements(model, items, with_z=False), rtol=1e-5)
    changed = code_length(
        dataclasses.replace(model, calibrations=model.calibrations | {"prior": wide(1e6)}), items, None
    )
    np.testing.assert_array_equal(changed.elements, found.elements)


def test_elements_are_coded_given_z(model, items):
    found = code_length(model, items, FINE)
    np.testing.assert_allclose(found.elements, nats_of_elements(model, items, with_z=True), rtol=1e-4)
    assert found.elements.dtype == found.z.dtype == np.float64
    assert found.elements.shape == found.z.shape == (20,)
    assert found.total == pytest.approx((found.elements + found.z).mean())


@pytest.mark.parametrize("prior", ["fitted", "standard"])
def test_z_costs_its_cells_probability(model, items, prior):
    """The density times the cell's volume."""
    if prior == "standard":
        model = dataclasses.replace(model, calibrations=model.calibrations | {"prior": None})
    with torch.no_grad():
        posterior = model.vae.posterior(*seen(model, items))
    mu, std = posterior.mu.numpy().astype(np.float64), posterior.std.numpy().astype(np.float64)
    density = norm.logpdf(mu).sum(axis=1) if model.prior is None else model.prior.log_prob(mu)
    expected = -density - np.log(FINE * std).sum(axis=1)
    np.testing.assert_allclose(code_length(model, items, FINE).z, expected, rtol=1e-4)


def test_a_coarser_grid_saves_the_logarithm_of_its_step_per_unit(model, items):
    model = dataclasses.replace(model, calibrations=model.calibrations | {"prior": wide(1e6)})
    fine, coarse = (code_length(model, items, step).z for step in (0.5, 4.0))
    np.testing.assert_allclose(fine - coarse, 4 * math.log(8), rtol=1e-6)
    wider = code_length(
        dataclasses.replace(model, calibrations=model.calibrations | {"prior": wide(1e7)}), items, 4.0
    ).z
    np.testing.assert_allclose(wider - coarse, 4 * math.log(10), rtol=1e-6)


def test_z_lies_anywhere_in_its_cell(model, digits):
    """Up to half a step of posterior deviations from the posterior mean, uniformly."""
    items = make_items(np.repeat(digits[600:601], 400, axis=0), model.schema)
    x, visible = seen(model, items.select(slice(0, 1)))
    with torch.no_grad():
        posterior = model.vae.posterior(x, visible)
    used = []
    original = type(model.vae).likelihood_and_features
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(model.vae), "likelihood_and_features", lambda self, z: used.append(z) or original(self, z))
        code_length(model, items, 8.0)
    offset = ((torch.cat(used) - posterior.mu) / posterior.std / 8.0).flatten().sort().values
    assert offset.shape == (1600,)
    assert (offset - (torch.arange(1600) / 1600 - 0.5)).abs().max() < 1.63 / 1600**0.5


def test_a_coarse_z_explains_less(model, items):
    """Without a context decoder, which would make up for it."""
    model = dataclasses.replace(model, context=None)
    fine, coarse = (code_length(model, items, step).elements.mean() for step in (0.1, 16.0))
    assert fine < coarse


def test_hidden_elements_cost_nothing(model, digits):
    whole = make_items(digits[600:610], model.schema)
    mask = np.zeros((28, 28), bool)
    mask[14:] = True
    upper = make_items(digits[600:610], model.schema, masks=[mask])
    x, visible = seen(model, whole)
    with torch.no_grad():
        log_prob = Conditional(model, Conditioning.CAUSAL, x, visible, None).log_prob(x).double().numpy()
    expected = -log_prob[:, :, :14].sum(axis=(1, 2, 3))
    np.testing.assert_allclose(code_length(model, upper, None).elements, expected, rtol=1e-4)


def test_likelier_items_are_shorter(model, digits):
    digit, negative, noise = (
        code_length(model, make_items(values, model.schema), 1.0).total
        for values in (
            digits[600:610],
            255 - digits[600:610],
            np.random.default_rng(0).integers(0, 256, (10, 28, 28, 1), np.uint8),
        )
    )
    assert digit < negative < noise


def test_seeded_and_independent_of_batches(model, items, monkeypatch):
    one, again, other = (code_length(model, items, 2.0, seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(one.elements, again.elements)
    np.testing.assert_array_equal(one.z, again.z)
    assert (one.z != other.z).all()
    assert (one.elements != other.elements).all()
    monkeypatch.setattr(type(model), "batch_size", 7)
    cut = code_length(model, items, 2.0)
    np.testing.assert_allclose(cut.elements, one.elements, rtol=1e-4)
    np.testing.assert_allclose(cut.z, one.z, rtol=1e-4)


def test_no_code_beats_the_entropy(untrained):
    """The probabilities of all items add up to 1: here, those of a single visible element."""
    values = np.zeros((256, *untrained.schema.shape), np.uint8)
    mask = np.ones(values.shape, bool)
    mask[:, 4, 3, 1] = False
    values[:, 4, 3, 1] = np.arange(256)
    found = code_length(untrained, make_items(values, untrained.schema, masks=[mask]), None)
    assert np.exp(-found.elements).sum() == pytest.approx(1, abs=1e-4)
