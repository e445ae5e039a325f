"""Pictures of parts as a dataset; they are read as noisy ones are. No torch here."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn, cast

import numpy as np

from fivefold.errors import UsageError
from fivefold.findings import Check
from fivefold.images.files import shown_surprise
from fivefold.items import Block, Collector, Items
from fivefold.parts.octaves import octaves
from fivefold.parts.overlays import write_overlays
from fivefold.parts.schema import PartSchema
from fivefold.pictures import dataset as pictures
from fivefold.pictures.dataset import SHARDS, TEST_SETS, TRAINING_SETS, PictureCollector, PictureSet, new, place
from fivefold.pictures.patches import Patches, PatchPlaces
from fivefold.pictures.schema import PATCH
from fivefold.seeds import derive_seed

__all__ = ["SHARDS", "TEST_SETS", "TRAINING_SETS", "new", "open", "place", "recognises"]


@dataclass(frozen=True)
class PartSet(PictureSet):
    """Pictures of parts of any sizes; see `PictureSet`."""

    def check(self) -> Check:
        """What is read."""
        return Check(self.summary, {}, self.doubts)

    def all_items(self) -> NoReturn:
        """Raise `UsageError`: pictures of any size are no items of one shape."""
        raise UsageError("pictures of parts have no codes of their own: detect is what can be done with them")

    def examples(self) -> Items:
        """Patches at random places of the pictures and smaller copies."""
        rng = np.random.default_rng(derive_seed(0, "patches"))
        copies = [
            (number, small) for number, picture in enumerate(self.pictures) for small in octaves(picture, 2 * PATCH)[1:]
        ]
        numbers = np.array([*range(len(self)), *(number for number, _ in copies)])
        pictures, side = [*self.pictures, *(small for _, small in copies)], self.schema.patch
        patches = Patches.drawn(pictures, side, rng, turns=1, beyond=side // 2)
        corners = patches.corners.copy()
        corners[:, 0] = numbers[corners[:, 0]]  # copies are held out with the pictures
        sizes = tuple(picture.shape[:2] for picture in self.pictures)
        origin = PatchPlaces(cast(Any, sizes), patches.side, corners)
        return Items(cast(Any, patches), self.schema, self.source, origin=origin)

    def collector(self, role: str = "", *, replace: bool = True) -> Collector | None:
        place = self.places.get(role)
        if place is None or replace or place.path.suffix.lower() not in ("", ".png"):
            return super().collector(role, replace=replace)
        return _HeatCollector(self, place)

    def report(
        self, scores: Mapping[str, np.ndarray], windows: Any = None, events: Any = None
    ) -> dict[str, Iterable[Any]]:
        """A row per picture, by its name or number, and one per region; in a folder of heat maps, pictures with these framed."""
        import pyarrow as pa

        named, place = self.named(np.arange(len(self))), self.places.get("surprise")
        if place is not None and not place.path.suffix:
            write_overlays(place.path, self.pictures, cast(PartSchema, self.schema), named["item"], events)
        return {"": [pa.table({**named, **scores})], "regions": [events.table(named["item"])]}

    def named(self, numbers: np.ndarray) -> dict[str, Any]:
        """Of pictures their names, or numbers."""
        names = self.names or list(map(str, range(len(self))))
        return {"item": [names[number] for number in numbers.tolist()]}


class _HeatCollector(PictureCollector):
    """Surprise as grey levels."""

    def _put(self, block: Block, values: np.ndarray, where: np.ndarray) -> int:
        return super()._put(block, shown_surprise(values), where)


def recognises(source: Any) -> bool:
    """Only what is one already: that parts are good is said by the user."""
    return isinstance(source, PartSet)


def open(source: Any, schema: PartSchema | None = None, **reading: Any) -> PartSet:
    """Read and check pictures of parts; see `pictures.dataset.open`."""
    found = pictures.open(source, schema, **reading)
    fields = {field.name: getattr(found, field.name) for field in dataclasses.fields(found)}
    if schema is None:
        fields["schema"] = PartSchema(**dataclasses.asdict(found.schema))
    return PartSet(**fields)
