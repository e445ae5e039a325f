"""p(cell | the rest of its row) by a few looks at a row, in the place of one per column."""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor

from fivefold.config import Conditioning
from fivefold.model.fitted import FittedModel
from fivefold.model.likelihoods import constant
from fivefold.tables.context import TableContext

_LOOKS = 6


class Looks:
    """A model that looks at rows six times, each time asking for a share of their columns given all others.

    Neighbours, which are more often alike, are asked for at different looks. In single precision, and always with as many rows
    at once: of matrices of one shape, a row's product does not depend on the other rows.
    """

    def __init__(self, model: FittedModel) -> None:
        self._rows, single = model.batch_size, model.single()
        self._context = cast(TableContext, single.context)
        columns = range(model.schema.size)
        self._turns = [columns[start::_LOOKS] for start in range(min(_LOOKS, len(columns)))]

    def log_prob(self, x: Tensor, visible: Tensor, width: float) -> Tensor:
        """Log probability of each cell of rows `(n, 1, 1, d)`, n at most a batch, their distributions smoothed by `width`."""
        padding = (0, 0, 0, 0, 0, 0, 0, self._rows - len(x))
        cells, seen = F.pad(x.float(), padding), F.pad(visible, padding)
        context, device = self._context, x.device
        features, result = context.cells(cells, seen), torch.empty_like(cells)
        places = [constant(tuple(context.cells.features_of(turn)), torch.int64, device) for turn in self._turns]
        parts = [features[:, own] @ context.first.weight[:, own] for own in places]
        everything = context.first_of_nothing(Conditioning.MISSING) + torch.stack(parts).sum(0)
        for turn, part in zip(self._turns, parts, strict=True):
            asked = constant(tuple(turn), torch.int64, device)
            hidden, shift = everything - part, None
            if context.factors is not None:
                shown = seen.index_fill(3, asked, False)
                factors, shift = context.linear_part(cells, shown)
                hidden = hidden + factors @ context.of_factors
            likelihood = context.heads(context.last(hidden), asked, shift).members(len(hidden))
            result[..., asked] = likelihood.smoothed(width).log_prob(cells[..., asked])
        return result[: len(x)].to(x.dtype)
