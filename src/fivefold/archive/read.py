"""Read archives, of images, of tables and of series."""

from __future__ import annotations

import io
from typing import IO, Any

from fivefold.archive.container import ArchiveReader, Limits
from fivefold.archive.image_archive import Archive
from fivefold.archive.row_archive import RowArchive
from fivefold.model.fitted import FittedModel


def open_archive(file: IO[bytes], limits: Limits = Limits()) -> Archive | RowArchive:  # noqa: B008  (frozen)
    """An archive in a file that can seek; raises `ArchiveError`."""
    reader = ArchiveReader(file, limits)
    kind = RowArchive if reader.facts.get("kind") in ("table", "series") else Archive
    return kind.of(reader, limits)


def decompress(
    archive: bytes,
    model: FittedModel | None = None,
    *,
    lossy: bool = False,
    items: slice = slice(None),
    limits: Limits = Limits(),  # noqa: B008  (frozen)
    workers: int = 1,
) -> Any:
    """The items of an archive: images `(n, h, w, c)`, or a table, or series, of the kind that was compressed.

    See `Archive.read` and `RowArchive.read`.
    """
    return open_archive(io.BytesIO(archive), limits).read(model, lossy=lossy, items=items, workers=workers)
