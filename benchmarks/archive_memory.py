"""Memory of `compress` and `decompress`, for the test items and for ten times as many."""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fivefold.data import Items
from fivefold.model.fitted import FittedModel
from fivefold.storage import save
from fivefold.system import environment

_COPIES = 10


def measure(model: FittedModel, test: Items, train: Items) -> dict[str, Any]:
    """Peak resident gigabytes of both commands, all processes together, for the items and for many times as many."""
    values, found = test.values, dict[str, dict[str, float]]()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        save(model, folder / "model")
        for copies in (1, _COPIES):
            np.save(folder / "items.npy", np.concatenate([values] * copies))
            found[str(copies * len(values))] = {
                "compress": _peak(folder, "compress", "model", "items.npy", "-o", "items.ff", "--no-verify", "--force"),
                "decompress": _peak(folder, "decompress", "items.ff", "--model", "model", "-o", "back.npy", "--force"),
            }
            back, items = (np.load(folder / f"{each}.npy", mmap_mode="r") for each in ("back", "items"))
            if not np.array_equal(back, items):
                raise AssertionError("the items did not come back")
    return {"gigabytes": found, "environment": environment()}


def _peak(folder: Path, *words: str) -> float:
    """Highest sum of resident memory over a command's processes, polled; gigabytes. Linux only."""
    command = [str(Path(sys.executable).with_name("fivefold")), *words]
    highest = 0.0
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL) as running:
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
