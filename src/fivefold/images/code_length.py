"""The code length of images under an ideal coder, and the codes' grid with which it is shortest."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from fivefold.config import Conditioning
from fivefold.images.exact import LatentGrid
from fivefold.items import Items
from fivefold.model.conditional import Conditional
from fivefold.model.fitted import FittedModel, uniform
from fivefold.model.scoring import encode_items
from fivefold.seeds import derive_seed

STEPS = (1.0, 2.0, 4.0, 8.0)
_LOSSY_STEP = 1.0  # posterior deviations
_SAMPLE = 256  # items that the grid's step is chosen on


@dataclass(frozen=True)
class CodeLength:
    """Nats per item, `(n,)` float64: of its visible elements, and of z."""

    elements: np.ndarray
    z: np.ndarray

    @property
    def total(self) -> float:
        """Mean nats of an item."""
        return float((self.elements + self.z).mean())


@torch.inference_mode()
def code_length(model: FittedModel, items: Items, step: float | None, seed: int = 0) -> CodeLength:
    """The length of items of integer elements, coded one after the other under the causal context decoder.

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
            density = _standard(z) if model.prior is None else model.prior.log_prob(z.cpu().numpy())
            z_length[rows] = -(density + (step * posterior.std.double()).log().sum(1).cpu().numpy())
        log_prob = Conditional(model, Conditioning.CAUSAL, x, visible, z).log_prob(x)
        elements[rows] = -torch.where(visible, log_prob, 0).double().flatten(1).sum(1).cpu().numpy()
    return CodeLength(elements, z_length)


def _standard(z: torch.Tensor) -> np.ndarray:
    return torch.distributions.Normal(0.0, 1.0).log_prob(z.double()).sum(1).cpu().numpy()


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
