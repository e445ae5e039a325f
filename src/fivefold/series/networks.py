"""The encoder and decoder for windows of series, dilated convolutions or an LSTM; how they are trained and calibrated."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fivefold.config import Conditioning, FitConfig, NetworkConfig
from fivefold.items import Items
from fivefold.model.calibrations import FittedPrior, IntervalCalibration
from fivefold.model.context import assemble
from fivefold.model.corruption import draw_strength, hide_gaps
from fivefold.model.fitted import FittedModel
from fivefold.model.reference import Reference
from fivefold.model.scoring import fit_intervals
from fivefold.model.vae import ACTIVATIONS, VAE, CodeFeatures, Posterior
from fivefold.seeds import derive_seed
from fivefold.series.context import SeriesContext, StepHeads, Temporal, as_likelihood, step_support, waves
from fivefold.series.jobs import WIDTHS, own_nats, statistics
from fivefold.series.jobs import count_statistics as count_statistics
from fivefold.series.linear import Windowed, scaled_windows, some_windows
from fivefold.series.patches import PatchScore
from fivefold.series.schema import SPREADS, SeriesSchema
from fivefold.series.scores import IndependentScore
from fivefold.series.settings import WAVES, SeriesConfig, series_config
from fivefold.series.windows import Windows
from fivefold.tables.likelihood import ColumnLikelihood
from fivefold.training.recipe import Recipe, held_out_elbo

CALIBRATIONS: dict[str, type[Any]] = {
    "prior": FittedPrior,
    "coverage": IntervalCalibration,
    "normality": IndependentScore,
    "patches": PatchScore,
    "reference": Reference,
}
PRECISION = torch.float32
_HELD_OUT = 250
_LONGEST_GRADIENT = 1.0
_LOUD = 5.0  # of the code's first weights: codes that say nothing at first may never come to say something
_FADES = 8.0  # steps over which the last known value ages
_SURE = 1e-3  # probabilities nearer to 0 or 1 are taken for that
_FEWEST_WINDOWS, _MOST_WINDOWS = 100, 5000  # side by side
_RUNS = (1, 2, 4, 8, 13, 20, 32, 64, 128)  # steps of a window of which the rest is hidden
_SHARES = (0.55, 0.7, 0.85)  # likewise, of its steps
_WINDOWS_PER_RUN, _SHORT, _WINDOWS_PER_SHORT_RUN = 150, 8, 400  # of single steps each window says little
_COARSER = 4  # steps of a window to one of the networks'


class Steps(nn.Module):
    """Features of windows, `(n, 3 c, t)`: the last value known, whether it is this step's, and how old it is.

    So what is missing is shown as missing, not as a value (Che et al. 2018, GRU-D, arXiv:1606.01865).
    """

    def __init__(self, schema: SeriesSchema) -> None:
        super().__init__()
        self._schema, self.features = schema, 3 * schema.channels.size

    def forward(self, x: Tensor, visible: Tensor) -> Tensor:
        """`x` on the unit scale and `visible`, both `(n, 1, t, c)`."""
        values = SPREADS * step_support(self._schema, x).scaled(x)[:, 0]
        seen, steps = visible[:, 0], torch.arange(x.shape[2], device=x.device)[:, None]
        last = torch.where(seen, steps, -1).cummax(1).values
        held = torch.where(last >= 0, values.gather(1, last.clamp_min(0)), 0.0)
        age = torch.tanh((steps - last) / _FADES)
        return torch.cat((held, seen.to(x.dtype), age), dim=2).transpose(1, 2)


class Recurrent(nn.Module):
    """An LSTM that reads both ways (Hochreiter & Schmidhuber 1997): `(n, inputs, t)` → `(n, width, t)`."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(inputs, width // 2, batch_first=True, bidirectional=True)

    def forward(self, x: Tensor) -> Tensor:
        hidden: Tensor = self.lstm(x.transpose(1, 2))[0]
        return hidden.transpose(1, 2)


class StepEncoder(nn.Module):
    """`(x, visible)`, both `(n, 1, t, c)`, → `Posterior`."""

    def __init__(self, schema: SeriesSchema, config: NetworkConfig, series: SeriesConfig) -> None:
        super().__init__()
        self.steps, width = Steps(schema), config.first_channels
        self.coarser = nn.Conv1d(self.steps.features, width, 2 * _COARSER - 1, stride=_COARSER, padding=_COARSER - 1)
        self.trunk = _trunk(width, schema, config, series)
        flat = width * _coarse_steps(schema)
        self.features = nn.Sequential(nn.Flatten(), nn.Linear(flat, config.hidden), ACTIVATIONS[config.activation]())
        self.mu = nn.Linear(config.hidden, config.latent_dim)
        self.logvar = nn.Linear(config.hidden, config.latent_dim)
        with torch.no_grad():
            self.mu.weight.mul_(_LOUD)

    def forward(self, x: Tensor, visible: Tensor) -> Posterior:
        features = self.features(self.trunk(self.coarser(self.steps(x, visible))))
        return Posterior(self.mu(features), self.logvar(features))


class StepDecoder(nn.Module):
    """`z` `(n, latent_dim)` → `ColumnLikelihood` of windows."""

    def __init__(self, schema: SeriesSchema, config: NetworkConfig, series: SeriesConfig) -> None:
        super().__init__()
        self._schema, self.coarse_channels = schema, config.first_channels
        activation, coarse = ACTIVATIONS[config.activation], _coarse_steps(schema)
        self.coarse = nn.Sequential(
            nn.Linear(config.latent_dim, config.hidden),
            activation(),
            nn.Linear(config.hidden, config.first_channels * coarse),
            activation(),
            nn.Unflatten(1, (config.first_channels, coarse)),
        )
        self.trunk = _trunk(config.first_channels + 2 * len(WAVES), schema, config, series)
        self.finer = nn.Conv1d(config.first_channels, config.first_channels, 3, padding=1)
        self.heads = StepHeads(schema, config.first_channels, informative=True)

    def forward(self, z: Tensor) -> ColumnLikelihood:
        return self.likelihood_and_features(z)[0]

    def likelihood_and_features(self, z: Tensor) -> tuple[ColumnLikelihood, CodeFeatures]:
        """The likelihood, and z's features for the context decoder; no gradient flows back through the latter."""
        coarse = self.coarse(z)
        where = waves(coarse.shape[2], z).expand(len(z), -1, -1)
        hidden = self.trunk(torch.cat((coarse, where), dim=1))
        stretched = F.interpolate(hidden, self._schema.steps, mode="linear", align_corners=False)
        hidden = F.silu(self.finer(stretched))
        return as_likelihood(self.heads(hidden), self._schema, 0.0, 1 / SPREADS), CodeFeatures(
            hidden.detach().unsqueeze(3), None
        )


def _coarse_steps(schema: SeriesSchema) -> int:
    """Steps of the networks to a window."""
    return -(-schema.steps // _COARSER)


def _trunk(inputs: int, schema: SeriesSchema, config: NetworkConfig, series: SeriesConfig) -> nn.Module:
    if series.series_network == "lstm":
        return Recurrent(inputs, config.first_channels)
    return Temporal(inputs, config.first_channels, schema.steps // (2 * _COARSER), config.activation)


def build(schema: SeriesSchema, config: FitConfig, seed: int) -> nn.ModuleDict:
    """Freshly initialised networks for windows of `schema`; see `assemble`."""
    network, own = config.network, series_config(config)
    return assemble(
        config,
        seed,
        lambda: VAE(StepEncoder(schema, network, own), StepDecoder(schema, network, own), network.latent_dim),
        lambda channels: SeriesContext(schema, config.context, own, channels),
    )


def prepare(networks: nn.ModuleDict, items: Items, train: np.ndarray, held_out: np.ndarray) -> None:
    """Linear prediction, beneath the context decoder."""
    if "context" in networks:
        schema = cast(SeriesSchema, items.schema)
        values = [scaled_windows(schema, items.select(rows)) for rows in (train, held_out if len(held_out) else train)]
        cast(SeriesContext, networks["context"]).autocovariance.fit(*values, overlaps=schema.overlaps)


def recipe(schema: SeriesSchema, config: FitConfig) -> Recipe:
    """The best epoch has the least held-out loss of both networks, per value."""
    own = series_config(config)
    return Recipe(
        steps=(own.shortest_epoch, own.longest_epoch),
        held_out=_HELD_OUT,
        at_once=512,
        patience=own.patience,
        averaged=True,
        gradient_norm=_LONGEST_GRADIENT,
        jitter=schema.wander,
        score=lambda row: held_out_elbo(row) / schema.size + row.get("validation_context", 0.0),
    )


def calibrate(model: FittedModel, items: Items, train: np.ndarray, held_out: np.ndarray) -> None:
    """How values depend on each other given codes; densities of steps' statistics; intervals, also of runs of steps."""
    seed = model.config.training.seed
    if isinstance(model.context, SeriesContext):
        windows = [
            normal_residuals(model, items.select(rows)) for rows in (train, held_out if len(held_out) else train)
        ]
        overlaps = cast(SeriesSchema, model.schema).overlaps
        model.context.residual.cpu().fit(*windows, overlaps=overlaps)
        model.context.residual.to(model.device)
    if len(held_out):
        model.calibrations["normality"] = fit_step_score(model, items, held_out, seed)
        model.calibrations["patches"] = fit_patches(model, items, held_out)
    apart = [
        rows[cast(Windows, items.origin).select(rows).thinned(model.schema.shape[0])] for rows in (held_out, train)
    ]
    model.calibrations["reference"] = Reference.fit(model, items, (apart[0], apart[1]), axes=(1, 3))
    if model.has_learnt(Conditioning.MISSING):
        left_out = items.select(held_out) if len(held_out) else items
        model.calibrations["coverage"] = fit_intervals(model, left_out, seed, _hide_gaps)


def _hide_gaps(x: Tensor, generator: torch.Generator) -> Tensor:
    return ~hide_gaps(x, draw_strength("gap", len(x), generator), generator)


@torch.inference_mode()
def normal_residuals(model: FittedModel, items: Items) -> Windowed:
    """Probability-integral-transform residuals of evenly chosen windows given their codes, as quantiles of the standard normal:
    independent if codes said all."""
    residuals, seen = [], []
    for _, x, visible in model.batches(items.select(some_windows(len(items)))):
        shares = model.vae.likelihood(model.vae.posterior(x, visible).mu).cdf(x).cpu().double()
        residuals.append(torch.special.ndtri(shares.clamp(_SURE, 1 - _SURE))[:, 0])
        seen.append(visible[:, 0].cpu())
    known = torch.cat(seen)
    return torch.where(known, torch.cat(residuals), 0.0), known


def fit_step_score(model: FittedModel, items: Items, held_out: np.ndarray, seed: int) -> IndependentScore | None:
    """From windows that were held out, each step once, as `detect` looks at it; None if there are too few.

    If they are less than 100 windows side by side, from those of the fit as well, since series vary from time to time. The
    networks may know the latter too well: their statistics are moved by as much as they are less, in the median.
    """
    rng = np.random.default_rng(derive_seed(seed, "normality"))
    normal, _, moved = _normal(model, items, held_out)
    parted = np.flatnonzero(np.isfinite(moved[:, 0, 0]))
    networks = normal.shape[2] // (1 + len(WIDTHS))
    least = [0.0, *((2 / width) ** 0.5 for width in WIDTHS)]  # of log mean squares of normal numbers
    two_sided = [0.0, *(1.0 for _ in WIDTHS)]
    score = IndependentScore.fit(rng.permutation(normal), np.tile(two_sided, networks), np.tile(least, networks))
    return None if score is None else score.with_partial(_parts(model, items, parted, moved))


def fit_patches(model: FittedModel, items: Items, held_out: np.ndarray) -> PatchScore | None:
    """From the same windows, after `fit_step_score`; None without that."""
    if not isinstance(model.normality, IndependentScore):
        return None
    windows = cast(Windows, items.origin)
    values = np.full((int(windows.lengths.sum()), items.schema.shape[1]), np.nan)
    windows.stitch(values, slice(None), np.where(items.visible(), items.values, np.nan)[..., 0])
    normal, chosen, _ = _normal(model, items, held_out)
    return PatchScore.fit(values, windows.select(chosen), own_nats(model.normality, model.normality.score(normal)))


def _normal(model: FittedModel, items: Items, held_out: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Statistics `(n, t, k)` of normal windows, as `detect` looks at them, and their numbers `(n,)`; and by how much those of
    each window are moved, `(items, 1, k)`, NaN of windows that do not count."""
    windows, every = cast(Windows, items.origin), np.arange(len(items))
    normal, chosen = _as_asked(model, items, held_out)
    moved = np.where(np.isin(every, held_out)[:, None, None], np.zeros(normal.shape[2]), np.nan)
    if windows.overlap and len(windows.select(held_out).thinned(windows.steps)) < _FEWEST_WINDOWS:
        others = np.setdiff1d(every, held_out)
        known, more = _as_asked(model, items, others)
        middles = (np.nanmedian(part, axis=(0, 1)) for part in (normal, known))
        less = np.maximum(np.subtract(*middles), 0)
        normal, chosen = np.concatenate((normal, known + less)), np.concatenate((chosen, more))
        moved[others] = less
    return normal, chosen, moved


def _parts(model: FittedModel, items: Items, rows: np.ndarray, moved: np.ndarray) -> np.ndarray:
    """Statistics `(n, t, k)` of windows among those numbered `rows`, hidden but for a run of steps at the start, in the middle or
    at the end: what short files and the surroundings of gaps look like. Those of each window are `moved` `(items, 1, k)`."""
    steps = items.schema.shape[0]
    lengths = {length for length in _RUNS if length < steps} | {round(share * steps) for share in _SHARES}
    runs = {(start, length) for length in lengths for start in (0, (steps - length) // 2, steps - length)}
    found = []
    for start, length in sorted(runs):
        most = _WINDOWS_PER_SHORT_RUN if length <= _SHORT else _WINDOWS_PER_RUN
        some = rows[np.linspace(0, len(rows) - 1, min(len(rows), most)).astype(np.int64)]
        hidden = np.ones((1, *items.schema.shape), bool)
        hidden[:, start : start + length] = False
        found.append(statistics(model, replace(items.select(some), hidden=hidden)) + moved[some])
    return np.concatenate(found)


def _as_asked(model: FittedModel, items: Items, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Statistics `(n, t, k)` of the windows numbered `rows`, thinned, NaN but for the steps that they are asked for; and the
    numbers of those that are left, `(n,)`."""
    windows = cast(Windows, items.origin)
    chosen = rows[windows.select(rows).thinned(cast(SeriesSchema, model.schema).stride)][:_MOST_WINDOWS]
    found = statistics(model, items.select(chosen))
    found[~windows.select(chosen).answers()] = np.nan
    return found, chosen
