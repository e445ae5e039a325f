"""Detection in shards on a Ray cluster of two workers: `python benchmarks/ray_cluster.py [--rows N] [--shards M]`.

20 columns of numbers that hang together by six hidden factors, as Parquet; a model is fitted to the first shard. The same
command runs in one process with one thread, in one with a thread per core, with two actors of a local Ray cluster, and once
more so, where an actor is killed when a fourth of the shards is done. All must write the same files, each row once. Seconds are
those of whole commands, with the start of Ray; those of processors are besides, since other programs may have the cores, of all
processes of a command, Ray's own with them. Memory is the largest resident size of an actor.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from results_file import write_result

from fivefold.system import environment
from fivefold.verbs.shards import INDEX

_COLUMNS, _FACTORS, _WORKERS = 20, 6, 2
_ACTOR = "ray::_Process"  # what Ray calls the processes of its actors


def main() -> None:
    """Measure, compare, and write the result."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rows", type=int, default=10_000_000)
    options.add_argument("--shards", type=int, default=100)
    asked = options.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        write_rows(folder / "rows", asked.rows, asked.shards)
        run(folder, ["fit", "rows/000.parquet", "-o", "model", "--no-verdicts", "--quiet"], lambda ended: None)
        ray = ["--ray", "local"]
        found: dict[str, Any] = {
            "one_thread": detect(folder, "one_thread", [], threads=1),
            "one_process": detect(folder, "one_process", []),
            "ray": detect(folder, "ray", ray),
            "ray_actor_killed": detect(folder, "ray_actor_killed", ray, kill_after=asked.shards // 4),
        }
        checked = {"each_row_once": each_row_once(folder, asked.rows), "same_files": same_files(folder, list(found))}
        size = sum(path.stat().st_size for path in (folder / "rows").iterdir())
    for figures in found.values():
        for unit in ("second", "processor_second"):
            figures[f"rows_per_{unit}"] = round(asked.rows / figures[f"{unit}s"], 1)
    about = {"rows": asked.rows, "columns": _COLUMNS, "shards": asked.shards, "gigabytes": size / 1e9}
    write_result("ray", {"environment": environment(), **about, "workers": _WORKERS, **checked, **found})


def write_rows(folder: Path, rows: int, shards: int) -> None:
    """As many to each shard."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    loadings = rng.normal(size=(_FACTORS, _COLUMNS))
    for number in range(shards):
        count = rows * (number + 1) // shards - rows * number // shards
        values = rng.normal(size=(count, _FACTORS)) @ loadings + 0.3 * rng.normal(size=(count, _COLUMNS))
        columns = {f"x{column}": values[:, column] for column in range(_COLUMNS)}
        pq.write_table(pa.table(columns), folder / f"{number:03d}.parquet")


def detect(
    folder: Path, output: str, cluster: list[str], *, threads: int | None = None, kill_after: int | None = None
) -> dict[str, Any]:
    """Seconds of a command, gigabytes of its largest actor, and whether one was killed."""
    workers = ["--workers", str(_WORKERS)] if cluster else []
    words = [*cluster, "detect", "model", "rows/*.parquet", "-o", output, *workers]
    watch = _Watch(folder, folder / output / INDEX, kill_after)
    seconds = run(folder, words, watch, threads)
    figures: dict[str, Any] = {"seconds": seconds, "processor_seconds": watch.processor_seconds}
    return figures | ({"actor_gigabytes": watch.gigabytes, "killed": watch.killed} if cluster else {})


def run(folder: Path, words: list[str], watch: Callable[[threading.Event], None], threads: int | None = None) -> float:
    """Seconds of a command, which `watch` looks at meanwhile."""
    own = {} if threads is None else {"OMP_NUM_THREADS": str(threads)}
    start, ended = time.monotonic(), threading.Event()
    watching = threading.Thread(target=watch, args=(ended,))
    watching.start()
    try:
        subprocess.run([sys.executable, "-m", "fivefold", *words], cwd=folder, env=os.environ | own, check=True)
    finally:
        ended.set()
        watching.join()
    return round(time.monotonic() - start, 1)


class _Watch:
    """Looks twice a second at a command's processes, which are in its folder; kills an actor when so many shards are done."""

    def __init__(self, folder: Path, index: Path, kill_after: int | None) -> None:
        self._folder, self._index, self._kill_after = folder, index, kill_after
        self._seconds: dict[str, float] = {}
        self.gigabytes, self.killed = 0.0, 0

    @property
    def processor_seconds(self) -> float:
        """Of all of them, Ray's own with them."""
        return round(sum(self._seconds.values()), 1)

    def __call__(self, ended: threading.Event) -> None:
        while not ended.wait(0.5):
            actors = list(self._actors())
            done = self._index.read_text().count('"output"') if self._index.exists() else 0
            if self._kill_after is not None and done >= self._kill_after and not self.killed and actors:
                os.kill(actors[0], signal.SIGKILL)
                self.killed += 1

    def _actors(self) -> Iterator[int]:
        """Process numbers of the actors."""
        for process in Path("/proc").glob("[0-9]*"):
            try:
                if (process / "cwd").readlink() != self._folder:
                    continue
                ticks = (process / "stat").read_text().rpartition(")")[2].split()[11:13]
                self._seconds[process.name] = sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")
                if (process / "cmdline").read_text().startswith(_ACTOR):
                    peak = next(line for line in (process / "status").read_text().splitlines() if "VmHWM" in line)
                    self.gigabytes = max(self.gigabytes, int(peak.split()[1]) * 1024 / 1e9)
                    yield int(process.name)
            except (OSError, StopIteration):  # it has ended
                continue


def each_row_once(folder: Path, rows: int) -> bool:
    """Whether the scores of each shard are of its rows, in order, and all together of so many."""
    total = 0
    for shard in sorted((folder / "rows").iterdir()):
        numbers = pq.read_table(folder / "ray_actor_killed" / shard.name, columns=["row"])["row"].to_numpy()
        if not np.array_equal(numbers, np.arange(pq.read_metadata(shard).num_rows)):
            return False
        total += len(numbers)
    return total == rows


def same_files(folder: Path, places: list[str]) -> bool:
    """Whether all commands wrote the same, byte for byte."""
    first, *others = places
    names = sorted(path.name for path in (folder / first).glob("*.*"))
    return all(
        names == sorted(path.name for path in (folder / other).glob("*.*"))
        and all((folder / first / name).read_bytes() == (folder / other / name).read_bytes() for name in names)
        for other in others
    )


if __name__ == "__main__":
    main()
