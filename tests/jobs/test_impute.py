"""What is visible stays as it is; what is missing becomes its expected value given the rest."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fivefold.errors import DataError, UsageError
from fivefold.jobs.impute import impute
from fivefold.model.vae import Posterior


@pytest.fixture
def holes() -> np.ndarray:
    """A mask per item: 30 items, about 40% hidden."""
    return np.random.default_rng(0).random((30, 28, 28, 1)) < 0.4


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16, np.float16, np.float32, np.float64])
def test_visible_elements_stay_bit_by_bit(model, digits, holes, dtype):
    items = digits[600:630].astype(dtype)
    if items.dtype.kind == "f":
        items = np.minimum(items + dtype(0.3), dtype(255))
    given = items.copy()
    completed = impute(model, items, mask=holes, n_samples=3)
    assert completed.dtype == dtype
    assert completed[~holes].tobytes() == given[~holes].tobytes()
    assert (items == given).all(), "the input was changed"
    assert completed.min() >= 0
    assert completed.max() <= 255
    assert (completed[holes] != given[holes]).mean() > 0.1


def test_nan_is_filled(model, digits, holes):
    items = np.where(holes, np.nan, digits[600:630].astype(np.float32))
    completed = impute(model, items, n_samples=3)
    assert np.isfinite(completed).all()
    np.testing.assert_array_equal(completed[~holes], items[~holes])
    by_mask = impute(model, digits[600:630].astype(np.float32), mask=holes, n_samples=3)
    np.testing.assert_array_equal(completed, by_mask)


def test_hidden_values_do_not_matter(model, digits, holes):
    changed = np.where(holes, 255 - digits[600:630], digits[600:630])
    np.testing.assert_array_equal(
        impute(model, changed, mask=holes, n_samples=3), impute(model, digits[600:630], mask=holes, n_samples=3)
    )


@pytest.mark.filterwarnings("ignore:nothing is missing")
def test_nothing_missing_nothing_changed(model, digits):
    np.testing.assert_array_equal(impute(model, digits[600:620]), digits[600:620])


def test_seeded(model, digits, holes):
    items = digits[600:630].astype(np.float32)
    one, again, other = (impute(model, items, mask=holes, n_samples=3, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, again)
    assert not np.array_equal(one, other)


@pytest.mark.parametrize("whole_until", [0, 10])
def test_items_do_not_depend_on_the_batches(model, digits, holes, monkeypatch, whole_until):
    """Nor on whether the items before them are whole, which takes no work."""
    items, holes = digits[600:630].astype(np.float32), holes.copy()
    holes[:whole_until] = False
    whole = impute(model, items, mask=holes, n_samples=3)
    monkeypatch.setattr(type(model), "batch_size", 7)
    np.testing.assert_allclose(impute(model, items, mask=holes, n_samples=3), whole, atol=0.05)


@pytest.mark.parametrize("n_samples", [0, -1])
def test_no_samples(model, digits, holes, n_samples):
    with pytest.raises(UsageError, match="at least 1"):
        impute(model, digits[600:630], mask=holes, n_samples=n_samples)


def test_items_with_nothing_visible(model, digits):
    with pytest.raises(DataError, match="item 0"):
        impute(model, digits[600:603], mask=np.ones((28, 28)))


def check_against_theory(linear_gaussian) -> None:
    """A linear model whose encoder is wrong: only the right weights lead to the normal's conditional mean."""
    weights = torch.tensor([[0.08, 0.06], [0.08, -0.06], [0.08, 0.06], [0.08, -0.06]])
    toy = linear_gaussian(weights, torch.full((4,), 0.5), 0.05)

    def proposal(rows):
        return Posterior(torch.tensor([0.6, -0.4]).expand(len(rows), 2), torch.tensor([0.5, 0.8]).expand(len(rows), 2))

    random = np.random.default_rng(0)
    values = random.multivariate_normal(toy.bias.numpy(), toy.covariance.numpy(), 12).clip(0.05, 0.95)
    hidden = np.zeros((12, 4), bool)
    hidden[np.arange(12), np.arange(12) % 4] = True
    hidden[6:, 0] = True
    expected = np.stack([toy.expected(row, ~gone) for row, gone in zip(values, hidden, strict=True)])
    items = np.where(hidden, np.nan, values).astype(np.float32)[:, None, :, None]
    completed = impute(toy.fitted(proposal), items, n_samples=2000)[:, 0, :, 0]
    np.testing.assert_allclose(completed, expected, atol=0.015)


def test_missing_elements_become_their_expected_value(linear_gaussian):
    check_against_theory(linear_gaussian)


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
def test_wrong_weights_are_found_out(linear_gaussian, monkeypatch, mutant):
    mutant(monkeypatch)
    with pytest.raises(AssertionError):
        check_against_theory(linear_gaussian)
