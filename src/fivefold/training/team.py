"""One fit by several processes: each has a share of every batch, and they average their gradients.

All of them read all items and begin alike, so what is found in the items, and what is fitted after training, is of all of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn


@dataclass(frozen=True)
class Team:
    """Processes of the default group of `torch.distributed`; with a `size` of 1 nothing is asked of that.

    Attributes
    ----------
    rank : of this process, from 0
    size : how many there are
    """

    rank: int = 0
    size: int = 1

    @contextmanager
    def working(self) -> Iterator[None]:
        """Fits within are those of the team."""
        before = _current.set(self)
        try:
            yield
        finally:
            _current.reset(before)

    def share(self, rows: np.ndarray) -> np.ndarray:
        """Those of a batch's rows that this process takes: all where there are fewer than processes."""
        return rows if len(rows) < self.size else rows[self.rank :: self.size]

    def stream(self, name: str) -> str:
        """The random stream of this process, the first one's as if it were alone."""
        return f"{name} of {self.rank}" if self.rank else name

    @torch.no_grad()
    def begin_alike(self, weights: Iterable[nn.Parameter]) -> None:
        """Take the weights of the first process, from which others' may differ in their last digits."""
        if self.size > 1:
            for weight in weights:
                dist.broadcast(weight, 0)

    def average_gradients(self, weights: Iterable[nn.Parameter], items: int) -> None:
        """To the mean over all items of a batch, of which this process had so many."""
        if self.size == 1:
            return
        gradients = [weight.grad for weight in weights if weight.grad is not None]
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        sums = self.sum(torch.cat((flat, flat.new_ones(1))) * items)
        parts = torch.split(sums[:-1] / sums[-1], [gradient.numel() for gradient in gradients])
        for gradient, part in zip(gradients, parts, strict=True):
            gradient.copy_(part.view_as(gradient))

    def sum(self, values: Tensor) -> Tensor:
        """Over all processes, the same to the bit in each."""
        if self.size > 1:
            dist.all_reduce(values)
        return values


ALONE = Team()
_current: ContextVar[Team] = ContextVar("team", default=ALONE)


def current_team() -> Team:
    """That which works at present: this process alone, unless somebody says otherwise."""
    return _current.get()
