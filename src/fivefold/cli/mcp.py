"""`mcp`: models as an assistant's tools."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fivefold.cli.app import app
from fivefold.errors import UsageError


@app.command()
def mcp(
    models: Annotated[
        list[str],
        typer.Argument(metavar="MODEL…", help="Model folders; NAME=FOLDER to call one otherwise.", show_default=False),
    ],
    allow: Annotated[
        list[Path],
        typer.Option("--allow", metavar="FOLDER", help="Where files may be read and written; may be repeated."),
    ],
) -> None:
    """Offer the jobs as tools to assistants that speak the Model Context Protocol, on stdin and stdout."""
    try:
        from fivefold.mcp import run
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("fivefold"):
            raise
        raise UsageError("tools for assistants need an extra: pip install fivefold[mcp]") from None
    from fivefold.serve.settings import named_models

    run(named_models(models), allow)
