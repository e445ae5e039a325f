"""Other ways to find strange steps of series."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from sklearn.ensemble import IsolationForest
from sklearn.neighbors import LocalOutlierFactor

from fivefold.evaluation.specialists.extra import require

_MOST_WINDOWS = 5000
Detector = Callable[[np.ndarray, np.ndarray, int, int], np.ndarray]


def matrix_profile(known: np.ndarray, series: np.ndarray, width: int, seed: int) -> np.ndarray:
    """Distance of each window of `(t, c)` to the nearest of `known`, z-normalised (stumpy), mean of the channels."""
    stumpy = require("stumpy")
    parts = [
        stumpy.stump(
            np.ascontiguousarray(series[:, at]), width, T_B=np.ascontiguousarray(known[:, at]), ignore_trivial=False
        )[:, 0].astype(np.float64)
        for at in range(series.shape[1])
    ]
    found = np.mean(parts, axis=0)
    return np.where(np.isfinite(found), found, np.nanmax(np.where(np.isfinite(found), found, -np.inf), initial=0.0))


def isolation_forest(known: np.ndarray, series: np.ndarray, width: int, seed: int) -> np.ndarray:
    """scikit-learn's isolation forest on windows."""
    model = IsolationForest(random_state=seed).fit(_windows(known, width, _MOST_WINDOWS))
    return -model.score_samples(_windows(series, width))


def local_outlier_factor(known: np.ndarray, series: np.ndarray, width: int, seed: int) -> np.ndarray:
    """scikit-learn's local outlier factor on windows."""
    model = LocalOutlierFactor(novelty=True).fit(_windows(known, width, _MOST_WINDOWS))
    return -model.score_samples(_windows(series, width))


SERIES_DETECTORS: dict[str, Detector] = {
    "matrix profile": matrix_profile,
    "IForest": isolation_forest,
    "LOF": local_outlier_factor,
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
    known, series = (np.nan_to_num((each - mean) / np.where(spread > 0, spread, 1.0)) for each in (known, series))
    score, ends = np.empty(len(series)), np.cumsum(lengths)
    if len(lengths) > 1:  # one call for all: windows that lie across two series are left out
        found = SERIES_DETECTORS[name](known, series, width, seed)
        begins = np.arange(len(found))
        number = np.searchsorted(ends, begins, side="right")
        inside = begins + width <= ends[number]
        for begin, end in zip(ends - lengths, ends, strict=True):
            score[begin:end] = _spread(found[begin : end - width + 1], inside[begin : end - width + 1], width)
        return score
    found = SERIES_DETECTORS[name](known, series, width, seed)
    return _spread(found, np.ones(len(found), bool), width)


def _windows(series: np.ndarray, width: int, most: int | None = None) -> np.ndarray:
    windows = np.lib.stride_tricks.sliding_window_view(series, width, axis=0).reshape(len(series) - width + 1, -1)
    return windows if most is None else windows[:: -(-len(windows) // most)]


def _spread(scores: np.ndarray, counts: np.ndarray, width: int) -> np.ndarray:
    """From windows to steps."""
    kernel = np.ones(width)
    return np.convolve(np.where(counts, scores, 0), kernel) / np.maximum(np.convolve(counts.astype(float), kernel), 1)
