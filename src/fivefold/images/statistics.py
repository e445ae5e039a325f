"""Statistics of images for anomaly detection: few numbers, whose joint density tells the normal from the strange."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from fivefold.config import Conditioning
from fivefold.items import Items
from fivefold.model.conditional import Conditional
from fivefold.model.fitted import FittedModel
from fivefold.model.likelihoods import NumberLikelihood

_PATCH = 7  # side of the squares among which the worst is looked for


@torch.inference_mode()
def item_statistics(model: FittedModel, items: Items) -> np.ndarray:
    """Statistics of items, `(n, k)` float64; the same k for every item of a model.

    Errors are those at the posterior mean and per visible element, so that items with holes can be compared.
    """
    batches: list[np.ndarray] = []
    levels = model.schema.levels
    for _, x, visible in model.batches(items):
        posterior = model.vae.posterior(x, visible)
        likelihood = model.vae.likelihood(posterior.mu)
        assert isinstance(likelihood, NumberLikelihood)
        error = -likelihood.log_prob(x)
        square = (x - likelihood.mean).square()
        own = square - likelihood.variance
        columns = [
            _mean(error, visible),
            _log(_mean(square, visible)),
            _log(_worst(square, visible)),
            _mean(own, visible),
        ]
        columns += [posterior.kl_per_unit().sum(1).double()]
        if model.context is not None:
            for z in (None, posterior.mu):
                surprise = -Conditional(model, Conditioning.CAUSAL, x, visible, z).log_prob(x)
                worst = _worst(surprise, visible)  # of a density it may be negative
                columns += [_mean(surprise, visible), worst if levels is None else _log(worst)]
        if model.prior is not None:
            columns.append(torch.from_numpy(-model.prior.log_prob(posterior.mu.cpu().numpy())))
        batches.append(torch.stack([c.cpu().double() for c in columns], dim=1).numpy())
    return np.concatenate(batches)


def count_statistics(model: FittedModel) -> int:
    """The k of `item_statistics`, of images."""
    return 5 + (4 if model.context is not None else 0) + (1 if model.prior is not None else 0)


def _mean(values: Tensor, visible: Tensor) -> Tensor:
    """Mean over the visible elements, `(n,)`."""
    return torch.where(visible, values, 0).flatten(1).double().sum(1) / visible.flatten(1).sum(1)


def _worst(values: Tensor, visible: Tensor) -> Tensor:
    """The highest mean over a patch, hidden elements counting as 0: `(n,)`."""
    side = min(_PATCH, *values.shape[2:])
    patches = F.avg_pool2d(torch.where(visible, values, 0).mean(1, keepdim=True), side, stride=1)
    return patches.flatten(1).amax(1)


def _log(values: Tensor) -> Tensor:
    return values.double().clamp_min(1e-12).log()
