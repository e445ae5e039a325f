"""PyOD's detectors on matrices of numbers, each with its defaults."""

from __future__ import annotations

import warnings

import numpy as np

from fivefold.evaluation.specialists.extra import require
from fivefold.evaluation.specialists.isolation import seeded

ROW_DETECTORS = {
    "IForest": "iforest",
    "ECOD": "ecod",
    "COPOD": "copod",
    "HBOS": "hbos",
    "KNN": "knn",
    "LOF": "lof",
    "OCSVM": "ocsvm",
    "PCA": "pca",
    "AutoEncoder": "auto_encoder",
    "VAE": "vae",
}
"""By the module that each is in."""
STANDARDISED = frozenset({"KNN", "LOF", "OCSVM", "PCA", "AutoEncoder", "VAE"})
"""Those that measure distances or train a network, which are to be given standardised columns."""


def score_rows(name: str, train: np.ndarray, test: np.ndarray, seed: int) -> np.ndarray:
    """How strange the rows of `test` are to a detector fitted to `train`, `(n,)`: higher = stranger.

    Raises `UsageError` if PyOD isn't installed.
    """
    with seeded(seed, name), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        settings = {"random_state": seed} if name in ("IForest", "PCA") else {}
        settings |= {"verbose": 0} if name in ("AutoEncoder", "VAE") else {}
        fitted = getattr(require(f"pyod.models.{ROW_DETECTORS[name]}"), name)(**settings).fit(train)
        return np.nan_to_num(fitted.decision_function(test))
