"""What every family of p(x | z) promises."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from fivefold.errors import UsageError
from fivefold.model.likelihoods import FAMILIES, Likelihood, bisect

DISCRETE = [("bernoulli", 2), ("pixels", 2), ("pixels", 16), ("pixels", 256)]
ALL = [*DISCRETE, ("gaussian", None)]
SHAPE = (3, 2, 4, 5)

discrete = pytest.mark.parametrize(("family", "levels"), DISCRETE)
every = pytest.mark.parametrize(("family", "levels"), ALL)


def some(family: str, levels: int | None, shape: tuple[int, ...] = SHAPE, seed: int = 0) -> Likelihood:
    """A likelihood of items `shape` with random parameters."""
    n, c, h, w = shape
    generator = torch.Generator().manual_seed(seed)
    channels = c * FAMILIES[family].parameters_per_element
    return FAMILIES[family](2 * torch.randn(n, channels, h, w, generator=generator, dtype=torch.float64), levels)


def constant(family: str, levels: int | None, parameters: list[float], copies: int = 1) -> Likelihood:
    """A likelihood of `copies` single elements with the same parameters."""
    tensor = torch.tensor(parameters, dtype=torch.float64).view(1, -1, 1, 1).expand(copies, -1, 1, 1).contiguous()
    return FAMILIES[family](tensor, levels)


def draw(likelihood: Likelihood, seed: int = 0) -> Tensor:
    """One draw of each element: the quantiles of uniform numbers."""
    generator = torch.Generator().manual_seed(seed)
    return likelihood.quantile(torch.rand(likelihood.mean.shape, generator=generator, dtype=torch.float64))


def level_values(levels: int) -> Tensor:
    return torch.arange(levels, dtype=torch.float64) / (levels - 1)


def over_levels(function, shape: tuple[int, ...], levels: int) -> Tensor:
    """`function` of items full of each level: `(levels, *shape)`."""
    return torch.stack(
        [function(torch.full(shape, value.item(), dtype=torch.float64)) for value in level_values(levels)]
    )


def pmf_of(likelihood: Likelihood, shape: tuple[int, ...], levels: int) -> Tensor:
    return over_levels(likelihood.log_prob, shape, levels).exp()


@discrete
def test_probabilities_of_all_levels_add_up_to_one(family, levels):
    pmf = pmf_of(some(family, levels), SHAPE, levels)
    assert pmf.shape == (levels, *SHAPE)
    torch.testing.assert_close(pmf.sum(0), torch.ones(SHAPE, dtype=torch.float64))


@given(data=st.data(), levels=st.sampled_from([2, 3, 16, 256]))
@settings(max_examples=60, deadline=None)
def test_pixel_probabilities_add_up_to_one_for_any_parameters(data, levels):
    size = FAMILIES["pixels"].parameters_per_element
    parameters = data.draw(st.lists(st.floats(-60, 60), min_size=size, max_size=size))
    pmf = pmf_of(constant("pixels", levels, parameters), (1, 1, 1, 1), levels)
    assert pmf.sum().item() == pytest.approx(1, abs=1e-9)


def test_gaussian_density_integrates_to_one():
    likelihood = some("gaussian", None)
    grid = torch.linspace(-80, 80, 400_001, dtype=torch.float64)
    first = constant("gaussian", None, [likelihood.mean[0, 0, 0, 0].item(), -1.3])
    density = first.log_prob(grid.view(1, 1, 1, -1)).exp().flatten()
    assert torch.trapezoid(density, grid).item() == pytest.approx(1, abs=1e-9)


@every
def test_shapes(family, levels):
    likelihood = some(family, levels)
    drawn = draw(likelihood)
    assert drawn.shape == likelihood.mean.shape == likelihood.variance.shape == SHAPE
    assert likelihood.log_prob(drawn).shape == likelihood.cdf(drawn).shape == SHAPE
    assert likelihood.item_log_prob(drawn).shape == SHAPE[:1]


@every
def test_elements_get_their_own_parameters(family, levels):
    """Channels aren't mixed up: each single-channel half of the parameters gives that half of the result."""
    n, c, h, w = SHAPE
    per_element = FAMILIES[family].parameters_per_element
    parameters = torch.randn(n, c * per_element, h, w, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    x = torch.full(SHAPE, 1.0, dtype=torch.float64)
    both = FAMILIES[family](parameters, levels).log_prob(x)
    changed = parameters.clone()
    changed[1, :, 2, 3] += 1
    places = (FAMILIES[family](changed, levels).log_prob(x) != both).nonzero()
    assert {tuple(place.tolist()) for place in places} <= {(1, channel, 2, 3) for channel in range(c)}
    assert len(places) > 0


@discrete
def test_quantiles_of_uniform_numbers_are_levels_as_frequent_as_probable(family, levels):
    copies = 40_000
    single = some(family, levels, (1, 1, 1, 1), seed=3)
    generator = torch.Generator().manual_seed(3)
    parameters = 2 * torch.randn(
        1, FAMILIES[family].parameters_per_element, 1, 1, generator=generator, dtype=torch.float64
    )
    many = constant(family, levels, parameters.flatten().tolist(), copies)
    drawn = draw(many).flatten()
    index = (drawn * (levels - 1)).round().long()
    torch.testing.assert_close(drawn, level_values(levels)[index].to(drawn.dtype))
    frequency = torch.bincount(index, minlength=levels) / copies
    pmf = pmf_of(single, (1, 1, 1, 1), levels).flatten()
    tolerance = 5 * (pmf * (1 - pmf) / copies).sqrt() + 1e-4
    assert ((frequency - pmf).abs() <= tolerance).all()


def test_gaussian_draws_have_its_moments():
    drawn = draw(constant("gaussian", None, [0.3, math.log(0.2)], 40_000))
    assert drawn.mean().item() == pytest.approx(0.3, abs=5 * 0.2 / 200)
    assert drawn.std().item() == pytest.approx(0.2, rel=0.02)


def test_there_may_be_as_many_levels_as_integers():
    likelihood = some("pixels", 1 << 64)
    value = likelihood.quantile(torch.full(SHAPE, 0.7, dtype=torch.float64))
    assert (likelihood.cdf(value) >= 0.7).all()
    assert (likelihood.cdf(value - 1e-9) < 0.7).all()
    assert torch.isfinite(likelihood.log_prob(value)).all()


@every
def test_quantile_is_the_inverse_of_the_cdf(family, levels):
    likelihood = some(family, levels)
    probability = torch.rand((50, *SHAPE), generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    for each in probability:
        value = likelihood.quantile(each)
        if levels is None:
            torch.testing.assert_close(likelihood.cdf(value), each)
        else:
            below = value - 1 / (levels - 1)
            assert (likelihood.cdf(value) >= each).all()
            assert (likelihood.cdf(below) < each).all(), "there is a smaller level"


@discrete
def test_quantile_of_a_levels_own_probability_is_that_level(family, levels):
    likelihood = some(family, levels)
    for value in level_values(levels)[:-1]:
        at = torch.full(SHAPE, value.item(), dtype=torch.float64)
        likely = likelihood.log_prob(at) > math.log(1e-6)
        cdf = likelihood.cdf(at)
        torch.testing.assert_close(likelihood.quantile(cdf)[likely], at[likely], rtol=0, atol=1e-12)
        above = likelihood.quantile((cdf + 1e-9).clamp(max=1 - 1e-15))
        assert (above > at)[likely & (cdf < 1 - 1e-6)].all()


@pytest.mark.parametrize("levels", [256, 4096, 65536])
def test_single_precision_tells_levels_apart(levels):
    """Around the middle, where the cdf is steepest, it steps at each level, and the quantile finds it."""
    parameters = [0.0] * 12 + [-3.0] * 5
    likelihood = constant("pixels", levels, parameters)
    single = FAMILIES["pixels"](likelihood.parameters.float(), levels)
    middle = torch.arange(levels // 2 - 100, levels // 2 + 100).view(1, 1, 1, -1)
    value = middle.float() / (levels - 1)
    exact = likelihood.cdf(middle.double() / (levels - 1))
    found = single.cdf(value)
    step = exact.diff().min().item()
    torch.testing.assert_close(found, exact.float(), rtol=0, atol=step / 2)
    torch.testing.assert_close(single.quantile((exact - step / 2).float()), value, rtol=0, atol=0)


@every
def test_single_elements_have_the_same_distributions(family, levels):
    likelihood = some(family, levels)
    x = draw(likelihood)
    n, c, h, w = SHAPE
    generator = torch.Generator().manual_seed(4)
    items, elements = torch.randint(n, (50,), generator=generator), torch.randint(c * h * w, (50,), generator=generator)
    row, column, channel = elements // c // w, elements // c % w, elements % c
    single = likelihood.at(items[:, None], elements)
    values = x[items, channel, row, column].view(-1, 1, 1, 1)
    assert type(single) is type(likelihood)
    assert single.levels == levels
    for measure in ("log_prob", "cdf"):
        expected = getattr(likelihood, measure)(x)[items, channel, row, column]
        torch.testing.assert_close(getattr(single, measure)(values), expected.view(-1, 1, 1, 1))
    for moment in ("mean", "variance"):
        expected = getattr(likelihood, moment)[items, channel, row, column]
        torch.testing.assert_close(getattr(single, moment), expected.view(-1, 1, 1, 1))


def test_bisect_among_levels():
    """Against a search through all of them, with steps that many levels share."""
    generator = torch.Generator().manual_seed(0)
    for levels in (2, 3, 7, 256):
        steps = torch.rand(levels, generator=generator, dtype=torch.float64) * (torch.arange(levels) % 3 == 1)
        table = steps.cumsum(0) / steps.sum()
        probability = torch.cat((torch.rand(300, generator=generator, dtype=torch.float64), table[table > 0]))

        def cdf(x, table=table, levels=levels):
            return table[(x * (levels - 1)).round().long()]

        expected = torch.searchsorted(table, probability).double() / (levels - 1)
        torch.testing.assert_close(bisect(cdf, probability, levels), expected)


def test_bisect_among_real_numbers():
    probability = torch.linspace(0.001, 0.999, 99, dtype=torch.float64)
    assert (bisect(torch.square, probability, None) - probability.sqrt()).abs().max() < 1e-6
    assert (bisect(lambda x: x, probability.float(), None) - probability).abs().max() < 1e-6


@pytest.mark.parametrize("levels", [2, 5, 256, None])
def test_bisect_stays_between_0_and_1(levels):
    """A density may have some of its mass outside."""
    probability = torch.tensor([1e-9, 0.1, 0.9, 1 - 1e-9], dtype=torch.float64)
    found = bisect(lambda x: 0.3 + 0.4 * x, probability, levels)
    assert found[:2].tolist() == [0, 0]
    assert found[2:].tolist() == [1, 1]


@discrete
def test_mean_is_the_expected_level(family, levels):
    likelihood = some(family, levels)
    expected = (pmf_of(likelihood, SHAPE, levels) * level_values(levels).view(-1, 1, 1, 1, 1)).sum(0)
    tolerance = 1e-9 if family == "bernoulli" else 0.5 / (levels - 1)
    assert (likelihood.mean - expected).abs().max().item() <= tolerance


@discrete
def test_variance_is_that_of_the_levels(family, levels):
    likelihood = some(family, levels)
    pmf, values = pmf_of(likelihood, SHAPE, levels), level_values(levels).view(-1, 1, 1, 1, 1)
    mean = (pmf * values).sum(0)
    expected = (pmf * (values - mean).square()).sum(0)
    error = likelihood.variance - expected
    if (family, levels) == ("pixels", 2):
        assert error.abs().max().item() < 0.17  # logistics are coarse for bits
    else:
        assert (error.abs() <= (1e-9 if family == "bernoulli" else 0.08) * expected).all()
        assert error.mean().abs().item() < 0.002


def test_variance_of_narrow_pixels():
    """Two sharp components of different places, and masses at both ends."""
    likelihood = constant("pixels", 256, [0.0, 0.0, -40, -40, -40, 0.0, 0.0, -2, 2, 0, 0, 0, -6, -6, 0, 0, 0])
    places = [*torch.sigmoid(torch.tensor([-2.0, 2.0])).tolist(), 0.0, 1.0]
    assert likelihood.variance.item() == pytest.approx(torch.tensor(places).var(correction=0).item(), rel=1e-3)
    single = constant("pixels", 256, [0.0, *[-40] * 6, 0.3, 0, 0, 0, 0, -6.5, 0, 0, 0, 0])
    assert 0 <= single.variance.item() < 0.01**2
    assert FAMILIES["pixels"](single.parameters.float(), 256).variance.item() >= 0


def test_variance_of_gaussian_is_its_scales_square():
    likelihood = constant("gaussian", None, [0.37, -2.0])
    grid = torch.linspace(-3, 4, 100_001, dtype=torch.float64)
    density = likelihood.log_prob(grid.view(1, 1, 1, -1)).exp().flatten()
    assert likelihood.variance.item() == pytest.approx(torch.trapezoid(density * (grid - 0.37) ** 2, grid).item())


def test_mean_of_gaussian_is_its_location():
    likelihood = constant("gaussian", None, [0.37, -2.0])
    assert likelihood.mean.item() == pytest.approx(0.37)
    assert likelihood.log_prob(likelihood.mean) > likelihood.log_prob(likelihood.mean + 0.01)


@discrete
def test_cdf_adds_the_probabilities_up(family, levels):
    likelihood = some(family, levels)
    cdf = over_levels(likelihood.cdf, SHAPE, levels)
    torch.testing.assert_close(cdf, pmf_of(likelihood, SHAPE, levels).cumsum(0))
    assert (cdf.diff(dim=0) >= 0).all()
    torch.testing.assert_close(cdf[-1], torch.ones(SHAPE, dtype=torch.float64))
    assert (likelihood.cdf(torch.full(SHAPE, -0.1, dtype=torch.float64)) == 0).all()


@discrete
def test_cdf_is_flat_between_levels(family, levels):
    likelihood = some(family, levels)
    at = torch.full(SHAPE, level_values(levels)[0].item(), dtype=torch.float64)
    torch.testing.assert_close(likelihood.cdf(at + 0.4 / (levels - 1)), likelihood.cdf(at))


def test_cdf_of_gaussian_has_its_density_as_slope():
    likelihood = constant("gaussian", None, [0.4, -1.0])
    x = torch.linspace(-3, 3, 101, dtype=torch.float64).view(1, 1, 1, -1).requires_grad_()
    cdf = likelihood.cdf(x)
    (slope,) = torch.autograd.grad(cdf.sum(), x)
    torch.testing.assert_close(slope, likelihood.log_prob(x).exp())
    assert (cdf.diff() >= 0).all()
    assert likelihood.cdf(torch.full((1, 1, 1, 1), 1e3)).item() == 1


@every
def test_masked_log_prob_is_that_of_the_visible_elements(family, levels):
    likelihood = some(family, levels)
    x = draw(likelihood)
    visible = torch.rand(SHAPE, generator=torch.Generator().manual_seed(1)) < 0.5
    expected = [likelihood.log_prob(x)[item][visible[item]].sum() for item in range(len(x))]
    torch.testing.assert_close(likelihood.item_log_prob(x, visible), torch.stack(expected))
    torch.testing.assert_close(likelihood.item_log_prob(x), likelihood.log_prob(x).flatten(1).sum(1))
    changed = torch.where(visible, x, 1 - x)
    torch.testing.assert_close(likelihood.item_log_prob(changed, visible), torch.stack(expected))


@discrete
def test_hidden_elements_are_summed_out(family, levels):
    """The masked probability is the marginal: that of the pair, summed over the hidden element's levels."""
    likelihood = some(family, levels, (1, 1, 1, 2))
    x = torch.zeros(1, 1, 1, 2, dtype=torch.float64)
    total = 0.0
    for value in level_values(levels):
        x[..., 1] = value
        total += likelihood.item_log_prob(x).exp().item()
    visible = torch.tensor([True, False]).view(1, 1, 1, 2)
    assert likelihood.item_log_prob(x, visible).exp().item() == pytest.approx(total)


@every
@pytest.mark.parametrize("size", [20.0, 1e3, 1e6])
def test_extreme_parameters_leave_log_prob_and_gradients_finite(family, levels, size):
    per_element = FAMILIES[family].parameters_per_element
    signs = torch.rand(64, per_element, 1, 3, generator=torch.Generator().manual_seed(0)).sub(0.5).sign()
    parameters = (size * signs).requires_grad_()
    middle = round((levels or 3) / 2) / ((levels or 3) - 1)
    x = torch.tensor([0.0, middle, 1.0]).expand(64, 1, 1, 3)
    likelihood = FAMILIES[family](parameters, levels)
    log_prob = likelihood.log_prob(x)
    assert log_prob.isfinite().all()
    (log_prob.sum() + likelihood.mean.sum() + likelihood.variance.sum()).backward()
    assert parameters.grad is not None
    assert parameters.grad.isfinite().all()
    assert draw(likelihood).isfinite().all()
    assert (likelihood.variance >= 0).all()
    assert likelihood.cdf(x).isfinite().all()


def test_bernoulli_is_minus_binary_cross_entropy_between_black_and_white():
    likelihood = some("bernoulli", None)
    x = torch.rand(SHAPE, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    expected = x * likelihood.mean.log() + (1 - x) * (1 - likelihood.mean).log()
    torch.testing.assert_close(likelihood.log_prob(x), expected)


def test_pixels_put_point_masses_on_black_and_white():
    masses = [-30.0] * 5 + [math.log(0.25), math.log(0.75)] + [0.0] * 10
    likelihood = constant("pixels", 256, masses)
    pmf = pmf_of(likelihood, (1, 1, 1, 1), 256).flatten()
    assert pmf[0].item() == pytest.approx(0.25)
    assert pmf[-1].item() == pytest.approx(0.75)


@pytest.mark.parametrize("levels", [None, 1])
def test_pixels_refuse_real_numbers(levels):
    with pytest.raises(UsageError, match="integer"):
        some("pixels", levels)


@discrete
def test_information_is_the_mean_and_deviation_of_what_all_levels_cost(family, levels):
    likelihood = some(family, levels)
    pmf = pmf_of(likelihood, SHAPE, levels)
    costs = -pmf.clamp_min(1e-300).log()
    mean = (pmf * costs).sum(0)
    deviation = (pmf * (costs - mean).square()).sum(0).sqrt()
    for found, expected in zip(likelihood.information(), (mean, deviation), strict=True):
        error = (found - expected).abs()
        assert error.mean() < (0.15 if levels == 256 else 1e-9), "of many levels it is a quadrature"


@every
def test_excess_is_usually_none_and_high_for_what_is_improbable(family, levels):
    likelihood = some(family, levels, seed=3)
    usual = torch.stack([likelihood.excess(draw(likelihood, seed)) for seed in range(100)])
    assert usual.mean().abs() < 0.1
    black = torch.zeros(SHAPE, dtype=torch.float64)
    assert (likelihood.excess(black)[likelihood.log_prob(black) < -12] > 3).all()
