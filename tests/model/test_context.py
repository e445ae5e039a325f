"""What holds of every context decoder, whatever its modality."""

from __future__ import annotations

import pytest
import torch

from fivefold.config import Conditioning
from fivefold.modality import modality_of
from fivefold.model.context import by_element, column
from fivefold.model.fitted import FittedModel

MODELS = ["model", "table_model", "series_model"]


@pytest.fixture(params=MODELS)
def fitted(request) -> FittedModel:
    return request.getfixturevalue(request.param)


@pytest.fixture
def inputs(fitted):
    """`(x, visible, z_features)` of 4 items, with 2 codes each."""
    generator = torch.Generator().manual_seed(0)
    height, width, channels = fitted.schema.shape
    unit = torch.rand((4, height, width, channels), generator=generator).numpy()
    x = fitted.tensor(fitted.schema.to_unit(fitted.schema.from_unit(unit)))
    visible = torch.rand(x.shape, generator=generator) < 0.6
    z = torch.randn((8, fitted.latent_dim), generator=generator).to(fitted.dtype)
    with torch.no_grad():
        return torch.where(visible, x, 0.0), visible, fitted.vae.likelihood_and_features(z)[1]


@pytest.mark.parametrize("conditioning", Conditioning)
@torch.no_grad()
def test_all_elements_at_once_are_as_one_by_one(fitted, inputs, conditioning):
    x, visible, z_features = inputs
    around = fitted.context.surroundings(x, visible, conditioning, z_features)
    assert len(around) == 4
    assert around.codes == 2
    asked = torch.zeros((4, around.size), dtype=torch.int64)
    for likelihood, items, elements in fitted.context.every(around):
        asked[items, elements] += 1
        values = column(by_element(x)[items, elements]).expand(-1, 1, 2, 1)
        log_prob = likelihood.log_prob(values)
        assert log_prob.shape == (len(items), 1, 2, 1)
        if len(asked) * around.size > 200:  # not all of them, of images
            items, elements, values, log_prob = (part[:50] for part in (items, elements, values, log_prob))
        again = fitted.context(around, items, elements).log_prob(values)
        torch.testing.assert_close(again, log_prob, rtol=1e-4, atol=1e-4)
    assert (asked == 1).all()


def test_optimizers_move_each_weight_once(fitted):
    groups = fitted.context.parameter_groups(0.1)
    moved = [id(weight) for group in groups for weight in group.weights]
    assert sorted(moved) == sorted(id(weight) for weight in fitted.context.parameters())
    assert all(weight.ndim == 2 for group in groups if group.hidden for weight in group.weights)
    assert min(group.peak for group in groups) == 0.1


def test_calibrations_are_those_of_the_modality(fitted):
    networks = modality_of(fitted.schema).networks
    assert fitted.calibrations.keys() == networks.CALIBRATIONS.keys()
    for name, calibration in fitted.calibrations.items():
        assert isinstance(calibration, networks.CALIBRATIONS[name])
    assert fitted.normality.size == networks.count_statistics(fitted)
    assert fitted.dtype == networks.PRECISION
