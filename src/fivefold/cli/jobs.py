"""The five jobs."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any

import typer

from fivefold.cli import options, series, tables
from fivefold.cli.app import app, present
from fivefold.config import PriorName
from fivefold.errors import DataError, UsageError

if TYPE_CHECKING:
    import numpy as np

    from fivefold.images.output import Output
    from fivefold.items import Items
    from fivefold.model.fitted import FittedModel

_Codes = Annotated[Path, typer.Option("-o", "--output", metavar="CODES", help="An .npy file, or .npz for both.")]


@app.command()
def encode(
    model: options.Model,
    data: options.Data,
    output: _Codes,
    std: Annotated[bool, typer.Option("--std", help="Write the deviations too: NAME.std.npy beside NAME.npy.")] = False,
    mask: options.Mask = None,
    resize: options.Resize = None,
    force: options.Force = False,
    json: options.Json = False,
) -> None:
    """Compress each item to its latent numbers, the posterior means."""
    ending = output.suffix.lower()
    if ending not in (".npy", ".npz"):
        raise UsageError(f"--output must be .npy or .npz, got {output}")
    from fivefold.atomic import check_free

    deviations = output.with_suffix(".std.npy") if std and ending == ".npy" else None
    for path in filter(None, (output, deviations)):
        check_free(path, force)
    fitted, items = _open(model, data, mask, resize)

    import numpy as np

    from fivefold.jobs.codes import encode

    mu, sigma = encode(fitted, items)
    if ending == ".npz":
        _save(output, lambda file: np.savez(file, mean=mu, std=sigma))
    else:
        _save(output, lambda file: np.save(file, mu))
    if deviations is not None:
        _save(deviations, lambda file: np.save(file, sigma))
    figures = {"items": len(items), "latent_dim": fitted.latent_dim, "values": fitted.schema.size}
    present({**figures, "latent_fraction": fitted.latent_dim / fitted.schema.size, "output": str(output)}, json)


@app.command()
def decode(
    model: options.Model,
    codes: Annotated[Path, typer.Argument(metavar="CODES", help=".npy of (n, latent_dim), or .npz with `mean`.")],
    output: options.Images,
    force: options.Force = False,
    json: options.Json = False,
) -> None:
    """Turn latent numbers back into items."""
    of_series = series.is_series(model)
    place = None if of_series or tables.is_table(output) else _output(output, force)
    from fivefold.arrays import read_npy, read_npz
    from fivefold.jobs.codes import decode
    from fivefold.storage import load

    if not codes.is_file():
        raise DataError(f"{codes}: no such file")
    if codes.suffix.lower() not in (".npy", ".npz"):
        raise DataError(f"{codes}: must be .npy or .npz")
    fitted = load(model)
    z = read_npz(codes, ("mean",))[0] if codes.suffix.lower() == ".npz" else read_npy(codes)
    if of_series:
        present(series.morph(fitted, decode(fitted, z), output, force), json)
    elif place is None:
        present(tables.write_rows(fitted, decode(fitted, z), output, force), json)
    else:
        _write(place, fitted, decode(fitted, z), None, json)


@app.command()
def generate(
    model: options.Model,
    output: options.Images,
    n: Annotated[int, typer.Option("-n", "--items", help="How many.")] = 64,
    prior: Annotated[
        PriorName | None,
        typer.Option(
            help="Of images: where codes come from, the standard normal or a density fitted to real codes. "
            "[default: standard]",
            show_default=False,
        ),
    ] = None,
    sharp: Annotated[
        bool, typer.Option("--sharp", help="Of images: draw the elements too, instead of their means.")
    ] = False,
    like: Annotated[
        str | None,
        typer.Option(metavar="ITEM", help="Draw near one item: an image or an array; NUMBER of a set as DATA#NUMBER."),
    ] = None,
    temperature: Annotated[float, typer.Option(help="Factor on how far codes stray; 0: not at all.")] = 1.0,
    nearest: Annotated[
        str | None,
        typer.Option(metavar="DATA", help="Write the nearest of these items beside: as OUT-nearest."),
    ] = None,
    given: Annotated[
        list[str] | None, typer.Option("--given", metavar="COLUMN=VALUE", help="Of a table: new rows have that.")
    ] = None,
    after: Annotated[
        str | None, typer.Option(metavar="DATA", help="Of series: draw how these may go on, in -n ways.")
    ] = None,
    steps: Annotated[int | None, typer.Option(help="With --after: how many steps. [default: a window's]")] = None,
    seed: options.Seed = 0,
    force: options.Force = False,
    json: options.Json = False,
) -> None:
    """Draw new items."""
    options.check_seed(seed)
    if n < 1:
        raise UsageError(f"-n must be at least 1, got {n}")
    if series.is_series(model):
        series.refuse(prior=prior, sharp=sharp, like=like, nearest=nearest, given=given)
        present(series.generate(model, output, n, temperature, after, steps, seed, force), json)
        return
    if after is not None or steps is not None:
        raise UsageError(f"--{'steps' if after is None else 'after'} goes with series")
    if tables.is_table(output):
        for flag, value in (("prior", prior), ("sharp", sharp), ("like", like), ("nearest", nearest)):
            if value:
                raise UsageError(f"--{flag} goes with images, not with tables")
        _generate_rows(model, output, n, given, temperature, seed, force, json)
        return
    if given:
        raise UsageError("--given goes with tables")
    place = _output(output, force)
    beside = None if nearest is None else _beside(output, "nearest", force)
    from fivefold.images.dataset import read_items
    from fivefold.jobs.generate import generate
    from fivefold.storage import load

    fitted = load(model)
    item = None if like is None else _read_one(like, fitted)
    known = None if nearest is None else read_items(nearest, fitted.schema, split="train")
    figures: dict[str, Any] = {}
    drawn = generate(fitted, n, seed, prior=prior or "standard", sharp=sharp, like=item, temperature=temperature)
    if beside is not None and known is not None:
        from fivefold.jobs.generate import nearest_items

        index, distance = nearest_items(fitted.read(drawn), known)
        beside.write(known.values[index], fitted.image_schema.low, fitted.image_schema.high, None)
        figures = {"nearest": str(beside.path), "smallest_distance": float(distance.min())}
    _write(place, fitted, drawn, None, json, **figures)


@app.command()
def morph(
    model: options.Model,
    data: options.Data,
    output: options.Images,
    start: Annotated[int, typer.Option("--from", help="Number of the first item, from 0.")],
    end: Annotated[int, typer.Option("--to", help="Number of the last item.")],
    steps: Annotated[int, typer.Option(help="How many items, ends included.")] = 12,
    resize: options.Resize = None,
    force: options.Force = False,
    json: options.Json = False,
) -> None:
    """Change one item into another along a line in latent space."""
    if steps < 2:
        raise UsageError(f"--steps must be at least 2, got {steps}")
    of_series = series.is_series(model)
    place = None if of_series or tables.is_table(data) else _output(output, force)
    fitted, items = _open(model, data, None, resize)

    import numpy as np

    from fivefold.jobs.codes import encode
    from fivefold.jobs.generate import morph

    for flag, index in (("from", start), ("to", end)):
        if not 0 <= index < len(items):
            raise UsageError(f"--{flag} must be an item's number from 0 to {len(items) - 1}, got {index}")
    codes, _ = encode(fitted, items.select(np.array([start, end])))
    between = morph(fitted, codes[0], codes[1], steps)
    if of_series:
        present(series.morph(fitted, between, output, force), json)
    elif place is None:
        present(tables.write_rows(fitted, between, output, force), json)
    else:
        _write(place, fitted, between, None, json)


@app.command()
def denoise(
    model: options.Model,
    data: options.Data,
    output: options.Images,
    std: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the standard deviations too, .npy, in the data's units.")
    ] = None,
    report: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Of a table: write which cells were replaced, and why.")
    ] = None,
    threshold: Annotated[
        float, typer.Option(help="Of a table: replace cells that are wrong with a higher probability.")
    ] = 0.5,
    mask: options.Mask = None,
    resize: options.Resize = None,
    seed: options.Seed = 0,
    force: options.Force = False,
    json: options.Json = False,
) -> None:
    """Remove noise; its kind and level need not be known."""
    options.check_seed(seed)
    if series.is_series(model):
        series.refuse(report=report, mask=mask, resize=resize)
        present(series.denoise(model, data, output, std, force), json)
        return
    if tables.is_table(data):
        present(tables.denoise(model, data, output, report, threshold, force), json)
        return
    place = _output(output, force)
    if std is not None and std.resolve() == output.resolve():
        raise UsageError(f"--std must be another file than --output, got {std} for both")
    _check_npy("std", std, force)
    fitted, items = _open(model, data, mask, resize)

    import numpy as np

    from fivefold.jobs.denoise import denoise

    found = denoise(fitted, items, seed=seed)
    if std is not None:
        _save(std, lambda file: np.save(file, found.std))
    _write(place, fitted, found.items, items, json)


@app.command()
def impute(
    model: options.Model,
    data: options.Data,
    output: options.Images,
    draws: Annotated[int, typer.Option(help="Write so many draws too: OUT-draw1, OUT-draw2, …")] = 0,
    interval: Annotated[
        float | None,
        typer.Option(
            metavar="SHARE", help="Write the interval of each element too, such as 0.9: OUT-lower, OUT-upper."
        ),
    ] = None,
    mask: options.Mask = None,
    resize: options.Resize = None,
    seed: options.Seed = 0,
    force: options.Force = False,
    json: options.Json = False,
) -> None:
    """Fill in what is missing: NaN, transparent, or marked by --mask. The rest comes back untouched."""
    options.check_seed(seed)
    if series.is_series(model):
        series.refuse(mask=mask, resize=resize)
        present(series.impute(model, data, output, draws, interval, seed, force), json)
        return
    if tables.is_table(data):
        present(tables.impute(model, data, output, draws, interval, seed, force), json)
        return
    place = _output(output, force)
    further = [f"draw{number}" for number in range(1, draws + 1)] + (["lower", "upper"] if interval is not None else [])
    places = [_beside(output, name, force) for name in further]
    fitted, items = _open(model, data, mask, resize)
    from fivefold.jobs.impute import impute

    missing = sum(int((~items.visible(rows)).sum()) for rows in items.batches(fitted.batch_size))
    found = impute(fitted, items, n_draws=draws, interval=interval, seed=seed)
    bounds = [each for each in (found.lower, found.upper) if each is not None]
    for beside, values in zip(places, [*found.draws, *bounds], strict=True):
        beside.write(values, fitted.image_schema.low, fitted.image_schema.high, items.names)
    _write(place, fitted, found.items, items, json, missing=missing)


@app.command()
def detect(
    model: options.Model,
    data: options.Data,
    output: Annotated[Path, typer.Option("-o", "--output", metavar="CSV", help="item, score, p_value, anomaly.")],
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
            help="Write the surprise of each element: a folder of PNGs, or .npy in bits; of tables a table.",
        ),
    ] = None,
    mask: options.Mask = None,
    resize: options.Resize = None,
    force: options.Force = False,
    json: options.Json = False,
) -> None:
    """Score each item (higher = more normal), and flag the anomalies."""
    if fdr is not None and false_alarm_rate is not None:
        raise UsageError("--fdr and --false-alarm-rate exclude each other")
    for flag, rate in (("false-alarm-rate", false_alarm_rate), ("fdr", fdr)):
        if rate is not None and not 0 < rate < 1:
            raise UsageError(f"--{flag} must be between 0 and 1, got {rate:g}")
    rate = 0.01 if false_alarm_rate is None else false_alarm_rate
    if series.is_series(model):
        series.refuse(mask=mask, resize=resize)
        present(series.detect(model, data, output, rate, fdr, heatmaps, force), json)
        return
    if tables.is_table(data):
        present(tables.detect(model, data, output, rate, fdr, heatmaps, force), json)
        return
    if output.suffix.lower() != ".csv":
        raise UsageError(f"--output must be .csv, got {output}")
    from fivefold.atomic import atomic_file, check_free

    check_free(output, force)
    maps = None if heatmaps is None else _output(heatmaps, force, "heatmaps")
    fitted, items = _open(model, data, mask, resize)
    from fivefold.jobs.detect import detect, surprise

    found = detect(fitted, items, false_alarm_rate=rate, fdr=fdr)
    bits = None if maps is None else surprise(fitted, items)
    with atomic_file(output) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(("item", "score", "p_value", "anomaly"))
        for index in range(len(items)):
            flag = "true" if found.anomaly[index] else "false"
            rows.writerow((items.name(index), f"{found.score[index]:.6f}", f"{found.p_value[index]:.6g}", flag))
    aim = {"false_alarm_rate": rate} if fdr is None else {"fdr": fdr}
    figures: dict[str, Any] = {"items": len(items), "anomalies": int(found.anomaly.sum()), **aim}
    if maps is not None and bits is not None:
        maps.write(bits, 0.0, max(float(bits.max()), 1.0), items.names)
        figures["heatmaps"] = str(maps.path)
    present({**figures, "calibrated_on": found.calibrated_on, "output": str(output)}, json)


def _generate_rows(
    model: Path,
    output: Path,
    n: int,
    given: list[str] | None,
    temperature: float,
    seed: int,
    force: bool,
    json: bool,
) -> None:
    from fivefold.storage import load
    from fivefold.tables.generate import generate_rows

    fitted = load(model)
    rows = generate_rows(fitted, n, seed, given=tables.parse_given(fitted, given or []), temperature=temperature)
    present(tables.write_rows(fitted, rows, output, force), json)


def _open(model: Path, data: str, mask: Path | None, resize: str | None) -> tuple[FittedModel, Items]:
    size = options.parse_size(resize)
    from fivefold.images.dataset import read_items
    from fivefold.storage import load

    fitted = load(model)
    return fitted, read_items(data, fitted.schema, mask=mask, resize=size)


def _read_one(text: str, fitted: FittedModel) -> Items:
    """One item: `DATA`, or `DATA#NUMBER` of a set."""
    name, separator, number = text.rpartition("#")
    from fivefold.images.dataset import read_items

    if not separator or not number.isdecimal():
        return read_items(text, fitted.schema)
    items = read_items(name, fitted.schema)
    if int(number) >= len(items):
        raise UsageError(f"--like {text}: the number must be from 0 to {len(items) - 1}")
    return items.select(slice(int(number), int(number) + 1))


def _beside(output: Path, name: str, force: bool) -> Output:
    """A further output: `OUT-name`."""
    if not output.name:
        raise UsageError(f"--output must have a name for the others to be called after, got {output}")
    return _output(output.with_name(f"{output.stem}-{name}{output.suffix}"), force)


def _check_npy(flag: str, path: Path | None, force: bool) -> None:
    if path is not None:
        from fivefold.atomic import check_free

        if path.suffix.lower() != ".npy":
            raise UsageError(f"--{flag} must be .npy, got {path}")
        check_free(path, force)


def _output(path: Path, force: bool, flag: str = "output") -> Output:
    from fivefold.images.output import Output

    return Output.at(path, force, flag)


def _save(path: Path, write: Callable[[IO[bytes]], None]) -> None:
    from fivefold.atomic import atomic_file

    with atomic_file(path) as temporary, temporary.open("wb") as file:
        write(file)


def _write(
    place: Output, fitted: FittedModel, values: np.ndarray, items: Items | None, json: bool, **figures: Any
) -> None:
    place.write(values, fitted.image_schema.low, fitted.image_schema.high, items.names if items else None)
    present({"items": len(values), **figures, "output": str(place.path)}, json)
