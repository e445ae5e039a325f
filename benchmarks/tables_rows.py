"""New rows beside other generators: `python benchmarks/tables_rows.py [--seeds N] [TABLE …]`.

Three quarters of a real table's rows are fitted to; as many new ones are drawn. How good they are say, higher is better,

- `shapes`, `pairs`: sdmetrics' column shapes and pair trends (Kolmogorov–Smirnov and total variation; correlations and
  contingency), against the rows that were left out;
- `fooled`: how far a classifier (gradient boosting, AUROC over five folds) is from telling them from the rows left out: 1 if
  it can't, 0 if always;
- `useful`: gradient boosting trained on them predicts a column of the rows left out as well as: R², or balanced accuracy.

Peers: CTGAN's TVAE, in as many epochs as the VAE here takes time, and in its own 300; a Gaussian copula (`copulas`, on columns
made numbers by `rdt`). They want pandas below 3: `pip install ctgan copulas sdmetrics "pandas<3"`. `real` is the rows
fitted to themselves: what could be had at best.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from collections.abc import Callable
from statistics import mean
from typing import Any

import numpy as np
import pandas as pd
from results_file import write_result
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.metrics import balanced_accuracy_score, r2_score, roc_auc_score
from sklearn.model_selection import cross_val_predict
from tables_imputation import load_tables

from fivefold import VAE
from fivefold.evaluation.contest import OURS
from fivefold.evaluation.rivals import seeded
from fivefold.system import environment

_TARGETS = {"penguins": "species", "boston": "medv", "housing": "price", "wages": "lwage", "diamonds": "price"}
_TIMED_EPOCHS = 100

Generator = Callable[[pd.DataFrame, int, float], pd.DataFrame]


def main() -> None:
    """Measure, print the means, and write the result."""
    warnings.simplefilter("ignore")
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("tables", nargs="*")
    options.add_argument("--seeds", type=int, default=3)
    given = options.parse_args()
    tables, found = load_tables(), dict[str, Any]()
    for name in given.tables or _TARGETS:
        runs = [_measure(tables[name], _TARGETS[name], seed) for seed in range(given.seeds)]
        found[name] = {
            generator: {figure: mean(run[generator][figure] for run in runs) for figure in figures}
            for generator, figures in runs[0].items()
        }
        for generator, figures in found[name].items():
            shown = {figure: round(value, 4) for figure, value in figures.items()}
            print(name, generator, shown, file=sys.stderr, flush=True)
    write_result("tables_rows", {"seeds": given.seeds, "tables": found, "environment": environment()})


def _measure(table: pd.DataFrame, target: str, seed: int) -> dict[str, dict[str, float]]:
    order = np.random.default_rng(seed).permutation(len(table))
    cut = 3 * len(table) // 4
    train, test = (table.iloc[rows].reset_index(drop=True) for rows in (order[:cut], order[cut:]))
    generators: dict[str, Generator] = {OURS: _ours, "TVAE": _tvae, "TVAE, 300 epochs": _tvae_long, "copula": _copula}
    found, seconds = {"real": _judge(train, train, test, target, seed) | {"seconds": 0.0}}, 0.0
    for name, generate in generators.items():
        with seeded(seed, name):
            start = time.monotonic()
            rows = generate(train, seed, seconds)
            taken = time.monotonic() - start
        seconds = seconds or taken
        found[name] = _judge(rows, train, test, target, seed) | {"seconds": taken}
    return found


def _ours(train: pd.DataFrame, seed: int, _: float) -> pd.DataFrame:
    return VAE(random_state=seed).fit(train).sample(len(train))


def _tvae(train: pd.DataFrame, seed: int, seconds: float) -> pd.DataFrame:
    """As long as `seconds`."""
    _seconds_of_tvae(train, 1)  # what is done but once is no epoch's
    epoch = _seconds_of_tvae(train, _TIMED_EPOCHS) / _TIMED_EPOCHS
    return _draw_tvae(train, max(1, round(seconds / epoch)))


def _seconds_of_tvae(train: pd.DataFrame, epochs: int) -> float:
    start = time.monotonic()
    _draw_tvae(train, epochs)
    return time.monotonic() - start


def _tvae_long(train: pd.DataFrame, seed: int, _: float) -> pd.DataFrame:
    return _draw_tvae(train, 300)


def _draw_tvae(train: pd.DataFrame, epochs: int) -> pd.DataFrame:
    from ctgan import TVAE

    model = TVAE(epochs=epochs, enable_gpu=False)
    model.fit(train, _classes(train))
    return model.sample(len(train))


def _copula(train: pd.DataFrame, seed: int, _: float) -> pd.DataFrame:
    from copulas.multivariate import GaussianMultivariate
    from rdt import HyperTransformer

    encoder = HyperTransformer()
    encoder.detect_initial_config(train)
    model = GaussianMultivariate()
    model.fit(encoder.fit_transform(train))
    return encoder.reverse_transform(model.sample(len(train)))[list(train.columns)]


def _judge(rows: pd.DataFrame, train: pd.DataFrame, test: pd.DataFrame, target: str, seed: int) -> dict[str, float]:
    from sdmetrics.reports.single_table import QualityReport

    kinds = {name: {"sdtype": "categorical" if name in _classes(train) else "numerical"} for name in train}
    report = QualityReport()
    report.generate(test, rows, {"columns": kinds}, verbose=False)
    shapes, pairs = report.get_properties()["Score"]
    return {
        "shapes": float(shapes),
        "pairs": float(pairs),
        "fooled": _fooled(rows.iloc[: len(test)], train, test, seed),
        "useful": _useful(rows, train, test, target, seed),
    }


def _fooled(rows: pd.DataFrame, train: pd.DataFrame, test: pd.DataFrame, seed: int) -> float:
    both, made = _numbers(pd.concat((test, rows)), train), np.arange(len(test) + len(rows)) >= len(test)
    classifier = HistGradientBoostingClassifier(random_state=seed)
    scores = cross_val_predict(classifier, both, made, cv=5, method="predict_proba")[:, 1]
    return float(2 - 2 * max(roc_auc_score(made, scores), 0.5))


def _useful(rows: pd.DataFrame, train: pd.DataFrame, test: pd.DataFrame, target: str, seed: int) -> float:
    inputs, asked = (_numbers(each.drop(columns=target), train) for each in (rows, test))
    if target in _classes(train):
        classifier = HistGradientBoostingClassifier(random_state=seed).fit(inputs, rows[target].astype(str))
        return float(balanced_accuracy_score(test[target].astype(str), classifier.predict(asked)))
    regressor = HistGradientBoostingRegressor(random_state=seed).fit(inputs, rows[target])
    return float(r2_score(test[target], regressor.predict(asked)))


def _classes(table: pd.DataFrame) -> list[str]:
    return [name for name, column in table.items() if not pd.api.types.is_numeric_dtype(column)]


def _numbers(table: pd.DataFrame, train: pd.DataFrame) -> np.ndarray:
    """Classes as one-hot columns."""
    parts = []
    for name, column in table.items():
        if name in _classes(train):
            parts.append(np.stack([column == each for each in train[name].unique()], axis=1))
        else:
            parts.append(column.to_numpy(float)[:, None])
    return np.hstack(parts).astype(float)


if __name__ == "__main__":
    main()
