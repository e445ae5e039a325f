"""From a configuration to networks."""

from __future__ import annotations

import torch
from torch import nn

from fivefold.config import FitConfig
from fivefold.model.context import ContextDecoder
from fivefold.model.networks import build_vae
from fivefold.schema import ImageSchema
from fivefold.seeds import derive_seed


def build_networks(schema: ImageSchema, config: FitConfig, seed: int) -> nn.ModuleDict:
    """Freshly initialised networks for items of `schema`: `vae`, and `context` if the configuration has one.

    The same seed gives the same weights, and the VAE's do not depend on whether there is a context decoder.
    """
    vae = build_vae(schema, config.network, derive_seed(seed, "weights"))
    if not config.context.window:
        return nn.ModuleDict({"vae": vae})
    with torch.random.fork_rng(devices=[]):  # layers initialise themselves from the global state
        torch.manual_seed(derive_seed(seed, "context weights"))
        context = ContextDecoder(schema, config.context, vae.decoder.coarse_channels)  # type: ignore[arg-type]
    return nn.ModuleDict({"vae": vae, "context": context})
