"""Outlier detectors: PyOD's (Zhao, Nasrullah, Li 2019, arXiv:1901.01588) at their defaults, and detectors on series' windows."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np
from sklearn.ensemble import IsolationForest
from sklearn.neighbors import LocalOutlierFactor

from fivefold.errors import DataError, UsageError
from fivefold.evaluation.rivals import Series, TimeUpError, require, seeded, short_seed
from fivefold.seeds import derive_seed

TABLE_DETECTORS = ("IForest", "ECOD", "COPOD", "HBOS", "KNN", "LOF", "OCSVM", "PCA", "AutoEncoder", "VAE")
MORE_DETECTORS = ("CBLOF", "MCD", "DTE-NP")
"""Others that `score_rows` knows; DTE-NP (Livernoche et al. 2024, arXiv:2305.18593) is the mean distance to five neighbours."""
IMAGE_DETECTORS = ("IForest", "ECOD", "KNN", "PCA", "LOF", "AutoEncoder")
NETWORKS = ("AutoEncoder", "VAE")
STANDARDISED = frozenset({"KNN", "LOF", "OCSVM", "PCA", *MORE_DETECTORS, *NETWORKS})
"""Those that measure distances or train a network, which are to be given standardised columns."""
_RANDOM = ("IForest", "PCA", "CBLOF", "MCD")
_CLASSES = {"DTE-NP": "KNN"}
_MODULES = {"AutoEncoder": "auto_encoder"}
_MOST_ROWS = {"ECOD": 10_000, "KNN": 20_000, "PCA": 20_000, "LOF": 20_000}
_MOST_ELEMENTS = 1 << 24
_FEWEST_ROWS = 32  # a batch of the autoencoder's, which leaves out a last one that isn't full
_MOST_WINDOWS = 5000
Scorer = Callable[[np.ndarray], np.ndarray]
WindowDetector = Callable[[np.ndarray, np.ndarray, int, int], np.ndarray]


def score_rows(name: str, train: np.ndarray, test: np.ndarray, seed: int) -> np.ndarray:
    """How strange rows are, `(n,)` float64, to one of `TABLE_DETECTORS` or `MORE_DETECTORS`
    fitted to `train`: higher = stranger.
    """
    with seeded(seed, name):
        settings: dict[str, Any] = {"random_state": seed} if name in _RANDOM else {}
        settings |= {"method": "mean"} if name == "DTE-NP" else {}
        scores: np.ndarray = np.nan_to_num(_detector(name, **settings).fit(train).decision_function(test))
    return scores


def fit_image_detector(name: str, train: np.ndarray, *, minutes: float, seed: int) -> Scorer:
    """Fit one of `IMAGE_DETECTORS` to flattened images `(m, d)`, float32 in [0, 1], that are taken as normal.

    PCA keeps the components with 99% of the variance: by default it keeps all, and divides by the variance of those that
    have none. Where the cost grows with the training items, a random part of them is used: at most 20,000 for KNN, LOF and
    PCA, 10,000 for ECOD, and no more than 16.8 million numbers: about a minute and 2 GB. The autoencoder's training ends
    after `minutes`, which its 10 epochs seldom need.

    Returns the scorer: items `(n, d)` to `(n,)` float64, higher = stranger; ECOD's depends on the company, of which up to
    16.8 million numbers go together. Raises `DataError` for fewer than 32 training items.
    """
    if len(train) < _FEWEST_ROWS:
        raise DataError(f"a detector needs at least {_FEWEST_ROWS} training items, got {len(train)}")
    settings: dict[str, Any] = {"n_components": 0.99} if name == "PCA" else {}
    if name in ("IForest", "PCA", "AutoEncoder"):
        settings["random_state"] = short_seed(seed, name)
    with seeded(seed, name):
        detector = _detector(name, minutes, **settings).fit(_part(name, train, seed))

    def score(items: np.ndarray) -> np.ndarray:
        step = max(1, _MOST_ELEMENTS // items.shape[1])
        with seeded(seed, name):
            parts = [detector.decision_function(items[start : start + step]) for start in range(0, len(items), step)]
        return np.concatenate(parts, dtype=np.float64)

    return score


def _detector(name: str, minutes: float | None = None, **settings: Any) -> Any:
    """A detector of PyOD's; if it trains a network, for `minutes` at most. Raises `UsageError` if there is none such."""
    if name not in (known := TABLE_DETECTORS + MORE_DETECTORS):
        raise UsageError(f"the detector must be one of {', '.join(known)}, got {name!r}")
    name = _CLASSES.get(name, name)
    kind = getattr(require(f"pyod.models.{_MODULES.get(name, name.lower())}"), name)
    if name not in NETWORKS:
        return kind(**settings)
    network = kind(**settings, verbose=0)
    if minutes is not None:
        _limit(network, minutes)
    return network


def _part(name: str, train: np.ndarray, seed: int) -> np.ndarray:
    if name not in _MOST_ROWS:
        return train
    most = max(_FEWEST_ROWS, min(_MOST_ROWS[name], _MOST_ELEMENTS // train.shape[1]))
    rng = np.random.default_rng(derive_seed(seed, "detector's items"))
    return train if len(train) <= most else train[np.sort(rng.choice(len(train), most, replace=False))]


def _limit(network: Any, minutes: float) -> None:
    """Have one of PyOD's networks end its training after so many minutes, in the middle of an epoch."""
    train, training_forward = network.train, network.training_forward

    def train_until(train_loader: Any) -> None:
        network.deadline = time.monotonic() + 60 * minutes
        with suppress(TimeUpError):
            train(train_loader)

    def forward_until(batch_data: Any) -> Any:
        loss = training_forward(batch_data)
        if time.monotonic() > network.deadline:
            raise TimeUpError
        return loss

    network.train, network.training_forward = train_until, forward_until


def _matrix_profile(known: np.ndarray, series: np.ndarray, width: int, seed: int) -> np.ndarray:
    """Distance of each window of `(t, c)` to the nearest of `known`, z-normalised (stumpy), mean of the channels."""
    stumpy = require("stumpy")
    channels = [
        stumpy.stump(
            np.ascontiguousarray(series[:, at]), width, T_B=np.ascontiguousarray(known[:, at]), ignore_trivial=False
        )[:, 0].astype(np.float64)
        for at in range(series.shape[1])
    ]
    distance: np.ndarray = np.mean(channels, axis=0)
    finite = np.isfinite(distance)
    return np.where(finite, distance, np.nanmax(np.where(finite, distance, -np.inf), initial=0.0))


def _on_windows(model: Any, known: np.ndarray, series: np.ndarray, width: int) -> np.ndarray:
    """The scores of a detector of scikit-learn's, fitted to at most 5,000 of the known windows."""
    windows = _windows(known, width)
    fitted = model.fit(windows[:: -(-len(windows) // _MOST_WINDOWS)])
    return -np.asarray(fitted.score_samples(_windows(series, width)))


SERIES_DETECTORS: dict[str, WindowDetector] = {
    "matrix profile": _matrix_profile,
    "IForest": lambda known, series, width, seed: _on_windows(IsolationForest(random_state=seed), known, series, width),
    "LOF": lambda known, series, width, seed: _on_windows(LocalOutlierFactor(novelty=True), known, series, width),
}


def score_steps(name: str, known: Series, test: Series, width: int, seed: int) -> np.ndarray:
    """How strange each step of series is, `(total,)`: the mean over all windows of `width` that it is in."""
    (train, train_lengths), (values, lengths) = known, test
    width = min(width, int(lengths.min()), int(train_lengths.min()))
    mean, spread = np.nanmean(train, axis=0), np.nanstd(train, axis=0)
    train, values = (np.nan_to_num((part - mean) / np.where(spread > 0, spread, 1.0)) for part in (train, values))
    by_window = SERIES_DETECTORS[name](train, values, width, seed)
    score, ends, kernel = np.empty(len(values)), np.cumsum(lengths), np.ones(width)
    for begin, end in zip(ends - lengths, ends, strict=True):
        inside = by_window[begin : end - width + 1]  # windows that lie across two series are left out
        score[begin:end] = np.convolve(inside, kernel) / np.convolve(np.ones(len(inside)), kernel)
    return score


def _windows(series: np.ndarray, width: int) -> np.ndarray:
    return np.lib.stride_tricks.sliding_window_view(series, width, axis=0).reshape(len(series) - width + 1, -1)
