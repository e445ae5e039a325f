"""Encoder and decoder for rows of a table."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fivefold.config import NetworkConfig
from fivefold.images.networks import ACTIVATIONS
from fivefold.model.vae import VAE, CodeFeatures, Posterior
from fivefold.tables.features import Cells, ColumnHeads
from fivefold.tables.likelihood import ColumnLikelihood
from fivefold.tables.schema import TableSchema


class RowEncoder(nn.Module):
    """`(x, visible)`, both `(n, 1, 1, d)`, → `Posterior`."""

    def __init__(self, schema: TableSchema, config: NetworkConfig) -> None:
        super().__init__()
        self.cells = Cells(schema)
        self.features = _perceptron(self.cells.features, config)
        self.mu = nn.Linear(config.hidden, config.latent_dim)
        self.logvar = nn.Linear(config.hidden, config.latent_dim)

    def forward(self, x: Tensor, visible: Tensor) -> Posterior:
        features = self.features(self.cells(x, visible))
        return Posterior(self.mu(features), self.logvar(features))


class RowDecoder(nn.Module):
    """`z` `(n, latent_dim)` → `ColumnLikelihood` of rows."""

    def __init__(self, schema: TableSchema, config: NetworkConfig) -> None:
        super().__init__()
        self.coarse_channels = config.hidden
        self.layers = _perceptron(config.latent_dim, config)
        self.heads = ColumnHeads(schema, config.hidden)

    def forward(self, z: Tensor) -> ColumnLikelihood:
        return self._explain(self.layers(z))

    def guided(self, z: Tensor) -> tuple[ColumnLikelihood, CodeFeatures]:
        """The likelihood, and what the context decoder is told of z; no gradient flows back through the latter."""
        hidden = self.layers(z)
        return self._explain(hidden), CodeFeatures(hidden.detach()[..., None, None], None)

    def _explain(self, hidden: Tensor) -> ColumnLikelihood:
        return self.heads(hidden.unsqueeze(0))


def _perceptron(inputs: int, config: NetworkConfig) -> nn.Sequential:
    activation = ACTIVATIONS[config.activation]
    return nn.Sequential(
        nn.Linear(inputs, config.hidden), activation(), nn.Linear(config.hidden, config.hidden), activation()
    )


def build_row_vae(schema: TableSchema, config: NetworkConfig, seed: int) -> VAE:
    """A freshly initialised VAE for rows of `schema`; the same seed gives the same weights."""
    with torch.random.fork_rng(devices=[]):  # layers initialise themselves from the global state
        torch.manual_seed(seed)
        return VAE(RowEncoder(schema, config), RowDecoder(schema, config), config.latent_dim)
