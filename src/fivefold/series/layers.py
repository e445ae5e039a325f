"""Layers that networks for series share: features of steps, dilated convolutions, heads of likelihoods."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fivefold.model.vae import ACTIVATIONS
from fivefold.series.schema import SPREADS, SeriesSchema
from fivefold.series.settings import LOG_SCALES, WAVES, dilations
from fivefold.tables.likelihood import ColumnLikelihood, Support
from fivefold.tables.settings import COMPONENTS

FINEST = 1 / 2048  # of a channel's scale: nearer numbers are distinguished only if its step does
_FADES = 8.0  # steps over which the last known value ages


def step_support(schema: SeriesSchema, like: Tensor) -> Support:
    """Where values of the channels can lie."""
    return Support.of(schema.channels, like, FINEST)


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


class Temporal(nn.Module):
    """Residual convolutions whose reach doubles from layer to layer (Bai et al. 2018, arXiv:1803.01271).

    `(n, inputs, t)` → `(n, width, t)`. A causal one's outputs depend on inputs up to their own step.
    """

    def __init__(self, inputs: int, width: int, reach: int, activation: str, causal: bool = False) -> None:
        super().__init__()
        self._causal, self._activation = causal, ACTIVATIONS[activation]()
        self._dilations = dilations(reach)
        self.first = nn.Conv1d(inputs, width, 1)
        self.layers = nn.ModuleList(nn.Conv1d(width, width, 3, dilation=dilation) for dilation in self._dilations)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.first(x)
        for layer, dilation in zip(self.layers, self._dilations, strict=True):
            padding = (2 * dilation, 0) if self._causal else (dilation, dilation)
            hidden = hidden + layer(F.pad(self._activation(hidden), padding))
        return self._activation(hidden)


class Recurrent(nn.Module):
    """An LSTM that reads both ways (Hochreiter & Schmidhuber 1997): `(n, inputs, t)` → `(n, width, t)`."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(inputs, width // 2, batch_first=True, bidirectional=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.lstm(x.transpose(1, 2))[0].transpose(1, 2)


class StepHeads(nn.Module):
    """Hidden units `(n, width, t)` → the parameters of each step's `ColumnLikelihood`, `(n, p, t, c)`.

    At first logistics about 0; with `informative`, their locations depend on the hidden units from the start.
    """

    def __init__(self, schema: SeriesSchema, width: int, informative: bool = False) -> None:
        super().__init__()
        self._channels = schema.channels.size
        self.linear = nn.Conv1d(width, 3 * COMPONENTS * self._channels, 1)
        with torch.no_grad():
            weight = self.linear.weight.view(self._channels, 3, COMPONENTS, width)
            weight[:, 0::2].mul_(0.1)
            weight[:, 1].mul_(1.0 if informative else 0.1)
            assert self.linear.bias is not None
            bias = self.linear.bias.zero_().view(self._channels, 3, COMPONENTS)
            bias[:, 1] = torch.linspace(-1.2, 1.2, COMPONENTS)
            bias[:, 2] = -1.0

    def forward(self, hidden: Tensor) -> Tensor:
        return self.linear(hidden).unflatten(1, (self._channels, -1)).permute(0, 2, 3, 1)


def as_likelihood(
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
