"""A GAN of DCGAN's size whose generator is the VAE's decoder.

Goodfellow et al. 2014, arXiv:1406.2661; settings of Radford et al. 2015 (DCGAN), arXiv:1511.06434, section 4.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fivefold.baselines.loop import run_epochs
from fivefold.data import Items
from fivefold.model.fitted import FittedModel
from fivefold.model.networks import ConvDecoder, ConvEncoder
from fivefold.seeds import derive_seed

_LEARNING_RATE, _BETAS = 2e-4, (0.5, 0.999)
_BATCH_SIZE = 128


@dataclass
class FittedGAN:
    """A trained generator; a GAN has no encoder, hence no reconstruction."""

    generator: ConvDecoder
    like: FittedModel
    seconds: float

    @torch.inference_mode()
    def generate(self, n: int, seed: int = 0) -> np.ndarray:
        """`n` items decoded from normal noise: `(n, h, w, c)` in the data's dtype."""
        draws = np.random.default_rng(derive_seed(seed, "gan")).standard_normal((n, self.like.latent_dim))
        z = torch.from_numpy(draws.astype(np.float32)).to(self.like.device)
        return np.concatenate([self.like.values(self.generator(part).mean) for part in z.split(self.like.batch_size)])


def fit_gan(like: FittedModel, items: Items, *, epochs: int, seed: int = 0) -> FittedGAN:
    """Train a generator with the decoder of `like`, and a discriminator with the layers of its encoder."""
    network = dataclasses.replace(like.config.network, visibility=False, likelihood="bernoulli")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(seed, "gan"))
        generator = ConvDecoder(like.schema, network)
        discriminator = _Discriminator(ConvEncoder(like.schema, network), network.hidden)
    generator, discriminator = generator.to(like.device), discriminator.to(like.device)
    train_generator, train_discriminator = (
        torch.optim.Adam(module.parameters(), lr=_LEARNING_RATE, betas=_BETAS, fused=True)
        for module in (generator, discriminator)
    )

    def step(x: Tensor, rows: np.ndarray, random: torch.Generator) -> None:
        z = torch.randn((len(x), like.latent_dim), generator=random, device=x.device)
        fake = generator(z).mean
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

    seconds = run_epochs("GAN", items, step, epochs=epochs, batch_size=_BATCH_SIZE, seed=seed, device=like.device)
    return FittedGAN(generator.eval(), like, seconds)


class _Discriminator(nn.Module):
    """Images → the logit of being real, `(n,)`."""

    def __init__(self, encoder: ConvEncoder, hidden: int) -> None:
        super().__init__()
        self.features = encoder.features
        self.real = nn.Linear(hidden, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.real(self.features(x))[:, 0]
