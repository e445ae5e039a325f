"""Layers that networks for tables share: features of cells, linear layers of several members, heads of likelihoods."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from fivefold.tables.likelihood import ColumnLikelihood, Support
from fivefold.tables.schema import TableSchema
from fivefold.tables.settings import COMPONENTS, FARTHEST_CELL, KNOTS, feature_places


class Cells(nn.Module):
    """Features of rows, `(n, features)`: what is visible; of numbers how large they are, piecewise linearly (Gorishniy et
    al. 2022, arXiv:2203.05556); of classes which one, one-hot. All 0 where hidden.
    """

    def __init__(self, schema: TableSchema) -> None:
        super().__init__()
        self._schema, self.columns = schema, schema.columns
        classes = [column.classes for column in schema.columns]
        self.numbers = [place for place, count in enumerate(classes) if not count]
        self._classes = [place for place, count in enumerate(classes) if count]
        self.places, self.features = feature_places(classes)
        self._total = sum(classes)

    def forward(self, x: Tensor, visible: Tensor) -> Tensor:
        """`x` on the unit scale and `visible`, both `(n, 1, 1, d)`."""
        seen, support = visible.flatten(1), Support.of(self._schema, x)
        parts = [seen.to(x.dtype)]
        if self.numbers:
            scaled = self.scaled(x).unsqueeze(2)
            knots = torch.tensor(KNOTS, dtype=x.dtype, device=x.device)
            pieces = ((scaled - knots[:-1]) / knots.diff()).clamp(0, 1)
            shown = torch.cat((scaled, pieces), dim=2) * seen[:, self.numbers].unsqueeze(2)
            parts.append(shown.flatten(1))
        if self._classes:
            before = self.features - self._total
            first = torch.tensor([self.places[column].start - before for column in self._classes], device=x.device)
            shown = torch.zeros((len(x), self._total), dtype=x.dtype, device=x.device)
            codes = support.codes(x)[:, 0, 0, self._classes] + first
            parts.append(shown.scatter_(1, codes, seen[:, self._classes].to(x.dtype)))
        return torch.cat(parts, dim=1)

    def scaled(self, x: Tensor) -> Tensor:
        """The numbers of `x`, whether visible or not, on their columns' scale: `(n, numbers)`."""
        support = Support.of(self._schema, x)
        return support.scaled(x)[:, 0, 0, self.numbers].clamp(-FARTHEST_CELL, FARTHEST_CELL)


class MemberLinear(nn.Module):
    """As many linear layers as there are members, side by side: `(members, n, inputs)` → `(members, n, outputs)`."""

    def __init__(self, members: int, inputs: int, outputs: int) -> None:
        super().__init__()
        bound = 1 / math.sqrt(inputs)
        self.weight = nn.Parameter(torch.empty(members, inputs, outputs).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(members, 1, outputs).uniform_(-bound, bound))

    def forward(self, x: Tensor) -> Tensor:
        return torch.baddbmm(self.bias, x, self.weight)


class ColumnHeads(nn.Module):
    """Hidden units `(members, n, width)` → the cells' likelihood, of each member by itself."""

    def __init__(self, schema: TableSchema, width: int, members: int = 1) -> None:
        super().__init__()
        self._schema, self._columns = schema, len(schema.columns)
        self._per_cell = ColumnLikelihood.count_parameters(schema)
        self.linear = MemberLinear(members, width, self._per_cell * self._columns)
        with torch.no_grad():
            self.linear.weight.mul_(0.1)
            bias = self.linear.bias.zero_().view(members, self._columns, self._per_cell)
            bias[..., COMPONENTS : 2 * COMPONENTS] = torch.linspace(-1.2, 1.2, COMPONENTS)
            bias[..., 2 * COMPONENTS : 3 * COMPONENTS] = -1.0

    def forward(self, hidden: Tensor, columns: Tensor | None = None, shift: Tensor | None = None) -> ColumnLikelihood:
        """Of c columns (default: all), one member's rows after the other's: `(members * n, ·, 1, c)`.

        `shift` `(n, d)` moves the locations.
        """
        support = Support.of(self._schema, hidden)
        weight, bias = (part.unflatten(2, (self._columns, -1)) for part in (self.linear.weight, self.linear.bias))
        if columns is not None:
            weight, bias = weight[:, :, columns], bias[:, :, columns]
            support, shift = support.columns(columns), None if shift is None else shift[:, columns]
        parameters = torch.baddbmm(bias.flatten(2), hidden, weight.flatten(2)).unflatten(2, (-1, self._per_cell))
        parameters = self._shifted(parameters, None if shift is None else shift.unsqueeze(2))
        return ColumnLikelihood.of(parameters.flatten(0, 1).transpose(1, 2).unsqueeze(2), support)

    def column(self, hidden: Tensor, column: int, shift: Tensor | None = None) -> Tensor:
        """Parameters of one column's cells, `(members, n, p)`; `shift` `(n,)`."""
        place = slice(column * self._per_cell, (column + 1) * self._per_cell)
        parameters = torch.baddbmm(self.linear.bias[..., place], hidden, self.linear.weight[..., place])
        return self._shifted(parameters, None if shift is None else shift.unsqueeze(1))

    @staticmethod
    def _shifted(parameters: Tensor, shift: Tensor | None) -> Tensor:
        if shift is None:
            return parameters
        before, locations, after = parameters.tensor_split((COMPONENTS, 2 * COMPONENTS), dim=-1)
        return torch.cat((before, locations + shift, after), dim=-1)
