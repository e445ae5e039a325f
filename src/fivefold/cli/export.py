"""`export`: jobs for other runtimes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fivefold.cli import options
from fivefold.cli.app import app, present
from fivefold.cli.jobs import FREE


@app.command()
def export(
    model: options.Model,
    output: Annotated[Path, typer.Option("-o", "--output", metavar="FILE", help="An .onnx file.")],
    job: Annotated[str, typer.Option(help="decode, denoise, detect, encode or impute.")] = "detect",
    free: Annotated[bool, typer.Option("--free", help=FREE)] = False,
    check: Annotated[
        str | None,
        typer.Option(metavar="DATA", help="Compare with the job on these. [default: on items that the model draws]"),
    ] = None,
    force: options.Force = False,
    json: options.Json = False,
) -> None:
    """Write a job as an ONNX file, preprocessing and calibration inside; it is compared with the job itself before."""
    from fivefold.onnx import export
    from fivefold.storage import load

    present(export(load(model, "cpu"), output, job, free=free, check=check, force=force), json)
