"""A table of a million rows: `python benchmarks/tables_large.py [--rows N]`.

50 columns, 40 of numbers and 10 of categories, that hang together by six hidden factors, as Parquet; a twentieth of the
cells is missing in the file that `impute` fills. A model is fitted to the first 20,000 rows. `detect` and `impute` run as
whole commands; their rows per second and peak memory are stated.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from peak_memory import peak_gigabytes
from results_file import write_result

from fivefold.system import environment

_NUMBERS, _CLASSES, _FACTORS = 40, 10, 6
_PART, _FIRST = 50_000, 20_000
_MISSING = 0.05


def main() -> None:
    """Measure, print, and write the result."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rows", type=int, default=1_000_000)
    rows = options.parse_args().rows
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_tables(folder, rows)
        found: dict[str, Any] = {"rows": rows, "columns": _NUMBERS + _CLASSES}
        found["fit"] = _run(folder, "fit", "first.parquet", "-o", "model", "--quiet")
        found["detect"] = _run(folder, "detect", "model", "whole.parquet", "-o", "scores.parquet")
        found["impute"] = _run(folder, "impute", "model", "holes.parquet", "-o", "filled.parquet")
        for job in ("detect", "impute"):
            found[job]["rows_per_second"] = rows / found[job]["seconds"]
        filled = pq.ParquetFile(folder / "filled.parquet")
        if filled.metadata.num_rows != rows or any(batch[0].null_count for batch in filled.iter_batches(_PART)):
            raise SystemExit("impute did not fill all rows")
    print(found, file=sys.stderr)
    write_result("tables_large", {**found, "environment": environment()})


def write_tables(folder: Path, rows: int) -> None:
    """Write whole.parquet, holes.parquet and, to fit to, first.parquet."""
    _write(folder / "whole.parquet", _parts(rows, 0.0))
    _write(folder / "holes.parquet", _parts(rows, _MISSING))
    pq.write_table(pq.read_table(folder / "whole.parquet").slice(0, _FIRST), folder / "first.parquet")


def _parts(rows: int, missing: float) -> Iterator[pa.Table]:
    rng = np.random.default_rng(0)
    weights = rng.normal(size=(_FACTORS, _NUMBERS + _CLASSES))
    for start in range(0, rows, _PART):
        n = min(_PART, rows - start)
        signal = np.tanh(rng.normal(size=(n, _FACTORS)) @ weights * 0.7) * 3
        cells = signal + rng.normal(size=signal.shape) * 0.5
        hidden = rng.random(cells.shape) < missing
        columns = {}
        for number in range(_NUMBERS):
            columns[f"number{number}"] = pa.array(cells[:, number].round(3), mask=hidden[:, number])
        for number in range(_NUMBERS, _NUMBERS + _CLASSES):
            names = np.array(["low", "middle", "high", "top"])[np.digitize(cells[:, number], [-2, 0, 2])]
            columns[f"class{number}"] = pa.array(names, mask=hidden[:, number])
        yield pa.table(columns)


def _write(path: Path, parts: Iterator[pa.Table]) -> None:
    first = next(parts)
    with pq.ParquetWriter(path, first.schema) as writer:
        writer.write_table(first)
        for part in parts:
            writer.write_table(part)


def _run(folder: Path, *words: str) -> dict[str, float]:
    """Seconds of a whole command, and the peak of its memory in gigabytes."""
    start = time.monotonic()
    peak = peak_gigabytes(folder, *words)
    return {"seconds": time.monotonic() - start, "peak_gigabytes": peak}


if __name__ == "__main__":
    main()
