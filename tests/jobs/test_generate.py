"""Items drawn from a prior or near an item, and walks through the latent space."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

import fivefold
from fivefold.config import Conditioning
from fivefold.errors import DataError, ModelError, UsageError
from fivefold.evaluation.images.generate import latent_grid, traverse
from fivefold.images.dataset import make_items
from fivefold.jobs.codes import decode, encode
from fivefold.jobs.generate import generate, morph, nearest_items
from fivefold.model.calibrations import FittedPrior
from fivefold.model.conditional import Conditional
from fivefold.model.context import as_items
from fivefold.model.fitted import uniform
from fivefold.seeds import derive_seed


@pytest.fixture
def ramp(linear_gaussian):
    """A model whose first two elements are its two latent numbers: `x = 0.5 + z / 10`."""
    weights = torch.tensor([[0.1, 0.0], [0.0, 0.1], [0.0, 0.0]])
    return linear_gaussian(weights, torch.full((3,), 0.5), 0.05).fitted()


@pytest.fixture
def clustered(ramp):
    """`ramp` with a prior of two clusters, the second three times as heavy as the first."""
    means = np.array([[-2.0, 0.0], [1.0, 1.5]])
    roots = np.array([[[0.1, 0.0], [0.05, 0.1]], [[0.2, 0.0], [0.0, 0.2]]])
    return dataclasses.replace(ramp, calibrations={"prior": FittedPrior(np.array([0.25, 0.75]), means, roots)})


@pytest.fixture(scope="module")
def tiny(digits, small_settings):
    """A model with a context decoder of digits of 7×7 pixels, quick to draw from element by element."""
    return fivefold.fit(digits[:300, ::4, ::4], **{**small_settings, "latent_dim": 2, "epochs": 12, "field": 3})


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


def test_options_of_others_may_be_said_to_be_off(model):
    """A page's boxes that are not ticked, for one."""
    off = generate(model, 3, complete=False, free=False, sharp=False)
    np.testing.assert_array_equal(off, generate(model, 3))


@pytest.mark.parametrize("n", [0, -1])
def test_no_items(model, n):
    with pytest.raises(UsageError, match="at least 1"):
        generate(model, n)


def test_codes_are_drawn_from_the_fitted_prior(clustered):
    codes = codes_of(generate(clustered, 4000, prior="fitted"))
    heavy = codes[:, 0] > -0.5
    assert heavy.mean() == pytest.approx(0.75, abs=0.03)
    np.testing.assert_allclose(codes[heavy].mean(axis=0), [1, 1.5], atol=0.02)
    np.testing.assert_allclose(codes[~heavy].mean(axis=0), [-2, 0], atol=0.02)
    np.testing.assert_allclose(np.cov(codes[~heavy].T), [[0.01, 0.005], [0.005, 0.0125]], atol=0.001)
    np.testing.assert_array_equal(
        generate(clustered, 50, 3, prior="fitted")[:4], generate(clustered, 4, 3, prior="fitted")
    )


def test_fitted_prior_is_of_the_datas_codes(model, digits):
    """Decoded from there, items are about as bright as digits are."""
    assert model.prior is not None
    drawn, real = generate(model, 300, prior="fitted").mean(), digits[600:].mean()
    assert abs(drawn - real) < 0.2 * real


def test_temperature_is_how_far_codes_stray(clustered):
    for settings, centre in (({}, 0.0), ({"like": np.array([[[0.7], [0.4], [0.5]]])[None]}, None)):
        warm, cool, cold = (
            codes_of(generate(clustered, 20, temperature=temperature, **settings)) for temperature in (1, 0.5, 0)
        )
        centre = cold[:1] if centre is None else centre
        np.testing.assert_allclose(cold, np.broadcast_to(centre, cold.shape), atol=1e-5)
        np.testing.assert_allclose(cool - centre, (warm - centre) / 2, atol=1e-5)
        assert np.abs(warm - cold).max() > 0.5
    cold = codes_of(generate(clustered, 40, prior="fitted", temperature=0))
    assert {tuple(np.round(code, 4)) for code in cold} == {(-2, 0), (1, 1.5)}


def test_near_an_item_codes_come_from_its_posterior(linear_gaussian):
    weights = torch.tensor([[0.1, 0.0], [0.0, 0.05], [0.0, 0.0]])
    toy = linear_gaussian(weights, torch.full((3,), 0.5), 0.05)
    item = np.array([0.7, 0.45, 0.5], np.float32)
    drawn = generate(toy.fitted(), 4000, like=item[None, None, :, None])
    codes = (drawn[:, 0, :2, 0].astype(np.float64) - 0.5) / [0.1, 0.05]
    np.testing.assert_allclose(codes.mean(axis=0), toy.posterior_mean(torch.from_numpy(item)[None])[0], atol=0.05)
    np.testing.assert_allclose(np.cov(codes.T), torch.diag(toy.posterior_var), atol=0.04)


def test_at_temperature_0_all_are_the_items_reconstruction(model, digits):
    like = digits[600:601]
    drawn = generate(model, 5, like=like, temperature=0)
    np.testing.assert_array_equal(drawn, np.repeat(decode(model, encode(model, like)[0]), 5, axis=0))
    warm = generate(model, 5, like=like)
    assert len({item.tobytes() for item in warm}) == 5
    assert not np.array_equal(warm, generate(model, 5, like=digits[601:602]))


@pytest.mark.parametrize("n", [2, 5])
def test_near_one_item_only(model, digits, n):
    with pytest.raises(UsageError, match=f"one item, got {n}"):
        generate(model, 3, like=digits[:n])


def test_near_an_item_there_is_no_prior(model, digits):
    with pytest.raises(UsageError, match="`like` and `prior`"):
        generate(model, 3, like=digits[:1], prior="fitted")


@pytest.mark.parametrize("temperature", [-0.1, float("nan"), float("inf")])
def test_temperatures_that_are_none(model, temperature):
    with pytest.raises(UsageError, match="`temperature`"):
        generate(model, 3, temperature=temperature)


def test_what_the_model_has_no_parts_for(ramp):
    with pytest.raises(ModelError, match="`prior` fitted"):
        generate(ramp, 3, prior="fitted")
    with pytest.raises(ModelError, match=r"`sharp` .* has none"):
        generate(ramp, 3, sharp=True)


def test_sharp_items(tiny, monkeypatch):
    items = generate(tiny, 30, sharp=True)
    assert items.shape == (30, 7, 7, 1)
    assert items.dtype == np.uint8
    assert items.min() == 0
    assert (items == 0).mean() > 0.2, "means are never black"
    assert len({item.tobytes() for item in items}) == 30
    np.testing.assert_array_equal(items, generate(tiny, 30, sharp=True))
    np.testing.assert_array_equal(items[:7], generate(tiny, 7, sharp=True))
    assert not np.array_equal(items, generate(tiny, 30, seed=1, sharp=True))
    monkeypatch.setattr("fivefold.model.fitted._BATCH_ELEMENTS", 2 * 49)
    assert (items != generate(tiny, 30, sharp=True)).mean() < 1e-2


def test_sharp_items_are_like_the_data(tiny, digits):
    drawn, real = generate(tiny, 300, sharp=True), digits[300:, ::4, ::4]
    means = [each.mean(axis=0).ravel() for each in (drawn, real)]
    assert np.corrcoef(*means)[0, 1] > 0.9
    assert drawn.std() == pytest.approx(real.std(), rel=0.3)
    assert not np.array_equal(drawn, generate(tiny, 300, prior="fitted", sharp=True))


@torch.inference_mode()
def test_sharp_elements_are_quantiles_given_those_before(tiny):
    """All at once, with the whole item in the windows' reach, the same numbers give the same elements."""
    n = 20
    items = generate(tiny, n, seed=5, sharp=True)
    codes = np.random.default_rng(derive_seed(5, "generate")).standard_normal((n, 2)).astype(np.float32)
    chances = uniform(np.random.default_rng(derive_seed(5, "sharp")), (n, 49), tiny.device)
    x = tiny.tensor(items / np.float32(255))
    given = Conditional(tiny, Conditioning.CAUSAL, x, torch.ones_like(x, dtype=torch.bool), torch.from_numpy(codes))
    chance = chances.flatten().view(-1, 1, 1, 1)
    rows, elements = torch.arange(n).repeat_interleave(49), torch.arange(49).repeat(n)
    expected = tiny.values(as_items(given(rows, elements).quantile(chance).view(n, 49), x))
    assert (items != expected).mean() < 1e-2


def test_nearest_against_brute_force(model, digits):
    known, items = (make_items(digits[rows], model.schema) for rows in (slice(0, 50), slice(600, 620)))
    index, distance = nearest_items(items, known)
    a, b = (each.values.reshape(len(each), 1, -1) / 255 for each in (items, known))
    distances = np.sqrt(np.square(a - b.transpose(1, 0, 2)).sum(axis=2))
    np.testing.assert_array_equal(index, distances.argmin(axis=1))
    np.testing.assert_allclose(distance, distances.min(axis=1), rtol=1e-4)


def test_nearest_finds_copies(model, digits):
    known = make_items(digits[:60], model.schema)
    index, distance = nearest_items(make_items(digits[[7, 41, 7]], model.schema), known)
    np.testing.assert_array_equal(index, [7, 41, 7])
    np.testing.assert_allclose(distance, 0, atol=1e-3)


def test_what_is_hidden_is_0_to_the_nearest(model, digits):
    holey = digits[:20].astype(np.float32)
    holey[:, 10:20] = np.nan
    black = digits[:20].copy()
    black[:, 10:20] = 0
    items = make_items(digits[600:610], model.schema)
    for one, other in zip(
        *(nearest_items(items, make_items(each, model.schema)) for each in (holey, black)), strict=True
    ):
        np.testing.assert_array_equal(one, other)


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
    with pytest.raises(UsageError, match="`latent_dim` 2, this one has 4"):
        latent_grid(model)


def test_traverse_moves_one_unit_at_a_time(ramp):
    codes = codes_of(traverse(ramp, np.array([0.5, -1.0]), np.array([1, 0]), steps=3, reach=2.0))
    assert codes.shape == (2, 3, 2)
    np.testing.assert_allclose(codes[0], [[0.5, -2], [0.5, 0], [0.5, 2]], atol=1e-5)
    np.testing.assert_allclose(codes[1], [[-2, -1], [0, -1], [2, -1]], atol=1e-5)


def test_unknown_prior(model):
    with pytest.raises(UsageError, match="`prior` must be one of standard, fitted; got 'flat'"):
        generate(model, 2, prior="flat")
