"""What relations between columns cost a fit, and what they are good for: `python benchmarks/relations.py [--repetitions N]`.

A made-up table: `total = a + b + c`, and `start ≤ end`. Fits with and without the search for relations take turns; their
processor time is compared, medians. Of the last fit with them: how many of 1,000 new rows break one; how many of rows that were
not fitted to are flagged at a false alarm rate of 5 %, as they are, and with one relation broken: the total is another row's, or
the end is up to 40 days too early.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median
from unittest.mock import patch

import numpy as np
import pandas as pd
from results_file import write_result

import fivefold
from fivefold.errors import FivefoldWarning
from fivefold.system import environment

_ROWS, _OTHERS, _NEW, _RATE = 600, 400, 1000, 0.05
_QUICK = {"verdicts": False, "folds": 1}


def main() -> None:
    """Measure, print, and write the result."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--repetitions", type=int, default=3)
    repetitions = options.parse_args().repetitions
    rng = np.random.default_rng(0)
    table = _table(rng, _ROWS + _OTHERS)
    known, others = table[:_ROWS], table[_ROWS:].reset_index(drop=True)
    warnings.simplefilter("ignore", FivefoldWarning)
    seconds: dict[str, list[float]] = {"with": [], "without": []}
    fivefold.fit(known, epochs=1, shortest_epoch=1, **_QUICK)  # so that all is loaded
    for seed in range(repetitions):
        with _without_relations():
            seconds["without"].append(_timed_fit(known, seed)[0])
        taken, model = _timed_fit(known, seed)
        seconds["with"].append(taken)
    found = {
        "relations": model.record["relations"],
        "fit_cpu_seconds": seconds,
        "ratio": median(seconds["with"]) / median(seconds["without"]),
        "broken_among_new": int(_broken(fivefold.generate(model, _NEW, seed=0)).sum()),
        "flagged": {
            name: float(fivefold.detect(model, rows, false_alarm_rate=_RATE).anomaly.mean())
            for name, rows in _spoilt(others, rng).items()
        },
    }
    print(found)
    write_result("relations", {"repetitions": repetitions, **found, "environment": environment()})


def _table(rng: np.random.Generator, n: int) -> pd.DataFrame:
    a, b, c = rng.poisson((30, 40, 25), (n, 3)).T
    start, stay = rng.integers(0, 60, n), rng.integers(0, 30, n)
    days = [pd.Timestamp("2024-01-01") + pd.to_timedelta(number, "D") for number in (start, start + stay)]
    return pd.DataFrame({"a": a, "b": b, "c": c, "total": a + b + c, "start": days[0], "end": days[1]})


def _spoilt(rows: pd.DataFrame, rng: np.random.Generator) -> dict[str, pd.DataFrame]:
    total = np.roll(rows["total"], 1)
    same = total == rows["total"]
    early = rows["start"] - pd.to_timedelta(rng.integers(1, 41, len(rows)), "D")
    return {
        "normal": rows,
        "total": rows.assign(total=np.where(same, total + 1, total)),
        "end": rows.assign(end=early),
    }


def _broken(rows: pd.DataFrame) -> pd.Series:
    return (rows["total"] != rows["a"] + rows["b"] + rows["c"]) | (rows["end"] < rows["start"])


def _timed_fit(rows: pd.DataFrame, seed: int) -> tuple[float, fivefold.FittedModel]:
    began = time.process_time()
    model = fivefold.fit(rows, seed=seed, **_QUICK)
    return time.process_time() - began, model


@contextmanager
def _without_relations() -> Iterator[None]:
    with patch("fivefold.tables.networks.find_relations", return_value=None):
        yield


if __name__ == "__main__":
    main()
