"""The context decoder of series, p(value | z, what is visible of its window).

A linear prediction from the window's other values (see `linear`) says where a value should be, and how sure that is;
convolutions over how far off such predictions were, and over what the decoder makes of z, say how it is distributed about that.
"""

from __future__ import annotations

import math
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fivefold.config import Conditioning, ContextConfig
from fivefold.model.context import ContextDecoder, Surroundings, TrainingBatch, code_rows
from fivefold.model.vae import ACTIVATIONS, CodeFeatures
from fivefold.series.linear import LinearPredictor, Predicted
from fivefold.series.schema import SPREADS, SeriesSchema, count_states
from fivefold.series.settings import FARTHEST_OFF, LOG_SCALES, WAVES, SeriesConfig, dilations
from fivefold.tables.likelihood import FIRST_LOCATIONS, ColumnLikelihood, Support
from fivefold.tables.settings import COMPONENTS

_WITHOUT_Z = 0.25  # of the windows: z must pay for itself
FINEST = 1 / 2048  # of a channel's scale: nearer numbers are distinguished only if its step does


class SeriesSurroundings(Surroundings):
    """A batch of windows, of which values are asked for; see `Surroundings`."""

    likelihood: ColumnLikelihood | None = None  # of all values, as long as none is put

    def put(self, items: Tensor, elements: Tensor, values: Tensor) -> None:
        channels = self.x.shape[3]
        place = items, 0, elements // channels, elements % channels
        self.x[place], self.visible[place], self.likelihood = values, True, None


class SeriesContext(ContextDecoder):
    """Surroundings and numbers of values → `ColumnLikelihood` of those, as tensors `(m, ·, codes, 1)`."""

    surroundings_class = SeriesSurroundings

    def __init__(self, schema: SeriesSchema, config: ContextConfig, series: SeriesConfig, coarse_channels: int) -> None:
        super().__init__()
        self.schema, self._coarse = schema, coarse_channels
        self.autocovariance = LinearPredictor(schema)
        self.residual = LinearPredictor(schema)  # of what the VAE's distributions leave, made normal
        inputs = 3 * schema.channels.size + coarse_channels + 1 + 2 * len(WAVES)
        self.trunks = nn.ModuleList(
            Temporal(inputs, config.context_width, series.reach, "silu", kind is Conditioning.CAUSAL)
            for kind in Conditioning
        )
        self.heads = nn.ModuleList(StepHeads(schema, config.context_width) for _ in Conditioning)

    def forward(self, around: SeriesSurroundings, items: Tensor, elements: Tensor) -> ColumnLikelihood:
        return self.explain(around).at(code_rows(items, around.codes), elements)

    def explain(self, around: SeriesSurroundings) -> ColumnLikelihood:
        """The distribution of every value given each of its window's codes, `(n * codes, ·, t, c)`.

        Causal: given the visible values before it; missing: all visible ones but itself; noisy: all.
        """
        if around.likelihood is None:
            around.likelihood = self._explain(around)
        return around.likelihood

    def loss(self, batch: TrainingBatch) -> Tensor:
        """Mean loss over all values, however many `positions` are asked for, nats: a number; see `ContextDecoder`.

        It is minus the log probability; for missing and noisy windows, whose use is the expected value, plus its squared error.
        The conditioning follows from what was done to the window: nothing: causal; values hidden: missing, and the hidden ones
        are to be explained; else noisy.
        """
        z_features, seen, x, visible = batch.z_features, batch.seen, batch.x, batch.visible
        losses = []
        for conditioning, rows in seen.by_conditioning():
            uses_z = batch.uniform(len(rows)) >= _WITHOUT_Z
            if len(rows) == 0:
                continue
            shown = seen.visible[rows]
            features = CodeFeatures(z_features.coarse[rows], None)
            around = SeriesSurroundings(seen.x[rows], shown, conditioning, features, uses_z)
            likelihood = self.explain(around)
            wanted = visible[rows] & ~shown if conditioning is Conditioning.MISSING else visible[rows]
            loss = -likelihood.log_prob(x[rows])
            if conditioning is not Conditioning.CAUSAL:
                loss = loss + (SPREADS * likelihood.error(x[rows])).square()
            losses.append(torch.where(wanted, loss, 0.0).flatten(1).sum(1) / wanted.flatten(1).sum(1).clamp_min(1))
        return torch.cat(losses).mean()

    def _explain(self, around: SeriesSurroundings) -> ColumnLikelihood:
        support = step_support(self.schema, around.x)
        scaled = torch.where(around.visible, support.scaled(around.x), 0.0)
        predict = (self.autocovariance.causal, self.autocovariance.missing, self.autocovariance.noisy)
        predicted = predict[around.conditioning](scaled, around.visible)
        shown = self._shown(scaled, around, predicted)
        if around.conditioning is Conditioning.CAUSAL:
            shown = F.pad(shown, (1, -1))
        n, codes, steps = len(shown), around.codes, shown.shape[2]
        coarse = (
            shown.new_zeros(n, self._coarse, steps)
            if around.z_features is None
            else around.z_features.coarse.squeeze(3)
        )
        known = around.z_known.repeat_interleave(codes).view(-1, 1, 1)
        where = waves(steps, shown).expand(len(coarse), -1, -1)
        inputs = shown.repeat_interleave(codes, 0), coarse * known, known.expand(-1, 1, steps), where
        hidden = self.trunks[around.conditioning](torch.cat(inputs, 1))
        parameters = self.heads[around.conditioning](hidden)
        mean, std = (part.repeat_interleave(codes, 0) for part in (predicted.mean, predicted.std))
        return as_likelihood(parameters, self.schema, mean, std)

    def _shown(self, scaled: Tensor, around: SeriesSurroundings, predicted: Predicted) -> Tensor:
        """What the convolutions see of each step, `(n, 3 c, t)`: how far off predictions are, what is visible, and how sure
        predictions are."""
        off = ((scaled - predicted.mean) / predicted.std).clamp(-FARTHEST_OFF, FARTHEST_OFF) * around.visible
        parts = off, around.visible.to(scaled.dtype), (SPREADS * predicted.std).log()
        return torch.cat(parts, dim=3)[:, 0].transpose(1, 2)


def step_support(schema: SeriesSchema, like: Tensor) -> Support:
    """Where values of the channels can lie."""
    support = Support.of(schema.channels, like, FINEST)
    if not schema.states:
        return support
    counts = {column.name: count_states(column) for column in schema.states}
    states = [counts.get(column.name, 0) for column in schema.channels.columns]
    return replace(support, states=like.new_tensor(states).view(1, 1, 1, -1))


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
        output: Tensor = self._activation(hidden)
        return output


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
            bias[:, 1] = torch.tensor(FIRST_LOCATIONS)
            bias[:, 2] = -1.0

    def forward(self, hidden: Tensor) -> Tensor:
        parameters: Tensor = self.linear(hidden)
        return parameters.view(len(hidden), self._channels, -1, hidden.shape[2]).permute(0, 2, 3, 1)


def as_likelihood(
    parameters: Tensor, schema: SeriesSchema, shift: Tensor | float, scale: Tensor | float
) -> ColumnLikelihood:
    """Distributions from parameters `(n, p, t, c)` in units of `scale` around `shift`, which are `(n, 1, t, c)`."""
    logits, locations, log_scales = torch.split(parameters, COMPONENTS, dim=1)
    moved = shift + scale * locations, log_scales + torch.as_tensor(scale).log()
    return ColumnLikelihood.of(torch.cat((logits, *moved), dim=1), step_support(schema, parameters), LOG_SCALES)


def waves(steps: int, like: Tensor) -> Tensor:
    """Where a step is in its window, smoothly: `(features, t)`."""
    along = torch.linspace(0, math.pi, steps, dtype=like.dtype, device=like.device)
    return torch.stack([part(times * along) for times in WAVES for part in (torch.sin, torch.cos)])
