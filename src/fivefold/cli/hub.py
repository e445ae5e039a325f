"""`push`: models to the Hub."""

from __future__ import annotations

from typing import Annotated

import typer

from fivefold.cli import options
from fivefold.cli.app import app, present


@app.command()
def push(
    model: options.Model,
    name: Annotated[str, typer.Argument(metavar="USER/NAME", help="Of the repository; it is made if there is none.")],
    private: Annotated[bool, typer.Option("--private", help="Make one that its owner alone sees.")] = False,
    json: options.Json = False,
) -> None:
    """Send a model to the Hugging Face Hub: settings, weights and card; anywhere MODEL stands, hf://user/name gets it back."""
    from fivefold.storage import push

    present({"commit": push(model, name, private=private), "model": f"hf://{name}"}, json)
