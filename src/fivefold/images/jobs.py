"""The mathematics of jobs on images: denoising, statistics for anomaly detection, code lengths and the codes' grid."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from fivefold.arrays import Floats
from fivefold.config import Conditioning, PriorName
from fivefold.images.exact import LatentGrid
from fivefold.images.schema import ImageSchema
from fivefold.images.surprise import PATCH, roughness, surprise
from fivefold.items import Items
from fivefold.jobs.detect import apart, by_itself, unwatched
from fivefold.jobs.drift import compared_channels as compared
from fivefold.jobs.drift import remembered
from fivefold.jobs.generate import Generated, draw_items
from fivefold.jobs.generate import draw_elements as draw
from fivefold.jobs.impute import by_codes
from fivefold.jobs.known import known_by_codes as known
from fivefold.jobs.strangest import strangest_pixels as strangest
from fivefold.model.conditional import Conditional
from fivefold.model.context import by_element, column
from fivefold.model.fitted import FittedModel, standard_normal, uniform
from fivefold.model.likelihoods import Likelihood, NumberLikelihood
from fivefold.model.scoring import encode_items
from fivefold.seeds import derive_seed

EXTRA_ROLE = "std"
watcher, in_context, filling = unwatched, by_itself, by_codes(10)
STEPS = (1.0, 2.0, 4.0, 8.0)  # of the codes' grid, in posterior deviations
_LOSSY_STEP = 1.0
_SAMPLE = 256  # items that the grid's step is chosen on
_LEAST_BATCH = 8  # fewer items at once take other paths through matrix products, whose last bits differ

__all__ = [
    "EXTRA_ROLE",
    "STEPS",
    "apart",
    "choose_grid",
    "code_length",
    "compared",
    "denoise",
    "draw",
    "filling",
    "generate",
    "in_context",
    "known",
    "remembered",
    "statistics",
    "strangest",
    "surprise",
    "watcher",
]


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


@torch.inference_mode()
def statistics(model: FittedModel, items: Items) -> Floats:
    """Few numbers per item, `(n, k)`, whose joint density tells the normal from the strange.

    Errors are those at the posterior mean and per visible element, so that items with holes can be compared.
    """
    batches: list[np.ndarray] = []
    for _, *batch in model.batches(items):
        x, visible = (part[torch.arange(max(len(part), _LEAST_BATCH)) % len(part)] for part in batch)
        posterior = model.vae.posterior(x, visible)
        likelihood = model.vae.likelihood(posterior.mu)
        assert isinstance(likelihood, NumberLikelihood)
        square = (x - likelihood.mean).square()
        columns = [
            _mean(-likelihood.log_prob(x), visible),
            _log(_mean(square, visible)),
            _log(_worst(square, visible)),
            _mean(square - likelihood.variance, visible),
            posterior.kl_per_unit().sum(1).double(),
        ]
        smoothest = []
        if model.context is not None:
            for z in (None, posterior.mu):
                given = Conditional(model, Conditioning.CAUSAL, x, visible, z)
                cost, roughness = given.map(partial(_residual, by_element(x)))
                worst = _worst(cost, visible)  # of a density it may be negative
                columns += [_mean(cost, visible), worst if model.schema.levels is None else _log(worst)]
                smoothest = [-_worst(-roughness, visible)]
        if model.prior is not None:
            columns.append(torch.from_numpy(-model.prior.log_prob(posterior.mu.cpu().numpy())))
        found = torch.stack([column.cpu().double() for column in columns + smoothest], dim=1)
        batches.append(found[: len(batch[0])].numpy())
    return np.concatenate(batches)[:, : count_statistics(model)]


def _residual(values: Tensor, likelihood: Likelihood, items: Tensor, elements: Tensor) -> Tensor:
    """What elements cost, nats, and how much rougher they are than expected: `(m, 2)`."""
    cost = -likelihood.log_prob(column(values[items, elements])).view(-1, 1)
    return torch.cat((cost, roughness(values, likelihood, items, elements)), dim=1)


def count_statistics(model: FittedModel) -> int:
    """The k of `statistics`: models that were fitted when none told of too smooth patches have one less."""
    k = 5 + (5 if model.context is not None else 0) + (1 if model.prior is not None else 0)
    return k - (model.context is not None and model.normality is not None and model.normality.size == k - 1)


def _mean(values: Tensor, visible: Tensor) -> Tensor:
    """Mean over the visible elements, `(n,)`."""
    return torch.where(visible, values, 0).flatten(1).double().sum(1) / visible.flatten(1).sum(1)


def _worst(values: Tensor, visible: Tensor) -> Tensor:
    """The highest mean over a patch, hidden elements counting as 0: `(n,)`."""
    side = min(PATCH, *values.shape[2:])
    patches = F.avg_pool2d(torch.where(visible, values, 0).mean(1, keepdim=True), side, stride=1)
    return patches.flatten(1).amax(1)


def _log(values: Tensor) -> Tensor:
    return values.double().clamp_min(1e-12).log()


@dataclass(frozen=True)
class CodeLength:
    """Nats per item, `(n,)`: of its visible elements, and of z."""

    elements: Floats
    z: Floats

    @property
    def total(self) -> float:
        """Mean nats of an item."""
        return float((self.elements + self.z).mean())


@torch.inference_mode()
def code_length(model: FittedModel, items: Items, step: float | None, seed: int = 0) -> CodeLength:
    """The length of items of integer elements under an ideal coder, one after the other under the causal context decoder.

    Parameters
    ----------
    step : z is rounded to a grid of so many posterior deviations and coded under the fitted prior (without one: the
        standard normal); None: there is no z. The grid has a random offset, so that the rounding error is uniform
        (Ballé et al. 2017, arXiv:1611.01704, section 3).
    """
    rng = np.random.default_rng(derive_seed(seed, "code length"))
    elements, z_length = np.zeros((2, len(items)))
    for rows, x, visible in model.batches(items):
        z = None
        if step is not None:
            posterior = model.vae.posterior(x, visible)
            z = posterior.at(step * (uniform(rng, (len(x), model.latent_dim), x.device) - 0.5))
            codes = z.cpu().numpy()
            density = _standard(codes) if model.prior is None else model.prior.log_prob(codes)
            z_length[rows] = -(density + (step * posterior.std.double()).log().sum(1).cpu().numpy())
        log_prob = Conditional(model, Conditioning.CAUSAL, x, visible, z).log_prob(x)
        elements[rows] = -torch.where(visible, log_prob, 0).double().flatten(1).sum(1).cpu().numpy()
    return CodeLength(elements, z_length)


def _standard(z: np.ndarray) -> Floats:
    density: Floats = -0.5 * (z.astype(np.float64) ** 2 + np.log(2 * np.pi)).sum(1)
    return density


def choose_grid(model: FittedModel, items: Items, step: float | None, lossy: bool) -> LatentGrid | None:
    """The codes' grid, of a `step` in mean posterior deviations; None: no codes.

    By default the step is the one with which a sample of the items is shortest; for `lossy` archives 1.
    """
    if step == 0:
        return None
    sample = items.select(slice(0, _SAMPLE))
    if step is None and lossy:
        step = _LOSSY_STEP
    elif step is None:
        candidates = (None, *STEPS)
        step = min(candidates, key=lambda candidate: code_length(model, sample, candidate).total)
        if step is None:
            return None
    deviations = encode_items(model, sample)[1].astype(np.float64).mean(axis=0)
    return LatentGrid(np.round(np.clip(step * deviations, 1e-3, 16.0), 3))  # which is the same on all machines


def consistent(model: FittedModel, items: Items, filled: np.ndarray) -> np.ndarray:
    """As they are: nothing is known to hold exactly."""
    return filled
