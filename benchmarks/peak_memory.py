"""Memory of a command."""

from __future__ import annotations

import resource
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from program import PROGRAM


def peak_gigabytes(folder: Path, *words: str) -> float:
    """Highest sum of resident memory over the processes of `fivefold WORDS…`, run in `folder`; polled, Linux only."""
    highest = 0.0
    with subprocess.Popen([PROGRAM, *words], cwd=folder, stdout=subprocess.DEVNULL) as running:
        while running.poll() is None:
            highest = max(highest, sum(map(_resident, _family(running.pid))))
            time.sleep(0.1)
    if running.returncode or not highest:
        raise RuntimeError(f"{' '.join(words)} failed")
    return highest


def _family(pid: int) -> Sequence[int]:
    """A process and its children."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return [pid]
    return [pid, *(each for child in children for each in _family(int(child)))]


def _resident(pid: int) -> float:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize() / 1e9
    except OSError:
        return 0.0
