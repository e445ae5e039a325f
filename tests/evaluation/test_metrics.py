"""The measures against known answers."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import linalg
from sklearn.metrics import pairwise_distances

from fivefold.evaluation.metrics import frechet_distance, manifold_overlap, psnr, root_mean_square, sharpness, ssim


@pytest.fixture
def random():
    return np.random.default_rng(0)


def test_psnr_of_a_known_error_counts_visible_elements_only():
    truth = np.zeros((2, 4, 4, 1), np.float32)
    estimate = truth.copy()
    estimate[1] = 0.1
    estimate[1, 0] = 0.9
    seen = np.ones_like(truth, bool)
    seen[1, 0] = False
    assert psnr(truth, estimate, seen) == pytest.approx([100, 20], abs=1e-4)


def test_ssim_is_one_for_a_copy_and_falls_with_noise(random):
    truth = random.random((3, 20, 16, 2), np.float32)
    noisy = np.clip(truth + 0.2 * random.standard_normal(truth.shape), 0, 1).astype(np.float32)
    noisier = np.clip(truth + 0.5 * random.standard_normal(truth.shape), 0, 1).astype(np.float32)
    assert ssim(truth, truth, np.ones_like(truth, bool)) == pytest.approx(np.ones(3), abs=1e-5)
    assert (ssim(truth, noisier, np.ones_like(truth, bool)) < ssim(truth, noisy, np.ones_like(truth, bool))).all()
    assert (ssim(truth, noisy, np.ones_like(truth, bool)) < 0.95).all()


@pytest.mark.parametrize("side", [1, 2, 5, 10, 11, 12])
def test_ssim_takes_small_images(side, random):
    truth = random.random((2, side, side + 3, 1), np.float32)
    assert ssim(truth, truth, np.ones_like(truth, bool)) == pytest.approx(np.ones(2), abs=1e-5)


def test_ssim_passes_over_what_is_hidden(random):
    truth = random.random((2, 20, 16, 1), np.float32)
    estimate, seen = truth.copy(), np.ones_like(truth, bool)
    estimate[:, :5] = 0
    assert (ssim(truth, estimate, seen) < 0.9).all()
    seen[:, :5] = False
    assert ssim(truth, estimate, seen) == pytest.approx(np.ones(2), abs=1e-5)


def test_root_mean_square():
    assert root_mean_square(np.array([3.0, 4.0])) == pytest.approx(np.sqrt(12.5))


def test_frechet_distance_is_the_textbook_formula(random):
    a = random.standard_normal((500, 4)) @ random.standard_normal((4, 4))
    b = 1 + random.standard_normal((400, 4)) @ random.standard_normal((4, 4))
    cov_a, cov_b = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    expected = np.square(a.mean(0) - b.mean(0)).sum() + np.trace(cov_a + cov_b - 2 * linalg.sqrtm(cov_a @ cov_b).real)
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-6)
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-6)


def test_frechet_distance_stands_constant_features(random):
    a = np.concatenate([random.standard_normal((50, 2)), np.zeros((50, 2))], axis=1)
    assert frechet_distance(a, a + np.array([3.0, 0, 0, 0])) == pytest.approx(9, rel=1e-6)


def test_manifold_overlap_against_brute_force(random):
    real, generated = random.standard_normal((60, 3)), 0.7 * random.standard_normal((50, 3)) + 0.5
    k = 5
    real_radius, generated_radius = (np.sort(pairwise_distances(x), axis=1)[:, k] for x in (real, generated))
    between = pairwise_distances(real, generated)
    in_real = between < real_radius[:, None]
    overlap = manifold_overlap(real, generated, k)
    assert overlap.precision == pytest.approx(in_real.any(0).mean())
    assert overlap.recall == pytest.approx((between < generated_radius).any(1).mean())
    assert overlap.density == pytest.approx(in_real.sum() / (k * len(generated)))
    assert overlap.coverage == pytest.approx(in_real.any(1).mean())


def test_manifold_overlap_tells_collapse_from_spread(random):
    real = random.standard_normal((300, 4))
    same = manifold_overlap(real, random.standard_normal((300, 4)))
    collapsed = manifold_overlap(real, 0.01 * random.standard_normal((300, 4)))
    far = manifold_overlap(real, random.standard_normal((300, 4)) + 50)
    assert same.coverage > 0.8
    assert collapsed.precision == 1
    assert collapsed.coverage < 0.2
    assert (far.precision, far.recall, far.density, far.coverage) == (0, 0, 0, 0)


def test_sharpness_of_stripes_and_of_nothing():
    stripes = np.zeros((1, 6, 6, 1))
    stripes[:, ::2] = 1
    assert sharpness(stripes) == pytest.approx(0.5)
    assert sharpness(np.ones((2, 5, 5, 1))) == 0
    assert sharpness(np.ones((2, 1, 1, 1))) == 0
