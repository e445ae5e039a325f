"""`report` and `demo`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fivefold.cli import options
from fivefold.cli.app import app, present
from fivefold.errors import UsageError
from fivefold.progress import silence

if TYPE_CHECKING:
    from fivefold.data import Items
    from fivefold.model.fitted import FittedModel

_DEMO_EPOCHS = 5
_MODEL = "model"


@app.command()
def report(
    model: options.Model,
    data: options.Data,
    output: options.Folder,
    train: Annotated[
        str | None,
        typer.Option(metavar="DATA", help="Training items, for comparisons with other models; mnist has its own."),
    ] = None,
    thorough: Annotated[bool, typer.Option("--thorough", help="Three seeds, and quality by size of code.")] = False,
    mask: options.Mask = None,
    resize: options.Resize = None,
    seed: options.Seed = 0,
    force: options.Force = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Measure the five jobs on DATA: report.html, report.json and the pictures."""
    _prepare(output, seed, force, quiet)
    size = options.parse_size(resize)
    from fivefold.data import read_items
    from fivefold.storage import load

    fitted = load(model)
    items = read_items(data, fitted.schema, mask=mask, resize=size)
    if train is None and data in ("mnist", "mnist:test"):
        train = "mnist:train"
    train_items = None if train is None else read_items(train, fitted.schema, resize=size, split="train")
    figures = _report(fitted, items, train_items, output, seed, thorough, json or quiet)
    if json:
        present(figures, json=True)


@app.command()
def demo(
    output: options.Folder,
    seed: options.Seed = 0,
    force: options.Force = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Fit MNIST, do the five jobs, compare with the autoencoder and the GAN: about ten minutes on two cores."""
    _prepare(output, seed, force, quiet)
    start = time.monotonic()
    from fivefold.data import read_items
    from fivefold.storage import check_model_path, save
    from fivefold.training.fit import fit

    check_model_path(output / _MODEL, force)
    fitted = fit("mnist", epochs=_DEMO_EPOCHS, seed=seed)
    save(fitted, output / _MODEL, force=force)
    train, test = (read_items(f"mnist:{split}", fitted.schema) for split in ("train", "test"))
    figures = _report(fitted, test, train, output, seed, False, json or quiet)
    if json:
        present(figures, json=True)
    elif not quiet:
        print(f"\n{time.monotonic() - start:.0f} seconds in all. Model: {output / _MODEL}")


def _report(
    fitted: FittedModel, items: Items, train: Items | None, output: Path, seed: int, thorough: bool, silent: bool
) -> dict[str, Any]:
    from fivefold.atomic import atomic_folder
    from fivefold.evaluation.report import HTML, make_report

    with atomic_folder(output, merge=True) as folder:
        figures, summary = make_report(fitted, items, folder, train=train, seed=seed, thorough=thorough)
    if not silent:
        _print_summary(summary)
        print(f"Report: {output / HTML}")
    return figures


def _print_summary(rows: list[tuple[str, str]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(show_header=False)
    for name, text in rows:
        table.add_row(name, text)
    Console().print(table)


def _prepare(output: Path, seed: int, force: bool, quiet: bool) -> None:
    from fivefold.atomic import check_free

    options.check_seed(seed)
    if output.suffix:
        raise UsageError(f"--output must be a folder without an ending, got {output}")
    check_free(output, force)
    if quiet:
        silence()
