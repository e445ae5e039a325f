"""Anomalies in tables beside PyOD's detectors: `python benchmarks/tables_anomalies.py FOLDER [TABLE …] [--seeds N]`.

FOLDER holds tables as ADBench has them (Han et al. 2022, arXiv:2206.09426): .npz with `X`, and `y`, 1 for anomalies; or with
`train`, `test` and `test_labels`, as macrOData has them (arXiv:2602.09329). Protocols of the first: `unsupervised`, fit and
score the same rows; `normals`, fit on a random half of the normal rows, score the others. Of the second: `clean`, fit
`train` and score `test`; and `contaminated`, the same with anomalies moved from `test` to `train`, of which they are then 1, 5
or 10 % (at most half of them). Labels are used for the AUROC alone.

Tables of the second kind are in two halves by a hash of their names: our rule was chosen on `choose` alone, and on all of
ADBench's. Each detector has its defaults; those that measure distances or train a network get standardised columns; ours
is fitted once and does not try its jobs, on which scores do not depend. Tables that are not named, and protocols that are
not asked for, keep what was measured of them before.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
from results_file import read_result, write_result
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import StandardScaler

from fivefold import VAE
from fivefold.errors import TrainingError
from fivefold.evaluation.contest import OURS
from fivefold.evaluation.rivals.detectors import MORE_DETECTORS, STANDARDISED, TABLE_DETECTORS, score_rows
from fivefold.system import environment

Scorer = Callable[[np.ndarray, np.ndarray, int], np.ndarray]
Split = tuple[np.ndarray, np.ndarray, np.ndarray]
HALVES = ("choose", "confirm")
_SHARES = (0.01, 0.05, 0.1)


def main() -> None:
    """Measure, print the means, and write the result."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("folder", type=Path)
    options.add_argument("tables", nargs="*")
    options.add_argument("--seeds", type=int, default=3)
    options.add_argument("--half", choices=HALVES, help="only tables of this half")
    options.add_argument("--protocols", nargs="*", help="only these")
    options.add_argument("--detectors", nargs="*", help="only these")
    given = options.parse_args()
    tables = {re.sub(r"^\d+_", "", path.stem): np.load(path) for path in sorted(given.folder.glob("*.npz"))}
    if not tables:
        options.error(f"{given.folder} holds no .npz")
    if unknown := set(given.tables) - tables.keys():
        options.error(f"TABLE must be one of {', '.join(tables)}; got {sorted(unknown)[0]}")
    chosen = {
        name: table
        for name, table in tables.items()
        if name in (given.tables or tables) and given.half in (None, half_of(name))
    }
    names = [OURS, *TABLE_DETECTORS, *MORE_DETECTORS]
    if unknown := set(given.detectors or ()) - set(names):
        options.error(f"--detectors must be among {', '.join(names)}; got {sorted(unknown)[0]}")
    scorers = {name: _ours if name == OURS else _peer(name) for name in given.detectors or names}
    _measure_all(chosen, scorers, given.seeds, given.protocols)


def half_of(table: str) -> str:
    """Which half a table is in, by its name."""
    return HALVES[hashlib.sha256(table.encode()).digest()[0] % 2]


def _measure_all(
    tables: Mapping[str, Any], scorers: Mapping[str, Scorer], seeds: int, only: list[str] | None = None
) -> None:
    """Write what detectors do on tables, after each."""
    with_train = "train" in next(iter(tables.values()))
    protocols = ("clean", *map(_contaminated, _SHARES)) if with_train else ("unsupervised", "normals")
    result = _before(protocols, seeds)
    for protocol in protocols:
        if only and protocol not in only:
            continue
        found = result.setdefault(protocol, {})
        for name, scorer in scorers.items():
            by_table = found.setdefault(name, {})
            for table, data in tables.items():
                by_table[table] = _measure(data, scorer, protocol, seeds)
                print(protocol, name, table, f"{by_table[table]['auroc']:.4f}", file=sys.stderr)
                _write(with_train, seeds, result)
            print(f"{protocol:16} {name:12} {mean(each['auroc'] for each in by_table.values()):.4f}", file=sys.stderr)


def _write(with_train: bool, seeds: int, result: dict[str, Any]) -> None:
    """Write the result; of tables of the second kind with the half that each is in."""
    about: dict[str, Any] = {"seeds": seeds}
    if with_train:
        known = sorted({table for found in result.values() for by_table in found.values() for table in by_table})
        about["halves"] = {half: [table for table in known if half_of(table) == half] for half in HALVES}
    write_result(_name(with_train), {**about, **result, "environment": environment()})


def _name(with_train: bool) -> str:
    return "tables_strange" if with_train else "tables_anomalies"


def _before(protocols: tuple[str, ...], seeds: int) -> dict[str, Any]:
    """What was measured before with as many seeds, by protocol."""
    known = read_result(_name("clean" in protocols))
    return {name: known[name] for name in protocols if name in known and known.get("seeds") == seeds}


def _contaminated(share: float) -> str:
    return f"{share:.0%} contaminated"


def _measure(data: Any, scorer: Scorer, protocol: str, seeds: int) -> dict[str, float]:
    """Mean AUROC and seconds of a detector on a table; one that can't be fitted to it tells nothing."""
    auroc, seconds = [], []
    for seed in range(seeds):
        train, test, anomaly = _split(data, protocol, seed)
        start = time.monotonic()
        try:
            strange = scorer(train, test, seed)
        except (ValueError, TrainingError):
            strange = np.zeros(len(test))
        seconds.append(time.monotonic() - start)
        auroc.append(float(roc_auc_score(anomaly, strange)))
    return {"auroc": mean(auroc), "seconds": mean(seconds)}


def _split(data: Any, protocol: str, seed: int) -> Split:
    """Rows to fit and to score, and which of the latter are anomalies."""
    random = np.random.default_rng(seed)
    if "train" in data:
        train, test = data["train"].astype(np.float64), data["test"].astype(np.float64)
        anomaly = data["test_labels"].astype(bool)
        share = next((share for share in _SHARES if protocol == _contaminated(share)), 0.0)
        strange = random.permutation(np.flatnonzero(anomaly))
        moved = strange[: min(round(share / (1 - share) * len(train)), len(strange) // 2)]
        return np.concatenate((train, test[moved])), np.delete(test, moved, axis=0), np.delete(anomaly, moved)
    rows, anomaly = data["X"].astype(np.float64), data["y"].astype(bool)
    if protocol == "unsupervised":
        return rows, rows, anomaly
    normal = random.permutation(np.flatnonzero(~anomaly))
    test = np.concatenate((normal[len(normal) // 2 :], np.flatnonzero(anomaly)))
    return rows[normal[: len(normal) // 2]], rows[test], anomaly[test]


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
