"""Batches of items, gathered from where they are."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from fivefold.items import Items
from fivefold.model.fitted import channels_first
from fivefold.seeds import derive_seed
from fivefold.training.module import Batch
from fivefold.training.team import ALONE, Team


class Batches:
    """Those of the items numbered `rows`; shuffled anew each epoch if there is a seed, else in their order.

    With `steps` an epoch has at least and at most so many batches: the items come more than once, or not all of them.
    Of a `team` this process has its share of each.
    """

    def __init__(
        self,
        items: Items,
        rows: np.ndarray,
        batch_size: int,
        seed: int | None = None,
        steps: tuple[int, int] | None = None,
        team: Team = ALONE,
    ) -> None:
        self._items, self._rows, self._batch_size, self._seed = items, rows, batch_size, seed
        self._team = team
        fewest, most = steps or (0, len(rows))
        self._passes = max(1, -(-fewest * batch_size // len(rows)))
        self._most = most * batch_size

    def __len__(self) -> int:
        """Number of batches in an epoch."""
        return -(-min(self._passes * len(self._rows), self._most) // self._batch_size)

    def epoch(self, number: int) -> Iterator[Batch]:
        """`(x, visible)`, both `(b, c, h, w)`; their order depends on the seed and the epoch's number alone."""
        passes = [self._rows] * self._passes
        if self._seed is not None:
            random = np.random.default_rng(derive_seed(self._seed, "order", number))
            passes = [random.permutation(rows) for rows in passes]
        order = np.concatenate(passes)[: self._most]
        for start in range(0, len(order), self._batch_size):
            unit, visible = self._items.unit(self._team.share(order[start : start + self._batch_size]))
            yield channels_first(unit), channels_first(visible)
