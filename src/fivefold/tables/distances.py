"""Distances to remembered rows, as `Neighbours` measures them, by operations that other runtimes have."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from fivefold.model.graph import Ranks
from fivefold.tables.neighbours import FARTHEST, FLOOR, Neighbours

_AT_ONCE = 8  # features


class Distances(nn.Module):
    """`Neighbours.log_distances` of rows that were not met in the fit: encoded cells `(n, d)` → `(n, 3)`, both float64.

    Parameters
    ----------
    memory : the rows
    numbers : which of the columns are of numbers, not classes
    """

    def __init__(self, memory: Neighbours, numbers: np.ndarray) -> None:
        super().__init__()
        self._numbers, self._classes = np.flatnonzero(numbers).tolist(), np.flatnonzero(~numbers).tolist()
        self._distinct, self._nearest = memory.distinct, memory.nearest
        of_numbers: list[Any] = [memory.columns[at] for at in self._numbers]
        self.centre = _buffer([column.centre for column in of_numbers])
        self.deviation = _buffer([column.deviation for column in of_numbers])
        self.ranks = Ranks(*(column.values for column in of_numbers)) if of_numbers else None
        scores = [column.normal for column in of_numbers]
        self.scores = _buffer(np.concatenate(scores) if scores else [])
        self.first_score = nn.Buffer(torch.tensor(np.cumsum([0, *map(len, scores)])[:-1], dtype=torch.int64))
        of_classes: list[Any] = [memory.columns[at] for at in self._classes]
        tables = [column.indicators for column in of_classes]
        self.indicators = nn.ParameterList([_constant(np.pad(table, ((0, 1), (0, 0)))) for table in tables])
        places = [np.full(1, at) for at in self._numbers]
        places += [np.full(table.shape[1], at) for at, table in zip(self._classes, tables, strict=True)]
        order = np.argsort(np.concatenate(places), kind="stable")
        self.order = nn.Buffer(torch.from_numpy(order))
        self.whitening = _buffer(memory.whitening.T)
        self.spaces = nn.ParameterList([_constant(space) for space in memory.spaces])

    def forward(self, cells: Tensor) -> Tensor:
        found, own = list[Tensor](), None
        for rows, space, norm, nearest in zip(
            self._in_spaces(cells), self.spaces, Neighbours.NORMS, self._nearest, strict=True
        ):
            count = min(nearest + 1, len(space))
            near = torch.topk(_powers(rows, space, norm), count, dim=1, largest=False).values
            near = near if norm == 1 else torch.sqrt(near)
            own = (near[:, :1] == 0) & self._distinct if own is None else own
            others = torch.where(own, near[:, 1:], near[:, :-1]).double()
            found.append(others.mean(1) / cells.shape[1] ** (1 / norm))
        return torch.log(torch.stack(found, dim=1) + FLOOR)

    def _in_spaces(self, cells: Tensor) -> list[Tensor]:
        numbers = cells[:, self._numbers]
        deviations = ((numbers - self.centre) / self.deviation).clamp(-FARTHEST, FARTHEST)
        normal = numbers if self.ranks is None else self._of_ranks(numbers, self.ranks)
        classes = [
            table[torch.where(torch.isnan(cells[:, at]), len(table) - 1, cells[:, at]).long()]
            for at, table in zip(self._classes, self.indicators, strict=True)
        ]
        standard, scores = (
            torch.cat([torch.where(torch.isnan(numbers), 0.0, part), *classes], dim=1)[:, self.order]
            for part in (deviations, normal)
        )
        return [space.float() for space in (standard, standard @ self.whitening, scores)]

    def _of_ranks(self, numbers: Tensor, ranks: Ranks) -> Tensor:
        """Normal scores: of how many remembered numbers are below, those alike counting for half."""
        return self.scores[self.first_score + ranks(numbers) + ranks(numbers, right=True)]


def _powers(rows: Tensor, space: Tensor, norm: float) -> Tensor:
    """Distances, before the root, of rows `(n, f)` to others `(m, f)`: `(n, m)`; few features at once, in little memory."""
    total = rows.new_zeros(())
    for start in range(0, space.shape[1], _AT_ONCE):
        features = slice(start, start + _AT_ONCE)
        off = rows[:, None, features] - space[None, :, features]
        total = total + (off.abs() if norm == 1 else off.square()).sum(2)
    return total


def _buffer(numbers: Any) -> nn.Buffer:
    return nn.Buffer(torch.tensor(np.asarray(numbers, np.float64)))


def _constant(numbers: Any) -> nn.Parameter:
    return nn.Parameter(torch.tensor(np.asarray(numbers)), requires_grad=False)
