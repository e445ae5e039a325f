"""Running the command line: which commands there are, and how errors end."""

from __future__ import annotations

import re
import sys
import warnings
from io import TextIOWrapper
from typing import Any

from fivefold.cli.app import app
from fivefold.errors import FivefoldError

_FLAGS = {"ids": "id", "n_draws": "draws", "overrides": "schema", "series_network": "network"}  # called otherwise here


def main() -> None:
    """Run the command line: exit code 2 for usage, 1 for data, 130 when interrupted."""
    from fivefold.cli import fit, models, jobs, archives, reports  # isort: skip # noqa: F401  (they register their commands)

    warnings.showwarning = _show_warning
    for stream in (sys.stdout, sys.stderr):  # a file on Windows may not hold every character
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")
    try:
        app()
    except FivefoldError as error:
        _say(f"error: {_with_flags(str(error))}")
        sys.exit(error.exit_code)
    except MemoryError:
        _say("error: the data does not fit into memory")
        sys.exit(1)
    except OSError as error:
        _say(f"error: {error.filename or 'writing'}: {error.strerror or error}")
        sys.exit(1)


def _show_warning(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
    if issubclass(category, UserWarning):
        _say(f"warning: {_with_flags(str(message))}")


def _with_flags(message: str) -> str:
    """A message of the library, which names `parameters`, with the command line's options instead."""
    return re.sub(r"`(\w+)`", _option, message)


def _option(parameter: re.Match[str]) -> str:
    flag = _FLAGS.get(parameter[1], parameter[1]).replace("_", "-")
    return "-" * min(len(flag), 2) + flag


def _say(line: str) -> None:
    print(line, file=sys.stderr)
