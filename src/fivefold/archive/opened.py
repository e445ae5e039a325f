"""An open archive: what those of images and of tables have in common."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fivefold.archive.container import ArchiveReader, Block, Limits
from fivefold.errors import UsageError, WrongModelError
from fivefold.model.fitted import FittedModel
from fivefold.storage import fingerprint, load, save

MODEL_FILES = ("config.json", "model.safetensors")


@dataclass
class Opened:
    """An open archive.

    Attributes
    ----------
    reader : of its blocks
    limits : what may be read
    """

    reader: ArchiveReader
    limits: Limits

    def __len__(self) -> int:
        return self.reader.items

    def model(self, given: FittedModel | None = None) -> FittedModel:
        """The given one, or the embedded one. Raises `UsageError` if there is none, `WrongModelError` if it is another."""
        if given is None:
            given = self._embedded()
        if fingerprint(given) != self.reader.facts["model"]:
            raise WrongModelError("the archive was written with another model")
        return given

    def rows(self, items: slice) -> range:
        """The numbers of items; raises `UsageError` if they are not consecutive."""
        first, last, stride = items.indices(len(self))
        if stride != 1:
            raise UsageError("--items must be consecutive")
        return range(first, max(first, last))

    def blocks(self, rows: range) -> Iterator[tuple[Block, slice]]:
        """The blocks in which these items are, and where in them."""
        for block in self.reader.blocks:
            if block.first < rows.stop and block.first + block.items > rows.start:
                yield block, slice(max(0, rows.start - block.first), rows.stop - block.first)

    def _embedded(self) -> FittedModel:
        if not set(MODEL_FILES) <= self.reader.attachments:
            raise UsageError("the archive has no model embedded; name it with --model")
        with tempfile.TemporaryDirectory() as folder:
            for name in MODEL_FILES:
                (Path(folder) / name).write_bytes(self.reader.attachment(name))
            return load(folder)


def embedded(model: FittedModel) -> dict[str, bytes]:
    """The files of a model as attachments."""
    with tempfile.TemporaryDirectory() as folder:
        save(model, Path(folder) / "model")
        return {name: (Path(folder) / "model" / name).read_bytes() for name in MODEL_FILES}
