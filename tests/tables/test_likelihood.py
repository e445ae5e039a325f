"""Cells of a table as distributions."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fivefold.tables import mixtures
from fivefold.tables.likelihood import COMPONENTS, FINEST, ColumnLikelihood, Support
from fivefold.tables.schema import Column, TableSchema

WHOLE = Column("whole", "integer", "int64", centre=3.0, spread=2.0, low=0.0, high=9.0, step=1.0)
REAL = Column("real", "real", "double", centre=10.0, spread=4.0, low=-8.0, high=90.0)
SHADE = Column("shade", "category", "string", ("red", "green", "blue"), high=2.0)
YES = Column("yes", "boolean", "bool", high=1.0)
SCHEMA = TableSchema((WHOLE, REAL, SHADE, YES))


def cells(n: int = 50, seed: int = 0) -> ColumnLikelihood:
    generator = torch.Generator().manual_seed(seed)
    parameters = torch.randn(
        (n, ColumnLikelihood.count_parameters(SCHEMA), 1, 4), generator=generator, dtype=torch.float64
    )
    return ColumnLikelihood.of(parameters, Support.of(SCHEMA, parameters))


def unit(*rows: tuple[float, float, float, float]) -> torch.Tensor:
    values = np.array(rows, np.float64)[:, None, :, None]
    return torch.from_numpy(SCHEMA.to_unit(values)).double().permute(0, 3, 1, 2)


def test_whole_numbers_have_all_the_probability():
    told = cells(1)
    every = [told.log_prob(unit((number, 0, 0, 0)))[..., 0] for number in range(-400, 400)]
    assert torch.logsumexp(torch.stack(every), 0).item() == pytest.approx(0, abs=2e-3)


def test_a_whole_number_stands_for_half_a_step_on_either_side_wherever_the_centre_is():
    column = Column("whole", "integer", "int64", centre=2.7, spread=2.0, low=0.0, high=9.0, step=1.0)
    schema = TableSchema((column,))
    x = torch.from_numpy(schema.to_unit(np.full((1, 1, 1, 1), 4.0))).double()
    edges = [edge.item() for edge in Support.of(schema, x).edges(x)]
    assert edges == pytest.approx([np.arcsinh((ends - 2.7) / 2) for ends in (3.5, 4.5)], abs=1e-6)


def test_classes_have_all_the_probability():
    told = cells(1)
    shades = [told.log_prob(unit((0, 0, code, 0)))[0, 0, 0, 2] for code in range(4)]  # one for what was not met
    truths = [told.log_prob(unit((0, 0, 0, code)))[0, 0, 0, 3] for code in range(2)]
    for every in (shades, truths):
        assert torch.logsumexp(torch.stack(every), 0).item() == pytest.approx(0, abs=1e-9)


def test_reals_have_the_probability_of_a_64th_of_their_spread():
    told = cells(1)
    told.scales.clamp_(max=0.5)
    scaled = torch.arange(-9, 9, FINEST, dtype=torch.float64)
    support = Support.of(SCHEMA, scaled)
    x = ((scaled[:, None, None, None] - support.low) / support.extent)[..., 1:2]
    alone = ColumnLikelihood(
        *(part[..., 1:2] for part in (told.log_weights, told.locations, told.scales)),
        None,
        support.columns(torch.tensor([1])),
    )
    assert alone.log_prob(x).exp().sum().item() == pytest.approx(1, abs=1e-3)


@given(number=st.floats(-1e12, 1e12), code=st.integers(0, 3))
def test_log_probabilities_are_finite_and_not_above_0(number, code):
    x = unit((round(number), number, code, code % 2))
    told = cells(1)
    told.log_weights.requires_grad_()
    found = told.log_prob(x)
    assert torch.isfinite(found).all()
    assert (found <= 1e-12).all()
    found.sum().backward()
    assert torch.isfinite(told.log_weights.grad).all()


@settings(max_examples=20)
@given(seed=st.integers(0, 1000), chance=st.floats(0.01, 0.99))
def test_a_quantile_is_where_the_cdf_gets_there(seed, chance):
    told = cells(5, seed)
    probability = torch.full((5, 1, 1, 4), chance, dtype=torch.float64)
    place = told.quantile(probability)
    assert ((place >= 0) & (place <= 1)).all()
    assert (told.cdf(place) >= probability - 1e-9).all()
    below = place - 1e-5
    assert ((told.cdf(below.clamp_min(0)) < probability + 1e-9) | (below < 0)).all()


def test_draws_are_as_often_below_a_quantile_as_it_says():
    one = cells(1)
    chances = (torch.arange(20_000, dtype=torch.float64) + 0.5).view(-1, 1, 1, 1).expand(-1, 1, 1, 4) / 20_000
    drawn = one._map(lambda name: getattr(one, name).expand(20_000, -1, -1, -1), one.support).draw(chances)
    numbers = SCHEMA.from_unit(drawn.permute(0, 2, 3, 1).numpy())[:, 0, :, 0]
    assert (numbers[:, 0] == numbers[:, 0].round()).all()
    slack = np.array([0, 0.1, 0, 0])
    for level in (0.05, 0.3, 0.6, 0.95):
        quantile = one.quantile(torch.full((1, 1, 1, 4), level, dtype=torch.float64)).permute(0, 2, 3, 1).numpy()
        least = SCHEMA.from_unit(quantile)[0, 0, :, 0]
        np.testing.assert_array_less(level - 0.01, (numbers <= least + slack).mean(0))
        np.testing.assert_array_less((numbers < least - slack).mean(0), level + 0.01)


def test_the_cdf_rises():
    told, along = cells(20), torch.linspace(0, 1, 200, dtype=torch.float64)
    values = torch.stack([told.cdf(torch.full((20, 1, 1, 4), x, dtype=torch.float64)) for x in along.tolist()])
    assert (values.diff(dim=0) >= -1e-12).all()
    assert torch.allclose(values[-1], torch.ones(()).double())


def test_points_are_expected_numbers_in_the_datas_units_and_likeliest_classes():
    told = cells(30)
    chances = torch.linspace(0.0005, 0.9995, 1000, dtype=torch.float64)
    drawn = torch.stack(
        [told.quantile(torch.full((30, 1, 1, 4), each, dtype=torch.float64)) for each in chances.tolist()]
    )
    support = Support.of(SCHEMA, drawn)
    expected = torch.sinh(support.scaled(drawn)).mean(0)[..., :2]
    found = torch.sinh(support.scaled(told.point()))[..., :2]
    spread = torch.sinh(support.scaled(drawn)).std(0)[..., :2]
    assert ((expected - found).abs() < 0.15 * spread + 0.1).all()
    assert told.log_classes is not None
    likeliest = told.log_classes[:, :, 0, 2].argmax(1) / 3
    assert torch.allclose(told.point()[:, 0, 0, 2], likeliest.double())


def test_a_mixture_is_the_mean_of_its_parts():
    parts, x = [cells(4, 1), cells(4, 2)], unit(*[(2, 5.0, 1, 0)] * 4)
    mixed = ColumnLikelihood.mixture(parts).log_prob(x).exp()
    assert torch.allclose(mixed, (parts[0].log_prob(x).exp() + parts[1].log_prob(x).exp()) / 2)


def test_single_cells_are_those_of_the_rows():
    told, x = cells(6), unit(*[(1, 3.0, 2, 1)] * 6)
    items, elements = torch.tensor([4, 0, 5, 5]), torch.tensor([0, 1, 2, 3])
    single = told.at(items[:, None], elements)
    assert torch.allclose(
        single.log_prob(x[items, :, :, elements][:, :, None]).flatten(), told.log_prob(x)[items, 0, 0, elements]
    )


def test_smoothing_spreads_numbers_and_leaves_classes():
    sharp = cells(1)
    sharp.scales.fill_(0.01)
    smooth, far = sharp.smoothed(0.5), unit((9, 80.0, 1, 1))
    change = (smooth.log_prob(far) - sharp.log_prob(far)).flatten()
    assert (change[:2] > 1).all()
    assert (change[2:] == 0).all()


def test_codes_of_a_row_mix_in_its_point():
    told = cells(2)
    elements = torch.tensor([0, 2])
    both = told.at(torch.tensor([[0, 1], [0, 1]]), elements)
    weight = torch.tensor([0.25, 0.75], dtype=torch.float64).view(1, 1, 2, 1).expand(2, 1, 2, 1)
    support = Support.of(SCHEMA, weight).at(elements)
    each = torch.sinh(support.scaled(both.point()))[0, 0, :, 0]
    mixed = torch.sinh(support.scaled(both.point(weight)))[0].item()
    assert mixed == pytest.approx(float(0.25 * each[0] + 0.75 * each[1]), rel=1e-6)
    shares = 0.25 * told.log_classes[0, :, 0, 2].exp() + 0.75 * told.log_classes[1, :, 0, 2].exp()
    assert both.point(weight)[1].item() == pytest.approx(shares.argmax().item() / 3)


def test_parameters_are_counted():
    assert ColumnLikelihood.count_parameters(SCHEMA) == 3 * COMPONENTS + 4
    assert ColumnLikelihood.count_parameters(TableSchema((REAL,))) == 3 * COMPONENTS
    assert math.isclose(Support.of(SCHEMA, torch.zeros(1)).step[0, 0, 0, 0], 0.5)


def test_information_of_numbers_is_the_mean_and_deviation_of_what_draws_cost():
    likelihood = cells(20)
    likelihood.scales.clamp_(max=0.5)
    places = (torch.arange(1000, dtype=torch.float64) + 0.5) / 1000
    costs = torch.stack([-likelihood.log_prob(likelihood.quantile(p.expand(20, 1, 1, 4))) for p in places])[..., :2]
    entropy, spread = (part[..., :2] for part in likelihood.information())
    torch.testing.assert_close(entropy, costs.mean(0), rtol=0.05, atol=0.1)
    torch.testing.assert_close(spread, costs.std(0), rtol=0.2, atol=0.1)


def test_a_determined_class_stands_out_from_one_of_several_that_are_as_likely():
    parameters = torch.zeros((2, ColumnLikelihood.count_parameters(SCHEMA), 1, 4), dtype=torch.float64)
    classes = parameters[:, 3 * COMPONENTS :, 0, 2]
    classes[:] = torch.tensor([[10.0, 0.0, 0.0, 0.0], [10.0, 10.0, 0.0, 0.0]])
    wrong = ColumnLikelihood.of(parameters, Support.of(SCHEMA, parameters)).excess(unit((0, 0, 2, 0), (0, 0, 2, 0)))[
        ..., 2
    ]
    assert wrong[0] > 2 * wrong[1] > 10


def test_quantiles_are_the_least_cells_with_so_much_below():
    told = cells(64)
    chance = torch.linspace(0.001, 0.999, 64).view(-1, 1, 1, 1)
    found = told.quantile(chance.expand(-1, 1, 1, 4))
    assert (told.cdf(found) >= chance).all()
    before = (found - 2.0**-19).clamp_min(0)
    assert ((told.cdf(before) < chance) | (found == 0)).all()


def test_few_rounds_find_where_mixtures_reach_a_probability(monkeypatch):
    monkeypatch.setattr(mixtures, "_MOST_ROUNDS", 12)
    told = cells(200)
    chance = torch.rand((200, 1, 1, 4), generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    weights = told.log_weights.exp()
    found = mixtures.quantile(weights, told.locations, told.scales, chance)
    reached = (weights * torch.sigmoid((found - told.locations) / told.scales)).sum(1, keepdim=True)
    torch.testing.assert_close(reached, chance, atol=1e-5, rtol=0)
