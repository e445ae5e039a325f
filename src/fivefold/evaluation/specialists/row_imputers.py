"""Other people's imputers, on matrices of standardised numbers and one-hot classes."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

_ITERATIVE = {"max_iter": 5, "n_nearest_features": 20, "random_state": 0, "keep_empty_features": True}


def _mean() -> Any:
    from sklearn.impute import SimpleImputer

    return SimpleImputer(keep_empty_features=True)


def _nearest() -> Any:
    from sklearn.impute import KNNImputer

    return KNNImputer(keep_empty_features=True)


def _iterative(estimator: Any) -> Any:
    from sklearn.experimental import enable_iterative_imputer  # noqa: F401
    from sklearn.impute import IterativeImputer

    return IterativeImputer(estimator, **_ITERATIVE)


def _ridge() -> Any:
    from sklearn.linear_model import BayesianRidge

    return _iterative(BayesianRidge())


def _trees() -> Any:
    from sklearn.ensemble import ExtraTreesRegressor

    return _iterative(ExtraTreesRegressor(30, min_samples_leaf=2, random_state=0))


ROW_IMPUTERS: dict[str, Callable[[], Any]] = {
    "mean/mode": _mean,
    "KNN": _nearest,
    "BayesianRidge": _ridge,
    "ExtraTrees": _trees,
}
"""Of the mean of one-hot classes the largest is the most frequent."""


def impute_rows(name: str, train: np.ndarray, holey: np.ndarray) -> np.ndarray:
    """A matrix with its NaN filled in by an imputer fitted to `train`; both may have holes."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # on how far it has converged
        return np.asarray(ROW_IMPUTERS[name]().fit(train).transform(holey))
