"""The five jobs, from file to file, for whatever the model is of."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import typer

from fivefold.cli import options
from fivefold.cli.app import app, present
from fivefold.cli.shards import run_each, shards_among
from fivefold.errors import UsageError
from fivefold.modality import chosen
from fivefold.verbs import jobs as verbs
from fivefold.verbs.opened import OpenModel
from fivefold.verbs.options import DRAWING
from fivefold.verbs.shards import strangest


def _run(verb: str, model: Path, data: str, output: Path, workers: int | None = None, **options: Any) -> dict[str, Any]:
    """A verb of a file, or of each of several."""
    opened = OpenModel.read(model)
    found = shards_among(data, opened.modality)
    if found is not None and options.get("top") is not None:
        _refuse("top of several files", workers=workers, fdr=options.pop("fdr"), heatmaps=options.pop("heatmaps"))
        return strangest(opened, found, output, **options)
    if found is not None and verb in ("drift", "stream"):
        raise UsageError(f"`{'state' if verb == 'stream' else verb}` goes with one file, not with {len(found.paths)}")
    if found is not None:
        return run_each(verb, model, found, output, workers, **options)
    figures: dict[str, Any] = getattr(verbs, verb)(opened, data, output, **options)
    return figures


def _refuse(choice: str, **options: Any) -> None:
    """Raise `UsageError` for options that do not go with a choice."""
    if given := chosen(options):
        raise UsageError(f"`{next(iter(given))}` does not go with --{choice}")


FREE = "Of a table: relations between columns that the fit found need not hold."
_Codes = Annotated[Path, typer.Option("-o", "--output", metavar="CODES", help="An .npy file, or .npz for both.")]


@app.command()
@options.reading("encode")
def encode(
    model: options.Model,
    data: options.Shards,
    output: _Codes,
    std: Annotated[bool, typer.Option("--std", help="Write the deviations too: NAME.std.npy beside NAME.npy.")] = False,
    workers: options.Workers = None,
    force: options.Force = False,
    json: options.Json = False,
    **reading: Any,
) -> None:
    """Compress each item to its latent numbers, the posterior means."""
    present(_run("encode", model, data, output, workers, std=std, force=force, **reading), json)


@app.command()
def decode(
    model: options.Model,
    codes: Annotated[Path, typer.Argument(metavar="CODES", help=".npy of (n, latent_dim), or .npz with `mean`.")],
    output: options.Items,
    force: options.Force = False,
    json: options.Json = False,
) -> None:
    """Turn latent numbers back into items."""
    present(verbs.decode(OpenModel.read(model), codes, output, force=force), json)


_DRAWING: dict[str, typer.models.OptionInfo] = {
    "prior": typer.Option(
        help="Of images: where codes come from, the standard normal or a density fitted to real codes. [default: standard]"
    ),
    "sharp": typer.Option("--sharp", help="Of images: draw the elements too, instead of their means."),
    "given": typer.Option("--given", metavar="COLUMN=VALUE", help="Of a table: new rows have that."),
    "free": typer.Option("--free", help=FREE),
    "complete": typer.Option("--complete", help="Of a table: no cell is missing; else as many are as in the fit."),
    "after": typer.Option(metavar="DATA", help="Of series: draw how these may go on, in -n ways."),
    "steps": typer.Option(help="With --after: how many steps. [default: a window's]"),
}


@app.command()
@options.strictly
@options.spelled_out(options.typed(_DRAWING, DRAWING) | options.reading_of("generate"))
def generate(
    model: options.Model,
    output: options.Items,
    n: Annotated[int, typer.Option("-n", "--items", help="How many.")] = 64,
    like: Annotated[
        str | None,
        typer.Option(metavar="ITEM", help="Draw near one item: an image or an array; NUMBER of a set as DATA#NUMBER."),
    ] = None,
    temperature: Annotated[float, typer.Option(help="Factor on how far codes stray; 0: not at all.")] = 1.0,
    nearest: Annotated[
        str | None,
        typer.Option(metavar="DATA", help="Write the nearest of these items beside: as OUT-nearest."),
    ] = None,
    seed: options.Seed = 0,
    force: options.Force = False,
    json: options.Json = False,
    **asked: Any,
) -> None:
    """Draw new items."""
    chosen: dict[str, Any] = {"n": n, "like": like, "temperature": temperature, "nearest": nearest, "seed": seed}
    present(verbs.generate(OpenModel.read(model), output, **chosen, force=force, **asked), json)


@app.command()
@options.reading("morph")
def morph(
    model: options.Model,
    data: options.Data,
    output: options.Items,
    start: Annotated[int, typer.Option("--from", help="Number of the first item, from 0.")],
    end: Annotated[int, typer.Option("--to", help="Number of the last item.")],
    steps: Annotated[int, typer.Option(help="How many items, ends included.")] = 12,
    force: options.Force = False,
    json: options.Json = False,
    **reading: Any,
) -> None:
    """Change one item into another along a line in latent space."""
    steps_along = {"start": start, "end": end, "steps": steps}
    present(verbs.morph(OpenModel.read(model), data, output, **steps_along, force=force, **reading), json)


@app.command()
@options.strictly
@options.reading("denoise")
def denoise(
    model: options.Model,
    data: options.Shards,
    output: options.Items,
    std: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the standard deviations too, .npy, in the data's units.")
    ] = None,
    report: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Of a table: write which cells were replaced, and why.")
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option(
            help="Of a table: replace cells that are wrong with a higher probability. [default: 0.5]",
            show_default=False,
        ),
    ] = None,
    seed: options.Seed = 0,
    workers: options.Workers = None,
    force: options.Force = False,
    json: options.Json = False,
    **reading: Any,
) -> None:
    """Remove noise; its kind and level need not be known."""
    chosen: dict[str, Any] = {"std": std, "report": report, "threshold": threshold, "seed": seed}
    present(_run("denoise", model, data, output, workers, **chosen, force=force, **reading), json)


@app.command()
@options.strictly
@options.reading("impute")
def impute(
    model: options.Model,
    data: options.Shards,
    output: options.Items,
    draws: Annotated[int, typer.Option(help="Write so many draws too: OUT-draw1, OUT-draw2, …")] = 0,
    interval: Annotated[
        float | None,
        typer.Option(
            metavar="SHARE", help="Write the interval of each element too, such as 0.9: OUT-lower, OUT-upper."
        ),
    ] = None,
    free: Annotated[bool, typer.Option("--free", help=FREE)] = False,
    seed: options.Seed = 0,
    workers: options.Workers = None,
    force: options.Force = False,
    json: options.Json = False,
    **reading: Any,
) -> None:
    """Fill in what is missing: NaN, transparent, or marked by --mask. The rest comes back untouched."""
    chosen: dict[str, Any] = {"draws": draws, "interval": interval, "free": free, "seed": seed}
    present(_run("impute", model, data, output, workers, **chosen, force=force, **reading), json)


_DETECTING: dict[str, tuple[Any, typer.models.OptionInfo]] = {
    "top": (
        int,
        typer.Option(metavar="N", help="Only the N strangest, the strangest first, and what is strange about each."),
    ),
    "normal": (
        str,
        typer.Option(
            metavar="DATA", help="Known to be normal though it was flagged: what is like that is not flagged."
        ),
    ),
    "state": (
        Path,
        typer.Option(
            metavar="FILE",
            help="Of series: DATA are the next piece of a stream that goes on from FILE. Steps wait for those around them.",
        ),
    ),
    "drift": (
        bool,
        typer.Option(
            "--drift", help="Instead: whether the data, as a whole and column by column, are still like the fit's."
        ),
    ),
}


def _verb_of(workers: int | None, how: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Which verb is meant by the options of `detect`, and those that it takes; raises `UsageError` for others."""
    drift, state = how.pop("drift"), how.pop("state")
    verb = "drift" if drift else "stream" if state is not None else "detect"
    if verb == "detect":
        return verb, how
    others = {name: how.pop(name) for name in ("top", "normal", "fdr", "heatmaps")}
    if drift:
        _refuse("drift", **others, state=state, workers=workers)
        return verb, how
    _refuse("state", **others, workers=workers, adapt=how.pop("adapt"))
    return verb, {**how, "state": state}


@app.command()
@options.strictly
@options.spelled_out(_DETECTING | options.reading_of("detect"))
def detect(
    model: options.Model,
    data: options.Shards,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            metavar="TABLE",
            help="Where scores, p-values and anomalies go: .csv, … [default: standard output, as CSV]",
            show_default=False,
        ),
    ] = None,
    false_alarm_rate: Annotated[
        float | None,
        typer.Option(help="Share of normal items that may be flagged. [default: 0.01]", show_default=False),
    ] = None,
    fdr: Annotated[
        float | None, typer.Option(help="Instead: share of normal items among those flagged (Benjamini–Hochberg).")
    ] = None,
    heatmaps: Annotated[
        Path | None,
        typer.Option(
            metavar="OUT",
            help="Write the surprise of each element: a folder of PNGs (white: 10 or more), .npy or .tif; of tables a table.",
        ),
    ] = None,
    workers: options.Workers = None,
    force: options.Force = False,
    json: options.Json = False,
    **asked: Any,
) -> None:
    """Score each item (higher = more normal), and flag the anomalies; beside, of series windows and events, of parts regions."""
    chosen = {"false_alarm_rate": false_alarm_rate, "fdr": fdr, "heatmaps": heatmaps, "force": force}
    verb, how = _verb_of(workers, chosen | asked)
    if output is not None:
        present(_run(verb, model, data, output, workers, **how), json)
        return
    if how.get("top") is None and (several := shards_among(data, OpenModel.read(model).modality)) is not None:
        raise UsageError(f"--output must be given, a folder: there are {len(several.paths)} files")
    if json:
        raise UsageError("--json prints figures: give --output, or scores would go there too")
    with TemporaryDirectory(prefix="fivefold-") as folder:
        scores = Path(folder) / "scores.csv"
        _run(verb, model, data, scores, workers, **how)
        with scores.open("rb") as file:
            shutil.copyfileobj(file, sys.stdout.buffer)
