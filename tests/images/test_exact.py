"""In NumPy and float64 the decoding half says what the networks say."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from fivefold.config import Conditioning
from fivefold.images.exact import CausalFields, ExactDecoder, mixture_parameters
from fivefold.images.schema import ImageSchema
from fivefold.images.settings import configure
from fivefold.modality import modality_of
from fivefold.model.context import by_element
from fivefold.model.likelihoods import DiscretizedLogisticMixture

SMALL = {"hidden": 16, "first_channels": 4, "max_channels": 8, "smallest_side": 4, "latent_dim": 3, "context_width": 12}
CASES = [
    {"likelihood": "bernoulli", "activation": "silu"},
    {"likelihood": "bernoulli", "activation": "relu", "field": 3, "context_depth": 1},
    {"likelihood": "pixels", "activation": "silu", "context_depth": 3},
    {"likelihood": "gaussian", "activation": "relu"},
]


def networks(case, height=11, width=7, channels=1, high=255.0):
    schema = ImageSchema(height, width, channels, "uint16", 0.0, high)
    config = configure(**{"field": 5, **SMALL, **case})
    modules = modality_of(schema).networks.build(schema, config, 0).double().eval()
    weights = {name: weight.numpy() for name, weight in modules.state_dict().items()}
    return modules, ExactDecoder(weights, schema, config)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize(("channels", "high"), [(1, 255.0), (3, 20.0)])
def test_guide(case, channels, high):
    modules, exact = networks(case, channels=channels, high=high)
    z = torch.randn((4, 3), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    with torch.no_grad():
        _, expected = modules["vae"].likelihood_and_features(z)
    found = exact.code_features(z.numpy())
    np.testing.assert_allclose(found.coarse, expected.coarse.permute(0, 2, 3, 1), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(found.mean, expected.mean.permute(0, 2, 3, 1), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("channels", [1, 2, 3])
@pytest.mark.parametrize("uses_z", [True, False])
@pytest.mark.parametrize("known", [True, False])
def test_every_elements_parameters(case, channels, uses_z, known):
    """With all elements there from the start (coding), or put in one by one (decoding)."""
    modules, exact = networks(case, channels=channels)
    generator = torch.Generator().manual_seed(1)
    x = torch.rand((3, channels, 11, 7), generator=generator, dtype=torch.float64)
    x[torch.rand(x.shape, generator=generator) < 0.3] = 0
    x[torch.rand(x.shape, generator=generator) < 0.2] = 1
    z = torch.randn((3, 3), generator=generator, dtype=torch.float64)
    context, size = modules["context"], x[0].numel()
    with torch.no_grad():
        z_features = modules["vae"].likelihood_and_features(z)[1] if uses_z else None
        around = context.surroundings(x, torch.ones_like(x, dtype=torch.bool), Conditioning.CAUSAL, z_features)
        items, elements = torch.arange(3).repeat_interleave(size), torch.arange(size).repeat(3)
        expected = context(around, items, elements).parameters.view(3, size, -1).numpy()
    unit, flat = x.permute(0, 2, 3, 1).numpy(), by_element(x).numpy()
    mine = exact.code_features(z.numpy()) if uses_z else None
    fields = CausalFields(unit if known else np.zeros_like(unit), mine, exact)
    for element in range(size):
        found = exact.context(fields.first_layer(element))
        np.testing.assert_allclose(found, expected[:, element], rtol=1e-5, atol=2e-6)
        fields.observe(element, flat[:, element])


def test_mixtures_parameters_are_the_likelihoods():
    raw = np.random.default_rng(0).normal(0, 3, (20, 17))
    log_weights, locations, log_scales = mixture_parameters(raw, 256)
    likelihood = DiscretizedLogisticMixture(torch.from_numpy(raw)[:, :, None, None], 256)
    np.testing.assert_allclose(log_weights, likelihood._log_weights[:, 0, :, 0, 0])
    np.testing.assert_allclose(locations, likelihood._locations[:, 0, :, 0, 0])
    np.testing.assert_allclose(np.exp(log_scales), likelihood._scales[:, 0, :, 0, 0])


def test_the_arrays_are_copies():
    modules, exact = networks(CASES[0])
    before = copy.deepcopy(exact.weights)
    with torch.no_grad():
        for weight in modules.parameters():
            weight.add_(1)
    assert all(np.array_equal(before[name], exact.weights[name]) for name in before)
