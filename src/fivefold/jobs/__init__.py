"""What all jobs do: a dataset's blocks through a function, and the results back into the data's form."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from fivefold.items import Block, Items, concatenated
from fivefold.modality import Dataset

Results = Mapping[str, tuple[np.ndarray, np.ndarray | None]]
"""By role, values like the block's items, and where they count; see `Collector.add`."""
Watch = Callable[[Items], Items]


@dataclass(frozen=True)
class Collected:
    """Results by role, None where nobody asked; and how many elements were replaced."""

    by_role: dict[str, Any]
    changed: int

    def __getitem__(self, role: str) -> Any:
        return self.by_role[role]


def collect(
    data: Dataset, doing: str, work: Callable[[Block], Results], roles: Sequence[str], extra_roles: Sequence[str] = ()
) -> Collected:
    """`work` of each block, by role: `roles` take the place of the data's elements, `extra_roles` are numbers about them."""
    with ExitStack() as stack:
        asked = {role: data.collector(role) for role in roles}
        asked |= {role: data.collector(role, replace=False) for role in extra_roles}
        collectors = {role: stack.enter_context(found) for role, found in asked.items() if found is not None}
        for block in data.blocks(doing):
            results = work(block)
            for role, collector in collectors.items():
                collector.add(block, *results[role])
        changed = collectors[""].changed if "" in collectors else 0
        return Collected({role: collectors[role].result() if role in collectors else None for role in asked}, changed)


def in_one_pass(
    datasets: Sequence[Dataset],
    doing: str,
    work: Callable[[Items], np.ndarray],
    watch: Callable[[], Watch],
    axis: int = 0,
) -> list[tuple[Block, np.ndarray]]:
    """`work` of all items of small datasets, of one block each, at once; the blocks and their parts of the result along `axis`.

    `watch` makes `Jobs.watcher`s, one per dataset: no dataset is to know of another.
    """
    blocks = [next(iter(data.blocks(doing))) for data in datasets]
    blocks = [replace(block, items=watch()(block.items)) for block in blocks]
    results = work(concatenated([block.items for block in blocks]))
    ends = np.cumsum([len(block.items) for block in blocks])[:-1]
    return list(zip(blocks, np.split(results, ends, axis), strict=True))


def gathered(
    data: Dataset, role: str, block: Block, values: np.ndarray, where: np.ndarray, *, replace: bool = True
) -> Any:
    """The values of the only block of a dataset, in the form of its data."""
    collector = data.collector(role, replace=replace)
    assert collector is not None
    with collector:
        collector.add(block, values, where)
        return collector.result()
