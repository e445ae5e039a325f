"""What comes after a detection: known false alarms, drift, and streams: `python benchmarks/alerts.py FOLDER`.

FOLDER is that of `tables_anomalies.py`'s tables of the second kind; the first eight of the half `confirm`, in random order, that
have at most 30 columns and 3,000 training rows are taken.

- `known`: 1, 3 or 10 flagged rows of a kind are said to be normal: the share of further ones that then pass, and of flagged rows
  of other kinds that stay flagged. Kinds are made up, one column 8 deviations off, or are three clusters of the anomalies.
- `drift`: half of a table's normal rows against the other half, six random parts of it: shares of p-values of at most 0.05.
- `stream`: 20,000 steps of one channel in pieces of 1,000, beside 40,000 in one go: steps per second of a processor.
"""

from __future__ import annotations

import argparse
import re
import time
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
from results_file import write_result
from sklearn.cluster import KMeans
from sklearn.preprocessing import StandardScaler
from tables_anomalies import half_of

import fivefold
from fivefold.progress import silence
from fivefold.system import environment

_TABLES, _MOST_COLUMNS, _MOST_ROWS = 8, 30, 3000
_KNOWN = (1, 3, 10)
_RATE = 0.05
_BATCHES, _PIECE = 6, 1000
Flags = Callable[..., np.ndarray]
Kinds = Iterator[tuple[str, np.ndarray, np.ndarray]]


def main() -> None:
    """Measure, and write the result."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("folder", type=Path)
    tables = _tables(options.parse_args().folder)
    warnings.simplefilter("ignore")
    silence()
    result = {
        "tables": list(tables),
        "known": _known(list(tables.values())),
        "drift": _drift(list(tables.values())),
        "stream": _stream(),
    }
    write_result("alerts", {**result, "environment": environment()})


def _tables(folder: Path) -> dict[str, Any]:
    paths = {re.sub(r"^\d+_", "", path.stem): path for path in sorted(folder.glob("*.npz"))}
    names = [name for name in paths if half_of(name) == "confirm"]
    found = {name: np.load(paths[name]) for name in np.random.default_rng(0).permutation(names).tolist()}
    small = [name for name, table in found.items() if _is_small(*table["train"].shape)]
    return {name: found[name] for name in small[:_TABLES]}


def _is_small(rows: int, columns: int) -> bool:
    return rows <= _MOST_ROWS and columns <= _MOST_COLUMNS


def _fit(rows: np.ndarray) -> Any:
    return fivefold.fit(rows.astype(np.float64), kind="tables", seed=0, folds=1, verdicts=False)


def _known(tables: list[Any]) -> dict[str, list[dict[str, float]]]:
    """By how kinds came about, for each number of known rows, means over kinds."""
    shares: dict[tuple[str, int], list[tuple[float, float]]] = defaultdict(list)
    for table in tables:
        train, test, anomaly = (table[name] for name in ("train", "test", "test_labels"))
        model = _fit(train)

        def flags(rows: np.ndarray, known: np.ndarray | None = None, model: Any = model) -> np.ndarray:
            return np.asarray(fivefold.detect(model, rows, false_alarm_rate=_RATE, normal=known).anomaly)

        strange = anomaly.astype(bool)
        kinds = [*_made(flags, train, test[~strange]), *_clusters(flags, train, test[strange])]
        for origin, own, others in kinds:
            for count in _KNOWN:
                passed = 1 - flags(own[count:], own[:count]).mean()
                shares[origin, count].append((float(passed), float(flags(others, own[:count]).mean())))
    return {
        origin: [
            {
                "known": count,
                "kinds": len(found),
                "pass": mean(a for a, _ in found),
                "others": mean(b for _, b in found),
            }
            for (of, count), found in shares.items()
            if of == origin
        ]
        for origin in dict.fromkeys(of for of, _ in shares)
    }


def _made(flags: Flags, train: np.ndarray, normal: np.ndarray) -> Kinds:
    """Two kinds of rows, with one column far too high, or another far too low."""
    rng, spread = np.random.default_rng(0), train.std(axis=0) + 1e-9
    high, low = rng.choice(train.shape[1], 2, replace=False)
    own, others = normal[:60].astype(np.float64), normal[60:120].astype(np.float64)
    for rows, column, sign in ((own, high, 8), (others, low, -8)):
        rows[:, column] = train[:, column].mean() + sign * spread[column] * (1 + 0.3 * rng.random(len(rows)))
    own, others = own[flags(own)], others[flags(others)]
    if min(len(own), len(others)) >= 20:
        yield "made", own, others


def _clusters(flags: Flags, train: np.ndarray, strange: np.ndarray) -> Kinds:
    """Three clusters of flagged anomalies."""
    strange = strange[:400].astype(np.float64)
    strange = strange[flags(strange)]
    if len(strange) < 45:
        return
    near = np.clip(StandardScaler().fit(train).transform(strange), -10, 10)
    kinds = KMeans(3, n_init=5, random_state=0).fit_predict(near)
    for kind in range(3):
        own, others = strange[kinds == kind][:50], strange[kinds != kind][:60]
        if len(own) >= 15 and len(others) >= 10:
            yield "clusters", own, others


def _drift(tables: list[Any]) -> dict[str, dict[str, float]]:
    """Where nothing has drifted."""
    found: dict[str, list[float]] = defaultdict(list)
    for table in tables:
        rows = np.concatenate((table["train"], table["test"][~table["test_labels"].astype(bool)])).astype(np.float64)
        rows = np.random.default_rng(1).permutation(rows)
        half = len(rows) // 2
        model, others = _fit(rows[:half]), rows[half:]
        for seed in range(_BATCHES):
            batch = np.random.default_rng(seed).permutation(others)[: len(others) // 2]
            drift = fivefold.drift(model, batch, seed=seed)
            for name, p_values in (("columns", drift.columns), ("codes", [drift.codes]), ("batch", [drift.p_value])):
                found[name] += list(p_values)
    return {
        name: {"tests": len(p_values), "at_most_0.05": float((np.array(p_values) <= 0.05).mean())}
        for name, p_values in found.items()
    }


def _stream() -> dict[str, float]:
    step = np.arange(60_000)
    series = np.sin(step * 2 * np.pi / 48) + 0.3 * np.sin(step * 2 * np.pi / 336)
    series += 0.1 * np.random.default_rng(0).standard_normal(len(step))
    model = fivefold.fit(series[:20_000], kind="series", epochs=2, seed=0, verdicts=False)
    whole, new = series[20_000:], series[20_000:40_000]
    stream = fivefold.Stream(model)
    at_once, took = _timed(partial(fivefold.detect, model, whole))
    parts, in_pieces = _timed(lambda: [stream.detect(new[at : at + _PIECE]) for at in range(0, len(new), _PIECE)])
    flagged = np.concatenate([part.steps["anomaly"].to_numpy() for part in parts])
    return {
        "in_pieces": len(new) / in_pieces,
        "at_once": len(whole) / took,
        "compared": len(flagged),
        "flagged": int(flagged.sum()),
        "flags_that_differ": int((flagged != at_once.anomaly[: len(flagged)]).sum()),
    }


def _timed(work: Callable[[], Any]) -> tuple[Any, float]:
    """A result, and seconds of a processor."""
    began = time.process_time()
    return work(), time.process_time() - began


if __name__ == "__main__":
    main()
