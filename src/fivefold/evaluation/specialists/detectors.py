"""Outlier detectors of PyOD (Zhao, Nasrullah, Li 2019, arXiv:1901.01588) at their defaults, on flattened items."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np

from fivefold.errors import DataError, UsageError
from fivefold.evaluation.specialists.extra import require
from fivefold.evaluation.specialists.isolation import seeded, short_seed
from fivefold.seeds import derive_seed

_MODULES = {
    "IForest": "iforest",
    "ECOD": "ecod",
    "KNN": "knn",
    "PCA": "pca",
    "LOF": "lof",
    "AutoEncoder": "auto_encoder",
}
DETECTORS: tuple[str, ...] = tuple(_MODULES)
_MOST_ROWS = {"ECOD": 10_000, "KNN": 20_000, "PCA": 20_000, "LOF": 20_000}
_MOST_ELEMENTS = 1 << 24
_FEWEST_ROWS = 32  # a batch of the autoencoder's, which leaves out a last one that isn't full


def fit_detector(name: str, train: np.ndarray, *, minutes: float, seed: int) -> Callable[[np.ndarray], np.ndarray]:
    """Fit one of `DETECTORS` to items that are taken as normal.

    All settings are PyOD's, but for these:

    - Where the cost grows with the training items, a random part of them is used: at most 20,000 for KNN, LOF and PCA,
      10,000 for ECOD, and no more than 16.8 million numbers.
    - PCA keeps the components with 99% of the variance: by default it keeps all, and divides by the variance of those
      that have none.
    - The autoencoder's training ends after `minutes`, which its 10 epochs seldom need. The others take no time limit.

    ECOD ranks items among the training items and all those that are scored with them, so its scores depend on the
    company; up to 16.8 million numbers go together.

    Parameters
    ----------
    train : `(m, d)` float32 in [0, 1]
    seed : of the choice of items, the isolation forest and the autoencoder; Python's, NumPy's and torch's own random
        numbers are left as they were

    Returns
    -------
    The scorer: items `(n, d)` to `(n,)` float64, higher = more normal.

    Raises
    ------
    UsageError : there is no such detector, or PyOD is not installed
    DataError : fewer than 32 training items
    """
    if name not in DETECTORS:
        raise UsageError(f"the detector must be one of {', '.join(DETECTORS)}, got {name!r}")
    if len(train) < _FEWEST_ROWS:
        raise DataError(f"a detector needs at least {_FEWEST_ROWS} training items, got {len(train)}")
    with _calling(seed):
        detector = _build(name, minutes, seed).fit(_part(name, train, seed))

    def score(items: np.ndarray) -> np.ndarray:
        step = max(1, _MOST_ELEMENTS // items.shape[1])
        with _calling(seed):
            parts = [detector.decision_function(items[start : start + step]) for start in range(0, len(items), step)]
        return -np.concatenate(parts).astype(np.float64)

    return score


@contextmanager
def _calling(seed: int) -> Iterator[None]:
    with seeded(seed, "detector"), warnings.catch_warnings():
        # ECOD takes the skewness of pixels that never change
        warnings.filterwarnings("ignore", "Precision loss occurred in moment calculation", RuntimeWarning)
        yield


def _build(name: str, minutes: float, seed: int) -> Any:
    kind = getattr(require(f"pyod.models.{_MODULES[name]}"), name)
    if name == "AutoEncoder":
        return _limited(kind, minutes)(random_state=short_seed(seed, name), verbose=0)
    if name == "PCA":
        return kind(n_components=0.99, random_state=short_seed(seed, name))
    return kind(random_state=short_seed(seed, name)) if name == "IForest" else kind()


def _part(name: str, train: np.ndarray, seed: int) -> np.ndarray:
    """At most as many of the items as the detector can take in about a minute and 2 GB."""
    if name not in _MOST_ROWS:
        return train
    most = max(_FEWEST_ROWS, min(_MOST_ROWS[name], _MOST_ELEMENTS // train.shape[1]))
    if len(train) <= most:
        return train
    rng = np.random.default_rng(derive_seed(seed, "detector's items"))
    return train[np.sort(rng.choice(len(train), most, replace=False))]


class _TimeUpError(Exception):
    """Ends the autoencoder's training."""


def _limited(kind: Any, minutes: float) -> Any:
    """PyOD's autoencoder class, with a limit on the time that it trains; it makes at least one step."""

    class Limited(kind):
        def train(self, train_loader: Any) -> None:
            self.deadline = time.monotonic() + 60 * minutes
            with suppress(_TimeUpError):
                super().train(train_loader)

        def training_forward(self, batch_data: Any) -> float:
            loss = super().training_forward(batch_data)
            if time.monotonic() > self.deadline:
                raise _TimeUpError
            return loss

    return Limited
