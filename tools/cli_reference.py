"""Print docs/cli.md, made from the command line's own help: `python tools/cli_reference.py > docs/cli.md`."""

from __future__ import annotations

import sys

import typer
from typer.cli import get_docs_for_click

from fivefold.cli import fit, jobs, archives, hub, mcp, serve, reports  # isort: skip # noqa: F401  (they register their commands)
from fivefold.cli.app import app


def render() -> str:
    """The reference, Markdown."""
    command = typer.main.get_command(app)
    docs = get_docs_for_click(obj=command, ctx=typer.Context(command), name="fivefold", title="Commands")
    return docs.strip() + "\n"


if __name__ == "__main__":
    sys.stdout.reconfigure(encoding="utf-8")  # type: ignore[union-attr]
    sys.stdout.write(render())
