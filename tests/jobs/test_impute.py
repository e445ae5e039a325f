"""What is visible stays as it is; what is missing gets its expected value, draws and an interval given the rest."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from fivefold.errors import DataError, UsageError
from fivefold.items import Items
from fivefold.jobs import impute as impute_module
from fivefold.jobs.impute import Imputed, _draw_codes, _turns, impute
from fivefold.model.conditional import Conditional
from fivefold.model.vae import Posterior


@pytest.fixture
def holes() -> np.ndarray:
    """A mask per item: 12 items, about 40% hidden."""
    return np.random.default_rng(0).random((12, 28, 28, 1)) < 0.4


def everything(found: Imputed) -> list[np.ndarray]:
    return [each for each in (found.data, *found.draws, found.lower, found.upper) if each is not None]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16, np.float16, np.float32, np.float64])
def test_visible_elements_stay_bit_by_bit(model, digits, holes, dtype):
    items = digits[600:612].astype(dtype)
    if items.dtype.kind == "f":
        items = np.minimum(items + dtype(0.3), dtype(255))
    given = items.copy()
    found = impute(model, items, mask=holes, n_samples=2, n_draws=2, interval=0.9)
    assert [draw.shape for draw in found.draws] == [items.shape] * 2
    assert found.missing == holes.sum()
    assert len(everything(found)) == 5
    for completed in everything(found):
        assert completed.dtype == dtype
        assert completed[~holes].tobytes() == given[~holes].tobytes()
        assert completed.min() >= 0
        assert completed.max() <= 255
        assert (completed[holes] != given[holes]).mean() > 0.1
    assert (items == given).all(), "the input was changed"


def test_touching_visible_elements_is_found_out(model, digits, holes, monkeypatch):
    monkeypatch.setattr(Items, "visible", lambda self, rows=slice(None): np.zeros_like(self.values[rows], bool))
    with pytest.raises(AssertionError):
        test_visible_elements_stay_bit_by_bit(model, digits, holes, np.uint8)


def test_nan_is_filled(model, digits, holes):
    items = np.where(holes, np.nan, digits[600:612].astype(np.float32))
    found, by_mask = (
        impute(model, each, mask=mask, n_samples=2, n_draws=1, interval=0.5)
        for each, mask in ((items, None), (digits[600:612].astype(np.float32), holes))
    )
    for completed, same in zip(everything(found), everything(by_mask), strict=True):
        assert np.isfinite(completed).all()
        np.testing.assert_array_equal(completed[~holes], items[~holes])
        np.testing.assert_array_equal(completed, same)


def test_hidden_values_do_not_matter(model, digits, holes):
    changed = np.where(holes, 255 - digits[600:612], digits[600:612])
    one, other = (
        impute(model, each, mask=holes, n_samples=2, n_draws=1, interval=0.9) for each in (changed, digits[600:612])
    )
    for completed, same in zip(everything(one), everything(other), strict=True):
        np.testing.assert_array_equal(completed, same)


def test_nothing_missing_nothing_changed(model, digits):
    with pytest.warns(UserWarning, match="nothing is missing"):
        found = impute(model, digits[600:620], n_draws=2, interval=0.9)
    assert len(everything(found)) == 5
    for completed in everything(found):
        np.testing.assert_array_equal(completed, digits[600:620])


def test_each_code_is_drawn_once_more_from_the_item_as_it_completes_it(model, digits, holes, monkeypatch):
    seen, posterior = [], model.vae.posterior
    monkeypatch.setattr(model.vae, "posterior", lambda x, *visible: seen.append((x, visible)) or posterior(x, *visible))
    impute(model, digits[600:612], mask=holes, n_samples=3)
    (_, masked), *again = seen
    assert masked
    assert len(again) == 3
    for x, masked in again:
        completed = model.values(x)
        assert not masked, "a completed item has nothing hidden"
        np.testing.assert_array_equal(completed[~holes], digits[600:612][~holes])
        error, mean_fill = (completed[holes] / 255.0 - digits[600:612][holes] / 255.0), digits[600:612][holes] / 255.0
        assert np.square(error).mean() < 0.5 * np.square(mean_fill).mean()
    assert not torch.equal(again[0][0], again[1][0])


def test_weights_are_tempered(model, digits, holes, monkeypatch):
    x, visible = model.tensor(digits[600:612].astype(np.float32) / 255), model.tensor(~holes)
    noise = torch.randn((2, 12, 4, model.latent_dim), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        tempered, _ = _draw_codes(model, x, visible, *noise)
        monkeypatch.setattr(impute_module, "_TEMPER", 1.0)
        plain, _ = _draw_codes(model, x, visible, *noise)
    logs = (each.double().log() for each in (tempered, plain))
    ours, theirs = (each - each[:, :1] for each in logs)
    likely = theirs > -50  # further down single precision ends
    torch.testing.assert_close(ours[likely], 0.3 * theirs[likely], rtol=1e-3, atol=1e-3)


def test_draws_and_interval_come_on_demand(model, digits, holes):
    found = impute(model, digits[600:612], mask=holes, n_samples=2)
    assert found.draws == []
    assert found.lower is None
    assert found.upper is None
    more = impute(model, digits[600:612], mask=holes, n_samples=2, n_draws=1, interval=0.9)
    np.testing.assert_array_equal(found.data, more.data)


def test_seeded(model, digits, holes):
    items = digits[600:612].astype(np.float32)
    one, again, other = (
        everything(impute(model, items, mask=holes, n_samples=2, n_draws=1, interval=0.9, seed=seed))
        for seed in (1, 1, 2)
    )
    for mine, same in zip(one, again, strict=True):
        np.testing.assert_array_equal(mine, same)
    for mine, different in zip(one[:2], other[:2], strict=True):  # the ends of intervals are often 0 or 255
        assert not np.array_equal(mine, different)


@pytest.mark.parametrize("whole_until", [0, 5])
def test_items_do_not_depend_on_the_batches(model, digits, holes, monkeypatch, whole_until):
    """Nor on whether the items before them are whole, which takes no work."""
    items, holes = digits[600:612].astype(np.float32), holes.copy()
    holes[:whole_until] = False
    settings = {"n_samples": 2, "n_draws": 2, "interval": 0.9}
    whole, first = (everything(impute(model, items[:n], mask=holes[:n], **settings)) for n in (12, 8))
    monkeypatch.setattr("fivefold.model.fitted._BATCH_ELEMENTS", 5 * 784)
    cut = everything(impute(model, items, mask=holes, **settings))
    for mine, fewer, same in zip(whole, first, cut, strict=True):
        assert (np.abs(mine - same) > 0.05).mean() < 1e-3
        assert (np.abs(mine[:8] - fewer) > 0.05).mean() < 1e-3


BLOCK = np.s_[:, 8:20, 8:20]


@pytest.fixture(scope="module")
def block(model, digits) -> Imputed:
    """60 digits with a hole in the middle."""
    mask = np.zeros((60, 28, 28, 1), bool)
    mask[BLOCK] = True
    found = impute(model, digits[600:660], mask=mask, n_samples=5, n_draws=6, interval=0.9)
    return replace(found, draws=np.stack(found.draws))


def variation(draws: np.ndarray) -> float:
    """Of neighbours inside the hole, `(d, n, 28, 28, 1)`."""
    inside = draws[:, *BLOCK].astype(float)
    return np.abs(np.diff(inside, axis=2)).mean() + np.abs(np.diff(inside, axis=3)).mean()


def test_draws_differ_and_neighbours_agree(block):
    assert (block.draws[0][BLOCK] != block.draws[1][BLOCK]).mean() > 0.3
    apart = np.random.default_rng(0).permuted(block.draws, axis=0)  # each element from another draw
    assert variation(block.draws) < 0.97 * variation(apart)


def test_neighbours_agree_because_they_see_each_other(model, digits, block, monkeypatch):
    monkeypatch.setattr(Conditional, "put", lambda *_: None)
    mask = np.zeros((60, 28, 28, 1), bool)
    mask[BLOCK] = True
    blind = impute(model, digits[600:660], mask=mask, n_samples=5, n_draws=2)
    assert variation(block.draws) < 0.97 * variation(np.stack(blind.draws))


def test_draws_go_from_the_border_inwards():
    hidden = torch.zeros((2, 1, 16, 16), dtype=torch.bool)
    hidden[0, 0, 2:14, 2:14] = True
    turns = _turns(hidden, torch.rand(hidden.shape, generator=torch.Generator().manual_seed(0)))
    assert (turns[1] == -1).all()
    assert (turns[0][~hidden[0].flatten()] == -1).all()
    block = turns[0].view(16, 16)[2:14, 2:14]
    assert set(block.unique().tolist()) == set(range(48))
    edge = torch.minimum(torch.arange(12), 11 - torch.arange(12))
    depth = torch.minimum(edge[:, None], edge)
    for ring in range(5):  # a round may hold the last of a ring and the first of the next
        assert block[depth == ring].max() <= block[depth == ring + 1].min()


def test_nothing_visible_can_be_drawn():
    turns = _turns(torch.ones((1, 1, 5, 3), dtype=torch.bool), torch.zeros((1, 1, 5, 3)))
    assert sorted(turns[0].unique().tolist()) == [turn * 48 // 15 for turn in range(15)]


def test_draws_are_around_the_expected_value(block):
    """Averaged over places, each item's draws are as bright as its expectation; single draws are not as smooth."""
    drawn, expected = (each[..., 8:20, 8:20, 0].mean(axis=(-2, -1)) for each in (block.draws, block.data))
    assert np.abs(drawn.mean() - expected.mean()) < 25
    assert variation(block.draws) > 1.5 * variation(block.data[None])


def test_intervals_hold_what_they_promise(block, digits):
    lower, upper, truth = (each[BLOCK].astype(int) for each in (block.lower, block.upper, digits[600:660]))
    assert (lower <= upper).all()
    inside = (lower <= truth) & (truth <= upper)
    assert inside.mean() > 0.85
    drawn = block.draws[:, *BLOCK]
    assert ((lower <= drawn) & (drawn <= upper)).mean() > 0.8, "less than 0.9: they see each other"
    assert (upper - lower).mean() > 20, "not everything"
    assert ((upper < 255) | (lower > 0)).mean() > 0.15, "not always the whole range"


def test_surer_intervals_are_wider(model, digits, holes):
    narrow, wide = (
        impute(model, digits[600:604], mask=holes[:4], n_samples=2, interval=share) for share in (0.5, 0.95)
    )
    widths = [(each.upper.astype(int) - each.lower)[holes[:4]] for each in (narrow, wide)]
    assert (widths[0] <= widths[1]).all()
    assert widths[0].mean() < 0.8 * widths[1].mean()


def test_narrow_intervals_hold_the_expected_value(table_model, trees):
    holes = trees.assign(height=np.nan)
    found = impute(table_model, holes, interval=0.05)
    expected = found.data.height.round(2)  # as heights are written, and ends come
    assert ((found.lower.height <= expected) & (expected <= found.upper.height)).all()


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"n_samples": 0}, "n_samples"),
        ({"n_samples": -1}, "n_samples"),
        ({"n_draws": -1}, "`n_draws`"),
        ({"interval": 0}, "`interval`"),
        ({"interval": 1}, "`interval`"),
        ({"interval": -0.5}, "`interval`"),
        ({"interval": float("nan")}, "`interval`"),
    ],
    ids=str,
)
def test_numbers_out_of_range(model, digits, holes, wrong, named):
    with pytest.raises(UsageError, match=named):
        impute(model, digits[600:612], mask=holes, **wrong)


def test_items_with_nothing_visible(model, digits):
    with pytest.raises(DataError, match="item 0"):
        impute(model, digits[600:603], mask=np.ones((28, 28)))


def proposal(rows):
    """A posterior that knows nothing."""
    return Posterior(torch.tensor([0.6, -0.4]).expand(len(rows), 2), torch.tensor([0.5, 0.8]).expand(len(rows), 2))


@pytest.fixture(scope="module")
def toy(linear_gaussian):
    weights = torch.tensor([[0.08, 0.06], [0.08, -0.06], [0.08, 0.06], [0.08, -0.06]])
    return linear_gaussian(weights, torch.full((4,), 0.5), 0.05)


def check_against_theory(toy) -> None:
    """A linear model whose encoder is wrong: only the right weights lead to the normal's conditional mean."""
    random = np.random.default_rng(0)
    values = random.multivariate_normal(toy.bias.numpy(), toy.covariance.numpy(), 12).clip(0.05, 0.95)
    hidden = np.zeros((12, 4), bool)
    hidden[np.arange(12), np.arange(12) % 4] = True
    hidden[6:, 0] = True
    expected = np.stack([toy.expected(row, ~gone) for row, gone in zip(values, hidden, strict=True)])
    items = np.where(hidden, np.nan, values).astype(np.float32)[:, None, :, None]
    completed = impute(toy.fitted(proposal), items, n_samples=2000).data[:, 0, :, 0]
    np.testing.assert_allclose(completed, expected, atol=0.015)


def test_missing_elements_become_their_expected_value(toy):
    check_against_theory(toy)


def conditional(toy, row: np.ndarray, gone: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and covariance of the missing elements given the others, as the normal's theory has it."""
    covariance = toy.covariance.numpy().astype(np.float64)
    cross = covariance[np.ix_(gone, ~gone)]
    rest = covariance[np.ix_(gone, gone)] - cross @ np.linalg.inv(covariance[np.ix_(~gone, ~gone)]) @ cross.T
    return toy.expected(row, ~gone)[gone], rest


def test_draws_are_joint_ones(toy):
    """Many copies of one item, two elements missing: mean and covariance of the draws are the normal's."""
    row, gone = np.array([0.6, 0.45, 0.55, 0.5]), np.array([True, False, True, False])
    items = np.tile(np.where(gone, np.nan, row).astype(np.float32)[:, None], (1000, 1, 1, 1))
    draws = np.stack(impute(toy.fitted(proposal), items, n_samples=60, n_draws=2).draws)[..., 0, :, 0]
    mean, covariance = conditional(toy, row, gone)
    drawn = draws[..., gone].reshape(-1, 2).astype(np.float64)
    np.testing.assert_allclose(drawn.mean(axis=0), mean, atol=0.01)
    np.testing.assert_allclose(np.cov(drawn.T), covariance, atol=0.15 * covariance.max())
    within = (draws - draws.mean(axis=0))[..., gone]
    assert np.square(within).mean() > 0.3 * covariance.max(), "two draws of an item are as far apart as any"


@pytest.mark.parametrize("share", [0.5, 0.9])
def test_intervals_are_the_normals(toy, share):
    row, gone = np.array([0.6, 0.45, 0.55, 0.5]), np.array([True, False, True, False])
    items = np.where(gone, np.nan, row).astype(np.float32)[None, None, :, None]
    found = impute(toy.fitted(proposal), items, n_samples=250, interval=share)
    mean, covariance = conditional(toy, row, gone)
    reach = torch.distributions.Normal(0.0, 1.0).icdf(torch.tensor((1 + share) / 2)).item()
    reach *= np.sqrt(np.diag(covariance))
    np.testing.assert_allclose(found.lower[0, 0, gone, 0], mean - reach, atol=0.025)
    np.testing.assert_allclose(found.upper[0, 0, gone, 0], mean + reach, atol=0.025)


def with_weights_of_the_wrong_sign(patch):
    softmax = torch.softmax
    patch.setattr(torch, "softmax", lambda logits, dim: softmax(-logits, dim))


def with_even_weights(patch):
    softmax = torch.softmax
    patch.setattr(torch, "softmax", lambda logits, dim: softmax(0 * logits, dim))


def without_the_proposals_density(patch):
    patch.setattr(Posterior, "log_prob", lambda self, z: torch.zeros(z.shape[:-1]))


def with_the_proposals_density_of_the_wrong_sign(patch):
    log_prob = Posterior.log_prob
    patch.setattr(Posterior, "log_prob", lambda self, z: -log_prob(self, z))


@pytest.mark.parametrize(
    "mutant",
    [
        with_weights_of_the_wrong_sign,
        with_even_weights,
        without_the_proposals_density,
        with_the_proposals_density_of_the_wrong_sign,
    ],
)
def test_wrong_weights_are_found_out(toy, monkeypatch, mutant):
    mutant(monkeypatch)
    with pytest.raises(AssertionError):
        check_against_theory(toy)
