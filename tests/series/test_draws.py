"""Windows drawn together: each value as the VAE has it, and values that go together as those of real windows do."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import ndtri

from fivefold.jobs.generate import generate
from fivefold.series.dataset import read_series
from fivefold.series.jobs import draw
from fivefold.series.linear import LinearPredictor
from fivefold.series.networks import normal_residuals


def test_correlated_numbers_are_standard_normal_and_correlated():
    schema = read_series(np.random.default_rng(0).normal(size=(1, 400)), window=16).schema
    model = LinearPredictor(schema)
    for at in range(1, 16):
        model.regression[0, at, at - 1] = 0.8
    model.own[0, 1:] = 0.36
    drawn = model.correlated(torch.randn((20000, 1, 16, 1), generator=torch.Generator().manual_seed(0)))[:, 0, :, 0]
    assert torch.allclose(drawn.mean(0), torch.zeros(16), atol=0.03)
    assert torch.allclose(drawn.std(0), torch.ones(16), atol=0.03)
    for lag in (1, 3):
        assert (drawn[:, 4] * drawn[:, 4 + lag]).mean().item() == pytest.approx(0.8**lag, abs=0.03)


def test_each_value_is_distributed_as_the_vae_has_it(series_model):
    codes = np.zeros((4000, series_model.latent_dim))
    drawn = torch.from_numpy(series_model.schema.to_unit(draw(series_model, codes, 0))).transpose(1, 3)
    with torch.inference_mode():
        likelihood = series_model.vae.likelihood(torch.from_numpy(codes).float())
        shares = likelihood.cdf(drawn.transpose(2, 3))[:, 0, 7, 0].sort().values
    even = (torch.arange(4000) + 0.5) / 4000
    assert (shares - even).abs().max() < 0.03  # Kolmogorov and Smirnov's distance


def test_what_codes_leave_is_nothing_where_nothing_is(series_model, waves):
    holey = waves.copy()
    holey[0, 40:60] = np.nan
    items = series_model.read(holey)
    left, seen = normal_residuals(series_model, items)
    assert left.shape == seen.shape
    assert not left[~seen].any()
    assert left[seen].abs().max() <= -ndtri(1e-3) + 1e-6


def test_neighbours_go_together(series_model):
    model = series_model
    drawn = generate(model, 300, 0)[:, :, 0]
    again = generate(model, 20, 0)[:, :, 0]
    np.testing.assert_allclose(drawn[:20], again, rtol=1e-5, atol=1e-6)
    steps = np.diff(drawn, axis=1).std()
    assert steps < 0.6 * np.sqrt(2) * drawn.std(axis=0).mean()
