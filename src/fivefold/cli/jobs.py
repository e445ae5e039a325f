"""The five jobs, from file to file, for whatever the model is of."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fivefold.cli import options
from fivefold.cli.app import app, present
from fivefold.config import JobNumbers, PriorName
from fivefold.errors import DataError, UsageError
from fivefold.modality import Dataset, Modality, modality_of
from fivefold.storage import StoredModel, build, read

if TYPE_CHECKING:
    import numpy as np

    from fivefold.items import Items

_FREE = "Of a table: relations between columns that the fit found need not hold."
_Codes = Annotated[Path, typer.Option("-o", "--output", metavar="CODES", help="An .npy file, or .npz for both.")]


@app.command()
@options.reading("encode")
def encode(
    model: options.Model,
    data: options.Data,
    output: _Codes,
    std: Annotated[bool, typer.Option("--std", help="Write the deviations too: NAME.std.npy beside NAME.npy.")] = False,
    force: options.Force = False,
    json: options.Json = False,
    **reading: Any,
) -> None:
    """Compress each item to its latent numbers, the posterior means."""
    ending = output.suffix.lower()
    if ending not in (".npy", ".npz"):
        raise UsageError(f"--output must be .npy or .npz, got {output}")
    from fivefold.atomic import atomic_file, check_free

    paths = [output, output.with_suffix(".std.npy")] if std and ending == ".npy" else [output]
    for path in paths:
        check_free(path, force)
    stored, modality = _read(model)
    dataset = _open_data(stored, modality, data, "encode", {}, **reading)

    import numpy as np

    from fivefold.arrays import write_npy
    from fivefold.jobs.codes import encode

    fitted = build(stored)
    mu, sigma = encode(fitted, dataset)
    for path, codes in zip(paths, (mu, sigma), strict=False):
        with atomic_file(path) as temporary, temporary.open("wb") as file:
            if ending == ".npz":
                np.savez(file, mean=mu, std=sigma)
            else:
                write_npy(file, [codes], codes.shape, codes.dtype)
    figures = {"items": len(mu), "latent_dim": fitted.latent_dim, "values": fitted.schema.size}
    present({**figures, "latent_fraction": fitted.latent_dim / fitted.schema.size, "output": str(output)}, json)


@app.command()
def decode(
    model: options.Model,
    codes: Annotated[Path, typer.Argument(metavar="CODES", help=".npy of (n, latent_dim), or .npz with `mean`.")],
    output: options.Items,
    force: options.Force = False,
    json: options.Json = False,
) -> None:
    """Turn latent numbers back into items."""
    stored, modality = _read(model)
    place = modality.data.place(output, force)
    from fivefold.arrays import read_npy, read_npz

    if not codes.is_file():
        raise DataError(f"{codes}: no such file")
    if codes.suffix.lower() not in (".npy", ".npz"):
        raise DataError(f"{codes}: must be .npy or .npz")
    z = read_npz(codes, ("mean",))[0] if codes.suffix.lower() == ".npz" else read_npy(codes)
    from fivefold.jobs.codes import decode_items

    _write_new(place, stored, decode_items(build(stored), z), json)


_DRAWING: dict[str, tuple[Any, Any]] = {
    "prior": (
        PriorName,
        typer.Option(
            help="Of images: where codes come from, the standard normal or a density fitted to real codes. "
            "[default: standard]"
        ),
    ),
    "sharp": (bool, typer.Option("--sharp", help="Of images: draw the elements too, instead of their means.")),
    "given": (list[str], typer.Option("--given", metavar="COLUMN=VALUE", help="Of a table: new rows have that.")),
    "free": (bool, typer.Option("--free", help=_FREE)),
    "complete": (
        bool,
        typer.Option("--complete", help="Of a table: no cell is missing; else as many are as in the fit."),
    ),
    "after": (str, typer.Option(metavar="DATA", help="Of series: draw how these may go on, in -n ways.")),
    "steps": (int, typer.Option(help="With --after: how many steps. [default: a window's]")),
}


@app.command()
@options.strictly
@options.spelled_out(_DRAWING | options.reading_of("generate"))
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
    JobNumbers(n=n, seed=seed, temperature=temperature, steps=asked["steps"])
    stored, modality = _read(model)
    asked["given"] = options.parse_columns("given", asked["given"])
    modality.refuse("generate", **asked, like=like, nearest=nearest)
    place = modality.data.place(output, force)
    beside = None if nearest is None else modality.data.place(options.beside(output, "nearest"), force)
    item = None if like is None else _read_one(like, stored, modality)
    among = None if nearest is None else modality.data.open(nearest, stored.schema, split="train").all_items()
    from fivefold.jobs.generate import new_items

    found = new_items(build(stored), n, seed, temperature=temperature, like=item, **asked)
    figures = {} if among is None else _write_nearest(beside, stored, found.values, among)
    place.write_new(stored.schema, found.values, found.labels, stored.record.get("data", {}))
    present({**found.counts, **figures, "output": str(output)}, json)


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
    if steps < 2:
        raise UsageError(f"--steps must be at least 2, got {steps}")
    stored, modality = _read(model)
    place = modality.data.place(output, force)
    items = _open_data(stored, modality, data, "morph", {}, **reading).all_items()

    for flag, index in (("from", start), ("to", end)):
        if not 0 <= index < len(items):
            raise UsageError(f"--{flag} must be an item's number from 0 to {len(items) - 1}, got {index}")
    import numpy as np

    from fivefold.jobs.codes import encode
    from fivefold.jobs.generate import morph_items

    fitted = build(stored)
    codes, _ = encode(fitted, items.select(np.array([start, end])))
    _write_new(place, stored, morph_items(fitted, codes[0], codes[1], steps), json)


@app.command()
@options.strictly
@options.reading("denoise")
def denoise(
    model: options.Model,
    data: options.Data,
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
    force: options.Force = False,
    json: options.Json = False,
    **reading: Any,
) -> None:
    """Remove noise; its kind and level need not be known."""
    JobNumbers(seed=seed, threshold=threshold)
    if std is not None and std.resolve() == output.resolve():
        raise UsageError(f"--std must be another file than --output, got {std} for both")
    stored, modality = _read(model)
    modality.refuse("denoise", std=std, report=report, threshold=threshold)
    outputs = {"": (output, ""), "std": (std, "std"), "changes": (report, "report")}
    places = {role: modality.data.place(path, force, flag) for role, (path, flag) in outputs.items() if path}
    dataset = _open_data(stored, modality, data, "denoise", places, **reading)
    from fivefold.jobs.denoise import denoise

    found = denoise(build(stored), dataset, threshold=threshold, seed=seed)
    replaced = {"replaced": found.changed} if modality.jobs.EXTRA_ROLE == "changes" else {}
    present({modality.settings.WORDS.items: len(dataset), **replaced, "output": str(output)}, json)


@app.command()
@options.strictly
@options.reading("impute")
def impute(
    model: options.Model,
    data: options.Data,
    output: options.Items,
    draws: Annotated[int, typer.Option(help="Write so many draws too: OUT-draw1, OUT-draw2, …")] = 0,
    interval: Annotated[
        float | None,
        typer.Option(
            metavar="SHARE", help="Write the interval of each element too, such as 0.9: OUT-lower, OUT-upper."
        ),
    ] = None,
    free: Annotated[bool, typer.Option("--free", help=_FREE)] = False,
    seed: options.Seed = 0,
    force: options.Force = False,
    json: options.Json = False,
    **reading: Any,
) -> None:
    """Fill in what is missing: NaN, transparent, or marked by --mask. The rest comes back untouched."""
    JobNumbers(n_draws=draws, interval=interval, seed=seed)
    stored, modality = _read(model)
    modality.refuse("impute", free=free)
    roles = [f"draw{number}" for number in range(1, draws + 1)] + (["lower", "upper"] if interval is not None else [])
    outputs = {"": output, **{role: options.beside(output, role) for role in roles}}
    places = {role: modality.data.place(path, force) for role, path in outputs.items()}
    dataset = _open_data(stored, modality, data, "impute", places, **reading)
    from fivefold.jobs.impute import impute

    found = impute(build(stored), dataset, n_draws=draws, interval=interval, seed=seed, free=free)
    present({modality.settings.WORDS.items: len(dataset), "missing": found.missing, "output": str(output)}, json)


@app.command()
@options.strictly
@options.reading("detect")
def detect(
    model: options.Model,
    data: options.Data,
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="TABLE", help="Where scores, p-values and anomalies go: .csv, …")
    ],
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
    force: options.Force = False,
    json: options.Json = False,
    **reading: Any,
) -> None:
    """Score each item (higher = more normal), and flag the anomalies; of series, windows and events too, beside."""
    JobNumbers(false_alarm_rate=false_alarm_rate, fdr=fdr)
    from fivefold.tables.files import TableOutput

    stored, modality = _read(model)
    roles = modality.settings.REPORTS
    tables = {role: TableOutput.at(options.beside(output, role), force) for role in roles}
    places = {} if heatmaps is None else {"surprise": modality.data.place(heatmaps, force, "heatmaps")}
    dataset = _open_data(stored, modality, data, "detect", places, **reading)
    from fivefold.jobs.detect import USUAL_RATE, detect_in

    rate = USUAL_RATE if false_alarm_rate is None else false_alarm_rate
    found = detect_in(build(stored), dataset, rate, fdr, heatmaps=heatmaps is not None)
    columns = {"score": found.score, "p_value": found.p_value, "anomaly": found.anomaly}
    for role, parts in dataset.report(columns, found.windows, found.events).items():
        tables[role].write(parts)
    figures: dict[str, Any] = {modality.settings.WORDS.items: len(dataset), "anomalies": int(found.anomaly.sum())}
    figures |= {} if found.events is None else {"events": len(found.events.start)}
    figures |= {"false_alarm_rate": rate} if fdr is None else {"fdr": fdr}
    figures |= {} if heatmaps is None else {"heatmaps": str(heatmaps)}
    present({**figures, "calibrated_on": found.calibrated_on, "output": str(output)}, json)


def _write_nearest(place: Any, stored: StoredModel, values: np.ndarray, known: Items) -> dict[str, Any]:
    """The nearest known item of each new one; which place they went to, and how near the nearest is."""
    from fivefold.dataset import open_data
    from fivefold.jobs.generate import nearest_items

    index, distance = nearest_items(open_data(values, stored.schema).all_items(), known)
    place.write_new(stored.schema, known.values[index], {}, stored.record.get("data", {}))
    return {"nearest": str(place.path), "smallest_distance": float(distance.min())}


def _read(model: Path) -> tuple[StoredModel, Modality]:
    """The model without its networks: all else is checked before torch is loaded, which takes seconds."""
    stored = read(model)
    return stored, modality_of(stored.schema)


def _open_data(
    stored: StoredModel, modality: Modality, data: str, verb: str, places: Mapping[str, Any], **reading: Any
) -> Dataset:
    """The data, whose results are to go to `places`."""
    how = options.parse_reading(reading)
    modality.refuse(verb, **how)
    from fivefold.dataset import open_data

    return open_data(data, stored.schema, **how).to(places)


def _read_one(text: str, stored: StoredModel, modality: Modality) -> Any:
    """One item: `DATA`, or `DATA#NUMBER` of a set."""
    name, separator, number = text.rpartition("#")
    if not separator or not number.isdecimal():
        return modality.data.open(text, stored.schema)
    items = modality.data.open(name, stored.schema).all_items()
    if int(number) >= len(items):
        raise UsageError(f"--like {text}: the number must be from 0 to {len(items) - 1}")
    return items.select(slice(int(number), int(number) + 1))


def _write_new(place: Any, stored: StoredModel, values: np.ndarray, json: bool) -> None:
    import numpy as np

    place.write_new(stored.schema, values, {"sample": np.arange(len(values))}, stored.record.get("data", {}))
    present({"items": len(values), "output": str(place.path)}, json)
