"""Remove noise of unknown kind and level."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from fivefold.errors import UsageError
from fivefold.images.dataset import Mask, Source
from fivefold.model.conditional import Conditional
from fivefold.model.conditioning import Conditioning
from fivefold.model.fitted import FittedModel, standard_normal
from fivefold.model.likelihoods import Likelihood, NumberLikelihood
from fivefold.seeds import derive_seed


@dataclass(frozen=True)
class Denoised:
    """`items` `(n, h, w, c)` in their own dtype; `std` likewise, float32, in the data's units."""

    items: np.ndarray
    std: np.ndarray


@torch.inference_mode()
def denoise(model: FittedModel, data: Source, *, mask: Mask = None, n_samples: int = 2, seed: int = 0) -> Denoised:
    """The clean items that the noisy ones stand for, and how sure that is, element by element.

    The encoder, trained with corruption, gives the posterior of the clean item; the context decoder, E[x | z, noisy
    neighbours] and the variance. That is done twice: what the first pass cleaned tells the encoder more of z than the
    noisy item did. The second pass is averaged over `n_samples` draws of z, in mirrored pairs. A model without a
    context decoder decodes the posterior mean.

    Raises `UsageError` if `n_samples` is below 1, `ModelError` if the model is of a table (see `denoise_rows`).
    """
    if n_samples < 1:
        raise UsageError(f"n_samples must be at least 1, got {n_samples}")
    schema, items = model.image_schema, model.read(data, mask)
    cleaned = np.empty_like(items.values)
    std = np.empty(items.values.shape, np.float32)
    generator = np.random.default_rng(derive_seed(seed, "denoise"))
    for rows, x, visible in model.batches(items):
        noise = standard_normal(generator, (len(x), -(-n_samples // 2), model.latent_dim), x.device)
        posterior = model.vae.posterior(x, visible)
        mean, square = _explain(model, x, visible, posterior.mu)
        if model.has_learnt(Conditioning.NOISY):
            better = model.vae.posterior(mean)
            mirrored = torch.cat((noise, -noise), dim=1)[:, :n_samples]
            codes = better.at(mirrored.transpose(0, 1)).transpose(0, 1)
            mean, square = _explain(model, x, visible, codes)
        cleaned[rows] = model.values(mean, items.values.dtype)
        deviation = (square - mean.square()).clamp_min(0).sqrt().cpu().numpy().transpose(0, 2, 3, 1)
        std[rows] = deviation * (schema.high - schema.low)
    return Denoised(cleaned, std)


def _explain(model: FittedModel, x: Tensor, visible: Tensor, codes: Tensor) -> Tensor:
    """First and second moment of each element given its neighbours, averaged over its item's codes: `(2, n, c, h, w)`."""
    return Conditional(model, Conditioning.NOISY, x, visible, codes).map(_moments)


def _moments(likelihood: Likelihood, items: Tensor, elements: Tensor) -> Tensor:
    assert isinstance(likelihood, NumberLikelihood)
    mean = likelihood.mean
    return torch.stack((mean, likelihood.variance + mean.square()), dim=1).mean(3).view(-1, 2)
