"""`evaluate`, `report` and `demo`."""

from __future__ import annotations

import json as json_module
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fivefold.cli import options
from fivefold.cli.app import app, present
from fivefold.config import JobNumbers
from fivefold.errors import UsageError
from fivefold.modality import modality_of
from fivefold.progress import silence
from fivefold.verbs.options import parse_reading

if TYPE_CHECKING:
    from fivefold.modality import Dataset
    from fivefold.model.fitted import FittedModel

_DEMO_EPOCHS = 5
_MODEL = "model"
_JOBS = ("compress", "generate", "denoise", "detect", "impute")


def _checked(against: str | None) -> str | None:
    if against not in (None, "specialists"):
        raise UsageError(f"--against must be specialists, got {against!r}")
    return against


_AGAINST = "Compare with specialists, trained here where they train."
_Against = Annotated[str | None, typer.Option(metavar="specialists", help=_AGAINST, callback=_checked)]


@app.command()
@options.reading("evaluate")
def report(
    model: options.Model,
    data: options.Data,
    output: options.Folder,
    train: Annotated[
        str | None,
        typer.Option(metavar="DATA", help="Training items, for comparisons with other models; mnist has its own."),
    ] = None,
    thorough: Annotated[bool, typer.Option("--thorough", help="Three seeds, and quality by size of code.")] = False,
    against: _Against = None,
    seed: options.Seed = 0,
    force: options.Force = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
    **reading: Any,
) -> None:
    """Measure the five jobs on DATA: report.html, report.json and the pictures."""
    _prepare(output, seed, force, quiet)
    how = parse_reading(reading)
    from fivefold.storage import load

    fitted = load(model)
    modality_of(fitted.schema).refuse("evaluate", thorough=thorough)
    items, train_items = _read_sets(fitted, data, train, how)
    if against is not None:
        _check_rivals(_JOBS, fitted, train_items)
    extent = {"thorough": thorough, "against": against is not None}
    figures = _report(fitted, items, train_items, output, seed, json or quiet, **extent)
    if json:
        present(figures, json=True)


@app.command()
@options.reading("evaluate")
def evaluate(
    model: options.Model,
    data: options.Data,
    against: _Against = None,
    jobs: Annotated[str | None, typer.Option(metavar="JOB,…", help="Which of the five. [default: all]")] = None,
    train: Annotated[
        str | None, typer.Option(metavar="DATA", help="Training items, for the specialists; mnist has its own.")
    ] = None,
    json: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write the figures here, JSON.")] = None,
    seed: options.Seed = 0,
    force: options.Force = False,
    quiet: options.Quiet = False,
    **reading: Any,
) -> None:
    """Measure the five jobs on DATA, each beside its specialists, and say where others do better."""
    JobNumbers(seed=seed)
    chosen = None if jobs is None else [job.strip() for job in jobs.split(",")]
    if unknown := [job for job in chosen or () if job not in _JOBS]:
        raise UsageError(f"--jobs must be some of {', '.join(_JOBS)}; got {unknown[0]!r}")
    how = parse_reading(reading)
    if quiet:
        silence()
    from fivefold.atomic import atomic_file, check_free

    if json is not None:
        if json.suffix.lower() != ".json":
            raise UsageError(f"--json must be a .json file, got {json}")
        check_free(json, force)
    from fivefold.evaluation.report import evaluate
    from fivefold.storage import load

    fitted = load(model)
    items, train_items = _read_sets(fitted, data, train, how)
    if against is not None:
        _check_rivals(chosen or _JOBS, fitted, train_items)
    figures, comparisons = evaluate(fitted, items, chosen, train=train_items, against=against is not None, seed=seed)
    if json is not None:
        with atomic_file(json) as temporary:
            temporary.write_text(json_module.dumps(figures, indent=1), encoding="utf-8")
    for comparison in [] if quiet else comparisons:
        for table in comparison.tables:
            _print_table(table.rows, *table.header, title=comparison.title)
        print(*comparison.sentences, "", sep="\n")


@app.command()
def demo(
    output: options.Folder,
    seed: options.Seed = 0,
    force: options.Force = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Fit MNIST, do the five jobs, compare with the autoencoder and the GAN."""
    _prepare(output, seed, force, quiet)
    start = time.monotonic()
    from fivefold.dataset import open_data
    from fivefold.storage import check_model_path, save
    from fivefold.training.fit import fit

    check_model_path(output / _MODEL, force)
    fitted = fit("mnist", epochs=_DEMO_EPOCHS, seed=seed)
    save(fitted, output / _MODEL, force=force)
    train, test = (open_data(f"mnist:{split}", fitted.schema) for split in ("train", "test"))
    figures = _report(fitted, test, train, output, seed, json or quiet)
    if json:
        present(figures, json=True)
    elif not quiet:
        print(f"\n{time.monotonic() - start:.0f} seconds in all. Model: {output / _MODEL}")
        print(f"See it: fivefold serve {output / _MODEL}")


def _report(
    fitted: FittedModel, items: Dataset, train: Dataset | None, output: Path, seed: int, silent: bool, **extent: bool
) -> dict[str, Any]:
    from fivefold.atomic import atomic_folder
    from fivefold.evaluation.report import HTML, make_report

    with atomic_folder(output, merge=True) as folder:
        figures, summary = make_report(fitted, items, folder, train=train, seed=seed, **extent)
    if not silent:
        _print_table(summary)
        print(f"Report: {output / HTML}")
    return figures


def _check_rivals(jobs: Sequence[str], fitted: FittedModel, train: Dataset | None) -> None:
    from fivefold.evaluation.report import check_rivals

    check_rivals(jobs, fitted.schema)
    if train is None:
        raise UsageError("--against specialists needs --train DATA: they are trained on the model's training items")


def _read_sets(fitted: FittedModel, data: str, train: str | None, how: Mapping[str, Any]) -> tuple[Any, Any]:
    """The data to measure on, and the training data; built-in sets have their own."""
    modality = modality_of(fitted.schema)
    modality.refuse("evaluate", **how)
    dataset = modality.data.open(data, fitted.schema, **how)
    train = modality.data.TRAINING_SETS.get(data) if train is None else train
    others = {name: value for name, value in how.items() if name != "mask"}
    return dataset, None if train is None else modality.data.open(train, fitted.schema, **others)


def _print_table(rows: Sequence[Sequence[str]], *header: str, title: str | None = None) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(*header, title=title, title_justify="left", show_header=bool(header))
    for row in rows:
        table.add_row(*row)
    Console().print(table)


def _prepare(output: Path, seed: int, force: bool, quiet: bool) -> None:
    from fivefold.atomic import check_free

    JobNumbers(seed=seed)
    if output.suffix:
        raise UsageError(f"--output must be a folder without an ending, got {output}")
    check_free(output, force)
    if quiet:
        silence()
