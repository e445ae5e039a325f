"""The denoisers denoise, whatever an image's size and channels."""

from __future__ import annotations

import numpy as np
import pytest

from fivefold.errors import UsageError
from fivefold.evaluation.metrics import psnr
from fivefold.evaluation.rivals import require

pytest.importorskip("bm3d")
pytest.importorskip("skimage")

from fivefold.evaluation.rivals.denoisers import DENOISERS, denoise_images


def smooth_images(n, height, width, channels):
    y, x = np.mgrid[:height, :width] / 32
    images = [0.5 + 0.3 * np.sin(4 * x + i + c) * np.cos(3 * y - c) for i in range(n) for c in range(channels)]
    return np.stack(images).reshape(n, channels, height, width).transpose(0, 2, 3, 1).astype(np.float32)


@pytest.mark.parametrize("name", DENOISERS)
@pytest.mark.parametrize("shape", [(28, 28, 1), (8, 8, 1), (24, 20, 2), (20, 24, 3), (8, 17, 3), (20, 20, 4)])
def test_removes_noise(name, shape):
    truth = smooth_images(2, *shape)
    noise = 0.1 * np.random.default_rng(0).standard_normal(truth.shape)
    noisy = np.clip(truth + noise, 0, 1).astype(np.float32)
    denoised = denoise_images(name, noisy)
    assert denoised.shape == truth.shape
    assert denoised.dtype == np.float32
    everywhere = np.ones_like(truth, bool)
    assert (psnr(truth, denoised, everywhere) > psnr(truth, noisy, everywhere) + 1).all()


@pytest.mark.parametrize("name", DENOISERS)
@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 6, 3), (3, 2, 2), (8, 8, 4)])
def test_tiny_and_constant_images(name, shape):
    noise = np.random.default_rng(0).integers(0, 2, (1, *shape)).astype(np.float32)
    images = np.concatenate([np.zeros_like(noise), np.full_like(noise, 0.3), np.ones_like(noise), noise])
    denoised = denoise_images(name, images)
    np.testing.assert_allclose(denoised[:3], images[:3], atol=1e-6)
    assert denoised.shape == images.shape
    assert denoised.min() >= 0  # which NaN isn't
    assert denoised.max() <= 1


@pytest.mark.parametrize("name", DENOISERS)
def test_grey_stored_as_colour(name):
    grey = np.clip(smooth_images(1, 16, 16, 1) + 0.1 * np.random.default_rng(0).standard_normal((1, 16, 16, 1)), 0, 1)
    colour = denoise_images(name, np.repeat(grey, 3, axis=3).astype(np.float32))
    alone = denoise_images(name, grey.astype(np.float32))
    np.testing.assert_allclose(colour, np.repeat(alone, 3, axis=3), atol=0.02)


@pytest.mark.parametrize("name", DENOISERS)
def test_each_image_is_by_itself(name):
    random = np.random.default_rng(0)
    images = np.clip(smooth_images(2, 16, 16, 1) + 0.1 * random.standard_normal((2, 16, 16, 1)), 0, 1)
    images = images.astype(np.float32)
    before = images.copy()
    np.testing.assert_array_equal(denoise_images(name, images)[1:], denoise_images(name, images[1:]))
    np.testing.assert_array_equal(images, before)


def test_a_missing_package_is_the_users_to_mend():
    assert require("scipy.ndimage").median_filter
    with pytest.raises(UsageError, match=r"^the comparison with nosuch needs an extra: pip install fivefold\[bench\]$"):
        require("nosuch.package")
