"""How well a fitted model explains items, and what is calibrated with that."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from fivefold.config import Conditioning
from fivefold.items import Items
from fivefold.model.calibrations import IntervalCalibration
from fivefold.model.conditional import Conditional
from fivefold.model.context import by_element, column
from fivefold.model.fitted import FittedModel, standard_normal
from fivefold.seeds import derive_seed

_ACTIVE_VARIANCE = 0.01
_MOST_SCORES = 10_000
_HIDDEN = 0.3
_NUMBERS, _MOST_MASKS = 4000, 20

Hide = Callable[[Tensor, torch.Generator], Tensor]
"""Which elements of items `(n, c, h, w)` to hide: bool, likewise."""


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


def calibration_rows(rows: np.ndarray, seed: int) -> np.ndarray:
    """At most 10,000 of the items' numbers `rows`, in random order, to fit and calibrate an anomaly score with."""
    order = np.random.default_rng(derive_seed(seed, "normality")).permutation(len(rows))
    return rows[order[:_MOST_SCORES]]


@torch.inference_mode()
def fit_intervals(
    model: FittedModel, held_out: Items, seed: int, hide: Hide | None = None
) -> IntervalCalibration | None:
    """From items that the networks were not fitted to, of which 30 % is hidden at random, of every other what `hide` says;
    several times, if there are few.

    None if there are no numbers to compare.
    """
    rng = np.random.default_rng(derive_seed(seed, "coverage"))
    generator = torch.Generator(model.device).manual_seed(derive_seed(seed, "coverage of gaps"))
    numbers = torch.from_numpy(np.broadcast_to(model.schema.numbers, model.schema.shape).flatten()).to(model.device)
    shares = list[np.ndarray]()
    for _ in range(_MOST_MASKS):
        for _, x, visible in model.batches(held_out):
            chosen = torch.from_numpy(rng.random(x.shape) < _HIDDEN).to(x.device)
            if hide is not None:
                chosen[::2] = hide(x[::2], generator)
            shares.append(_central_shares(model, x, visible, visible & chosen, numbers))
            if sum(map(len, shares)) >= _NUMBERS:
                return IntervalCalibration.fit(np.concatenate(shares))
    return IntervalCalibration.fit(np.concatenate(shares))


def _central_shares(model: FittedModel, x: Tensor, visible: Tensor, hidden: Tensor, numbers: Tensor) -> np.ndarray:
    """The share of the central interval that just reaches each hidden number, `(m,)`."""
    seen, known = torch.where(hidden, 0.0, x), visible & ~hidden
    z = model.vae.posterior(seen, known).mu
    items, elements = (by_element(hidden) & numbers).nonzero().unbind(1)
    if len(items) == 0:
        return x.new_empty(0).cpu().numpy()
    likelihood = Conditional(model, Conditioning.MISSING, seen, known, z)(items, elements)
    values = column(by_element(x)[items, elements])
    middle = likelihood.cdf(values) - likelihood.log_prob(values).exp() / 2
    return (2 * middle - 1).abs().clamp(0, 1).flatten().cpu().numpy()
