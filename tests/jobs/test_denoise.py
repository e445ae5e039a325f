"""Noise goes, the item stays, and how sure that is goes with it."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from fivefold.config import CorruptionConfig
from fivefold.errors import UsageError
from fivefold.evaluation.metrics import psnr
from fivefold.images import jobs as images_jobs
from fivefold.images.schema import ImageSchema
from fivefold.jobs.codes import decode, decode_items, encode
from fivefold.jobs.denoise import denoise


def noisy(images: np.ndarray, share: float = 0.3, seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    return np.where(random.random(images.shape) < share, random.integers(0, 256, images.shape), images).astype(np.uint8)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int64, np.float32, np.float64])
def test_items_keep_their_type_and_range(model, digits, dtype):
    found = denoise(model, noisy(digits[600:610]).astype(dtype))
    assert found.data.dtype == dtype
    assert found.data.shape == found.std.shape == (10, 28, 28, 1)
    assert found.std.dtype == np.float32
    assert 10 < found.data.max() <= 255
    as_bytes = denoise(model, noisy(digits[600:610]))
    assert np.abs(found.data.astype(float) - as_bytes.data).max() <= 1
    np.testing.assert_allclose(found.std, as_bytes.std, rtol=1e-4, atol=1e-3)


def test_noise_is_removed_and_better_than_by_the_code_alone(model, digits):
    truth, damaged = digits[600:700] / 255, noisy(digits[600:700], 0.25)
    everywhere = np.ones(truth.shape, bool)
    by_code = decode(model, encode(model, damaged)[0])
    before, coarse, ours = (
        psnr(truth, images / 255, everywhere).mean() for images in (damaged, by_code, denoise(model, damaged).data)
    )
    assert ours > before + 3
    assert ours > coarse + 3


def test_deviations_are_those_of_the_errors(model, digits):
    found = denoise(model, noisy(digits[600:700], 0.25))
    errors = np.abs(found.data.astype(float) - digits[600:700])
    assert found.std.min() >= 0
    assert (found.std[(found.data > 64) & (found.data < 192)] > 20).all(), "grey is never sure"
    assert 0.7 < np.sqrt(np.square(found.std).mean() / np.square(errors).mean()) < 1.4
    assert np.corrcoef(errors.ravel(), found.std.ravel())[0, 1] > 0.5


def test_deviations_are_in_the_datas_units(linear_gaussian):
    model = linear_gaussian(torch.tensor([[0.1], [0.1], [0.05]]), torch.full((3,), 0.5), 0.05).fitted()
    wide = dataclasses.replace(model, schema=ImageSchema(1, 3, 1, "float32", -10.0, 190.0))
    np.testing.assert_allclose(denoise(wide, np.full((2, 1, 3, 1), 30.0)).std, 200 * 0.05, rtol=1e-4)


def test_the_posterior_mean_is_decoded_without_a_context_decoder(linear_gaussian):
    toy = linear_gaussian(torch.tensor([[0.1], [0.1], [0.05]]), torch.full((3,), 0.5), 0.05)
    values = np.random.default_rng(0).uniform(0.3, 0.7, (20, 1, 3, 1)).astype(np.float32)
    rows = torch.from_numpy(values[:, 0, :, 0])
    expected = toy.posterior_mean(rows) @ toy.weights.T + toy.bias
    np.testing.assert_allclose(denoise(toy.fitted(), values).data[:, 0, :, 0], expected, atol=1e-5)


def test_or_with_one_that_never_met_noise(model, digits):
    sheltered = dataclasses.replace(model, config=dataclasses.replace(model.config, corruption=CorruptionConfig()))
    damaged = noisy(digits[600:605]).astype(np.float32)
    found = denoise(sheltered, damaged)
    np.testing.assert_allclose(found.data, decode_items(model, encode(model, damaged)[0], np.float32), atol=1e-2)
    bernoulli = found.data * (255 - found.data)
    np.testing.assert_allclose(found.std, np.sqrt(bernoulli), rtol=1e-2, atol=0.5)


def test_draws_of_the_code_are_averaged_and_their_spread_counts(model, digits, monkeypatch):
    """Two draws: the mean of the means, and the mean of the variances plus the variance of the means."""
    damaged = noisy(digits[600:604]).astype(np.float64)

    def denoised_with(*draws):
        drawn = torch.tensor(draws)[None, :, None].expand(4, len(draws), 4)
        monkeypatch.setattr(images_jobs, "standard_normal", lambda *_: drawn)
        return denoise(model, damaged, n_samples=len(draws))

    low, high, both = denoised_with(-1.5), denoised_with(1.5), denoised_with(-1.5, 1.5)
    np.testing.assert_allclose(both.data, (low.data + high.data) / 2, atol=1e-3)
    variance = (low.std**2 + high.std**2) / 2 + ((low.data - high.data) / 2) ** 2
    np.testing.assert_allclose(both.std, np.sqrt(variance), rtol=1e-3, atol=0.1)
    assert np.abs(low.data - high.data).max() > 5


def test_the_second_pass_sees_what_the_first_cleaned(model, digits, monkeypatch):
    damaged = noisy(digits[600:604])
    seen, posterior = [], model.vae.posterior
    monkeypatch.setattr(model.vae, "posterior", lambda x, *visible: seen.append(x) or posterior(x, *visible))
    denoise(model, damaged)
    first, second = (model.values(x) for x in seen)
    np.testing.assert_array_equal(first, damaged)
    truth, everywhere = digits[600:604] / 255, np.ones(damaged.shape, bool)
    assert (psnr(truth, second / 255, everywhere) > psnr(truth, first / 255, everywhere) + 3).all()


def test_draws_of_the_code_are_mirrored(model, digits, monkeypatch):
    """With as many as that, the mean of a pair is the same whichever of the two comes first."""
    damaged = noisy(digits[600:604]).astype(np.float64)

    def denoised_with(sign):
        draw = sign * torch.tensor([[[1.0, -0.5, 0.3, 2.0]]]).expand(4, 1, 4)
        monkeypatch.setattr(images_jobs, "standard_normal", lambda *_: draw)
        return denoise(model, damaged).data

    np.testing.assert_allclose(denoised_with(1), denoised_with(-1), atol=1e-3)


def test_seeded(model, digits):
    damaged = noisy(digits[600:605]).astype(np.float32)
    one, again, other = (denoise(model, damaged, seed=seed) for seed in (1, 1, 2))
    for part in ("data", "std"):
        np.testing.assert_array_equal(getattr(one, part), getattr(again, part))
        assert not np.array_equal(getattr(one, part), getattr(other, part))


def test_items_do_not_depend_on_their_batch(model, digits, monkeypatch):
    items = noisy(digits[600:630])
    whole, first = denoise(model, items), denoise(model, items[:4])
    monkeypatch.setattr("fivefold.model.fitted._BATCH_ELEMENTS", 7 * 784)
    cut = denoise(model, items)
    assert np.abs(cut.data.astype(int) - whole.data).max() <= 1
    assert np.abs(first.data.astype(int) - whole.data[:4]).max() <= 1
    np.testing.assert_allclose(cut.std, whole.std, atol=0.05)


def test_missing_elements_do_not_matter(model, digits):
    mask = np.zeros((28, 28), bool)
    mask[10:14] = True
    changed = digits[600:610].copy()
    changed[:, 10:14] = 200
    one, other = (denoise(model, items, mask=mask) for items in (changed, digits[600:610]))
    np.testing.assert_array_equal(one.data, other.data)
    np.testing.assert_array_equal(one.std, other.std)


@pytest.mark.parametrize("n_samples", [0, -1])
def test_no_samples(model, digits, n_samples):
    with pytest.raises(UsageError, match="at least 1"):
        denoise(model, digits[600:602], n_samples=n_samples)
