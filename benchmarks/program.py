"""The command line as users call it: `fivefold WORDS…`."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

PROGRAM = str(Path(sys.executable).with_name("fivefold"))


def run_seconds(folder: Path, *words: str) -> float:
    """How long a command takes in `folder`, its start included."""
    start = time.monotonic()
    subprocess.run([PROGRAM, *words], cwd=folder, stdout=subprocess.DEVNULL, check=True)
    return time.monotonic() - start
