"""The encoder and decoder for rows of a table; how they are trained and calibrated."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from fivefold.config import Conditioning, FitConfig, NetworkConfig
from fivefold.items import Items
from fivefold.model.calibrations import FittedPrior, IntervalCalibration
from fivefold.model.context import assemble
from fivefold.model.fitted import FittedModel, channels_first
from fivefold.model.scoring import calibration_rows, fit_intervals
from fivefold.model.vae import ACTIVATIONS, VAE, CodeFeatures, Posterior
from fivefold.tables.context import TableContext
from fivefold.tables.discovery import find_relations
from fivefold.tables.likelihood import Cells, ColumnHeads, ColumnLikelihood
from fivefold.tables.linear import LinearCode, both_signs, pass_through, read_off
from fivefold.tables.neighbours import Memory
from fivefold.tables.relations import Relations
from fivefold.tables.schema import TableSchema
from fivefold.tables.settings import table_config
from fivefold.tables.statistics import (
    Marginals,
    MissingPatterns,
    UpperTailScore,
    fit_marginals,
    row_statistics,
    statistics_weights,
)
from fivefold.tables.statistics import count_statistics as count_statistics
from fivefold.training.recipe import Recipe

CALIBRATIONS: dict[str, type[Any]] = {
    "prior": FittedPrior,
    "marginals": Marginals,
    "coverage": IntervalCalibration,
    "normality": UpperTailScore,
    "relations": Relations,
    "missing": MissingPatterns,
    "memory": Memory,
}
PRECISION = torch.float64  # a row's score does then not depend on the batch that it comes in
_FEWEST_SCORES = 10
_HELD_OUT = 2000
_LINEAR = 1 << 21  # cells, at most, that linear models are fitted to
_WIDE = 100  # columns, beyond which epochs are shorter
_UNITS_EACH = 4  # hidden units, at least, per number of the code that begins linear, which takes two


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

    @torch.no_grad()
    def follow(self, linear: LinearCode) -> None:
        """Begin with its posterior, given the visible numbers."""
        cells, weights = self.cells, torch.zeros(len(linear), self.cells.features)
        weights[:, [cells.places[column].start for column in cells.numbers]] = linear.encoding
        weights[:, cells.numbers] = -linear.encoding * linear.mean  # of those that are visible
        pass_through(self.features, weights)
        read_off(self.mu, torch.eye(len(linear)))
        read_off(self.logvar, torch.zeros(len(linear), len(linear)))
        self.logvar.bias[: len(linear)] = linear.log_variance


class RowDecoder(nn.Module):
    """`z` `(n, latent_dim)` → `ColumnLikelihood` of rows."""

    def __init__(self, schema: TableSchema, config: NetworkConfig) -> None:
        super().__init__()
        self.coarse_channels, self._latent_dim = config.hidden, config.latent_dim
        self.layers = _perceptron(config.latent_dim, config)
        self.heads = ColumnHeads(schema, config.hidden)

    def forward(self, z: Tensor) -> ColumnLikelihood:
        return self.likelihood_and_features(z)[0]

    def likelihood_and_features(self, z: Tensor) -> tuple[ColumnLikelihood, CodeFeatures]:
        """The likelihood, and z's features for the context decoder; no gradient flows back through the latter."""
        hidden = self.layers(z)
        likelihood: ColumnLikelihood = self.heads(hidden.unsqueeze(0))
        return likelihood, CodeFeatures(hidden.detach()[..., None, None], None)

    @torch.no_grad()
    def follow(self, linear: LinearCode, numbers: list[int]) -> None:
        """Begin with its means and noise, in the columns `numbers`."""
        pass_through(self.layers, torch.eye(len(linear), self._latent_dim))
        self.heads.follow(numbers, both_signs(linear.loadings), linear.mean, linear.log_noise / 2)


def _perceptron(inputs: int, config: NetworkConfig) -> nn.Sequential:
    activation = ACTIVATIONS[config.activation]
    return nn.Sequential(
        nn.Linear(inputs, config.hidden), activation(), nn.Linear(config.hidden, config.hidden), activation()
    )


def build(schema: TableSchema, config: FitConfig, seed: int) -> nn.ModuleDict:
    """Freshly initialised networks for rows of `schema`; see `assemble`."""
    network = config.network
    return assemble(
        config,
        seed,
        lambda: VAE(RowEncoder(schema, network), RowDecoder(schema, network), network.latent_dim),
        lambda channels: TableContext(schema, config.context, table_config(config), channels),
    )


def prepare(networks: nn.ModuleDict, items: Items, train: np.ndarray, held_out: np.ndarray) -> None:
    """Context decoder and VAE may begin with a linear model of the rows."""
    if "context" not in networks or not cast(TableContext, networks["context"]).linear:
        return
    context, vae = cast(TableContext, networks["context"]), cast(VAE, networks["vae"])
    rows = train[:: -(-len(train) * items.schema.size // _LINEAR)]
    x, visible = (channels_first(part) for part in items.unit(rows))
    context.fit_factors(x, visible)
    if context.factors is not None:
        most = min(vae.latent_dim, cast(RowDecoder, vae.decoder).coarse_channels // _UNITS_EACH)
        linear = LinearCode.of(*context.factors.model(), most)
        cast(RowEncoder, vae.encoder).follow(linear)
        cast(RowDecoder, vae.decoder).follow(linear, context.cells.numbers)


def recipe(schema: TableSchema, config: FitConfig) -> Recipe:
    """The best epoch has the least held-out loss of the context decoder."""
    own = table_config(config)
    wide = min(1.0, _WIDE / schema.size)
    share = wide**1.5  # a step takes longer, and few rows of many columns are soon learnt by heart
    return Recipe(
        steps=(max(round(own.shortest_epoch * share), 1), own.longest_epoch),
        held_out=round(_HELD_OUT * wide),
        at_once=_HELD_OUT,
        patience=own.patience,
        averaged=True,
        folds=own.folds,
        score=lambda row: row.get("validation_context", -row["epoch"]),
    )


def calibrate(model: FittedModel, items: Items, train: np.ndarray, held_out: np.ndarray) -> None:
    """Densities of the columns, of rows' statistics, and intervals; from all rows, where too few were held out."""
    seed, every = model.config.training.seed, np.arange(len(items))
    model.calibrations["marginals"] = fit_marginals(items.select(train))
    cells, schema = np.where(items.visible(), items.values, np.nan)[:, 0, :, 0], cast(TableSchema, items.schema)
    fitted = {
        "relations": find_relations(cells, schema),
        "missing": MissingPatterns.fit(items),
        "memory": Memory.fit(items.select(train), table_config(model.config).memory, seed),
    }
    model.calibrations |= {name: found for name, found in fitted.items() if found is not None}
    if relations := model.calibrations.get("relations"):
        model.record["relations"] = relations.lines(schema)

    def statistics(rows: np.ndarray, met: bool = False) -> np.ndarray:
        return row_statistics(model, items.select(calibration_rows(rows, seed)), met)

    met = statistics(every, met=True)
    scored = statistics(held_out) if len(held_out) >= _FEWEST_SCORES else met
    model.calibrations["normality"] = UpperTailScore.fit(met, scored, statistics_weights(model))
    if model.has_learnt(Conditioning.MISSING):
        rows = items.select(held_out) if len(held_out) else items
        model.calibrations["coverage"] = fit_intervals(model, rows, seed)
