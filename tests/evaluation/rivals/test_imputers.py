"""The imputers fill in what is hidden, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("skimage")

from fivefold.evaluation.rivals import imputers
from fivefold.evaluation.rivals.imputers import IMAGE_IMPUTERS, impute_images


def blobs(n, height, width, channels):
    """Images with a bright blob somewhere and some noise, whose first row is black."""
    random = np.random.default_rng(0)
    y, x = np.mgrid[:height, :width, :1][:2]
    row, column = (random.uniform(0.3, 0.7, (n, 1, 1, 1)) * side for side in (height, width))
    images = np.exp(-((y - row) ** 2 + (x - column) ** 2) / 8) * np.linspace(1, 0.5, channels)
    images += 0.1 * random.random(images.shape)
    images[:, 0] = 0
    return np.clip(images, 0, 1).astype(np.float32)


def holey(truth, share=0.4):
    visible = np.random.default_rng(1).random(truth.shape) >= share
    return np.where(visible, truth, np.float32(0)), visible


@pytest.mark.parametrize("name", IMAGE_IMPUTERS)
@pytest.mark.parametrize("channels", [1, 3])
def test_fills_in_better_than_zeros_and_keeps_the_rest(name, channels):
    images = blobs(120, 6, 5, channels)
    train, truth = images[:100], images[100:]
    values, visible = holey(truth)
    completed = impute_images(name, train, values, visible, 0)
    assert completed.shape == truth.shape
    assert completed.dtype == np.float32
    np.testing.assert_array_equal(completed[visible], truth[visible])
    assert completed.min() >= 0
    assert completed.max() <= 1
    errors = [np.square(each - truth)[~visible].mean() for each in (values, completed)]
    assert errors[1] < 0.7 * errors[0]
    np.testing.assert_array_equal(completed, impute_images(name, train, values, visible, 0))


@pytest.mark.parametrize("name", IMAGE_IMPUTERS)
def test_places_without_training_values_and_blank_items(name):
    images = blobs(30, 6, 6, 2)
    train, truth = images[:20].copy(), images[20:]
    train[:, 2, 3] = np.nan
    train[4, 5, 5] = np.nan
    values, visible = holey(truth)
    visible[0, ..., 1] = values[0, ..., 1] = 0
    values[:, 2, 3] = visible[:, 2, 3] = 0
    completed = impute_images(name, train, values, visible, 0)
    np.testing.assert_array_equal(completed[visible], values[visible])
    assert completed.min() >= 0  # which NaN isn't
    assert completed.max() <= 1


@pytest.mark.parametrize("name", IMAGE_IMPUTERS)
@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 7, 1), (2, 3, 1)])
def test_tiny_images(name, shape):
    truth = np.random.default_rng(0).random((9, *shape), np.float32)
    values, visible = holey(truth)
    completed = impute_images(name, truth, values, visible, 0)
    np.testing.assert_array_equal(completed[visible], truth[visible])
    assert completed.min() >= 0
    assert completed.max() <= 1


def test_the_mean_is_the_training_items():
    train = blobs(10, 5, 5, 1)
    values, visible = holey(train[:3])
    completed = impute_images("mean", train, values, visible, 0)
    expected = np.broadcast_to(train.mean(axis=0, dtype=np.float64), values.shape)
    np.testing.assert_allclose(completed[~visible], expected[~visible], rtol=1e-5, atol=1e-7)


def test_a_surface_is_continued_without_training_items():
    y, x = np.mgrid[:12, :12, :1][:2] / 20
    truth = (0.1 + 0.5 * x + 0.3 * y)[None].astype(np.float32)
    visible = np.ones_like(truth, bool)
    visible[:, 4:8, 4:8] = False
    values = np.where(visible, truth, np.float32(0))
    completed = impute_images("biharmonic inpainting", np.zeros_like(truth), values, visible, 0)
    np.testing.assert_allclose(completed, truth, atol=1e-4)


@pytest.mark.parametrize("name", ["k-nearest neighbours", "IterativeImputer"])
def test_a_seeded_sample_of_the_training_items(name, monkeypatch):
    monkeypatch.setattr(imputers, "MOST_TRAIN_ITEMS", 10)
    images = blobs(60, 6, 6, 1)
    values, visible = holey(images[50:])
    first, again, other = (impute_images(name, images[:50], values, visible, seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
