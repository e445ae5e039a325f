"""Fill in missing values."""

from __future__ import annotations

import warnings

import numpy as np
import torch

from fivefold.data.source import Mask, Source
from fivefold.errors import UsageError
from fivefold.model.fitted import FittedModel, standard_normal
from fivefold.seeds import derive_seed


@torch.inference_mode()
def impute(model: FittedModel, data: Source, *, mask: Mask = None, n_samples: int = 10, seed: int = 0) -> np.ndarray:
    """Complete items: `(n, h, w, c)` in their own dtype, what was visible unchanged.

    A missing element becomes its expected value given the visible ones: the mean over `n_samples` codes from the
    posterior, weighted by importance (self-normalised, as in MIWAE: Mattei & Frellsen 2019, arXiv:1812.02633, eq. 12).

    Raises `UsageError` if `n_samples` is below 1.
    """
    if n_samples < 1:
        raise UsageError(f"n_samples must be at least 1, got {n_samples}")
    items = model.read(data, mask)
    completed = np.array(items.values)
    if all(items.visible(rows).all() for rows in items.batches(model.batch_size)):
        warnings.warn("nothing is missing: the items come back as they are", stacklevel=2)
        return completed
    generator = np.random.default_rng(derive_seed(seed, "impute"))
    for rows, x, visible in model.batches(items):
        noise = standard_normal(generator, (len(x), n_samples, model.latent_dim), x.device)
        if visible.all():
            continue
        posterior = model.vae.posterior(x, visible)
        log_weights, means = [], []
        for draw in noise.unbind(1):
            z = posterior.at(draw)
            likelihood = model.vae.likelihood(z)
            prior = -0.5 * z.square().sum(1)
            log_weights.append(likelihood.item_log_prob(x, visible) + prior - posterior.log_prob(z))
            means.append(likelihood.mean)
        weights = torch.softmax(torch.stack(log_weights), dim=0)
        expected = torch.einsum("kn,knchw->nchw", weights, torch.stack(means))
        filled = model.values(expected, items.values.dtype)
        completed[rows] = np.where(items.visible(rows), items.values[rows], filled)
    return completed
