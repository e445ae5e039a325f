"""The variational autoencoder: Kingma & Welling 2013, arXiv:1312.6114."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from fivefold.model.corruption import Corrupted, corrupt_for_training
from fivefold.model.likelihoods import Likelihood

ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "silu": nn.SiLU}
_MIN_LOGVAR, _MAX_LOGVAR = -20.0, 10.0  # keeps exp(logvar) finite, and its reciprocal


@dataclass(frozen=True)
class Posterior:
    """q(z | x): independent normals, `mu` and `logvar` both `(n, latent_dim)`."""

    mu: Tensor
    logvar: Tensor

    def __post_init__(self) -> None:
        object.__setattr__(self, "logvar", self.logvar.clamp(_MIN_LOGVAR, _MAX_LOGVAR))

    @property
    def std(self) -> Tensor:
        """Standard deviations, `(n, latent_dim)`."""
        return torch.exp(0.5 * self.logvar)

    def at(self, noise: Tensor) -> Tensor:
        """The reparameterised draw `mu + std * noise` for standard normal `noise` `(..., n, latent_dim)`."""
        return self.mu + self.std * noise

    def log_prob(self, z: Tensor) -> Tensor:
        """Log density of `z` `(..., n, latent_dim)` → `(..., n)`, nats."""
        scaled = (z - self.mu) / self.std
        return -0.5 * (scaled.square() + self.logvar + math.log(2 * math.pi)).sum(-1)

    def kl_per_unit(self) -> Tensor:
        """KL divergence from the standard normal prior, `(n, latent_dim)`, nats (Kingma & Welling, appendix B)."""
        return 0.5 * (self.mu.square() + self.logvar.exp() - 1 - self.logvar)


@dataclass(frozen=True)
class Elbo:
    """The evidence lower bound of each item in nats, and its parts; all `(n,)` but `kl_per_unit` `(n, latent_dim)`."""

    log_likelihood: Tensor
    kl_per_unit: Tensor

    @property
    def kl(self) -> Tensor:
        """KL divergence of the posterior from the prior."""
        return self.kl_per_unit.sum(1)

    @property
    def value(self) -> Tensor:
        """`log_likelihood - kl`."""
        return self.log_likelihood - self.kl


@dataclass(frozen=True)
class CodeFeatures:
    """h(z), for the context decoder: the decoder's last hidden map `(n, f, h', w')`; and the mean `(n, c, h, w)`, or None."""

    coarse: Tensor
    mean: Tensor | None


class VAE(nn.Module):
    """An encoder and a decoder, joined.

    Parameters
    ----------
    encoder : module, `(x, visible)` → `Posterior`
    decoder : module, `z` → `Likelihood`; where there is a context decoder, its method
        `likelihood_and_features` gives the `CodeFeatures` too
    latent_dim : numbers per code

    `x` is `(n, c, h, w)` float in [0, 1], 0 where hidden; `visible` bool of the same shape.
    """

    def __init__(self, encoder: nn.Module, decoder: nn.Module, latent_dim: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder
        self.latent_dim = latent_dim

    def posterior(self, x: Tensor, visible: Tensor | None = None) -> Posterior:
        """q(z | x, visible); everything is visible by default."""
        posterior: Posterior = self.encoder(x, torch.ones_like(x, dtype=torch.bool) if visible is None else visible)
        return posterior

    def likelihood(self, z: Tensor) -> Likelihood:
        """p(x | z) for `z` `(n, latent_dim)`."""
        likelihood: Likelihood = self.decoder(z)
        return likelihood

    def likelihood_and_features(self, z: Tensor) -> tuple[Likelihood, CodeFeatures]:
        """`likelihood(z)`, and the features of `z` for the context decoder."""
        found: tuple[Likelihood, CodeFeatures] = self.decoder.likelihood_and_features(z)  # type: ignore[operator]  # untyped
        return found

    def training_pair(
        self, x: Tensor, visible: Tensor, damage: Mapping[str, float], generator: torch.Generator
    ) -> tuple[Corrupted, Tensor, Tensor]:
        """What the encoder sees of items in training, damaged; and what it is to explain, and where that is known."""
        return corrupt_for_training(x, visible, damage, generator), x, visible

    def elbo(self, x: Tensor, noise: Tensor, visible: Tensor | None = None) -> Elbo:
        """One-sample estimate of the bound, with standard normal `noise` `(n, latent_dim)`."""
        posterior = self.posterior(x, visible)
        log_likelihood = self.likelihood(posterior.at(noise)).item_log_prob(x, visible)
        return Elbo(log_likelihood, posterior.kl_per_unit())

    def forward(self, x: Tensor, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """The publication's interface: `(reconstruction, mu, logvar)` from one reparameterised draw."""
        posterior = self.posterior(x)
        noise = torch.randn(posterior.mu.shape, generator=generator, device=x.device)
        return self.likelihood(posterior.at(noise)).point(), posterior.mu, posterior.logvar
