"""From a configuration to networks."""

from __future__ import annotations

import torch
from torch import nn

from fivefold.config import FitConfig
from fivefold.images.context import ImageContext
from fivefold.images.networks import build_vae
from fivefold.images.schema import ImageSchema
from fivefold.modality import Schema
from fivefold.model.vae import VAE
from fivefold.seeds import derive_seed
from fivefold.series.context import SeriesContext
from fivefold.series.networks import build_series_vae
from fivefold.series.schema import SeriesSchema
from fivefold.series.settings import series_config
from fivefold.tables.context import TableContext
from fivefold.tables.networks import build_row_vae
from fivefold.tables.schema import TableSchema
from fivefold.tables.settings import table_config


def build_networks(schema: Schema, config: FitConfig, seed: int) -> nn.ModuleDict:
    """Freshly initialised networks for items of `schema`: `vae`, and `context` if the configuration has one.

    The same seed gives the same weights, and the VAE's do not depend on whether there is a context decoder.
    """
    vae = _build_vae(schema, config, derive_seed(seed, "weights"))
    if not config.context.window:
        return nn.ModuleDict({"vae": vae})
    with torch.random.fork_rng(devices=[]):  # layers initialise themselves from the global state
        torch.manual_seed(derive_seed(seed, "context weights"))
        return nn.ModuleDict({"vae": vae, "context": _build_context(schema, config, vae)})


def _build_vae(schema: Schema, config: FitConfig, seed: int) -> VAE:
    if isinstance(schema, ImageSchema):
        return build_vae(schema, config.network, seed)
    if isinstance(schema, SeriesSchema):
        return build_series_vae(schema, config.network, series_config(config), seed)
    assert isinstance(schema, TableSchema)
    return build_row_vae(schema, config.network, seed)


def _build_context(schema: Schema, config: FitConfig, vae: VAE) -> nn.Module:
    channels: int = vae.decoder.coarse_channels  # type: ignore[assignment]  # a module's attributes have no types
    if isinstance(schema, ImageSchema):
        return ImageContext(schema, config.context, channels)
    if isinstance(schema, SeriesSchema):
        return SeriesContext(schema, config.context, series_config(config), channels)
    assert isinstance(schema, TableSchema)
    return TableContext(schema, config.context, table_config(config), channels)
