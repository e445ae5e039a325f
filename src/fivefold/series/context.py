"""The context decoder of series, p(value | z, what is visible of its window).

A linear prediction from the window's other values (see `autocovariance`) says where a value should be, and how sure that is;
convolutions over how far off such predictions were, and over what the decoder makes of z, say how it is distributed about that.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fivefold.config import ContextConfig
from fivefold.images.context import code_rows
from fivefold.model.conditioning import Conditioning
from fivefold.model.vae import CodeFeatures
from fivefold.series.linear import LinearPredictor, Predicted
from fivefold.series.networks import StepHeads, Temporal, as_columns, step_support, waves
from fivefold.series.schema import SPREADS, SeriesSchema
from fivefold.series.settings import FARTHEST_OFF, SeriesConfig
from fivefold.tables.likelihood import ColumnLikelihood


class SeriesSurroundings:
    """A batch of windows, of which values are asked for; see `context.Surroundings`."""

    def __init__(
        self, x: Tensor, visible: Tensor, window: Conditioning, guide: CodeFeatures | None, guided: Tensor | None
    ) -> None:
        n = len(x)
        self.x, self.visible, self.window = x.clone(), visible.clone(), window
        self.codes = 1 if guide is None else len(guide.coarse) // n
        self.coarse = None if guide is None else guide.coarse.squeeze(3)
        known = torch.full((n,), guide is not None, device=x.device)
        self.known = (known if guided is None else known & guided).to(x.dtype)
        self.told: ColumnLikelihood | None = None

    def put(self, items: Tensor, elements: Tensor, values: Tensor) -> None:
        """Make values visible; all three `(m,)`."""
        channels = self.x.shape[3]
        place = items, 0, elements // channels, elements % channels
        self.x[place], self.visible[place], self.told = values, True, None


class SeriesContext(nn.Module):
    """Surroundings and numbers of values → `ColumnLikelihood` of those, as tensors `(m, ·, codes, 1)`."""

    def __init__(self, schema: SeriesSchema, config: ContextConfig, series: SeriesConfig, coarse_channels: int) -> None:
        super().__init__()
        self.schema, self._coarse, self._reach = schema, coarse_channels, series.reach
        self.autocovariance = LinearPredictor(schema)
        self.residual = LinearPredictor(schema)  # of what the VAE's distributions leave, made normal
        inputs = 3 * schema.channels.size + coarse_channels + 1 + len(waves(2, torch.empty(0)))
        self.trunks = nn.ModuleList(
            Temporal(inputs, config.context_width, series.reach, "silu", kind is Conditioning.CAUSAL, series.dropout)
            for kind in Conditioning
        )
        self.heads = nn.ModuleList(StepHeads(schema, config.context_width) for _ in Conditioning)

    def describe(self) -> str:
        """What a value sees."""
        return f"linear prediction from the window, convolutions over {self._reach} steps on either side"

    def surroundings(
        self, x: Tensor, visible: Tensor, window: Conditioning, guide: CodeFeatures | None, guided: Tensor | None = None
    ) -> SeriesSurroundings:
        """`SeriesSurroundings` for this network."""
        return SeriesSurroundings(x, visible, window, guide, guided)

    def explain(self, around: SeriesSurroundings, generator: torch.Generator | None = None) -> ColumnLikelihood:
        """The distribution of every value given each of its window's codes, `(n * codes, ·, t, c)`.

        Causal: given the visible values before it; missing: all visible ones but itself; noisy: all. `generator`: of which
        units are left out; None: none are.
        """
        if around.told is None:
            around.told = self._explain(around, generator)
        return around.told

    def forward(self, around: SeriesSurroundings, items: Tensor, elements: Tensor) -> ColumnLikelihood:
        """The distribution of each of `elements` `(m,)` of `items` `(m,)`, given each of the window's codes."""
        return self.explain(around).at(code_rows(items, around.codes), elements)

    def _explain(self, around: SeriesSurroundings, generator: torch.Generator | None) -> ColumnLikelihood:
        support = step_support(self.schema, around.x)
        scaled = torch.where(around.visible, support.scaled(around.x), 0.0)
        rules = (self.autocovariance.causal, self.autocovariance.missing, self.autocovariance.noisy)
        found = rules[around.window](scaled, around.visible)
        shown = self._shown(scaled, around, found)
        if around.window is Conditioning.CAUSAL:
            shown = F.pad(shown, (1, -1))
        told = shown.new_zeros(len(shown), self._coarse, shown.shape[2]) if around.coarse is None else around.coarse
        codes = around.codes
        known = around.known.repeat_interleave(codes).view(-1, 1, 1)
        where = waves(shown.shape[2], shown).expand(len(told), -1, -1)
        switch = known.expand(-1, 1, shown.shape[2])
        hidden = self.trunks[around.window](
            torch.cat((shown.repeat_interleave(codes, 0), told * known, switch, where), 1)
        )
        parameters = self.heads[around.window](hidden)
        mean, std = (each.repeat_interleave(codes, 0) for each in (found.mean, found.std))
        return as_columns(parameters, self.schema, mean, std)

    def _shown(self, scaled: Tensor, around: SeriesSurroundings, found: Predicted) -> Tensor:
        """What the convolutions see of each step, `(n, 3 c, t)`: how far off predictions are, what is visible, and how sure
        predictions are."""
        off = ((scaled - found.mean) / found.std).clamp(-FARTHEST_OFF, FARTHEST_OFF) * around.visible
        parts = off, around.visible.to(scaled.dtype), (SPREADS * found.std).log()
        return torch.cat(parts, dim=3)[:, 0].transpose(1, 2)
