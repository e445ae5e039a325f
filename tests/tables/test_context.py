"""The context decoder of tables sees what it may, and says the same however it is asked."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fivefold.config import Conditioning
from fivefold.model.conditional import Conditional
from fivefold.model.context import by_element, column
from fivefold.tables.context import Factors


@pytest.fixture
def batch(table_model, trees):
    """60 rows with holes: `x` and `visible`."""
    return next(table_model.batches(table_model.read(trees[300:360])))[1:]


def log_prob(model, window, x, visible, values, z=None):
    given = Conditional(model, window, x, visible, z)
    every = torch.cartesian_prod(torch.arange(len(x)), torch.arange(x.shape[3]))
    items, elements = every.unbind(1)
    return given(items, elements).log_prob(column(by_element(values)[items, elements])).view(x.shape[0], -1)


@pytest.mark.parametrize("window", Conditioning)
@pytest.mark.parametrize("with_codes", [False, True])
@pytest.mark.parametrize("wide", [1, 64])
def test_column_by_column_it_says_what_pairs_say(table_model, batch, window, with_codes, wide, monkeypatch):
    monkeypatch.setattr("fivefold.tables.context._WIDE", wide)
    x, visible = batch
    z = table_model.vae.posterior(x, visible).mu if with_codes else None
    by_column = Conditional(table_model, window, x, visible, z).log_prob(x)[:, 0, 0]
    torch.testing.assert_close(by_column, log_prob(table_model, window, x, visible, x, z), rtol=1e-9, atol=1e-9)
    codes = torch.stack((z, z + 1), dim=1) if with_codes else None
    if codes is not None:
        both = Conditional(table_model, window, x, visible, codes).map(lambda p, *_: p.point().view(-1, 2))
        torch.testing.assert_close(
            both[0], Conditional(table_model, window, x, visible, z).map(lambda p, *_: p.point().view(-1, 1))[0]
        )


@pytest.mark.parametrize("window", Conditioning)
def test_what_is_hidden_or_not_to_be_seen_tells_nothing(table_model, batch, window):
    x, visible = batch
    visible = visible.clone()
    visible[..., 2] = False
    before = log_prob(table_model, window, x, visible, x)
    for changed in range(x.shape[3]):
        other = x.clone()
        other[..., changed] = 1 - other[..., changed]
        moved = (log_prob(table_model, window, other, visible, x) != before).any(0)
        assert not moved[changed], "a cell itself"
        if changed == 2:
            assert not moved.any()
        elif window is Conditioning.CAUSAL:
            assert not moved[: changed + 1].any()
            assert moved[changed + 1 :].any() == (changed + 1 < x.shape[3])
        else:
            assert moved.any()


def test_put_makes_cells_visible(table_model, batch):
    x, visible = batch
    items, elements = torch.arange(len(x)), torch.full((len(x),), 1)
    given = Conditional(table_model, Conditioning.MISSING, x, torch.zeros_like(visible), None)
    before = given(items, elements).point()
    given.put(items, torch.zeros_like(elements), x[:, 0, 0, 0])
    shown = visible & (torch.arange(x.shape[3]) == 0)
    expected = Conditional(table_model, Conditioning.MISSING, x, shown | (torch.arange(x.shape[3]) == 0), None)
    torch.testing.assert_close(given(items, elements).point(), expected(items, elements).point())
    assert not torch.equal(given(items, elements).point(), before)


def test_whole_columns_one_by_one_are_as_parts_of_them(table_model, batch):
    x, visible = batch
    given = Conditional(table_model, Conditioning.CAUSAL, x, visible & False, None)
    rows = torch.arange(len(x))
    for place in range(5):
        here = torch.full_like(rows, place)
        values = column(x[:, 0, 0, place])
        parts = [given(rows[part], here[part]).log_prob(values[part]) for part in (slice(7), slice(7, None))]
        torch.testing.assert_close(given(rows, here).log_prob(values), torch.cat(parts), rtol=1e-9, atol=1e-9)
        given.put(rows, here, values.flatten())
        given.put(rows, torch.zeros_like(rows), values.flatten())  # anew


def test_rows_do_not_depend_on_their_company(table_model, batch):
    x, visible = batch
    together = Conditional(table_model, Conditioning.CAUSAL, x, visible, None).log_prob(x)
    alone = Conditional(table_model, Conditioning.CAUSAL, x[7:8], visible[7:8], None).log_prob(x[7:8])
    torch.testing.assert_close(together[7:8], alone, rtol=1e-10, atol=1e-10)


def test_factors_are_the_exact_conditional_of_factor_analysis():
    torch.manual_seed(0)
    model = Factors(5, 2).double()
    with torch.no_grad():
        model.log_noise.copy_(torch.linspace(-1, 1, 5))
        model.mean.copy_(torch.linspace(-2, 2, 5))
    scaled = torch.randn(3, 5, dtype=torch.float64)
    seen = torch.tensor([[1, 1, 0, 1, 0], [0, 0, 0, 0, 0], [1, 1, 1, 1, 1]], dtype=torch.float64)
    expected, _ = model(scaled, seen)
    signal = model.weights @ model.weights.T
    covariance = signal + torch.diag(model.log_noise.exp())
    for row, mask, found in zip(scaled, seen.bool(), expected, strict=True):
        gain = signal[:, mask] @ torch.linalg.inv(covariance[mask][:, mask])
        torch.testing.assert_close(found, model.mean + gain @ (row - model.mean)[mask])


def test_evidence_adds_up():
    torch.manual_seed(0)
    model = Factors(4, 3).double()
    scaled, seen = torch.randn(6, 4, dtype=torch.float64), (torch.rand(6, 4) < 0.5).double()
    parts = [model.evidence(number, scaled[:, number], seen[:, number]) for number in range(4)]
    sums = [sum(each) for each in zip(*parts, strict=True)]
    torch.testing.assert_close(model.expect(*sums), model(scaled, seen)[1])


def test_it_has_learnt_what_hangs_together(table_model, batch, trees):
    x, visible = batch
    columns = table_model.schema.names
    girth = columns.index("girth")
    items = torch.arange(len(x))
    hidden = visible & (torch.arange(x.shape[3]) != girth)
    point = Conditional(table_model, Conditioning.MISSING, x, hidden, None)(
        items, torch.full_like(items, girth)
    ).point()
    found = table_model.schema.from_unit(np.broadcast_to(point.detach().numpy()[:, 0], (60, 1, x.shape[3]))[..., None])
    error = np.abs(found[:, 0, girth, 0] - trees["girth"][300:360])
    assert error.mean() < 0.35 * np.abs(trees["girth"] - trees["girth"].mean()).mean()


def test_a_linear_model_is_fitted_to_what_is_seen():
    generator = torch.Generator().manual_seed(0)
    weights = torch.randn(7, 2, generator=generator)
    rows = torch.randn(600, 2, generator=generator) @ weights.T + 0.1 * torch.randn(600, 7, generator=generator) + 3
    seen = (torch.rand(600, 7, generator=generator) < 0.7).float()
    torch.manual_seed(0)
    model = Factors(7, 3)
    model.fit(rows[:400] * seen[:400], seen[:400])
    expected, _ = model(rows[400:], seen[400:])
    hidden = (seen[400:] == 0) & (seen[400:].sum(1, keepdim=True) >= 4)
    assert (expected - rows[400:])[hidden].square().mean() < 0.05
    assert (rows[400:] - 3)[hidden].square().mean() > 0.5
