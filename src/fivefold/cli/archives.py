"""`compress` and `decompress`."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any

import typer

from fivefold.cli import options
from fivefold.cli.app import app, present
from fivefold.errors import DataError, UsageError
from fivefold.series.schema import SeriesSchema
from fivefold.tables.schema import TableSchema

if TYPE_CHECKING:
    from fivefold.archive.image_archive import Archive
    from fivefold.archive.row_archive import RowArchive
    from fivefold.model.fitted import FittedModel

_Writer = Callable[[IO[bytes], dict[str, Any]], tuple[int, int]]
_PIPE = Path("-")
_Workers = Annotated[
    int | None, typer.Option("--workers", help="Processes. [default: one per core]", show_default=False)
]


@app.command()
def compress(
    model: options.Model,
    data: options.Data,
    output: Annotated[Path, typer.Option("-o", "--output", metavar="ARCHIVE", help="A file; - for stdout.")],
    lossy: Annotated[bool, typer.Option("--lossy", help="Only the codes: a few bytes per item.")] = False,
    step: Annotated[
        float | None,
        typer.Option(
            help="Grid of the codes, in posterior deviations: finer is better and longer; 0 for no codes. "
            "[default: what makes the archive shortest; 1 if lossy]",
            show_default=False,
        ),
    ] = None,
    embed_model: Annotated[bool, typer.Option("--embed-model", help="Put the model into the archive.")] = False,
    block_items: Annotated[
        int | None,
        typer.Option(help="Items that are coded together. [default: 1024, fewer if large]", show_default=False),
    ] = None,
    verify: Annotated[bool, typer.Option(help="Decode what was written, and compare.")] = True,
    workers: _Workers = None,
    resize: options.Resize = None,
    force: options.Force = False,
    json: options.Json = False,
) -> None:
    """Compress items into an archive from which they come back bit for bit."""
    from fivefold.atomic import atomic_file, check_free

    if output != _PIPE:
        check_free(output, force)
    size = options.parse_size(resize)
    from fivefold.storage import load

    fitted = load(model)
    settings: dict[str, Any] = {
        "lossy": lossy,
        "step": step,
        "block_items": block_items,
        "verify": verify,
        "embed_model": embed_model,
        "workers": _workers(workers),
    }
    write, per_item = _writer(fitted, data, size)
    if output == _PIPE:
        write(sys.stdout.buffer, settings)
        return
    with atomic_file(output) as temporary:
        with temporary.open("wb") as file:
            count, raw = write(file, settings)
        written = temporary.stat().st_size
    bits = 8 * written / (count * per_item)
    figures = {"items": count, "bytes": written, "bits_per_element": bits}
    present({**figures, "of_raw": written / raw, "output": str(output)}, json)


def _writer(fitted: FittedModel, data: str, size: tuple[int, int] | None) -> tuple[_Writer, int]:
    """What writes DATA's archive, and how many elements an item has."""
    if isinstance(fitted.schema, TableSchema):
        return _row_writer(fitted, data, size), fitted.schema.size
    if isinstance(fitted.schema, SeriesSchema):
        return _series_writer(fitted, data, size), fitted.schema.channels.size
    return _image_writer(fitted, data, size), fitted.image_schema.size


def _series_writer(fitted: FittedModel, data: str, size: tuple[int, int] | None) -> _Writer:
    if size is not None:
        raise UsageError("`resize` does not go with series")
    from fivefold.archive.row_archive import write_series_archive

    return lambda file, settings: write_series_archive(fitted, data, file, **settings)


def _image_writer(fitted: FittedModel, data: str, size: tuple[int, int] | None) -> _Writer:
    from fivefold.archive.write import write_archive
    from fivefold.images.dataset import read_items

    items = read_items(data, fitted.schema, resize=size)

    def write(file: IO[bytes], settings: dict[str, Any]) -> tuple[int, int]:
        write_archive(fitted, items, file, **settings)
        return len(items), items.values.nbytes

    return write


def _row_writer(fitted: FittedModel, data: str, size: tuple[int, int] | None) -> _Writer:
    if size is not None:
        raise UsageError("--resize goes with images, not with tables")
    from fivefold.archive.row_archive import write_row_archive
    from fivefold.tables.files import TableReader

    reader = TableReader(Path(data), fitted.table_schema)

    def write(file: IO[bytes], settings: dict[str, Any]) -> tuple[int, int]:
        return write_row_archive(fitted, reader, file, rows=reader.rows, **settings), reader.path.stat().st_size

    return write


@app.command()
def decompress(
    archive: Annotated[Path, typer.Argument(metavar="ARCHIVE", help="A file; - for stdin.", show_default=False)],
    output: options.Items,
    model: Annotated[
        Path | None, typer.Option("--model", metavar="MODEL", help="The model folder, if it is not embedded.")
    ] = None,
    lossy: Annotated[bool, typer.Option("--lossy", help="What the codes alone say, without the exact layer.")] = False,
    items: Annotated[
        str | None, typer.Option("--items", metavar="FROM:TO", help="Only these, counted from 0; TO is left out.")
    ] = None,
    workers: _Workers = None,
    force: options.Force = False,
    json: options.Json = False,
) -> None:
    """Bring back the items of an archive."""
    rows = _parse_range(items)
    from fivefold.archive.row_archive import RowArchive
    from fivefold.storage import load
    from fivefold.tables.output import is_table_path

    with _open(archive) as opened:
        if isinstance(opened, RowArchive):
            read = _arrays_from if opened.is_of_arrays and not is_table_path(output) else _table_from
            write = read(opened, output, force)
        else:
            write = _images_from(opened, output, force)
        count = len(opened.rows(rows))
        if count == 0:
            raise UsageError(f"--items {items}: the archive has {len(opened)} items, none of these")
        fitted = None if model is None else load(model)
        with closing(opened.parts(fitted, lossy=lossy, items=rows, workers=_workers(workers))) as parts:
            write(parts, rows)
    present({"items": count, "output": str(output)}, json)


def _table_from(opened: RowArchive, path: Path, force: bool) -> Callable[[Iterator[Any], slice], None]:
    from fivefold.tables.output import TableOutput

    place = TableOutput.at(path, force)
    return lambda parts, _: place.write(parts)


def _arrays_from(opened: RowArchive, path: Path, force: bool) -> Callable[[Iterator[Any], slice], None]:
    from fivefold.series.output import SeriesOutput

    place = SeriesOutput.at(path, opened.sound, force)
    return lambda parts, _: place.write(opened.as_arrays(parts))


def _images_from(opened: Archive, path: Path, force: bool) -> Callable[[Iterator[Any], slice], None]:
    from fivefold.images.output import Output

    place, schema = Output.at(path, force), opened.schema

    def write(parts: Iterator[Any], rows: slice) -> None:
        names = None if opened.names is None else opened.names[rows]
        shape = (len(opened.rows(rows)), *schema.shape)
        place.write_parts(parts, shape, opened.dtype, schema.low, schema.high, names)

    return write


def describe_archive(path: Path) -> dict[str, Any]:
    """What is in an archive, its sizes per layer, and whether all its checksums hold."""
    from fivefold.archive.row_archive import RowArchive

    with _open(path) as archive:
        reader = archive.reader
        sizes = [0, 0]
        for block in reader.blocks:
            for layer in (0, 1):
                sizes[layer] += len(reader.layer(block, layer))
        for name in reader.attachments:
            reader.attachment(name)
        about = _describe_rows(archive, sizes) if isinstance(archive, RowArchive) else _describe_images(archive, sizes)
        return {
            **about,
            "blocks": len(reader.blocks),
            "model": reader.facts["model"],
            "embedded": ", ".join(sorted(reader.attachments)) or "nothing",
            "integrity": "all checksums hold",
        }


def _describe_images(archive: Archive, sizes: list[int]) -> dict[str, Any]:
    elements = len(archive) * archive.schema.size
    return {
        "items": f"{len(archive):,} of {archive.schema.describe()}",
        "codes": f"{sizes[0]:,} bytes, {8 * sizes[0] / elements:.4f} bits per element",
        "exact": f"{sizes[1]:,} bytes, {8 * sizes[1] / elements:.4f} bits per element",
    }


def _describe_rows(archive: RowArchive, sizes: list[int]) -> dict[str, Any]:
    things = "rows" if archive.reader.facts["kind"] == "table" else "steps"
    return {
        things: f"{len(archive):,} of {len(archive.columns)} columns",
        "columns": ", ".join(f"{column.name} ({column.type})" for column in archive.columns),
        "kept as it is": f"{sizes[0]:,} bytes",
        "by the model": f"{sizes[1]:,} bytes",
    }


@contextmanager
def _open(path: Path) -> Iterator[Archive | RowArchive]:
    from fivefold.archive.read import open_archive

    if path == _PIPE:
        with tempfile.TemporaryFile() as file:
            _copy(sys.stdin.buffer, file)
            yield open_archive(file)
        return
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    with path.open("rb") as file:
        yield open_archive(file)


def _copy(source: IO[bytes], target: IO[bytes]) -> None:
    while chunk := source.read(1 << 20):
        target.write(chunk)


def _workers(given: int | None) -> int:
    return given if given is not None else os.cpu_count() or 1


def _parse_range(text: str | None) -> slice:
    if text is None:
        return slice(None)
    start, colon, end = text.partition(":")
    if not colon or not all(part == "" or part.isdecimal() for part in (start, end)):
        raise UsageError(f"--items must be FROM:TO, such as 100:200; got {text!r}")
    return slice(int(start) if start else None, int(end) if end else None)
