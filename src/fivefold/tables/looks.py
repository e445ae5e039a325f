"""p(cell | the rest of its row) by a few looks at a row, in the place of one per column."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from fivefold.config import Conditioning
from fivefold.model.fitted import FittedModel
from fivefold.tables.context import TableContext
from fivefold.tables.likelihood import ColumnLikelihood, SelectedHeads
from fivefold.tables.settings import table_config

_NEIGHBOURS = 1e-3  # squared correlation that columns side by side are taken to have besides, less those further off
_FEW = 16  # rows up to which there are no more at once than so many
_OUTPUTS = 1 << 20  # numbers that heads give at once


class Looks:
    """A model that looks at rows a few times, each time asking for a share of their columns given all others.

    Columns that go together are asked for at different looks. In single precision, and always with as many rows
    at once, few or many: of matrices of one shape, a row's product does not depend on the other rows. What is done with few
    is the same step by step, so that they differ from many by rounding at most, and usually not at all.
    """

    @torch.inference_mode()
    def __init__(self, model: FittedModel) -> None:
        self._context = context = cast(TableContext, model.single().context)
        turns = _apart(context.loadings(), min(table_config(model.config).looks, model.schema.size))
        self._rows = min(max(_OUTPUTS // (context.outputs * model.schema.size), 1), model.batch_size)
        self._nothing, self._weight = context.first_of_nothing(Conditioning.MISSING), context.of_cells
        self._looks = [self._look(torch.tensor(turn, device=model.device)) for turn in turns]
        self._order = torch.cat([look.asked for look in self._looks])
        self._support = context.heads.of(self._order).support

    def _look(self, asked: Tensor) -> _Look:
        own = torch.tensor(self._context.cells.features_of(asked.tolist()), device=asked.device)
        weight = -self._weight[:, own]
        if self._context.factors is not None:
            weight = torch.cat((weight, self._context.of_factors), dim=1)
        return _Look(asked, own, weight, self._context.heads.of(asked))

    def log_prob(self, x: Tensor, visible: Tensor, width: float) -> Tensor:
        """Log probability of each cell of rows `(n, 1, 1, d)`, their distributions smoothed by `width`."""
        parts = zip(*(torch.split(part, self._rows) for part in (x.float(), visible)), strict=True)
        return torch.cat([self._log_prob(cells, seen, width) for cells, seen in parts]).to(x.dtype)

    def _log_prob(self, x: Tensor, visible: Tensor, width: float) -> Tensor:
        rows = min(_FEW, self._rows) if len(x) <= _FEW else self._rows
        padding = (0, 0, 0, 0, 0, 0, 0, rows - len(x))
        cells, seen = (x, visible) if len(x) == rows else (F.pad(x, padding), F.pad(visible, padding))
        return self.of_batch(cells, seen, width)[: len(x)]

    def of_batch(self, cells: Tensor, seen: Tensor, width: float) -> Tensor:
        """`log_prob` of as many rows as come, in single precision."""
        context = self._context
        features = context.cells(cells, seen)
        everything = self._nothing + features @ self._weight
        first, shifts = list[Tensor](), list[Tensor | None]()
        for look, (factors, shift) in zip(self._looks, self._linear_parts(cells, seen), strict=True):
            known = features[:, look.features]
            if factors is not None:
                known = torch.cat((known, factors), dim=1)
            first.append(torch.baddbmm(everything, known.expand(len(everything), -1, -1), look.weight))
            shifts.append(shift)
        hidden = torch.unflatten(context.last(torch.cat(first, dim=1)), 1, (len(first), -1)).unbind(1)
        asked = zip(self._looks, hidden, shifts, strict=True)
        parameters = torch.cat([look.heads.outputs(last, shift) for look, last, shift in asked], dim=2)
        likelihood = ColumnLikelihood.of(parameters.flatten(0, 1).transpose(1, 2).unsqueeze(2), self._support)
        found = likelihood.members(len(parameters)).smoothed(width).log_prob(cells[..., self._order])
        return found[..., self._order.argsort()]

    def _linear_parts(self, cells: Tensor, seen: Tensor) -> Iterable[tuple[Tensor | None, Tensor | None]]:
        """What each look has from the factors, see `TableContext.linear_part`; of few rows, and in graphs, all at once."""
        if self._context.factors is None:
            return [(None, None)] * len(self._looks)
        shown = (seen.index_fill(3, look.asked, False) for look in self._looks)
        if not torch.compiler.is_exporting() and len(cells) > _FEW:
            return (self._context.linear_part(cells, own) for own in shown)
        parts = self._context.linear_part(cells.repeat(len(self._looks), 1, 1, 1), torch.cat(list(shown)))
        return zip(*(torch.unflatten(part, 0, (len(self._looks), -1)) for part in parts), strict=True)


@dataclass(frozen=True)
class _Look:
    """The columns `asked` for, their `features`, what these (taken away again) and the factors weigh in the first layer
    `(members, inputs, width)`, and the columns' heads."""

    asked: Tensor
    features: Tensor
    weight: Tensor
    heads: SelectedHeads


def _apart(loadings: np.ndarray, groups: int) -> list[tuple[int, ...]]:
    """Columns as so many groups with little in common, none larger than it must be, the largest first.

    `loadings` `(d, factors)` are such that their products are correlations. Columns with most to lose choose first.
    """
    d = len(loadings)
    place, found = np.arange(d), [list[int]() for _ in range(groups)]
    cost = np.zeros((groups, d))
    for item in np.argsort(-((loadings @ (loadings.T @ loadings)) * loadings).sum(1), kind="stable").tolist():
        full = [len(group) == -(-d // groups) for group in found]
        group = int(np.where(full, np.inf, cost[:, item]).argmin())
        found[group].append(item)
        cost[group] += np.square(loadings @ loadings[item]) + _NEIGHBOURS / (1 + np.abs(place - item))
    return sorted((tuple(sorted(group)) for group in found), key=len, reverse=True)
