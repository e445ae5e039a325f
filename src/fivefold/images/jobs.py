"""The mathematics of jobs on images."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from fivefold.config import Conditioning, PriorName
from fivefold.images.schema import ImageSchema
from fivefold.images.statistics import item_statistics as statistics
from fivefold.items import Items
from fivefold.jobs.generate import Generated, draw_items
from fivefold.jobs.generate import draw_elements as draw
from fivefold.model.conditional import Conditional
from fivefold.model.fitted import FittedModel, standard_normal
from fivefold.model.likelihoods import Likelihood, NumberLikelihood
from fivefold.seeds import derive_seed

CODES_PER_ITEM = 10
BESIDES = "std"

__all__ = ["BESIDES", "CODES_PER_ITEM", "denoise", "draw", "generate", "statistics"]


@torch.inference_mode()
def denoise(
    model: FittedModel, items: Items, *, n_samples: int = 2, seed: int = 0
) -> dict[str, tuple[np.ndarray, np.ndarray | None]]:
    """The clean images `(n, h, w, c)` that noisy ones stand for; and in the role `std`, float32, how sure that is.

    The encoder, trained with corruption, gives the posterior of the clean item; the context decoder, E[x | z, noisy
    neighbours] and the variance. That is done twice: what the first pass cleaned tells the encoder more of z than the
    noisy item did. The second pass is averaged over `n_samples` draws of z, in mirrored pairs. A model without a
    context decoder decodes the posterior mean.
    """
    schema = cast(ImageSchema, model.schema)
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
    return {"": (cleaned, None), "std": (std, None)}


def _explain(model: FittedModel, x: Tensor, visible: Tensor, codes: Tensor) -> Tensor:
    """First and second moment of each element given its neighbours, averaged over its item's codes: `(2, n, c, h, w)`."""
    return Conditional(model, Conditioning.NOISY, x, visible, codes).map(_moments)


def _moments(likelihood: Likelihood, items: Tensor, elements: Tensor) -> Tensor:
    assert isinstance(likelihood, NumberLikelihood)
    mean = likelihood.mean
    return torch.stack((mean, likelihood.variance + mean.square()), dim=1).mean(3).view(-1, 2)


def generate(
    model: FittedModel,
    n: int,
    seed: int,
    *,
    prior: PriorName | None = None,
    sharp: bool | None = None,
    like: Any = None,
    temperature: float = 1.0,
) -> Generated:
    """`n` new images: their means given codes of the standard normal, if not asked otherwise; see `jobs.generate`."""
    prior, sharp = prior or "standard", bool(sharp)
    drawn = draw_items(model, n, seed, prior=prior, sharp=sharp, like=like, temperature=temperature)
    return Generated(drawn, counts={"items": n})
