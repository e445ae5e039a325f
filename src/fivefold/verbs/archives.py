"""Archives, from file to file, and what is in a model."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from fivefold.errors import ArchiveError, UsageError
from fivefold.inputs import check_file
from fivefold.verbs.opened import OpenModel
from fivefold.verbs.options import parse_range

if TYPE_CHECKING:
    from fivefold.archive.read import Archive
    from fivefold.archive.write import ArchiveOptions
    from fivefold.storage import StoredModel


def compress(
    model: OpenModel, data: Any, output: Path, options: ArchiveOptions, force: bool = False, **reading: Any
) -> dict[str, Any]:
    """An archive of the data, and its figures; `reading` is how these are read."""
    from fivefold.archive.write import write_archive
    from fivefold.atomic import atomic_file, check_free

    check_free(output, force)
    model.modality.refuse("compress", lossy=options.lossy, step=options.step, **reading)
    with atomic_file(output) as temporary:
        with temporary.open("wb") as file:
            written = write_archive(model.at_hand, data, file, options, **reading)
        size_on_disk = temporary.stat().st_size
    bits = 8 * size_on_disk / (written.items * written.elements)
    figures = {"items": written.items, "bytes": size_on_disk, "bits_per_element": bits}
    return {**figures, "of_raw": size_on_disk / written.nbytes, "output": str(output)}


def decompress(
    archive: Archive,
    output: Path,
    model: StoredModel | None,
    *,
    lossy: bool = False,
    items: str | None = None,
    workers: int = 1,
    force: bool = False,
) -> dict[str, Any]:
    """The items of an archive, or those numbered `FROM:TO`; without a `model` by the embedded one."""
    wanted = parse_range(items)
    write = archive.decoding.output(output, force)
    rows = archive.rows(wanted)
    if not rows:
        raise UsageError(f"`items` {items}: the archive has {len(archive)} items, none of these")
    with closing(archive.parts(model, lossy=lossy, items=wanted, workers=workers)) as parts:
        write(parts, rows)
    return {"items": len(rows), "output": str(output)}


@contextmanager
def archive_in(path: Path) -> Iterator[Archive]:
    """The archive in a file, which its errors name."""
    check_file(path)
    with path.open("rb") as file, archive_of(file, str(path)) as archive:
        yield archive


@contextmanager
def archive_of(file: IO[bytes], name: str) -> Iterator[Archive]:
    """An archive, whose errors call it `name`."""
    from fivefold.archive.read import open_archive

    try:
        yield open_archive(file)
    except ArchiveError as error:
        raise type(error)(f"{name}: {error}") from None


def describe_model(stored: StoredModel) -> dict[str, Any]:
    """What is known of a model: its schema, settings, sizes, training and figures."""
    from fivefold.model.figures import describe_units
    from fivefold.storage import fingerprint

    return {
        "schema": stored.schema.to_json(),
        "fit": stored.config.to_json(),
        "parameters": stored.parameters,
        "fingerprint": fingerprint(stored),
        "latent_units": describe_units(stored),
        **stored.record,
    }
