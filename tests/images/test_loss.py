"""Which elements the context decoder learns from, what it is shown, and whom it leaves alone."""

from __future__ import annotations

import pytest
import torch

from fivefold.config import Conditioning
from fivefold.images.context import ImageContext
from fivefold.images.networks import build
from fivefold.images.schema import ImageSchema
from fivefold.images.settings import configure
from fivefold.model.context import TrainingBatch, by_element
from fivefold.model.corruption import Corrupted
from fivefold.model.vae import CodeFeatures

N, SIZE = 60, 96  # items of 8×6 pixels and 2 channels
CLEAN, HIDDEN, NOISY = slice(0, 20), slice(20, 40), slice(40, 60)


class Spy:
    """In place of a context decoder: notes what it is asked.

    The log probabilities it gives are the values themselves, and it expects 0.1 of every element.
    """

    mean = torch.full((1, 1, 1, 1), 0.1)

    def __init__(self) -> None:
        self.shown, self.asked = {}, {}

    def surroundings(self, x, visible, window, z_features, uses_z=None):
        assert window not in self.shown
        self.shown[window] = x, visible, z_features, uses_z
        return window

    def __call__(self, window, items, elements):
        self.asked[window] = items, elements
        return self

    def log_prob(self, x):
        assert x.shape[1:] == (1, 1, 1)
        self.asked[list(self.asked)[-1]] += (x.flatten(),)
        return x


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def batch():
    """`(seen, x, visible)`: clean, hidden and noisy items, whose values are all different, some of them unknown."""
    x = torch.rand((N, 2, 8, 6), generator=generator())
    visible = torch.rand(x.shape, generator=generator(1)) < 0.8
    seen_visible, noisy = visible.clone(), x.clone()
    seen_visible[HIDDEN] &= torch.rand((20, 1, 8, 6), generator=generator(2)) < 0.5
    noisy[NOISY] = 1 - noisy[NOISY]
    kind = torch.arange(N) // 20
    return Corrupted(torch.where(seen_visible, noisy, 0.0), seen_visible, kind == 1, kind == 2), x, visible


@pytest.fixture
def z_features() -> CodeFeatures:
    coarse = torch.rand((N, 3, 4, 3), generator=generator(3))
    return CodeFeatures(coarse, torch.rand((N, 2, 8, 6), generator=generator(4)))


@pytest.fixture
def spied(batch, z_features):
    """What is asked of a context decoder with 30 positions."""
    spy = Spy()
    spy.result = ImageContext.loss(spy, TrainingBatch(z_features, *batch, 30, generator()))
    return spy


def test_the_window_follows_from_what_was_done_to_the_item(spied, batch, z_features):
    seen, *_ = batch
    assert set(spied.shown) == set(Conditioning)
    for window, rows in zip(Conditioning, (CLEAN, HIDDEN, NOISY), strict=True):
        x, visible, told, _ = spied.shown[window]
        assert torch.equal(x, seen.x[rows])
        assert torch.equal(visible, seen.visible[rows])
        assert torch.equal(told.coarse, z_features.coarse[rows])
        assert torch.equal(told.mean, z_features.mean[rows])


@pytest.mark.parametrize("window", Conditioning)
def test_positions_per_item(spied, window):
    items, elements, _ = spied.asked[window]
    assert torch.equal(items.bincount(), torch.full((20,), 30))
    assert 0 <= elements.min()
    assert elements.max() < SIZE


def test_the_clean_values_are_to_be_explained(spied, batch):
    _, x, visible = batch
    for window, rows in zip(Conditioning, (CLEAN, HIDDEN, NOISY), strict=True):
        items, elements, values = spied.asked[window]
        assert torch.equal(values, by_element(x[rows])[items, elements])
        assert by_element(visible[rows])[items, elements].all(), "unknown values are to be explained"


def test_where_the_expected_value_is_asked_for_its_error_counts(spied):
    losses = []
    for window, (*_, values) in spied.asked.items():
        losses.append(-values if window is Conditioning.CAUSAL else 50 * (values - 0.1).square() - values)
    torch.testing.assert_close(spied.result, torch.cat(losses).mean())


def test_what_was_hidden_is_to_be_explained(spied, batch):
    seen, *_ = batch
    items, elements, _ = spied.asked[Conditioning.MISSING]
    assert not by_element(seen.visible[HIDDEN])[items, elements].any()


@pytest.mark.parametrize("window", Conditioning)
def test_elements_are_drawn_evenly(batch, z_features, window):
    """From those that may be drawn, of each item."""
    seen, x, visible = batch
    spy = Spy()
    ImageContext.loss(spy, TrainingBatch(z_features, seen, x, visible, 4000, generator()))
    rows = (CLEAN, HIDDEN, NOISY)[window]
    items, elements, _ = spy.asked[window]
    allowed = by_element(visible[rows])
    if window is Conditioning.MISSING:
        allowed = allowed & ~by_element(seen.visible[rows])
    count = torch.zeros((20, SIZE)).index_put((items, elements), torch.ones(len(items)), accumulate=True)
    expected = allowed * len(items) / 20 / allowed.sum(1, keepdim=True)
    assert ((count - expected).abs() <= 5 * expected.sqrt()).all()


def test_causal_windows_learn_to_do_without_z_too(z_features, batch):
    _, x, visible = batch
    no = torch.zeros(N, dtype=torch.bool)
    shares = []
    for seed in range(20):
        spy = Spy()
        ImageContext.loss(spy, TrainingBatch(z_features, Corrupted(x, visible, no, no), x, visible, 1, generator(seed)))
        shares.append(spy.shown[Conditioning.CAUSAL][3].float().mean())
    assert torch.stack(shares).mean().item() == pytest.approx(0.75, abs=0.06)
    assert torch.stack(shares).std() > 0


def test_other_windows_always_have_z(spied):
    for window in (Conditioning.MISSING, Conditioning.NOISY):
        uses_z = spied.shown[window][3]
        assert uses_z is None or uses_z.all()


def test_one_position_and_items_of_one_kind(batch, z_features):
    seen, x, visible = batch
    spy = Spy()
    yes, no = torch.ones(20, dtype=torch.bool), torch.zeros(20, dtype=torch.bool)
    hidden = Corrupted(seen.x[HIDDEN], seen.visible[HIDDEN], yes, no)
    told = CodeFeatures(z_features.coarse[HIDDEN], z_features.mean[HIDDEN])
    ImageContext.loss(spy, TrainingBatch(told, hidden, x[HIDDEN], visible[HIDDEN], 1, generator()))
    assert set(spy.asked) == {Conditioning.MISSING}
    assert len(spy.asked[Conditioning.MISSING][0]) == 20


def test_nothing_was_hidden_of_a_hidden_item(batch, z_features):
    """A weak corruption may hit nothing, or only what was unknown before."""
    _, x, visible = batch
    spy = Spy()
    everyone, nobody = torch.ones(N, dtype=torch.bool), torch.zeros(N, dtype=torch.bool)
    ImageContext.loss(
        spy, TrainingBatch(z_features, Corrupted(x, visible, everyone, nobody), x, visible, 8, generator())
    )
    items, elements, _ = spy.asked[Conditioning.MISSING]
    assert by_element(visible)[items, elements].all()


@pytest.fixture
def networks():
    config = configure(latent_dim=3, hidden=8, first_channels=4, field=3, context_width=8)
    return build(ImageSchema(8, 6, 2, "uint8", 0.0, 255.0), config, 0)


def test_no_gradient_reaches_the_vae(networks, batch):
    seen, *_ = batch
    posterior = networks["vae"].posterior(seen.x, seen.visible)
    _, z_features = networks["vae"].likelihood_and_features(posterior.at(torch.zeros_like(posterior.mu)))
    networks["context"].loss(TrainingBatch(z_features, *batch, 30, generator())).backward()
    assert all(weight.grad is None for weight in networks["vae"].parameters())
    for weight in networks["context"].parameters():
        assert weight.grad.isfinite().all()
        assert (weight.grad != 0).any()


def test_depends_on_the_generator_alone(networks, batch):
    _, z_features = networks["vae"].likelihood_and_features(torch.zeros(N, 3))
    batches = (TrainingBatch(z_features, *batch, 30, generator(seed)) for seed in (1, 1, 2))
    one, again, other = (networks["context"].loss(batch).item() for batch in batches)
    assert one == again != other
