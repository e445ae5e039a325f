"""A fit by two workers of a local Ray cluster beside one process: `python benchmarks/ray_fit.py [--rows N]`.

20 columns of numbers that hang together by six hidden factors, in a Parquet file. The same fit runs in one process, by two
workers, and by two of which one is killed after the first epochs. Each process has one thread. Seconds are those of the
training alone, and of all: reading, inference of the schema, what is fitted afterwards, of workers also their start.
"""

from __future__ import annotations

import argparse
import os
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import ray
import ray_cluster
import torch
from results_file import write_result

import fivefold
import fivefold.ray
from fivefold.system import environment
from fivefold.training.recipe import STATE_FILE

_WORKER = "ray::RayTrainWorker"  # what Ray calls the processes that train
_SETTINGS = {"seed": 0, "accelerator": "cpu", "verdicts": False}


def main() -> None:
    """Measure, and write the result."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rows", type=int, default=2_000_000)
    rows = options.parse_args().rows
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        ray_cluster.write_rows(folder / "rows", rows, 1)
        data = folder / "rows/000.parquet"
        found = {"one_process": measured(lambda: fivefold.fit(data, **_SETTINGS))}
        ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False)
        found["two_workers"] = measured(lambda: fivefold.ray.fit(data, folder / "two", **_SETTINGS))
        killing = _Killing(folder / "killed.fitting" / "training" / STATE_FILE)
        threading.Thread(target=killing, daemon=True).start()
        found["two_workers_one_killed"] = measured(lambda: fivefold.ray.fit(data, folder / "killed", **_SETTINGS))
    found["two_workers_one_killed"]["killed"] = killing.killed
    content = {"rows": rows, "columns": ray_cluster._COLUMNS, "workers": 2, **found}
    write_result("ray_fit", {"environment": environment(), **content})


def measured(fit: Callable[[], Any]) -> dict[str, Any]:
    """Seconds of a fit, and its figures of held-out rows."""
    start = time.monotonic()
    model = fit()
    figures = model.record["figures"]["held_out"]
    best = model.record["history"][model.record["best_epoch"]]
    return {
        "seconds": round(time.monotonic() - start, 1),
        "train_seconds": round(model.record["train_seconds"], 1),
        "epochs": len(model.record["history"]),
        "held_out_negative_elbo": figures["negative_elbo"],
        "held_out_context": best["validation_context"],
    }


class _Killing:
    """Kills one of the processes that train, once the state of a training is there."""

    def __init__(self, state: Path) -> None:
        self._state, self.killed = state, 0

    def __call__(self) -> None:
        while not self._state.exists():
            time.sleep(0.1)
        for process in map(int, (path.name for path in Path("/proc").glob("[0-9]*"))):
            if _field(process, "cmdline").startswith(_WORKER) and os.getpid() in _ancestors(process):
                os.kill(process, signal.SIGKILL)
                self.killed += 1
                return


def _ancestors(process: int) -> Iterator[int]:
    """Numbers of the processes that it comes from."""
    while process > 1:
        fields = _field(process, "stat").rpartition(")")[2].split()
        process = int(fields[1]) if fields else 0
        yield process


def _field(process: int, name: str) -> str:
    """What the system says of a process, nothing if it has ended."""
    try:
        return Path(f"/proc/{process}/{name}").read_text()
    except OSError:
        return ""


if __name__ == "__main__":
    main()
