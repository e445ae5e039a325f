"""p(cell | the rest of its row) by a few looks at a row, in the place of one per column."""

from __future__ import annotations

from typing import cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from fivefold.config import Conditioning
from fivefold.model.fitted import FittedModel
from fivefold.tables.context import TableContext

_LOOKS = 6
_EVEN = 1e-6  # squared correlation that a group's size counts for


class Looks:
    """A model that looks at rows six times, each time asking for a share of their columns given all others.

    Columns that go together are asked for at different looks. In single precision, and always with as many rows
    at once: of matrices of one shape, a row's product does not depend on the other rows.
    """

    def __init__(self, model: FittedModel) -> None:
        self._rows, single = model.batch_size, model.single()
        self._context = context = cast(TableContext, single.context)
        turns = _apart(context.relatedness(), min(_LOOKS, model.schema.size))
        self._turns = [torch.tensor(turn, device=model.device) for turn in turns]
        features = [torch.tensor(context.cells.features_of(turn), device=model.device) for turn in turns]
        self._features = [(own, context.first.weight[:, own]) for own in features]

    def log_prob(self, x: Tensor, visible: Tensor, width: float) -> Tensor:
        """Log probability of each cell of rows `(n, 1, 1, d)`, n at most a batch, their distributions smoothed by `width`."""
        padding = (0, 0, 0, 0, 0, 0, 0, self._rows - len(x))
        cells, seen = F.pad(x.float(), padding), F.pad(visible, padding)
        context, result = self._context, torch.empty_like(cells)
        features = context.cells(cells, seen)
        parts = [features[:, own] @ weight for own, weight in self._features]
        everything = context.first_of_nothing(Conditioning.MISSING) + torch.stack(parts).sum(0)
        for asked, part in zip(self._turns, parts, strict=True):
            hidden, shift = everything - part, None
            if context.factors is not None:
                factors, shift = context.linear_part(cells, seen.index_fill(3, asked, False))
                hidden = hidden + factors @ context.of_factors
            likelihood = context.heads(context.last(hidden), asked, shift).members(len(hidden))
            result[..., asked] = likelihood.smoothed(width).log_prob(cells[..., asked])
        return result[: len(x)].to(x.dtype)


def _apart(related: np.ndarray, groups: int) -> list[tuple[int, ...]]:
    """Items as so many groups, of sizes that differ by one at most, with little in common: `related` `(d, d)` says how much.

    Those with most to lose choose first.
    """
    d = len(related)
    found: list[list[int]] = [[] for _ in range(groups)]
    cost = np.zeros((groups, d))
    for item in np.argsort(-related.sum(1), kind="stable").tolist():
        sizes = np.array([len(group) for group in found])
        group = int(np.where(sizes < -(-d // groups), cost[:, item] + _EVEN * sizes, np.inf).argmin())
        found[group].append(item)
        cost[group] += related[item]
    return [tuple(sorted(group)) for group in found if group]
