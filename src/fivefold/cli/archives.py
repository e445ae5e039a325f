"""`compress` and `decompress`, and `info` of what is in an archive or a model."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any

import typer

from fivefold.atomic import check_free
from fivefold.cli import options
from fivefold.cli.app import app, present
from fivefold.cli.shards import run_each, shards_among
from fivefold.config import JobNumbers
from fivefold.verbs import archives as verbs
from fivefold.verbs.opened import OpenModel
from fivefold.verbs.options import parse_range, parse_reading

if TYPE_CHECKING:
    from fivefold.archive.read import Archive

_PIPE = Path("-")
_Workers = Annotated[
    int | None, typer.Option("--workers", help="Processes. [default: one per core]", show_default=False)
]


@app.command()
@options.strictly
@options.reading("compress")
def compress(
    model: options.Model,
    data: options.Shards,
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
    force: options.Force = False,
    json: options.Json = False,
    **reading: Any,
) -> None:
    """Compress items into an archive from which they come back bit for bit."""
    from fivefold.archive.write import ArchiveOptions, write_archive

    how = parse_reading(reading)
    chosen = ArchiveOptions(lossy, step, block_items, verify, embed_model, _workers(workers))
    opened = OpenModel.read(model)
    if (found := shards_among(data, opened.modality)) is not None and output != _PIPE:
        each: dict[str, Any] = {"options": replace(chosen, workers=1), "usual_workers": chosen.workers}
        present(run_each("compress", model, found, output, workers, **each, force=force, **how), json)
        return
    if output != _PIPE:
        check_free(output, force)
    if output != _PIPE:
        present(verbs.compress(opened, data, output, chosen, force, **how), json)
        return
    opened.modality.refuse("compress", lossy=lossy, step=step, **how)
    write_archive(opened.at_hand, data, sys.stdout.buffer, chosen, **how)


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
    parse_range(items)
    JobNumbers(workers=workers)
    from fivefold.storage import read

    stored = None if model is None else read(model)
    how: dict[str, Any] = {"lossy": lossy, "items": items, "workers": _workers(workers), "force": force}
    with _open(archive) as opened:
        present(verbs.decompress(opened, output, stored, **how), json)


@app.command()
def info(
    model: Annotated[Path, typer.Argument(metavar="PATH", help="A model folder, or an archive.", show_default=False)],
    json: options.Json = False,
) -> None:
    """Say what is in a model (schema, sizes, training history, figures) or in an archive (items, sizes, integrity)."""
    if model.is_file():
        with _open(model) as archive:
            present(archive.describe(), json)
        return
    from fivefold.model.figures import describe_units, figure_rows
    from fivefold.storage import fingerprint, read

    stored = read(model)
    if json:
        present(verbs.describe_model(stored), json=True)
        return
    present(dict(figure_rows(stored)) | {"fingerprint": fingerprint(stored)}, json=False)
    for name, text in stored.schema.findings().items():
        print(f"  {name}: {text}")
    print(f"\n{describe_units(stored)}\n")
    print("epoch  negative ELBO  held-out  seconds")
    for row in stored.record["history"]:
        held_out = row.get("validation_negative_elbo", float("nan"))
        print(f"{row['epoch'] + 1:5d}  {row['negative_elbo']:13.2f}  {held_out:8.2f}  {row['seconds']:7.1f}")


@contextmanager
def _open(path: Path) -> Iterator[Archive]:
    """An archive in a file, or from stdin."""
    if path != _PIPE:
        with verbs.archive_in(path) as archive:
            yield archive
        return
    with tempfile.TemporaryFile() as file:
        _copy(sys.stdin.buffer, file)
        with verbs.archive_of(file, "stdin") as archive:
            yield archive


def _copy(source: IO[bytes], target: IO[bytes]) -> None:
    while chunk := source.read(1 << 20):
        target.write(chunk)


def _workers(given: int | None) -> int:
    return given if given is not None else os.cpu_count() or 1
