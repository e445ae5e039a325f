"""A single series of ten million steps: `python benchmarks/series_large.py [--steps N]`.

A wave whose strength changes, with noise, as float32 .npy. A model is fitted to the first 20,000 steps; `detect`, `compress` and
`decompress` run as whole commands, the latter two on the first tenth. Their steps per second and peak memory are stated.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from peak_memory import peak_gigabytes
from results_file import write_result

from fivefold.system import environment

_FIRST = 20_000


def main() -> None:
    """Measure, print, and write the result."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--steps", type=int, default=10_000_000)
    steps = options.parse_args().steps
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_series(folder, steps)
        found: dict[str, dict[str, float]] = {}
        for job, count, words in (
            ("fit", _FIRST, ("first.npy", "--kind", "series", "-o", "model", "--quiet")),
            ("detect", steps, ("model", "whole.npy", "-o", "scores.parquet")),
            ("compress", steps // 10, ("model", "tenth.npy", "-o", "tenth.ff", "--no-verify")),
            ("decompress", steps // 10, ("tenth.ff", "--model", "model", "-o", "back.npy")),
        ):
            begun = time.monotonic()
            peak = peak_gigabytes(folder, job, *words)
            seconds = time.monotonic() - begun
            found[job] = {
                "steps": count,
                "seconds": seconds,
                "steps_per_second": count / seconds,
                "peak_gigabytes": peak,
            }
            print(job, found[job], file=sys.stderr)
        if not np.array_equal(np.load(folder / "back.npy"), np.load(folder / "tenth.npy")):
            raise SystemExit("the series did not come back")
        found["compress"]["bits_per_step"] = 8 * (folder / "tenth.ff").stat().st_size / (steps // 10)
    write_result("series_large", {**found, "environment": environment()})


def write_series(folder: Path, steps: int) -> None:
    """Write whole.npy, its tenth.npy and, to fit to, first.npy."""
    whole = wave(steps)
    np.save(folder / "whole.npy", whole)
    np.save(folder / "first.npy", whole[:_FIRST])
    np.save(folder / "tenth.npy", whole[: steps // 10])


def wave(steps: int) -> np.ndarray:
    """The series, `(steps,)` float32."""
    rng, along = np.random.default_rng(0), np.arange(steps)
    strength = 1 + 0.3 * np.sin(along / 1000)
    return (strength * np.sin(along / 5) + 0.1 * rng.normal(size=steps)).astype(np.float32)


if __name__ == "__main__":
    main()
