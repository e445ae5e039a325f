"""How many nats an ideal coder needs for items."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from fivefold.items import Items
from fivefold.model.conditional import Conditional
from fivefold.model.conditioning import Conditioning
from fivefold.model.fitted import FittedModel, uniform
from fivefold.seeds import derive_seed

STEPS = (1.0, 2.0, 4.0, 8.0)


@dataclass(frozen=True)
class CodeLength:
    """Nats per item, each `(n,)` float64: of its visible elements, and of z."""

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
