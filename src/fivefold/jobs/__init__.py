"""What all jobs do: a dataset's blocks through a function, and the results back into the data's form."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np

from fivefold.items import Block
from fivefold.modality import Dataset

Results = Mapping[str, tuple[np.ndarray, np.ndarray | None]]
"""By role, values like the block's items, and where they count; see `Collector.add`."""


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
