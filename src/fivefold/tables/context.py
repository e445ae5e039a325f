"""The context decoder of tables, p(cell | z, what is visible of its row).

Several small networks, the members, are averaged: on tables of some hundred rows each alone would say too much. They see
the visible cells, what the decoder makes of z, and what a linear-Gaussian model of the row makes of the visible cells.
"""

from __future__ import annotations

from collections.abc import Iterator
from copy import copy

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fivefold.config import ContextConfig
from fivefold.model.conditioning import Conditioning
from fivefold.model.vae import CodeFeatures
from fivefold.tables.factors import Factors
from fivefold.tables.features import Cells, ColumnHeads, MemberLinear
from fivefold.tables.likelihood import ColumnLikelihood, Support
from fivefold.tables.schema import TableSchema
from fivefold.tables.settings import TableConfig


class TableSurroundings:
    """A batch of rows, of which the cells are asked for; see `context.Surroundings`."""

    def __init__(
        self, x: Tensor, visible: Tensor, window: Conditioning, guide: CodeFeatures | None, guided: Tensor | None
    ) -> None:
        n = len(x)
        self.x, self.visible, self.window = x.clone(), visible.clone(), window
        self.codes = 1 if guide is None else len(guide.coarse) // n
        self.coarse = None if guide is None else guide.coarse.view(n, self.codes, -1)
        known = torch.full((n,), guide is not None, device=x.device)
        self.known = (known if guided is None else known & guided).to(x.dtype)

    def put(self, items: Tensor, elements: Tensor, values: Tensor) -> None:
        """Make cells visible as `values`; all three `(m,)`."""
        self.x[items, 0, 0, elements] = values
        self.visible[items, 0, 0, elements] = True

    def shown(self, items: Tensor, elements: Tensor) -> Tensor:
        """What is shown of the rows `items` to tell each its cell of `elements`: bool `(m, 1, 1, d)`.

        Causal: the visible cells of earlier columns; else all but the cell itself.
        """
        column = torch.arange(self.x.shape[3], device=items.device)
        others = column < elements[:, None] if self.window is Conditioning.CAUSAL else column != elements[:, None]
        return self.visible[items] & others[:, None, None]


class TableContext(nn.Module):
    """Surroundings and numbers of cells → `ColumnLikelihood` of those cells, as tensors `(m, ·, codes, 1)`."""

    def __init__(self, schema: TableSchema, config: ContextConfig, rows: TableConfig, coarse_channels: int) -> None:
        super().__init__()
        self.schema, self._coarse, self._members = schema, coarse_channels, rows.members
        self.cells = Cells(schema)
        numbers = len(self.cells.numbers)
        size = self.cells.features + coarse_channels + 1 + len(Conditioning)
        self._factor_count = min(rows.factors, numbers) if numbers > 1 else 0
        self.factors = Factors(numbers, self._factor_count) if self._factor_count else None
        size += self._factor_count
        self._dropout, width = rows.dropout, config.context_width
        self.first = MemberLinear(rows.members, size, width)
        self.later = nn.ModuleList([MemberLinear(rows.members, width, width) for _ in range(config.context_depth - 1)])
        self.heads = ColumnHeads(schema, width, rows.members)

    def describe(self) -> str:
        """What a cell sees."""
        return f"the other cells of the row, {self._members} networks"

    def surroundings(
        self, x: Tensor, visible: Tensor, window: Conditioning, guide: CodeFeatures | None, guided: Tensor | None = None
    ) -> TableSurroundings:
        """`TableSurroundings` for this network."""
        return TableSurroundings(x, visible, window, guide, guided)

    def explain(
        self,
        x: Tensor,
        shown: Tensor,
        kinds: Tensor,
        guide: CodeFeatures,
        guided: Tensor,
        columns: Tensor,
        generator: torch.Generator | None,
    ) -> ColumnLikelihood:
        """What the members say of c columns' cells of rows `(n, 1, 1, d)` of which they are shown some.

        One member's after the other's: `(members * n, ·, 1, c)`.

        Parameters
        ----------
        kinds : `(n,)` int64, the `Conditioning` of each row
        guide, guided : h(z) of each row, and whether it counts, `(n,)` bool
        columns : `(c,)` int64, which
        generator : of which units are left out; None: none are
        """
        coarse = guide.coarse.view(len(x), 1, -1)
        hidden, shift = self._hidden(x, shown, kinds, coarse, guided.to(x.dtype), generator)
        return self.heads(hidden.squeeze(2), columns, shift)

    def columns(self, around: TableSurroundings) -> Iterator[ColumnLikelihood]:
        """The distribution of each column's cells, `(n, ·, codes, 1)`, in turn.

        Given those of the columns before, if the window is causal; else all others of the row.
        """
        known = _Known(self, around)
        count = around.x.shape[3]
        if around.window is Conditioning.CAUSAL:
            for column in range(count):
                yield known.tell(column)
                known.put(column)
            return
        for column in range(count):
            known.put(column)
        for column in range(count):
            yield known.without(column).tell(column)

    def forward(self, around: TableSurroundings, items: Tensor, elements: Tensor) -> ColumnLikelihood:
        """The distribution of each of `elements` `(m,)` of `items` `(m,)`, given each of the row's codes."""
        rows, place = items, torch.arange(len(items), device=items.device)
        if around.window is not Conditioning.CAUSAL and not around.visible[items, 0, 0, elements].any():
            rows, place = torch.unique(items, return_inverse=True)  # all of a row's hidden cells see the same
            shown = around.visible[rows]
        else:
            shown = around.shown(items, elements)
        kinds = torch.full_like(rows, around.window)
        coarse = None if around.coarse is None else around.coarse[rows]
        hidden, shift = self._hidden(around.x[rows], shown, kinds, coarse, around.known[rows])
        parts = []
        for column in torch.unique(elements).tolist():
            mine = (elements == column).nonzero()[:, 0]
            moved = shift[place[mine], column] if column in self.cells.numbers and shift is not None else None
            parts.append((mine, self._column(hidden[:, place[mine]], column, moved)))
        support = Support.of(self.schema, hidden).at(elements)
        return ColumnLikelihood.scattered(parts, support)

    def _column(self, hidden: Tensor, column: int, shift: Tensor | None) -> ColumnLikelihood:
        """Of one column's cells, from the last hidden layer `(members, n, codes, width)`; `shift` `(n,)`."""
        codes = hidden.shape[2]
        moved = None if shift is None else shift.repeat_interleave(codes)
        parameters = self.heads.column(hidden.flatten(1, 2), column, moved).unflatten(1, (-1, codes))
        number = torch.full((hidden.shape[1],), column, device=hidden.device)
        support = Support.of(self.schema, hidden).at(number)
        return ColumnLikelihood.mixture(
            [ColumnLikelihood.of(each.transpose(1, 2).unsqueeze(3), support) for each in parameters]
        )

    def _hidden(
        self,
        x: Tensor,
        shown: Tensor,
        kinds: Tensor,
        coarse: Tensor | None,
        known: Tensor,
        generator: torch.Generator | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """The last hidden layer `(members, n, codes, width)`, and how far the factors move each cell `(n, d)`."""
        features, shift = self._features(x, shown, kinds, coarse, known)
        hidden = self.first(features.flatten(0, 1).expand(self._members, -1, -1))
        return self._deeper(hidden.unflatten(1, features.shape[:2]), generator), shift

    def _deeper(self, hidden: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """From the first layer, before its activation, to the last."""
        shape = hidden.shape[1:3]
        hidden = self._activate(hidden.flatten(1, 2), generator)
        for layer in self.later:
            hidden = self._activate(layer(hidden), generator)
        return hidden.unflatten(1, shape)

    def _activate(self, hidden: Tensor, generator: torch.Generator | None) -> Tensor:
        hidden = F.silu(hidden)
        if generator is not None and self._dropout:
            kept = torch.rand(hidden.shape, generator=generator, device=hidden.device) >= self._dropout
            hidden = hidden * kept / (1 - self._dropout)
        return hidden

    def _features(
        self, x: Tensor, shown: Tensor, kinds: Tensor, coarse: Tensor | None, known: Tensor
    ) -> tuple[Tensor, Tensor | None]:
        """What the first layer sees, `(n, codes, features)`, and how far the factors move each cell `(n, d)`."""
        parts, shift = [self.cells(x, shown), F.one_hot(kinds, len(Conditioning)).to(x.dtype)], None
        if self.factors is not None:
            expected, factors = self.factors(self.cells.scaled(x), shown.flatten(1)[:, self.cells.numbers].to(x.dtype))
            shift = expected.new_zeros(len(x), shown.shape[3])
            shift[:, self.cells.numbers] = expected
            parts.append(factors)
        told = x.new_zeros((len(x), 1, self._coarse)) if coarse is None else coarse
        switch = known.view(-1, 1, 1).expand(-1, told.shape[1], 1)
        common = torch.cat(parts, dim=1).unsqueeze(1).expand(-1, told.shape[1], -1)
        return torch.cat((common, told * switch, switch), dim=2), shift


class _Known:
    """What the first layer and the factors make of the cells put so far, of a batch of rows, summed up cell by cell."""

    def __init__(self, context: TableContext, around: TableSurroundings) -> None:
        self._context, x, visible = context, around.x, around.visible
        kinds = torch.full((len(x),), around.window, device=x.device)
        self._seen = context.cells(torch.where(visible, x, 0.0), visible)
        self._scaled, self._visible = context.cells.scaled(x), visible.flatten(1).to(x.dtype)
        features, _ = context._features(x, torch.zeros_like(visible), kinds, around.coarse, around.known)
        self._hidden = context.first(features.flatten(0, 1).expand(context._members, -1, -1)).unflatten(1, (len(x), -1))
        f = context._factor_count
        self._of_factors = context.first.weight[:, context.cells.features + len(Conditioning) :][:, :f]
        self._sums = [x.new_zeros(len(x), f, f), x.new_zeros(len(x), f)]

    def put(self, column: int) -> None:
        """Make the visible cells of a column known."""
        self._hidden, self._sums = self._moved(column, 1)

    def without(self, column: int) -> _Known:
        """The same but for a column that was put."""
        other = copy(self)
        other._hidden, other._sums = self._moved(column, -1)
        return other

    def _moved(self, column: int, sign: int) -> tuple[Tensor, list[Tensor]]:
        cells, weight, sums = self._context.cells, self._context.first.weight, self._sums
        mine = cells.places[column]
        added = (self._seen[:, mine] @ weight[:, mine]).addcmul(self._visible[:, [column]], weight[:, [column]])
        if self._context.factors is not None and column in cells.numbers:
            number = cells.numbers.index(column)
            more = self._context.factors.evidence(number, self._scaled[:, number], self._visible[:, column])
            sums = [total + sign * each for total, each in zip(sums, more, strict=True)]
        return self._hidden.add(added.unsqueeze(2), alpha=sign), sums

    def tell(self, column: int) -> ColumnLikelihood:
        """The distribution of a column's cells."""
        hidden, shift, numbers = self._hidden, None, self._context.cells.numbers
        if self._context.factors is not None:
            expected, factors = self._context.factors.expect(*self._sums)
            hidden = hidden + (factors @ self._of_factors).unsqueeze(2)
            shift = expected[:, numbers.index(column)] if column in numbers else None
        return self._context._column(self._context._deeper(hidden), column, shift)
