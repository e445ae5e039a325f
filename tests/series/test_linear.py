"""Linear prediction in windows: against what is known of Gaussian processes, computed by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fivefold.series.dataset import read_series
from fivefold.series.linear import LinearPredictor, scaled_windows


@pytest.fixture(scope="module")
def schema():
    return read_series(np.random.default_rng(0).normal(size=(1, 400)), window=24).schema


@pytest.fixture(scope="module")
def process(schema):
    """One of known covariances, with windows drawn from it, and some values of them hidden."""
    found = LinearPredictor(schema)
    lags = torch.arange(24.0)
    covariance = torch.exp(-((lags[:, None] - lags).abs() / 5)) + 0.3 * torch.cos((lags[:, None] - lags) / 3)
    root = torch.linalg.cholesky(covariance.double())
    found.own[0] = root.diagonal().square()
    found.regression[0] = torch.eye(24) - torch.linalg.inv(root / root.diagonal())
    found.mean.fill_(0.2)
    rng = torch.Generator().manual_seed(0)
    x = 0.2 + torch.randn((6, 24), generator=rng) @ torch.linalg.cholesky(covariance).T
    visible = torch.rand((6, 24), generator=rng) < 0.7
    return found, covariance.double(), x[:, None, :, None], visible[:, None, :, None]


def _by_hand(covariance, x, known, at):
    """Mean and variance of one value given those known, by the textbook's formula."""
    where = np.flatnonzero(known)
    k = covariance[where][:, where]
    across = covariance[at, where]
    mean = 0.2 + across @ np.linalg.solve(k, x[where] - 0.2)
    return mean, covariance[at, at] - across @ np.linalg.solve(k, across)


def _check(found, covariance, x, known_to):
    for row in range(len(x)):
        for at in range(x.shape[2]):
            known = known_to(row, at)
            mean, variance = _by_hand(covariance.numpy(), x[row, 0, :, 0].double().numpy(), known, at)
            assert found.mean[row, 0, at, 0].item() == pytest.approx(mean, abs=2e-4)
            assert found.std[row, 0, at, 0].item() == pytest.approx(np.sqrt(variance), abs=2e-3)


def test_causal_is_prediction_from_what_came_before(process):
    model, covariance, x, visible = process
    found = model.causal(torch.where(visible, x, 0.0), visible)
    seen = visible[:, 0, :, 0].numpy()
    _check(found, covariance, x, lambda row, at: seen[row] & (np.arange(24) < at))


def test_causal_prediction_of_whole_windows_is_their_regression(process):
    model, covariance, x, visible = process
    whole = torch.ones_like(visible)
    found = model.causal(x, whole)
    _check(found, covariance, x, lambda row, at: np.arange(24) < at)
    mixed = visible.clone()
    mixed[0] = True
    assert torch.equal(model.causal(torch.where(mixed, x, 0.0), mixed).mean[0], found.mean[0])


def test_missing_is_prediction_from_all_others(process):
    model, covariance, x, visible = process
    found = model.missing(torch.where(visible, x, 0.0), visible)
    seen = visible[:, 0, :, 0].numpy()
    _check(found, covariance, x, lambda row, at: seen[row] & (np.arange(24) != at))


def test_what_all_see_is_computed_alike(process):
    model, _, x, visible = process
    alone = torch.cat([model.missing(a[None], torch.ones_like(a[None], dtype=torch.bool)).mean for a in x])
    together = model.missing(x, torch.ones_like(visible)).mean
    assert torch.allclose(alone, together, atol=1e-5)


def test_noise_is_removed(process):
    model, covariance, _, _ = process
    rng = torch.Generator().manual_seed(1)
    clean = 0.2 + torch.randn((200, 24), generator=rng) @ torch.linalg.cholesky(covariance.float()).T
    for level in (0.1, 0.8):
        noisy = (clean + level * torch.randn(clean.shape, generator=rng))[:, None, :, None]
        found = model.noisy(noisy, torch.ones_like(noisy, dtype=torch.bool))
        after = (found.mean[:, 0, :, 0] - clean).square().mean().sqrt()
        assert after < (1.1 if level < 0.5 else 0.8) * level  # little noise on a rough process can hardly be told
        assert after == pytest.approx(found.std.square().mean().sqrt().item(), rel=0.25)


def test_covariances_are_learnt():
    rng = np.random.default_rng(0)
    x = np.zeros(3000)
    for at in range(2, 3000):
        x[at] = 1.6 * x[at - 1] - 0.8 * x[at - 2] + rng.normal()
    series = read_series(x, window=32)
    items = series.examples()
    model = LinearPredictor(series.schema)
    parts = (scaled_windows(series.schema, items.select(rows)) for rows in (slice(0, 1000), slice(1200, 1400)))
    model.fit(*parts, overlaps=True)
    covariance = model.covariance(0).numpy()
    innovation = np.linalg.cholesky(covariance)[-1, -1] * series.schema.channels.columns[0].spread
    assert innovation == pytest.approx(1.0, abs=0.12)
    weights = np.linalg.solve(covariance[:31, :31], covariance[:31, 31])
    assert weights[-1] == pytest.approx(1.6, abs=0.15)
    assert weights[-2] == pytest.approx(-0.8, abs=0.2)


def test_covariances_that_rounding_leaves_singular_are_no_trouble():
    model = LinearPredictor(read_series(np.random.default_rng(0).normal(size=(1, 400)), window=16).schema)
    for at in range(1, 16):
        model.regression[0, at, at - 1] = 1.0
    model.own[0, 1:], model.noise[:] = 1e-20, 1e-20  # every value is the one before
    x, visible = torch.ones((3, 1, 16, 1)), torch.rand((3, 1, 16, 1), generator=torch.Generator().manual_seed(0)) < 0.8
    for predict in (model.causal, model.missing, model.noisy):
        predicted = predict(x, visible)
        assert torch.allclose(predicted.mean[:, 0, 8:], torch.ones(1), atol=1e-3)
        assert torch.isfinite(predicted.std).all()
    assert torch.isfinite(model.correlated(x)).all()
