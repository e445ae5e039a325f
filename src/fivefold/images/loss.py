"""Which elements the context decoder learns from, and how well it explains them."""

from __future__ import annotations

import torch
from torch import Tensor

from fivefold.images.context import ImageContext, by_element, column
from fivefold.model.conditioning import Conditioning
from fivefold.model.corruption import Corrupted
from fivefold.model.vae import CodeFeatures

_SQUARED_ERROR = 50.0  # nats; where E[x] is asked for, it is learnt for its own sake too
_WITHOUT_Z = 0.25  # of the causal windows: z must pay for itself, so there must be code lengths without it


def context_loss(
    context: ImageContext,
    guide: CodeFeatures,
    seen: Corrupted,
    x: Tensor,
    visible: Tensor,
    positions: int,
    generator: torch.Generator,
) -> Tensor:
    """Mean loss over random elements, `positions` per item, nats: a number.

    It is minus the log probability; for missing and noisy windows, whose use is the expected value, plus 50 times the
    squared error of that. Both are least for the true distribution.

    The kind of window follows from what was done to the item: nothing: causal; elements hidden: missing, and the hidden
    ones are to be explained; else noisy. So each kind meets the z that it will meet in use.

    Parameters
    ----------
    guide : h(z), z drawn from the posterior of what was `seen`
    x, visible : the clean items `(n, c, h, w)`, and which of their elements are known
    """
    assert guide.mean is not None
    kinds = {
        Conditioning.CAUSAL: ~(seen.hidden | seen.noisy),
        Conditioning.MISSING: seen.hidden,
        Conditioning.NOISY: seen.noisy,
    }
    losses = []
    for window, chosen in kinds.items():
        rows = chosen.nonzero()[:, 0]
        if len(rows) == 0:
            continue
        shown = seen.visible[rows]
        guided = None
        if window is Conditioning.CAUSAL:
            guided = torch.rand(len(rows), generator=generator, device=x.device) >= _WITHOUT_Z
        around = context.surroundings(
            seen.x[rows], shown, window, CodeFeatures(guide.coarse[rows], guide.mean[rows]), guided=guided
        )
        known = by_element(visible[rows])
        wanted = known & ~by_element(shown) if window is Conditioning.MISSING else known
        weights = wanted + 1e-6 * known  # something, if nothing was hidden
        elements = torch.multinomial(weights, positions, replacement=True, generator=generator)
        items = torch.arange(len(rows), device=x.device).repeat_interleave(positions)
        targets = column(by_element(x[rows]).gather(1, elements).flatten())
        likelihood = context(around, items, elements.flatten())
        loss = -likelihood.log_prob(targets)
        if window is not Conditioning.CAUSAL:
            loss = loss + _SQUARED_ERROR * (targets - likelihood.mean).square()
        losses.append(loss)
    return torch.cat(losses).mean()
