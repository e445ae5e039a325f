"""How well a fitted model explains items."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from fivefold.items import Items
from fivefold.model.fitted import FittedModel, standard_normal
from fivefold.seeds import derive_seed

_ACTIVE_VARIANCE = 0.01


@dataclass(frozen=True)
class ElboFigures:
    """The bound over a set of items, nats per item."""

    negative_elbo: float
    reconstruction: float
    kl: float
    kl_per_unit: tuple[float, ...]
    inactive_units: tuple[int, ...]
    items: int


@torch.inference_mode()
def evaluate_elbo(model: FittedModel, items: Items, seed: int = 0) -> ElboFigures:
    """Mean one-sample ELBO of `items`, KL per latent unit, and which units are inactive.

    A unit is active if its posterior mean varies with the item by more than 0.01 (Burda et al. 2015,
    arXiv:1509.00519, section 5.2).
    """
    likelihood, kl = 0.0, torch.zeros(model.latent_dim, dtype=torch.float64)
    means = np.empty((len(items), model.latent_dim), np.float32)
    noise = np.random.default_rng(derive_seed(seed, "elbo"))
    for rows, x, visible in model.batches(items):
        means[rows] = model.vae.posterior(x, visible).mu.cpu().numpy()
        elbo = model.vae.elbo(x, standard_normal(noise, (len(x), model.latent_dim), x.device), visible)
        likelihood += elbo.log_likelihood.cpu().double().sum().item()
        kl += elbo.kl_per_unit.cpu().double().sum(0)
    per_unit = (kl / len(items)).tolist()
    return ElboFigures(
        negative_elbo=sum(per_unit) - likelihood / len(items),
        reconstruction=-likelihood / len(items),
        kl=sum(per_unit),
        kl_per_unit=tuple(per_unit),
        inactive_units=tuple(np.flatnonzero(means.var(axis=0, dtype=np.float64) <= _ACTIVE_VARIANCE).tolist()),
        items=len(items),
    )


@torch.inference_mode()
def encode_items(model: FittedModel, items: Items) -> tuple[np.ndarray, np.ndarray]:
    """Posterior means and standard deviations of the items, both `(n, latent_dim)` float32."""
    mu, std = np.empty((2, len(items), model.latent_dim), np.float32)
    for rows, x, visible in model.batches(items):
        posterior = model.vae.posterior(x, visible)
        mu[rows], std[rows] = posterior.mu.cpu().numpy(), posterior.std.cpu().numpy()
    return mu, std


@torch.inference_mode()
def reconstruction_scores(model: FittedModel, items: Items) -> np.ndarray:
    """Log-likelihood of each item under its own reconstruction, `(n,)` float64, nats; higher = more normal.

    Minus the publication's reconstruction error, at the posterior mean. Where elements are missing, the visible ones
    are scaled up to the whole item.
    """
    scores = np.empty(len(items))
    for rows, x, visible in model.batches(items):
        likelihood = model.vae.likelihood(model.vae.posterior(x, visible).mu)
        seen = visible.flatten(1).cpu().double().mean(1)
        scores[rows] = (likelihood.item_log_prob(x, visible).cpu().double() / seen).numpy()
    return scores
