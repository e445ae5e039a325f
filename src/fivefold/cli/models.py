"""`info`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fivefold.cli import options
from fivefold.cli.app import app, present


@app.command()
def info(
    model: Annotated[Path, typer.Argument(metavar="PATH", help="A model folder, or an archive.", show_default=False)],
    json: options.Json = False,
) -> None:
    """Say what is in a model (schema, sizes, training history, figures) or in an archive (items, sizes, integrity)."""
    if model.is_file():
        from fivefold.cli.archives import describe_archive

        present(describe_archive(model), json)
        return
    from fivefold.modelcard import describe_units, figure_rows
    from fivefold.storage import read

    stored = read(model)
    if json:
        facts = {
            "schema": stored.schema.to_json(),
            "fit": stored.config.to_json(),
            "parameters": stored.parameters,
            "latent_units": describe_units(stored),
            **stored.record,
        }
        present(facts, json=True)
        return
    present(dict(figure_rows(stored)), json=False)
    for name, text in stored.schema.findings().items():
        print(f"  {name}: {text}")
    print(f"\n{describe_units(stored)}\n")
    print("epoch  negative ELBO  held-out  seconds")
    for row in stored.record["history"]:
        held_out = row.get("validation_negative_elbo", float("nan"))
        print(f"{row['epoch'] + 1:5d}  {row['negative_elbo']:13.2f}  {held_out:8.2f}  {row['seconds']:7.1f}")
