"""Which values the context decoder of series learns from, and how well it explains them."""

from __future__ import annotations

import torch
from torch import Tensor

from fivefold.model.conditioning import Conditioning
from fivefold.model.corruption import Corrupted
from fivefold.model.vae import CodeFeatures
from fivefold.series.context import SeriesContext
from fivefold.series.schema import SPREADS

_WITHOUT_Z = 0.25  # of the windows: z must pay for itself


def step_loss(
    context: SeriesContext, guide: CodeFeatures, seen: Corrupted, x: Tensor, visible: Tensor, generator: torch.Generator
) -> Tensor:
    """Mean loss over values, nats: a number.

    It is minus the log probability; for missing and noisy windows, whose use is the expected value, plus its squared error.
    The kind of window follows from what was done to the item: nothing: causal; values hidden: missing, and the hidden ones
    are to be explained; else noisy.

    Parameters
    ----------
    guide : h(z), z drawn from the posterior of what was `seen`
    x, visible : the clean windows `(n, 1, t, c)`, and which of their values are known
    """
    kinds = {
        Conditioning.CAUSAL: ~(seen.hidden | seen.noisy),
        Conditioning.MISSING: seen.hidden,
        Conditioning.NOISY: seen.noisy,
    }
    losses = []
    for window, chosen in kinds.items():
        rows = chosen.nonzero()[:, 0]
        guided = torch.rand(len(rows), generator=generator, device=x.device) >= _WITHOUT_Z
        if len(rows) == 0:
            continue
        shown = seen.visible[rows]
        around = context.surroundings(
            seen.x[rows], shown, window, CodeFeatures(guide.coarse[rows], None), guided=guided
        )
        told = context.explain(around, generator if context.training else None)
        wanted = visible[rows] & ~shown if window is Conditioning.MISSING else visible[rows]
        loss = -told.log_prob(x[rows])
        if window is not Conditioning.CAUSAL:
            loss = loss + (SPREADS * told.error(x[rows])).square()
        losses.append(torch.where(wanted, loss, 0.0).flatten(1).sum(1) / wanted.flatten(1).sum(1).clamp_min(1))
    return torch.cat(losses).mean()
