"""The five jobs."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated

import typer

from fivefold.cli import options
from fivefold.cli.app import app, present
from fivefold.errors import DataError, UsageError

if TYPE_CHECKING:
    import numpy as np

    from fivefold.data import Items, Output
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
    place = _output(output, force)
    from fivefold.data.arrays import read_npy, read_npz
    from fivefold.jobs.codes import decode
    from fivefold.storage import load

    if not codes.is_file():
        raise DataError(f"{codes}: no such file")
    if codes.suffix.lower() not in (".npy", ".npz"):
        raise DataError(f"{codes}: must be .npy or .npz")
    fitted = load(model)
    z = read_npz(codes, ("mean",))[0] if codes.suffix.lower() == ".npz" else read_npy(codes)
    _write(place, fitted, decode(fitted, z), None, json)


@app.command()
def generate(
    model: options.Model,
    output: options.Images,
    n: Annotated[int, typer.Option("-n", "--items", help="How many.")] = 64,
    seed: options.Seed = 0,
    force: options.Force = False,
    json: options.Json = False,
) -> None:
    """Draw new items."""
    options.check_seed(seed)
    if n < 1:
        raise UsageError(f"-n must be at least 1, got {n}")
    place = _output(output, force)
    from fivefold.jobs.generate import generate
    from fivefold.storage import load

    fitted = load(model)
    _write(place, fitted, generate(fitted, n, seed), None, json)


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
    place = _output(output, force)
    fitted, items = _open(model, data, None, resize)

    import numpy as np

    from fivefold.jobs.codes import encode
    from fivefold.jobs.generate import morph

    for flag, index in (("from", start), ("to", end)):
        if not 0 <= index < len(items):
            raise UsageError(f"--{flag} must be an item's number from 0 to {len(items) - 1}, got {index}")
    codes, _ = encode(fitted, items.select(np.array([start, end])))
    _write(place, fitted, morph(fitted, codes[0], codes[1], steps), None, json)


@app.command()
def denoise(
    model: options.Model,
    data: options.Data,
    output: options.Images,
    mask: options.Mask = None,
    resize: options.Resize = None,
    force: options.Force = False,
    json: options.Json = False,
) -> None:
    """Remove noise; its kind and level need not be known."""
    place = _output(output, force)
    fitted, items = _open(model, data, mask, resize)
    from fivefold.jobs.denoise import denoise

    _write(place, fitted, denoise(fitted, items), items, json)


@app.command()
def impute(
    model: options.Model,
    data: options.Data,
    output: options.Images,
    mask: options.Mask = None,
    resize: options.Resize = None,
    seed: options.Seed = 0,
    force: options.Force = False,
    json: options.Json = False,
) -> None:
    """Fill in what is missing: NaN, transparent, or marked by --mask. The rest comes back untouched."""
    options.check_seed(seed)
    place = _output(output, force)
    fitted, items = _open(model, data, mask, resize)
    from fivefold.jobs.impute import impute

    missing = sum(int((~items.visible(rows)).sum()) for rows in items.batches(fitted.batch_size))
    _write(place, fitted, impute(fitted, items, seed=seed), items, json, missing=missing)


@app.command()
def detect(
    model: options.Model,
    data: options.Data,
    output: Annotated[Path, typer.Option("-o", "--output", metavar="CSV", help="item, score, p_value, anomaly.")],
    false_alarm_rate: Annotated[float, typer.Option(help="Share of normal items that may be flagged.")] = 0.01,
    mask: options.Mask = None,
    resize: options.Resize = None,
    force: options.Force = False,
    json: options.Json = False,
) -> None:
    """Score each item (higher = more normal), and flag the anomalies."""
    if not 0 < false_alarm_rate < 1:
        raise UsageError(f"--false-alarm-rate must be between 0 and 1, got {false_alarm_rate:g}")
    if output.suffix.lower() != ".csv":
        raise UsageError(f"--output must be .csv, got {output}")
    from fivefold.atomic import atomic_file, check_free

    check_free(output, force)
    fitted, items = _open(model, data, mask, resize)
    from fivefold.jobs.detect import detect

    found = detect(fitted, items, false_alarm_rate=false_alarm_rate)
    with atomic_file(output) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(("item", "score", "p_value", "anomaly"))
        for index in range(len(items)):
            flag = "true" if found.anomaly[index] else "false"
            rows.writerow((items.name(index), f"{found.score[index]:.6f}", f"{found.p_value[index]:.6g}", flag))
    figures = {"items": len(items), "anomalies": int(found.anomaly.sum()), "false_alarm_rate": false_alarm_rate}
    present({**figures, "held_out": len(fitted.held_out_scores), "output": str(output)}, json)


def _open(model: Path, data: str, mask: Path | None, resize: str | None) -> tuple[FittedModel, Items]:
    size = options.parse_size(resize)
    from fivefold.data import read_items
    from fivefold.storage import load

    fitted = load(model)
    return fitted, read_items(data, fitted.schema, mask=mask, resize=size)


def _output(path: Path, force: bool) -> Output:
    from fivefold.data import Output

    return Output.at(path, force)


def _save(path: Path, write: Callable[[IO[bytes]], None]) -> None:
    from fivefold.atomic import atomic_file

    with atomic_file(path) as temporary, temporary.open("wb") as file:
        write(file)


def _write(
    place: Output, fitted: FittedModel, values: np.ndarray, items: Items | None, json: bool, **figures: int
) -> None:
    place.write(values, fitted.schema.low, fitted.schema.high, items.names if items else None)
    present({"items": len(values), **figures, "output": str(place.path)}, json)
