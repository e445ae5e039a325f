"""Anomalies in tables beside PyOD's detectors: `python benchmarks/tables_anomalies.py FOLDER [TABLE …] [--seeds N]`.

FOLDER holds tables as ADBench has them (Han et al. 2022, arXiv:2206.09426): .npz with `X`, and `y`, 1 for anomalies. Two
protocols: `unsupervised`, fit and score the same rows; `normals`, fit on a random half of the normal rows, score the
others. Labels are used for the AUROC alone. Each detector has its defaults; those that measure distances or train a
network get standardised columns; ours is fitted
once and does not try its jobs, on which scores do not depend. Tables that are not named keep what was measured of them before.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
from results_file import read_result, write_result
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import StandardScaler

from fivefold import VAE
from fivefold.evaluation.contest import OURS
from fivefold.evaluation.rivals.detectors import STANDARDISED, TABLE_DETECTORS, score_rows
from fivefold.system import environment

Scorer = Callable[[np.ndarray, np.ndarray, int], np.ndarray]


def main() -> None:
    """Measure, print the means, and write the result."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("folder", type=Path)
    options.add_argument("tables", nargs="*")
    options.add_argument("--seeds", type=int, default=3)
    given = options.parse_args()
    tables = {path.stem.split("_", 1)[-1]: np.load(path) for path in sorted(given.folder.glob("*.npz"))}
    if not tables:
        options.error(f"{given.folder} holds no .npz")
    if unknown := set(given.tables) - tables.keys():
        options.error(f"TABLE must be one of {', '.join(tables)}; got {sorted(unknown)[0]}")
    scorers: dict[str, Scorer] = {OURS: _ours, **{name: _peer(name) for name in TABLE_DETECTORS}}
    result = _before(given.seeds)
    for protocol in ("unsupervised", "normals"):
        found = result.setdefault(protocol, {})
        for name, scorer in scorers.items():
            by_table = found.setdefault(name, {})
            for table in given.tables or tables:
                by_table[table] = _measure(tables[table], scorer, protocol, given.seeds)
            print(f"{protocol:13} {name:12} {mean(each['auroc'] for each in by_table.values()):.4f}", file=sys.stderr)
    write_result("tables_anomalies", {"seeds": given.seeds, **result, "environment": environment()})


def _before(seeds: int) -> dict[str, Any]:
    """What was measured before with as many seeds, by protocol."""
    known = read_result("tables_anomalies")
    return {name: known[name] for name in ("unsupervised", "normals") if known.get("seeds") == seeds}


def _measure(data: Any, scorer: Scorer, protocol: str, seeds: int) -> dict[str, float]:
    """Mean AUROC and seconds of a detector on a table."""
    rows, anomaly = data["X"].astype(np.float64), data["y"].astype(bool)
    auroc, seconds = [], []
    for seed in range(seeds):
        train = test = np.arange(len(rows))
        if protocol == "normals":
            normal = np.random.default_rng(seed).permutation(np.flatnonzero(~anomaly))
            train = normal[: len(normal) // 2]
            test = np.concatenate((normal[len(normal) // 2 :], np.flatnonzero(anomaly)))
        start = time.monotonic()
        strange = scorer(rows[train], rows[test], seed)
        seconds.append(time.monotonic() - start)
        auroc.append(float(roc_auc_score(anomaly[test], strange)))
    return {"auroc": mean(auroc), "seconds": mean(seconds)}


def _ours(train: np.ndarray, test: np.ndarray, seed: int) -> np.ndarray:
    return -VAE(random_state=seed, settings={"folds": 1, "verdicts": False}).fit(train).score_samples(test)


def _peer(name: str) -> Scorer:
    def score(train: np.ndarray, test: np.ndarray, seed: int) -> np.ndarray:
        if name in STANDARDISED:
            scaler = StandardScaler().fit(train)
            train, test = scaler.transform(train), scaler.transform(test)
        return score_rows(name, train, test, seed)

    return score


if __name__ == "__main__":
    main()
