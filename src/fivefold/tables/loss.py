"""Which cells the context decoder of tables learns from, and how well it explains them."""

from __future__ import annotations

import torch
from torch import Tensor

from fivefold.model.conditioning import Conditioning
from fivefold.model.corruption import Corrupted, draw_strength
from fivefold.model.vae import CodeFeatures
from fivefold.tables.context import TableContext

_WITHOUT_Z = 0.25  # of the rows: z must pay for itself


def row_loss(
    context: TableContext,
    guide: CodeFeatures,
    seen: Corrupted,
    x: Tensor,
    visible: Tensor,
    positions: int,
    generator: torch.Generator,
) -> Tensor:
    """Mean loss over hidden cells, and over the members, nats: a number.

    It is minus the log probability, plus the squared error of the expected number on the column's own scale. What a row
    shows follows from what was done to it: nothing: the cells of its first columns, as many as chance has it; cells
    hidden: the others; cells swapped: a random choice of what the encoder saw. Masks so follow the data's own
    (Kim et al. 2024, arXiv:2412.19152): only known cells are ever hidden on top.

    Parameters
    ----------
    guide : h(z), z drawn from the posterior of what was `seen`
    positions : columns that are asked for, at most
    x, visible : the clean rows `(n, 1, 1, d)`, and which of their cells are known
    """
    n, columns = len(x), x.shape[3]
    first = torch.rand((n, 1, 1, 1), generator=generator, device=x.device) * columns
    causal = torch.arange(columns, device=x.device) < first.floor()
    strength = draw_strength("hide", n, generator).view(-1, 1, 1, 1)
    some = torch.rand(x.shape, generator=generator, device=x.device) >= strength
    guided = torch.rand(n, generator=generator, device=x.device) >= _WITHOUT_Z
    clean = ~(seen.hidden | seen.noisy).view(-1, 1, 1, 1)
    shown = seen.visible & torch.where(clean, causal, some | ~seen.noisy.view(-1, 1, 1, 1))
    kinds = Conditioning.MISSING * seen.hidden + Conditioning.NOISY * (seen.noisy & ~seen.hidden)
    asked = torch.randperm(columns, generator=generator, device=x.device)[:positions]
    told = context.explain(seen.x, shown, kinds, guide, guided, asked, generator if context.training else None)
    targets, wanted = (part[..., asked].repeat(len(told.locations) // n, 1, 1, 1) for part in (x, visible & ~shown))
    loss = told.error(targets).square() - told.log_prob(targets)
    return torch.where(wanted, loss, 0.0).sum() / wanted.sum().clamp_min(1)
