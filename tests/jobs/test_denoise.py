"""Noise goes, the item stays."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fivefold.jobs.denoise import denoise


def noisy(images: np.ndarray, share: float = 0.3, seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    return np.where(random.random(images.shape) < share, random.integers(0, 256, images.shape), images).astype(np.uint8)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int64, np.float32, np.float64])
def test_items_keep_their_type_and_range(model, digits, dtype):
    clean = denoise(model, noisy(digits[600:610]).astype(dtype))
    assert clean.dtype == dtype
    assert clean.shape == (10, 28, 28, 1)
    assert 10 < clean.max() <= 255
    assert np.abs(clean.astype(float) - denoise(model, noisy(digits[600:610]))).max() <= 1


def test_noise_is_removed(model, digits):
    images = digits[600:700].astype(float)
    damaged = noisy(digits[600:700])
    before = ((damaged - images) ** 2).mean()
    assert ((denoise(model, damaged) - images) ** 2).mean() < 0.75 * before


def test_the_posterior_mean_is_decoded(linear_gaussian):
    toy = linear_gaussian(torch.tensor([[0.1], [0.1], [0.05]]), torch.full((3,), 0.5), 0.05)
    values = np.random.default_rng(0).uniform(0.3, 0.7, (20, 1, 3, 1)).astype(np.float32)
    rows = torch.from_numpy(values[:, 0, :, 0])
    expected = toy.posterior_mean(rows) @ toy.weights.T + toy.bias
    np.testing.assert_allclose(denoise(toy.fitted(), values)[:, 0, :, 0], expected, atol=1e-5)


def test_items_do_not_depend_on_their_batch(model, digits, monkeypatch):
    items = noisy(digits[600:630])
    whole = denoise(model, items).astype(int)
    monkeypatch.setattr(type(model), "batch_size", 7)
    assert np.abs(denoise(model, items).astype(int) - whole).max() <= 1


def test_missing_elements_do_not_matter(model, digits):
    mask = np.zeros((28, 28), bool)
    mask[10:14] = True
    changed = digits[600:610].copy()
    changed[:, 10:14] = 200
    np.testing.assert_array_equal(denoise(model, changed, mask=mask), denoise(model, digits[600:610], mask=mask))
