"""Batches cut from arrays by index: no per-item loading, no copy of the data."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from fivefold.items import Items
from fivefold.model.fitted import channels_first
from fivefold.seeds import derive_seed


class _Batches(Dataset):
    """Indexed by arrays of item numbers; gives `(x, visible)`, both `(b, c, h, w)`."""

    def __init__(self, items: Items) -> None:
        self._items = items

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, indices: np.ndarray) -> tuple[Tensor, Tensor]:
        unit, visible = self._items.unit(indices)
        return channels_first(unit), channels_first(visible)


class _Indices(Sampler):
    """Arrays of item numbers; in an order that depends on the seed and the epoch alone, or in theirs.

    With `steps` an epoch has at least and at most so many batches: the items come more than once, or not all of them.
    """

    def __init__(
        self, rows: np.ndarray, batch_size: int, seed: int | None, steps: tuple[int, int] | None = None
    ) -> None:
        self._rows, self._batch_size, self._seed, self._epoch = rows, batch_size, seed, 0
        fewest, most = steps or (0, len(rows))
        self._passes = max(1, -(-fewest * batch_size // len(rows)))
        self._most = most * batch_size

    def __len__(self) -> int:
        return -(-min(self._passes * len(self._rows), self._most) // self._batch_size)

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning as an epoch starts, after a resume too."""
        self._epoch = epoch

    def __iter__(self) -> Iterator[np.ndarray]:
        # lazy: on resuming, Lightning asks for the iterator before it sets the epoch
        passes = [self._rows] * self._passes
        if self._seed is not None:
            random = np.random.default_rng(derive_seed(self._seed, "order", self._epoch))
            passes = [random.permutation(rows) for rows in passes]
        order = np.concatenate(passes)[: self._most]
        for start in range(0, len(order), self._batch_size):
            yield order[start : start + self._batch_size]


def make_loader(
    items: Items,
    rows: np.ndarray,
    batch_size: int,
    shuffle_seed: int | None = None,
    steps: tuple[int, int] | None = None,
) -> DataLoader:
    """A loader of `(x, visible)` batches of the items numbered `rows`, shuffled anew each epoch if there is a seed.

    `steps`: an epoch has at least and at most so many batches.
    """
    return DataLoader(_Batches(items), batch_size=None, sampler=_Indices(rows, batch_size, shuffle_seed, steps))
