"""A GAN of DCGAN's size whose generator has the VAE's decoder's layers.

Goodfellow et al. 2014, arXiv:1406.2661; batch normalisation, activations and settings of Radford et al. 2015 (DCGAN),
arXiv:1511.06434, sections 3 and 4.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fivefold.evaluation.baselines.loop import run_epochs, run_minutes
from fivefold.images.networks import ConvDecoder, ConvEncoder
from fivefold.items import Items
from fivefold.model.fitted import FittedModel
from fivefold.seeds import derive_seed

_LEARNING_RATE, _BETAS = 2e-4, (0.5, 0.999)
_BATCH_SIZE = 128


@dataclass
class FittedGAN:
    """A trained generator; a GAN has no encoder, hence no reconstruction."""

    generator: nn.Module
    like: FittedModel
    seconds: float

    @torch.inference_mode()
    def generate(self, n: int, seed: int = 0) -> np.ndarray:
        """`n` items decoded from normal noise: `(n, h, w, c)` in the data's dtype."""
        draws = np.random.default_rng(derive_seed(seed, "gan")).standard_normal((n, self.like.latent_dim))
        z = torch.from_numpy(draws.astype(np.float32)).to(self.like.device)
        return np.concatenate([self.like.values(self.generator(part)) for part in z.split(self.like.batch_size)])


def fit_gan(
    like: FittedModel, items: Items, *, epochs: int | None = None, minutes: float = 5, seed: int = 0
) -> FittedGAN:
    """Train a generator with the layers of `like`'s decoder against a discriminator with its encoder's convolutions.

    For so many epochs; if they are None, for `minutes`.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(seed, "gan"))
        generator, discriminator = _build(like)
    train_generator, train_discriminator = (
        torch.optim.Adam(module.parameters(), lr=_LEARNING_RATE, betas=_BETAS, fused=True)
        for module in (generator, discriminator)
    )

    def step(x: Tensor, visible: Tensor, rows: np.ndarray, random: torch.Generator, passed: float = 0) -> None:
        if len(x) < 2:  # too few to normalise over
            return
        fake = generator(torch.randn((len(x), like.latent_dim), generator=random, device=x.device))
        loss = F.softplus(-discriminator(x)).mean() + F.softplus(discriminator(fake.detach())).mean()
        train_discriminator.zero_grad()
        loss.backward()
        train_discriminator.step()
        discriminator.requires_grad_(False)
        loss = F.softplus(-discriminator(fake)).mean()
        train_generator.zero_grad()
        loss.backward()
        train_generator.step()
        discriminator.requires_grad_(True)

    run = partial(run_minutes, minutes=minutes) if epochs is None else partial(run_epochs, epochs=epochs)
    seconds = run("GAN", items, step, batch_size=_BATCH_SIZE, seed=seed, device=like.device)
    return FittedGAN(generator.eval(), like, seconds)


def _build(like: FittedModel) -> tuple[nn.Module, nn.Module]:
    """Codes `(n, latent_dim)` → images in [0, 1]; and images → the logit of being real `(n, 1)`."""
    network = dataclasses.replace(like.config.network, visibility=False, likelihood="bernoulli", activation="relu")
    generator: list[nn.Module] = []
    for layer in ConvDecoder(like.image_schema, network).layers:
        generator.append(layer)
        if isinstance(layer, nn.Linear):
            generator.append(nn.BatchNorm1d(layer.out_features))
        elif isinstance(layer, nn.ConvTranspose2d):
            generator.append(nn.BatchNorm2d(layer.out_channels))
    discriminator: list[nn.Module] = []
    encoder = ConvEncoder(like.image_schema, network).features
    for layer in encoder:
        if isinstance(layer, nn.Conv2d):
            normalised = [nn.BatchNorm2d(layer.out_channels)] if discriminator else []
            discriminator += [layer, *normalised, nn.LeakyReLU(0.2)]
    flat_size = next(layer.in_features for layer in encoder if isinstance(layer, nn.Linear))
    discriminator += [nn.Flatten(), nn.Linear(flat_size, 1)]
    device = like.device
    generator[-1] = nn.Sigmoid()  # in the place of the output's normalisation
    return nn.Sequential(*generator).to(device), nn.Sequential(*discriminator).to(device)
