"""Encoder and decoder for windows of series: dilated convolutions, or LSTM."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fivefold.config import NetworkConfig
from fivefold.images.networks import ACTIVATIONS
from fivefold.model.vae import VAE, CodeFeatures, Posterior
from fivefold.series.schema import SPREADS, SeriesSchema
from fivefold.series.settings import LOG_SCALES, WAVES, SeriesConfig, dilations
from fivefold.tables.likelihood import ColumnLikelihood, Support
from fivefold.tables.settings import COMPONENTS

FINEST = 1 / 2048  # of a channel's scale: closer than that two numbers are told apart only if its step does
_LOUD = 5.0  # of the code's first weights: codes that say nothing at first may never come to say something
_COARSER = 4  # steps of a window to one of the networks'
_FADES = 8.0  # steps over which the last known value ages


def step_support(schema: SeriesSchema, like: Tensor) -> Support:
    """Where values of the channels can lie."""
    return Support.of(schema.channels, like, FINEST)


class Steps(nn.Module):
    """What networks see of windows, `(n, 3 c, t)`: the last value known, whether it is this step's, and how old it is.

    So what is missing is told as missing, not as some value (Che et al. 2018, GRU-D, arXiv:1606.01865).
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


class Temporal(nn.Module):
    """Residual convolutions whose reach doubles from layer to layer (Bai et al. 2018, arXiv:1803.01271).

    `(n, inputs, t)` → `(n, width, t)`. A causal one's outputs depend on inputs up to their own step.
    """

    def __init__(
        self, inputs: int, width: int, reach: int, activation: str, causal: bool = False, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self._causal, self._activation, self._dropout = causal, ACTIVATIONS[activation](), dropout
        self._dilations = dilations(reach)
        self.first = nn.Conv1d(inputs, width, 1)
        self.layers = nn.ModuleList(nn.Conv1d(width, width, 3, dilation=dilation) for dilation in self._dilations)

    def forward(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """With a `generator`, channels are left out at random: the share that was asked for."""
        hidden = self.first(x)
        for layer, dilation in zip(self.layers, self._dilations, strict=True):
            active = self._activation(hidden)
            if generator is not None and self._dropout:
                kept = torch.rand((*active.shape[:2], 1), generator=generator, device=x.device) >= self._dropout
                active = active * kept / (1 - self._dropout)
            padding = (2 * dilation, 0) if self._causal else (dilation, dilation)
            hidden = hidden + layer(F.pad(active, padding))
        return self._activation(hidden)


class Recurrent(nn.Module):
    """An LSTM that reads both ways (Hochreiter & Schmidhuber 1997): `(n, inputs, t)` → `(n, width, t)`."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(inputs, width // 2, batch_first=True, bidirectional=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.lstm(x.transpose(1, 2))[0].transpose(1, 2)


class StepHeads(nn.Module):
    """Hidden numbers `(n, width, t)` → the parameters of each step's `ColumnLikelihood`, `(n, p, t, c)`.

    At first logistics about 0; `telling`: whose places depend on the hidden numbers from the start.
    """

    def __init__(self, schema: SeriesSchema, width: int, telling: bool = False) -> None:
        super().__init__()
        self._channels = schema.channels.size
        self.linear = nn.Conv1d(width, 3 * COMPONENTS * self._channels, 1)
        with torch.no_grad():
            weight = self.linear.weight.view(self._channels, 3, COMPONENTS, width)
            weight[:, 0::2].mul_(0.1)
            weight[:, 1].mul_(1.0 if telling else 0.1)
            assert self.linear.bias is not None
            bias = self.linear.bias.zero_().view(self._channels, 3, COMPONENTS)
            bias[:, 1] = torch.linspace(-1.2, 1.2, COMPONENTS)
            bias[:, 2] = -1.0

    def forward(self, hidden: Tensor) -> Tensor:
        return self.linear(hidden).unflatten(1, (self._channels, -1)).permute(0, 2, 3, 1)


def as_columns(
    parameters: Tensor, schema: SeriesSchema, shift: Tensor | float, scale: Tensor | float
) -> ColumnLikelihood:
    """Distributions from parameters `(n, p, t, c)` in units of `scale` around `shift`, which are `(n, 1, t, c)`."""
    logits, locations, log_scales = parameters.split(COMPONENTS, dim=1)
    moved = shift + scale * locations, log_scales + torch.as_tensor(scale).log()
    return ColumnLikelihood.of(torch.cat((logits, *moved), dim=1), step_support(schema, parameters), LOG_SCALES)


def waves(steps: int, like: Tensor) -> Tensor:
    """Where a step is in its window, smoothly: `(features, t)`."""
    along = torch.linspace(0, math.pi, steps, dtype=like.dtype, device=like.device)
    return torch.stack([part(times * along) for times in WAVES for part in (torch.sin, torch.cos)])


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
        self.heads = StepHeads(schema, config.first_channels, telling=True)

    def forward(self, z: Tensor) -> ColumnLikelihood:
        return self.guided(z)[0]

    def guided(self, z: Tensor) -> tuple[ColumnLikelihood, CodeFeatures]:
        """The likelihood, and what the context decoder is told of z; no gradient flows back through the latter."""
        coarse = self.coarse(z)
        where = waves(coarse.shape[2], z).expand(len(z), -1, -1)
        hidden = self.trunk(torch.cat((coarse, where), dim=1))
        stretched = F.interpolate(hidden, self._schema.steps, mode="linear", align_corners=False)
        hidden = F.silu(self.finer(stretched))
        return as_columns(self.heads(hidden), self._schema, 0.0, 1 / SPREADS), CodeFeatures(
            hidden.detach().unsqueeze(3), None
        )


def _coarse_steps(schema: SeriesSchema) -> int:
    """Steps of the networks to a window."""
    return -(-schema.steps // _COARSER)


def _trunk(inputs: int, schema: SeriesSchema, config: NetworkConfig, series: SeriesConfig) -> nn.Module:
    if series.series_network == "lstm":
        return Recurrent(inputs, config.first_channels)
    return Temporal(inputs, config.first_channels, schema.steps // (2 * _COARSER), config.activation)


def build_series_vae(schema: SeriesSchema, config: NetworkConfig, series: SeriesConfig, seed: int) -> VAE:
    """A freshly initialised VAE for windows of `schema`; the same seed gives the same weights."""
    with torch.random.fork_rng(devices=[]):  # layers initialise themselves from the global state
        torch.manual_seed(seed)
        return VAE(StepEncoder(schema, config, series), StepDecoder(schema, config, series), config.latent_dim)
