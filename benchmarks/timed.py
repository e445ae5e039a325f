"""Seconds and memory of work done in a process of its own."""

from __future__ import annotations

import builtins
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

ROOT = Path(__file__).parents[1]


class TooLongError(Exception):
    """The work was ended."""


def run(
    words: Sequence[str],
    folder: Path,
    source: Path = ROOT,
    *,
    one_thread: bool = False,
    limit: float = threading.TIMEOUT_MAX,
) -> dict[str, float]:
    """`python WORDS…` in `folder`, with the package of the checkout `source`.

    `seconds` are those of the whole process, or of a script those that `timed` printed, with `imports`, what of them was spent on
    imports. `peak_gigabytes` is the resident memory of the largest process.
    Raises `TooLongError` after `limit` seconds, and `RuntimeError` if the work fails.
    """
    own = {"PYTHONPATH": str(source.resolve() / "src")} | ({"OMP_NUM_THREADS": "1"} if one_thread else {})
    start = time.monotonic()
    with subprocess.Popen(
        [sys.executable, *words], cwd=folder, env=os.environ | own, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        timer = threading.Timer(limit, process.kill)
        timer.daemon = True
        timer.start()
        printed = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.monotonic() - start
        ended = not timer.is_alive()
        timer.cancel()
        process.returncode = os.waitstatus_to_exitcode(status)
    if ended:
        raise TooLongError
    if process.returncode:
        raise RuntimeError(f"{' '.join(words)} failed")
    told = json.loads(printed.splitlines()[-1]) if words[0].endswith(".py") else {"seconds": seconds}
    return {**told, "peak_gigabytes": usage.ru_maxrss * 1024 / 1e9}


@contextmanager
def timed() -> Iterator[dict[str, float]]:
    """Print for `run` how long what is inside takes; what it puts into the dictionary takes precedence."""
    clock, figures = _ImportClock(), dict[str, float]()
    start = time.monotonic()
    with mock.patch("builtins.__import__", clock):
        yield figures
    print(json.dumps({"seconds": time.monotonic() - start, "imports": clock.seconds, **figures}))


class _ImportClock:
    """`__import__` that adds up how long it takes."""

    def __init__(self) -> None:
        self.seconds, self._within, self._import = 0.0, False, builtins.__import__

    def __call__(self, *args: Any, **named: Any) -> Any:
        if self._within:
            return self._import(*args, **named)
        self._within, start = True, time.monotonic()
        try:
            return self._import(*args, **named)
        finally:
            self._within = False
            self.seconds += time.monotonic() - start
