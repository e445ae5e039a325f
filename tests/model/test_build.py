"""Networks from a configuration and a seed."""

from __future__ import annotations

import pytest
import torch

from fivefold.images.networks import build_vae
from fivefold.images.schema import ImageSchema
from fivefold.images.settings import configure
from fivefold.modality import modality_of
from fivefold.seeds import derive_seed

SCHEMA = ImageSchema(8, 6, 3, "uint8", 0.0, 255.0)
SETTINGS = {"latent_dim": 3, "hidden": 8, "first_channels": 4, "context_width": 8}


def build(seed: int = 0, preset: str = "default", **settings):
    return modality_of(SCHEMA).networks.build(SCHEMA, configure(preset, **{**SETTINGS, **settings}), seed)


def same(one, other) -> bool:
    first, second = one.state_dict(), other.state_dict()
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def test_weights_depend_on_the_seed_alone():
    state = torch.random.get_rng_state()
    one = build()
    assert torch.equal(torch.random.get_rng_state(), state), "the global stream was drawn from"
    torch.manual_seed(5)
    assert same(build(), one)
    other = build(1)
    assert not same(other["vae"], one["vae"])
    assert not same(other["context"], one["context"])


@pytest.mark.parametrize("settings", [{"field": 0}, {"field": 3}, {"context_width": 16}, {"context_depth": 4}])
def test_the_vae_does_not_depend_on_the_context_decoder(settings):
    assert same(build(**settings)["vae"], build()["vae"])


def test_the_vae_is_the_one_of_its_own_seed():
    assert same(build(4)["vae"], build_vae(SCHEMA, configure(**SETTINGS).network, derive_seed(4, "weights")))


def test_both_networks_do_not_share_a_stream():
    """Or the first weights of the one would be those of the other, but for their scale."""
    networks = build()
    first, second = (next(networks[name].parameters()).flatten()[:50] for name in ("vae", "context"))
    assert abs(torch.corrcoef(torch.stack((first, second)))[0, 1].item()) < 0.5


@pytest.mark.parametrize(
    ("preset", "settings", "names"),
    [
        ("default", {}, ["vae", "context"]),
        ("default", {"field": 0}, ["vae"]),
        ("paper", {}, ["vae"]),
        ("paper", {"field": 5}, ["vae", "context"]),
    ],
)
def test_which_networks_there_are(preset, settings, names):
    assert list(dict(build(preset=preset, **settings).named_children())) == names


def test_the_context_decoder_is_as_configured():
    context = build(field=9, context_width=24, context_depth=3)["context"]
    assert context.side == 9
    widths = [layer.out_features for layer in context.modules() if isinstance(layer, torch.nn.Linear)]
    assert widths.count(24) == 3 * 3, "3 layers for each of the 3 windows"
