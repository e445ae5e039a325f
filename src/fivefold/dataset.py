"""Datasets: items in memory as one, and data of a model's schema opened as one. No torch here."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, final

import numpy as np

from fivefold.findings import Check
from fivefold.items import Block, Collector, Items, Numbers, Schema
from fivefold.modality import Dataset, Place, check_source, chosen, modality_of


class IndependentItems:
    """Defaults for datasets of independent items: images and rows, but not the steps of a series."""

    def scores(self) -> Numbers:
        """One number per item."""
        return Numbers()

    def in_form(self, scores: np.ndarray) -> np.ndarray:
        """As they are: one per item."""
        return scores

    def adapted(self, anomaly: np.ndarray, p_values: Callable[[Any], np.ndarray]) -> None:
        """None: nothing comes after another."""


@dataclass(frozen=True)
class ItemSet(IndependentItems):
    """Items in memory as a dataset of one block; results are arrays like theirs, or go to `places`."""

    items: Items
    places: Mapping[str, Place] = field(default_factory=dict)

    @property
    def schema(self) -> Schema:
        return self.items.schema

    @property
    def source(self) -> str:
        return self.items.source

    def __len__(self) -> int:
        return len(self.items)

    @property
    def elements(self) -> int:
        return self.items.values.size

    @property
    def summary(self) -> str:
        return f"{self.source}: {len(self):,} of {self.schema.describe()}"

    def check(self) -> Check:
        return Check(self.summary)

    def blocks(self, doing: str) -> Iterator[Block]:
        """All items at once."""
        yield Block(self.items)

    def all_items(self) -> Items:
        return self.items

    examples = all_items

    def collector(self, role: str = "", *, replace: bool = True) -> Collector | None:
        if not self.places:
            return _ArrayCollector()
        return _ItemFileCollector(self.items, self.places[role], replace) if role in self.places else None

    def report(
        self, scores: Mapping[str, np.ndarray], windows: Any = None, events: Any = None
    ) -> dict[str, Iterable[Any]]:
        """A row per item, by its name or number."""
        import pyarrow as pa

        return {"": [pa.table({**self.named(np.arange(len(self.items))), **scores})]}

    def named(self, numbers: np.ndarray) -> dict[str, Any]:
        """Of items by their names or numbers."""
        return {"item": [self.items.name(number) for number in numbers.tolist()]}

    def to(self, places: Mapping[str, Any]) -> ItemSet:
        return dataclasses.replace(self, places=places)


class _ArrayCollector(Collector):
    def _put(self, block: Block, values: np.ndarray, where: np.ndarray) -> int:
        self._values = values
        return int(where.sum())

    def result(self) -> np.ndarray:
        return self._values


@final
class _ItemFileCollector(Collector):
    def __init__(self, items: Items, place: Place, replace: bool) -> None:
        self._items, self._place, self._replace = items, place, replace

    def _put(self, block: Block, values: np.ndarray, where: np.ndarray) -> int:
        self._place.put(self._items, values, self._replace)
        return int(where.sum())

    def result(self) -> Any:
        return self._place.path


def open_data(source: Any, schema: Schema, **reading: Any) -> Dataset:
    """Data of a model's schema: items as they are, a dataset, or whatever the modality can read.

    Raises
    ------
    DataError : if they can't be read, or don't fit
    UsageError : for what the modality does not take
    """
    check_source(source)
    if isinstance(source, Items):
        source = ItemSet(source)
    reading = chosen(reading)
    if hasattr(source, "blocks") and source.schema == schema and not reading:
        dataset: Dataset = source
        return dataset
    return modality_of(schema).data.open(source, schema, **reading)
