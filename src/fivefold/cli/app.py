"""The application that commands are registered with, and how they print figures."""

from __future__ import annotations

import json as json_module
import re
from contextvars import ContextVar
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from fivefold import __version__
from fivefold.errors import UsageError
from fivefold.verbs.options import renamed

cluster: ContextVar[str | None] = ContextVar("cluster", default=None)
"""The address of the Ray cluster that `--ray` names."""
_OF_FILES = ("compress", "denoise", "detect", "encode", "impute")
_FLAGS = {"overrides": "schema", "series_network": "network"}  # called otherwise here
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")  # C0, C1, directions of writing

_NUMBERS = {"int": "an integer", "float": "a number"}  # by the start of what pydantic calls its error


class _Commands(TyperGroup):
    """Commands; what is no number is refused in one line that says what was given."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except typer.BadParameter as error:
            details: list[Any] = getattr(error.__cause__, "errors", list)()
            wanted = _NUMBERS.get(details[0]["type"].partition("_")[0]) if details else None
            if wanted is None or error.param is None:
                raise
            raise UsageError(f"{error.param.opts[0]} must be {wanted}, got {details[0]['input']!r}") from None


app = typer.Typer(
    name="fivefold",
    cls=_Commands,
    help="Fit one variational autoencoder to your data; it compresses, generates, denoises, finds anomalies and fills "
    "in missing values.",
    epilog="Exit codes: 0 done; 1 the data, a model or the training is at fault; 2 the command line is; 130 interrupted "
    "(Ctrl-C); 143 terminated (SIGTERM).",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(asked: bool) -> None:
    if asked:
        print(f"fivefold {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
    ray: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS", help="Of many files: work on a Ray cluster, or with local on one of this machine."
        ),
    ] = None,
) -> None:
    """Options before the command."""
    cluster.set(ray)
    if ray is not None and context.invoked_subcommand not in _OF_FILES:
        raise UsageError(f"--ray goes with {', '.join(_OF_FILES)} of many files, not with {context.invoked_subcommand}")


def present(figures: dict[str, Any], json: bool, quiet: bool = False) -> None:
    """Print a command's figures on stdout: for machines, for people, or not at all."""
    if json:
        print(json_module.dumps(figures, indent=1))
    elif not quiet:
        width = max(len(name) for name in figures)
        for name, value in figures.items():
            text = f"{value:.4g}" if isinstance(value, float) else printable(str(value))
            print(f"{name.replace('_', ' '):<{width}}  {text}")


def printable(text: str) -> str:
    """Text whose control characters are escaped: names of files and columns are not to steer the terminal."""
    return _CONTROLS.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def with_flags(message: str) -> str:
    """A message of the library, which names `parameters`, with the command line's options instead."""
    return renamed(message, _option)


def _option(name: str) -> str:
    flag = _FLAGS.get(name, name).replace("_", "-")
    return "-" * min(len(flag), 2) + flag
