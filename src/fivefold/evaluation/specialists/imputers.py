"""Imputers for tables, which see an item as a row of numbers, and one for images."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from fivefold.evaluation.specialists.extra import require
from fivefold.seeds import derive_seed

Imputer = Callable[[np.ndarray, np.ndarray, np.ndarray, int], np.ndarray]
MOST_TRAIN_ITEMS = 2_000
_NEAREST_FEATURES = 100
_ROUNDS = 3


def _mean(train_rows: np.ndarray, rows: np.ndarray, seed: int) -> np.ndarray:
    """The training items' mean at the place."""
    from sklearn.impute import SimpleImputer

    return SimpleImputer(keep_empty_features=True).fit(train_rows).transform(rows)


def _nearest_neighbours(train_rows: np.ndarray, rows: np.ndarray, seed: int) -> np.ndarray:
    """The mean of the 5 nearest training items (Troyanskaya et al. 2001), the library's default.

    Of at most 2,000 training items: the time grows with their number times that of the elements.
    """
    from sklearn.impute import KNNImputer

    return KNNImputer(keep_empty_features=True).fit(_sample(train_rows, seed)).transform(rows)


def _iterative(train_rows: np.ndarray, rows: np.ndarray, seed: int) -> np.ndarray:
    """Each element regressed on others, in turn, again and again (van Buuren & Groothuis-Oudshoorn 2011).

    The library's default regression, Bayesian ridge, in which an element of an image has hundreds of others to depend
    on, so this is reduced to what ends in minutes: an element is regressed on 100 others, drawn by their correlation
    with it; 3 rounds instead of 10; and at most 2,000 training items. The items to complete are fitted along with
    them, since rounds only follow each other where something is missing.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.experimental import enable_iterative_imputer  # noqa: F401
    from sklearn.impute import IterativeImputer

    imputer = IterativeImputer(
        n_nearest_features=_NEAREST_FEATURES,
        max_iter=_ROUNDS,
        min_value=0,
        max_value=1,
        random_state=derive_seed(seed, "iterative imputer") % 2**32,
        keep_empty_features=True,
    )
    sample = _sample(train_rows, seed)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=ConvergenceWarning)
        return imputer.fit_transform(np.concatenate([sample, rows]))[len(sample) :]


def _sample(rows: np.ndarray, seed: int) -> np.ndarray:
    if len(rows) <= MOST_TRAIN_ITEMS:
        return rows
    random = np.random.default_rng(derive_seed(seed, "imputer's training items"))
    return rows[random.choice(len(rows), MOST_TRAIN_ITEMS, replace=False)]


def _biharmonic(train_values: np.ndarray, values: np.ndarray, visible: np.ndarray, seed: int) -> np.ndarray:
    """The smoothest surface through what is visible of each channel (Damelin & Hoang 2018).

    It needs no training items; their mean is the answer where nothing is visible, or the system has no solution.
    """
    from scipy.sparse.linalg import MatrixRankWarning

    inpaint = require("skimage.restoration").inpaint_biharmonic
    completed = _IMPUTE_MEAN(train_values, values, visible, seed)
    for index in np.ndindex(len(values), values.shape[3]):
        place = (index[0], ..., index[1])
        seen = visible[place]
        if seen.all() or not seen.any():
            continue
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", category=MatrixRankWarning)
            surface = inpaint(values[place].astype(np.float64), ~seen)
        completed[place] = np.where(~seen & np.isfinite(surface), np.clip(surface, 0, 1), completed[place])
    return completed


def _of_rows(impute: Callable[[np.ndarray, np.ndarray, int], Any]) -> Imputer:
    """From rows, with NaN for what is missing, to items."""

    def impute_items(train_values: np.ndarray, values: np.ndarray, visible: np.ndarray, seed: int) -> np.ndarray:
        rows = np.where(visible, values, np.nan).reshape(len(values), -1)
        completed = impute(train_values.reshape(len(train_values), -1), rows, seed).reshape(values.shape)
        return np.where(visible, values, np.clip(completed, 0, 1).astype(np.float32))

    return impute_items


_IMPUTE_MEAN = _of_rows(_mean)

IMPUTERS: dict[str, Imputer] = {
    "mean": _IMPUTE_MEAN,
    "k-nearest neighbours": _of_rows(_nearest_neighbours),
    "IterativeImputer": _of_rows(_iterative),
    "biharmonic inpainting": _biharmonic,
}
"""By name, functions of `(train_values, values, visible, seed)` that return `values` with what is hidden filled in.

`train_values` `(m, h, w, c)` and `values` `(n, h, w, c)` are float32 in [0, 1], the first with NaN for what is missing;
`visible` is bool, like `values`. Visible values come back as they are. An element that no training item has is 0.
`UsageError` without the extra.
"""
