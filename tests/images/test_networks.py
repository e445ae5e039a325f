"""Encoder and decoder for any size, and the publication's as a special case."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fivefold.config import NetworkConfig
from fivefold.images.networks import build_vae
from fivefold.images.schema import ImageSchema
from fivefold.images.settings import PRESETS

SIZES = [(1, 1, 1), (7, 5, 1), (1, 40, 2), (33, 65, 3), (64, 48, 3), (28, 28, 4), (9, 8, 1), (100, 3, 1)]


def schema_of(shape: tuple[int, int, int], dtype: str = "uint8") -> ImageSchema:
    return ImageSchema(*shape, dtype, 0.0, 255.0)


def small(**fields) -> NetworkConfig:
    return NetworkConfig(**{"latent_dim": 3, "first_channels": 2, "max_channels": 4, "hidden": 8, **fields})


class Publication(nn.Module):
    """The publication's network, written out: 28×28 → 14×14 → 7×7 → 400 → z and back."""

    def __init__(self, latent_dim: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 32, 3, stride=2, padding=1)
        self.conv2 = nn.Conv2d(32, 64, 3, stride=2, padding=1)
        self.fc1 = nn.Linear(3136, 400)
        self.fc_mu = nn.Linear(400, latent_dim)
        self.fc_logvar = nn.Linear(400, latent_dim)
        self.fc2 = nn.Linear(latent_dim, 400)
        self.fc3 = nn.Linear(400, 3136)
        self.deconv1 = nn.ConvTranspose2d(64, 32, 3, stride=2, padding=1, output_padding=1)
        self.deconv2 = nn.ConvTranspose2d(32, 1, 3, stride=2, padding=1, output_padding=1)

    def forward(self, x: Tensor, eps: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        h = F.relu(self.conv2(F.relu(self.conv1(x))))
        h = F.relu(self.fc1(h.reshape(-1, 3136)))
        mu, logvar = self.fc_mu(h), self.fc_logvar(h)
        z = mu + torch.exp(logvar / 2) * eps
        h = F.relu(self.fc3(F.relu(self.fc2(z)))).reshape(-1, 64, 7, 7)
        return torch.sigmoid(self.deconv2(F.relu(self.deconv1(h)))), mu, logvar


def publication_loss(reconstruction: Tensor, x: Tensor, mu: Tensor, logvar: Tensor) -> Tensor:
    cross_entropy = F.binary_cross_entropy(reconstruction, x, reduction="sum")
    return cross_entropy - 0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp())


@pytest.mark.parametrize("latent_dim", [2, 10])
def test_paper_preset_is_the_publications_network(latent_dim):
    torch.manual_seed(0)
    theirs = Publication(latent_dim)
    config = NetworkConfig(**{**vars(PRESETS["paper"].network), "latent_dim": latent_dim})
    ours = build_vae(schema_of((28, 28, 1)), config, seed=1)
    names, weights = list(ours.state_dict()), list(theirs.state_dict().values())
    assert len(names) == len(weights)
    ours.load_state_dict(dict(zip(names, weights, strict=True)))

    x = torch.rand(5, 1, 28, 28)
    eps = torch.randn(5, latent_dim, generator=torch.Generator().manual_seed(7))
    expected = theirs(x, eps)
    torch.testing.assert_close(ours(x, torch.Generator().manual_seed(7)), expected)

    elbo = ours.elbo(x, eps)
    torch.testing.assert_close(-elbo.value.sum(), publication_loss(expected[0], x, *expected[1:]), rtol=1e-5, atol=0)


@pytest.mark.parametrize("shape", SIZES)
@pytest.mark.parametrize("likelihood", ["bernoulli", "pixels", "gaussian"])
def test_any_size_comes_back_in_shape(shape, likelihood):
    height, width, channels = shape
    vae = build_vae(schema_of(shape), small(likelihood=likelihood), seed=0)
    x = torch.rand(2, channels, height, width)
    reconstruction, mu, logvar = vae(x)
    assert reconstruction.shape == x.shape
    assert mu.shape == logvar.shape == (2, 3)
    assert vae.elbo(x, torch.zeros(2, 3)).value.isfinite().all()


@pytest.mark.parametrize(("smallest", "convolutions"), [(28, 1), (14, 1), (8, 2), (2, 4)])
def test_images_are_halved_until_small_enough(smallest, convolutions):
    vae = build_vae(schema_of((28, 28, 1)), small(smallest_side=smallest), seed=0)
    assert sum(isinstance(layer, nn.Conv2d) for layer in vae.modules()) == convolutions
    assert sum(isinstance(layer, nn.ConvTranspose2d) for layer in vae.modules()) == convolutions


def test_channels_double_up_to_the_limit():
    config = small(first_channels=3, max_channels=7, smallest_side=2)
    vae = build_vae(schema_of((28, 28, 1)), config, seed=0)
    widths = [layer.out_channels for layer in vae.encoder.modules() if isinstance(layer, nn.Conv2d)]
    assert widths == [3, 6, 7, 7]


@pytest.mark.parametrize("visibility", [True, False])
def test_encoder_is_told_what_is_visible_only_if_asked(visibility):
    vae = build_vae(schema_of((8, 8, 1)), small(visibility=visibility), seed=0)
    x = torch.zeros(1, 1, 8, 8)
    all_seen = vae.posterior(x).mu
    none_seen = vae.posterior(x, torch.zeros_like(x, dtype=torch.bool)).mu
    assert torch.equal(all_seen, none_seen) != visibility


def test_weights_depend_on_the_seed_alone():
    state = torch.random.get_rng_state()
    first, again, other = (build_vae(schema_of((8, 8, 1)), small(), seed).state_dict() for seed in (5, 5, 6))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)
    assert torch.equal(torch.random.get_rng_state(), state)


@pytest.mark.parametrize("shape", SIZES)
@pytest.mark.parametrize("likelihood", ["bernoulli", "pixels", "gaussian"])
def test_what_the_context_decoder_is_told(shape, likelihood):
    height, width, _ = shape
    vae = build_vae(schema_of(shape), small(likelihood=likelihood), seed=0)
    z = torch.randn(2, 3, generator=torch.Generator().manual_seed(0), requires_grad=True)
    found, z_features = vae.likelihood_and_features(z)
    torch.testing.assert_close(found.parameters, vae.likelihood(z).parameters)
    assert torch.equal(z_features.mean, found.mean)
    assert z_features.coarse.shape[:2] == (2, vae.decoder.coarse_channels)
    assert z_features.coarse.shape[2:] == ((height + 1) // 2, (width + 1) // 2)
    torch.testing.assert_close(vae.decoder.layers[-1](z_features.coarse), found.parameters)
    assert found.parameters.requires_grad
    assert not z_features.coarse.requires_grad
    assert not z_features.mean.requires_grad
