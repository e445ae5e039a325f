"""Outlier detectors: PyOD's (Zhao, Nasrullah, Li 2019, arXiv:1901.01588) at their defaults, and detectors on series' windows."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np
from sklearn.ensemble import IsolationForest
from sklearn.neighbors import LocalOutlierFactor

from fivefold.errors import DataError, UsageError
from fivefold.evaluation.rivals import TimeUpError, require, seeded, short_seed
from fivefold.seeds import derive_seed

_MODULES = {
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
TABLE_DETECTORS: tuple[str, ...] = tuple(_MODULES)
IMAGE_DETECTORS = ("IForest", "ECOD", "KNN", "PCA", "LOF", "AutoEncoder")
STANDARDISED = frozenset({"KNN", "LOF", "OCSVM", "PCA", "AutoEncoder", "VAE"})
"""Those that measure distances or train a network, which are to be given standardised columns."""
_NETWORKS = ("AutoEncoder", "VAE")
_MOST_ROWS = {"ECOD": 10_000, "KNN": 20_000, "PCA": 20_000, "LOF": 20_000}
_MOST_ELEMENTS = 1 << 24
_FEWEST_ROWS = 32  # a batch of the autoencoder's, which leaves out a last one that isn't full
_MOST_WINDOWS = 5000
Scorer = Callable[[np.ndarray], np.ndarray]
WindowDetector = Callable[[np.ndarray, np.ndarray, int, int], np.ndarray]


def fit_detector(name: str, train: np.ndarray, seed: int, minutes: float | None = None, **settings: Any) -> Scorer:
    """Fit a detector of PyOD's to rows `(m, d)` that are taken as normal.

    Parameters
    ----------
    seed : of the global random numbers, which are left as they were
    minutes : end the training of a network after so long, and at least one step
    settings : the detector's own, in the place of its defaults

    Returns
    -------
    The scorer: rows `(n, d)` to `(n,)` float64, higher = stranger. ECOD ranks rows among all those that are scored with
    them; up to 16.8 million numbers go together.

    Raises `UsageError` if there is no such detector, or PyOD is not installed.
    """
    if name not in _MODULES:
        raise UsageError(f"the detector must be one of {', '.join(_MODULES)}, got {name!r}")

    def quietly(call: Callable[[], Any]) -> Any:
        with seeded(seed, name), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return call()

    def fit() -> Any:
        kind = getattr(require(f"pyod.models.{_MODULES[name]}"), name)
        kind = kind if minutes is None else _limited(kind, minutes)
        return kind(**settings, **({"verbose": 0} if name in _NETWORKS else {})).fit(train)

    detector = quietly(fit)

    def score(rows: np.ndarray) -> np.ndarray:
        step = max(1, _MOST_ELEMENTS // rows.shape[1])
        parts = [rows[start : start + step] for start in range(0, len(rows), step)]
        scores = quietly(lambda: [detector.decision_function(part) for part in parts])
        return np.nan_to_num(np.concatenate(scores).astype(np.float64))

    return score


def fit_table_detector(name: str, train: np.ndarray, seed: int) -> Scorer:
    """One of `TABLE_DETECTORS` at its defaults."""
    return fit_detector(name, train, seed, **({"random_state": seed} if name in ("IForest", "PCA") else {}))


def fit_image_detector(name: str, train: np.ndarray, *, minutes: float, seed: int) -> Scorer:
    """One of `IMAGE_DETECTORS` on flattened images `(m, d)`, float32 in [0, 1].

    All settings are PyOD's, but for these:

    - Where the cost grows with the training items, a random part of them is used: at most 20,000 for KNN, LOF and PCA,
      10,000 for ECOD, and no more than 16.8 million numbers: about a minute and 2 GB.
    - PCA keeps the components with 99% of the variance: by default it keeps all, and divides by the variance of those
      that have none.
    - The autoencoder's training ends after `minutes`, which its 10 epochs seldom need.

    Raises `DataError` for fewer than 32 training items.
    """
    if len(train) < _FEWEST_ROWS:
        raise DataError(f"a detector needs at least {_FEWEST_ROWS} training items, got {len(train)}")
    settings: dict[str, Any] = {"n_components": 0.99} if name == "PCA" else {}
    if name in ("IForest", "PCA", "AutoEncoder"):
        settings["random_state"] = short_seed(seed, name)
    limit = minutes if name in _NETWORKS else None
    return fit_detector(name, _part(name, train, seed), seed, limit, **settings)


def _part(name: str, train: np.ndarray, seed: int) -> np.ndarray:
    if name not in _MOST_ROWS:
        return train
    most = max(_FEWEST_ROWS, min(_MOST_ROWS[name], _MOST_ELEMENTS // train.shape[1]))
    if len(train) <= most:
        return train
    rng = np.random.default_rng(derive_seed(seed, "detector's items"))
    return train[np.sort(rng.choice(len(train), most, replace=False))]


def _limited(kind: Any, minutes: float) -> Any:
    """A class of PyOD's networks, with a limit on the time that it trains."""

    class Limited(kind):
        def train(self, train_loader: Any) -> None:
            self.deadline = time.monotonic() + 60 * minutes
            with suppress(TimeUpError):
                super().train(train_loader)

        def training_forward(self, batch_data: Any) -> float:
            loss = super().training_forward(batch_data)
            if time.monotonic() > self.deadline:
                raise TimeUpError
            return loss

    return Limited


def _matrix_profile(known: np.ndarray, series: np.ndarray, width: int, seed: int) -> np.ndarray:
    """Distance of each window of `(t, c)` to the nearest of `known`, z-normalised (stumpy), mean of the channels."""
    stumpy = require("stumpy")
    channels = [
        stumpy.stump(
            np.ascontiguousarray(series[:, at]), width, T_B=np.ascontiguousarray(known[:, at]), ignore_trivial=False
        )[:, 0].astype(np.float64)
        for at in range(series.shape[1])
    ]
    distance = np.mean(channels, axis=0)
    finite = np.isfinite(distance)
    return np.where(finite, distance, np.nanmax(np.where(finite, distance, -np.inf), initial=0.0))


def _isolation_forest(known: np.ndarray, series: np.ndarray, width: int, seed: int) -> np.ndarray:
    """scikit-learn's isolation forest on windows."""
    model = IsolationForest(random_state=seed).fit(_windows(known, width, _MOST_WINDOWS))
    return -model.score_samples(_windows(series, width))


def _local_outlier_factor(known: np.ndarray, series: np.ndarray, width: int, seed: int) -> np.ndarray:
    """scikit-learn's local outlier factor on windows."""
    model = LocalOutlierFactor(novelty=True).fit(_windows(known, width, _MOST_WINDOWS))
    return -model.score_samples(_windows(series, width))


SERIES_DETECTORS: dict[str, WindowDetector] = {
    "matrix profile": _matrix_profile,
    "IForest": _isolation_forest,
    "LOF": _local_outlier_factor,
}


def score_steps(
    name: str,
    known: np.ndarray,
    known_lengths: np.ndarray,
    series: np.ndarray,
    lengths: np.ndarray,
    width: int,
    seed: int,
) -> np.ndarray:
    """How strange each step of series `(total, c)` is: the mean over all windows of `width` that it is in."""
    width = min(width, int(lengths.min()), int(known_lengths.min()))
    mean, spread = np.nanmean(known, axis=0), np.nanstd(known, axis=0)
    known, series = (np.nan_to_num((part - mean) / np.where(spread > 0, spread, 1.0)) for part in (known, series))
    by_window = SERIES_DETECTORS[name](known, series, width, seed)
    score, ends, kernel = np.empty(len(series)), np.cumsum(lengths), np.ones(width)
    for begin, end in zip(ends - lengths, ends, strict=True):
        inside = by_window[begin : end - width + 1]  # windows that lie across two series are left out
        score[begin:end] = np.convolve(inside, kernel) / np.convolve(np.ones(len(inside)), kernel)
    return score


def _windows(series: np.ndarray, width: int, most: int | None = None) -> np.ndarray:
    windows = np.lib.stride_tricks.sliding_window_view(series, width, axis=0).reshape(len(series) - width + 1, -1)
    return windows if most is None else windows[:: -(-len(windows) // most)]
