"""The distributions of single elements, from the context decoder or, where it can't tell, from p(x | z)."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from fivefold.config import Conditioning, CorruptionConfig
from fivefold.images.schema import ImageSchema
from fivefold.images.settings import configure
from fivefold.modality import modality_of
from fivefold.model import context
from fivefold.model.conditional import Conditional
from fivefold.model.context import by_element, column
from fivefold.model.fitted import FittedModel

every_window = pytest.mark.parametrize("window", Conditioning)


@pytest.fixture
def inputs(untrained):
    """`(x, visible, z)` of 3 items."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(0, 256, (3, 3, 8, 6), generator=generator) / 255
    visible = torch.rand(x.shape, generator=generator) < 0.7
    return x, visible, torch.randn((3, untrained.latent_dim), generator=generator)


def unlearnt(model, **shares):
    """The model as if its fit had met these corruptions alone."""
    return dataclasses.replace(model, config=dataclasses.replace(model.config, corruption=CorruptionConfig(**shares)))


def without_context(likelihood: str, dtype: str) -> FittedModel:
    schema = ImageSchema(8, 6, 3, dtype, 0.0, 255.0)
    settings = {"latent_dim": 3, "hidden": 16, "first_channels": 4, "max_channels": 8}
    config = configure(field=0, likelihood=likelihood, **settings)
    return FittedModel(modality_of(schema).networks.build(schema, config, 0)["vae"].eval(), schema, config)


def log_probs(given, x):
    with torch.no_grad():
        return given.log_prob(x)


@every_window
@pytest.mark.parametrize("chunk", [1, 50, 144, 10_000])
def test_map_places_what_each_element_gives(untrained, inputs, monkeypatch, window, chunk):
    monkeypatch.setattr(context, "_CHUNK", chunk)
    x, visible, z = inputs
    values = by_element(x)
    given = Conditional(untrained, window, x, visible, z)
    with torch.no_grad():
        back = given.map(lambda _, items, elements: torch.stack((values[items, elements], elements), dim=1))
    assert back.shape == (2, 3, 3, 8, 6)
    assert torch.equal(back[0], x)
    assert torch.equal(by_element(back[1]), torch.arange(144.0).expand(3, -1))


@every_window
def test_order_and_chunks_do_not_matter(untrained, inputs, monkeypatch, window):
    x, visible, z = inputs
    given = Conditional(untrained, window, x, visible, z)
    expected = log_probs(given, x)
    monkeypatch.setattr(context, "_CHUNK", 37)
    torch.testing.assert_close(log_probs(given, x), expected)
    order = torch.randperm(3 * 144, generator=torch.Generator().manual_seed(1))
    for part in order.split(100):
        items, elements = part // 144, part % 144
        values = column(by_element(x)[items, elements])
        with torch.no_grad():
            alone = given(items, elements).log_prob(values).flatten()
        torch.testing.assert_close(alone, by_element(expected)[items, elements])


@every_window
@pytest.mark.parametrize(
    ("likelihood", "dtype"), [("bernoulli", "uint8"), ("pixels", "uint8"), ("gaussian", "float32")]
)
def test_without_a_context_decoder_it_is_what_z_says(inputs, likelihood, dtype, window):
    x, visible, z = inputs
    model = without_context(likelihood, dtype)
    given = Conditional(model, window, x, visible, z)
    with torch.no_grad():
        expected = model.vae.likelihood(z)
        torch.testing.assert_close(given.map(lambda p, *_: p.mean.view(-1, 1))[0], expected.mean)
        torch.testing.assert_close(given.log_prob(x), expected.log_prob(x))
        given.put(torch.tensor([0]), torch.tensor([0]), torch.tensor([0.5]))
        torch.testing.assert_close(given.log_prob(x), expected.log_prob(x))


@pytest.mark.parametrize(
    ("window", "shares", "learnt"),
    [
        (Conditioning.CAUSAL, {}, True),
        (Conditioning.MISSING, {}, False),
        (Conditioning.NOISY, {}, False),
        (Conditioning.MISSING, {"hide": 0.1}, True),
        (Conditioning.MISSING, {"block": 0.1}, True),
        (Conditioning.MISSING, {"uniform": 1.0}, False),
        (Conditioning.NOISY, {"uniform": 0.1}, True),
        (Conditioning.NOISY, {"gaussian": 0.1}, True),
        (Conditioning.NOISY, {"salt_and_pepper": 0.1}, True),
        (Conditioning.NOISY, {"hide": 0.5, "block": 0.5}, False),
    ],
)
def test_a_window_that_was_not_learnt_is_not_used(untrained, inputs, window, shares, learnt):
    x, visible, z = inputs
    model = unlearnt(untrained, **shares)
    assert model.has_learnt(window) == learnt
    assert not dataclasses.replace(model, context=None).has_learnt(window)
    found = log_probs(Conditional(model, window, x, visible, z), x)
    with torch.no_grad():
        by_z = model.vae.likelihood(z).log_prob(x)
    if learnt:
        assert torch.equal(found, log_probs(Conditional(untrained, window, x, visible, z), x))
        assert (found != by_z).all()
    else:
        torch.testing.assert_close(found, by_z)


@every_window
def test_what_is_put_is_seen(untrained, inputs, window):
    x, visible, z = inputs
    given = Conditional(untrained, window, x, torch.zeros_like(visible), z)
    before = log_probs(given, x)
    items, elements = torch.arange(3).repeat_interleave(144), torch.arange(144).repeat(3)
    given.put(items, elements, by_element(x).flatten())
    after = log_probs(given, x)
    torch.testing.assert_close(after, log_probs(Conditional(untrained, window, x, torch.ones_like(visible), z), x))
    assert not torch.allclose(before, after)


@every_window
@pytest.mark.parametrize("alone", [False, True])
def test_several_codes_are_each_of_them_in_turn(untrained, inputs, window, alone):
    model = dataclasses.replace(untrained, context=None) if alone else untrained
    x, visible, _ = inputs
    codes = torch.randn((3, 4, model.latent_dim), generator=torch.Generator().manual_seed(5))
    items, elements = torch.arange(3).repeat_interleave(144), torch.arange(144).repeat(3)
    values = column(by_element(x).flatten())
    with torch.no_grad():
        together = Conditional(model, window, x, visible, codes)(items, elements)
        assert together.mean.shape == (432, 1, 4, 1)
        for number in range(4):
            one = Conditional(model, window, x, visible, codes[:, number])(items, elements)
            torch.testing.assert_close(together.mean[:, :, number : number + 1], one.mean)
            found = together.log_prob(values.expand(-1, -1, 4, -1))[:, :, number : number + 1]
            torch.testing.assert_close(found, one.log_prob(values), rtol=1e-4, atol=1e-4)


def test_an_item_whose_guide_does_not_count_does_without_all_of_its_codes(untrained, inputs):
    x, visible, _ = inputs
    codes = torch.randn((3, 2, untrained.latent_dim), generator=torch.Generator().manual_seed(6))
    uses_z = torch.tensor([True, False, True])
    items, elements = torch.arange(3), torch.full((3,), 100)
    with torch.no_grad():
        z_features = untrained.vae.likelihood_and_features(codes.flatten(0, 1))[1]
        around = untrained.context.surroundings(x, visible, Conditioning.CAUSAL, z_features, uses_z)
        found = untrained.context(around, items, elements).mean
        told = Conditional(untrained, Conditioning.CAUSAL, x, visible, codes)(items, elements).mean
        blind = Conditional(untrained, Conditioning.CAUSAL, x, visible, None)(items, elements).mean
    torch.testing.assert_close(found, torch.where(uses_z.view(3, 1, 1, 1), told, blind))
    assert (told[1] != blind[1]).all()


@every_window
def test_z_counts_unless_there_is_none(untrained, inputs, window):
    x, visible, z = inputs
    one, other = (log_probs(Conditional(untrained, window, x, visible, each), x) for each in (z, z + 1))
    blind = log_probs(Conditional(untrained, window, x, visible, None), x)
    for first, second in ((one, other), (one, blind)):
        assert (first != second).any(dim=(1, 2, 3)).all()


@pytest.mark.parametrize("change", [unlearnt, lambda model: dataclasses.replace(model, context=None)])
def test_without_z_there_must_be_a_context_decoder(untrained, inputs, change):
    x, visible, _ = inputs
    with pytest.raises(ValueError, match="without z"):
        Conditional(change(untrained), Conditioning.MISSING, x, visible, None)
