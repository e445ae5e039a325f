"""Jobs as networks from what users have to what they want, which other runtimes can take."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Graph:
    """A job of a model as a network.

    Attributes
    ----------
    network : takes the inputs in their order, gives a tuple of the outputs in theirs
    inputs : by name the shape of one item's part, and its dtype; of texts that of their codes, float64
    outputs : names
    texts : of inputs that are texts, the code of each that is known, -1 for missing, and the code of any other
    labels : of outputs that are texts, the text of each code from 0 on, and the input that stands where the code is -1, or None
    steps : of outputs that are rounded, by how much that may go another way
    """

    network: nn.Module
    inputs: Mapping[str, tuple[tuple[int, ...], torch.dtype]]
    outputs: tuple[str, ...]
    texts: Mapping[str, tuple[Mapping[str, int], int]] = field(default_factory=dict)
    labels: Mapping[str, tuple[tuple[str, ...], str | None]] = field(default_factory=dict)
    steps: Mapping[str, float] = field(default_factory=dict)

    @property
    def places(self) -> tuple[str, ...]:
        """What outputs are called in a file, where no two things have one name: those of inputs' names have `_` at the end."""
        return tuple(f"{name}_" if name in self.inputs else name for name in self.outputs)


class Varied(nn.Module):
    """A network as one of any number of inputs."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, *inputs: Tensor) -> Any:
        return self.network(*inputs)


class Ranks(nn.Module):
    """How many of a list's numbers are below others, or not above them; of as many lists as there are columns.

    Lists are cut into blocks: first the blocks are counted, then the numbers in one.

    Parameters
    ----------
    lists : each ascending, float64
    """

    def __init__(self, *lists: np.ndarray) -> None:
        super().__init__()
        self._side = side = math.isqrt(max(map(len, lists))) + 1
        padded = [np.pad(numbers, (0, side**2 - len(numbers)), constant_values=np.inf) for numbers in lists]
        self.blocks = nn.Buffer(torch.from_numpy(np.concatenate(padded).reshape(-1, side)))
        self.last = nn.Buffer(self.blocks[:, -1].reshape(len(lists), side))
        self.first = nn.Buffer(torch.arange(len(lists)) * side)

    def forward(self, values: Tensor, right: bool = False) -> Tensor:
        """Of values `(n, lists)` int64, of NaN 0."""
        wanted, compare = values.unsqueeze(2), torch.le if right else torch.lt
        block = compare(self.last, wanted).double().sum(2).long()
        return block * self._side + compare(self.blocks[self.first + block], wanted).double().sum(2).long()
