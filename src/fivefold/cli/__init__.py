"""The command line. Nothing heavy is imported before a command runs: help and usage errors answer at once."""

from __future__ import annotations

import os
import signal
import sys
import warnings
from io import TextIOWrapper
from typing import Any, NoReturn

from fivefold.cli.app import app, printable, with_flags
from fivefold.errors import FivefoldError
from fivefold.system import keep_freed_memory

_TURNS = (
    "2000"  # of waiting for another thread before sleeping: by default so many that a busy core costs most of the time
)
_INTERRUPTED, _TERMINATED = 128 + signal.SIGINT, 128 + signal.SIGTERM  # exit codes, as shells have them


def main() -> None:
    """Run the command line: exit code 2 for usage, 1 for data, 130 when interrupted, 143 when terminated."""
    os.environ.setdefault("GOMP_SPINCOUNT", _TURNS)
    keep_freed_memory()
    from fivefold.cli import fit, jobs, archives, export, hub, mcp, serve, reports  # isort: skip # noqa: F401  (they register their commands)

    warnings.showwarning = _show_warning
    terminated = False

    def terminate(*_: object) -> NoReturn:
        """End as Ctrl-C does: with everything tidied up."""
        nonlocal terminated
        terminated = True
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, terminate)
    for stream in (sys.stdout, sys.stderr):  # a file on Windows may not hold every character
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")
    try:
        app()
    except SystemExit as end:
        sys.exit(_TERMINATED if terminated and end.code == _INTERRUPTED else end.code)
    except FivefoldError as error:
        _say(f"error: {with_flags(str(error))}")
        sys.exit(error.exit_code)
    except MemoryError:
        _say("error: the data does not fit into memory")
        sys.exit(1)
    except OSError as error:
        _say(f"error: {error.filename or 'reading or writing'}: {error.strerror or error}")
        sys.exit(1)


def _show_warning(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
    if issubclass(category, UserWarning):
        _say(f"warning: {with_flags(str(message))}")


def _say(line: str) -> None:
    print(printable(line), file=sys.stderr)
