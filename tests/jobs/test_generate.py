"""Items drawn from the prior, and walks through the latent space."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fivefold.errors import DataError, UsageError
from fivefold.jobs.codes import decode
from fivefold.jobs.generate import generate, latent_grid, morph, traverse


@pytest.fixture
def ramp(linear_gaussian):
    """A model whose first two elements are its two latent numbers: `x = 0.5 + z / 10`."""
    weights = torch.tensor([[0.1, 0.0], [0.0, 0.1], [0.0, 0.0]])
    return linear_gaussian(weights, torch.full((3,), 0.5), 0.05).fitted()


def codes_of(items: np.ndarray) -> np.ndarray:
    """The latent numbers that `ramp` decoded to `(..., 1, 3, 1)`."""
    return 10 * (items[..., 0, :2, 0].astype(np.float64) - 0.5)


def test_shapes_and_types(model):
    items = generate(model, 5)
    assert items.shape == (5, 28, 28, 1)
    assert items.dtype == np.uint8
    assert len({item.tobytes() for item in items}) == 5


def test_seeded(model):
    np.testing.assert_array_equal(generate(model, 3, seed=1), generate(model, 3, seed=1))
    assert not np.array_equal(generate(model, 3, seed=1), generate(model, 3, seed=2))


def test_first_items_do_not_depend_on_the_number(ramp):
    np.testing.assert_allclose(generate(ramp, 50, seed=3)[:4], generate(ramp, 4, seed=3), rtol=1e-6)


def test_items_do_not_depend_on_the_batches(model, monkeypatch):
    whole = generate(model, 20).astype(int)
    monkeypatch.setattr(type(model), "batch_size", 7)
    assert np.abs(generate(model, 20).astype(int) - whole).max() <= 1


def test_codes_are_drawn_from_the_prior(ramp):
    codes = codes_of(generate(ramp, 5000))
    assert np.abs(codes.mean(axis=0)).max() < 5 / 5000**0.5
    np.testing.assert_allclose(np.cov(codes.T), np.eye(2), atol=0.1)


@pytest.mark.parametrize("n", [0, -1])
def test_no_items(model, n):
    with pytest.raises(UsageError, match="at least 1"):
        generate(model, n)


def test_morph_goes_straight_from_end_to_end(ramp):
    start, end = np.array([-2.0, 1.0]), np.array([1.0, 3.0])
    items = morph(ramp, start, end, 7)
    np.testing.assert_allclose(codes_of(items), np.linspace(start, end, 7), atol=1e-5)


def test_morph_ends_in_the_decoded_codes(model):
    start, end = np.random.default_rng(0).standard_normal((2, 4))
    items = morph(model, start, end, 4)
    ends = decode(model, np.stack([start, end]))
    assert items.shape == (4, 28, 28, 1)
    assert np.abs(items[[0, -1]].astype(int) - ends).max() <= 1


@pytest.mark.parametrize("steps", [1, 0, -3])
def test_morph_needs_two_steps(model, steps):
    with pytest.raises(UsageError, match="at least 2"):
        morph(model, np.zeros(4), np.ones(4), steps)


def test_morph_refuses_other_codes(model):
    with pytest.raises(DataError):
        morph(model, np.zeros(3), np.zeros(3), 3)


def test_grid_has_the_first_unit_to_the_right_and_the_second_upwards(ramp):
    codes = codes_of(latent_grid(ramp, 5, 2.0))
    assert codes.shape == (5, 5, 2)
    for row in range(5):
        np.testing.assert_allclose(codes[row, :, 0], [-2, -1, 0, 1, 2], atol=1e-5)
    for column in range(5):
        np.testing.assert_allclose(codes[:, column, 1], [2, 1, 0, -1, -2], atol=1e-5)


def test_grid_needs_two_units(model):
    with pytest.raises(UsageError, match="--latent-dim 2, this one has 4"):
        latent_grid(model)


def test_traverse_moves_one_unit_at_a_time(ramp):
    codes = codes_of(traverse(ramp, np.array([0.5, -1.0]), np.array([1, 0]), steps=3, reach=2.0))
    assert codes.shape == (2, 3, 2)
    np.testing.assert_allclose(codes[0], [[0.5, -2], [0.5, 0], [0.5, 2]], atol=1e-5)
    np.testing.assert_allclose(codes[1], [[-2, -1], [0, -1], [2, -1]], atol=1e-5)
