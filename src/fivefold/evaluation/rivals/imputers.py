"""Imputers: scikit-learn's on matrices, inpainting of images, interpolation of series and self-attention."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from scipy.interpolate import CubicSpline
from scipy.sparse.linalg import MatrixRankWarning
from sklearn.ensemble import ExtraTreesRegressor
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer, KNNImputer, SimpleImputer
from sklearn.linear_model import BayesianRidge

from fivefold.evaluation.rivals import require, short_seed
from fivefold.seeds import derive_seed
from fivefold.series.windows import Windows

MatrixImputer = Callable[[np.ndarray, np.ndarray, int], np.ndarray]
SeriesImputer = Callable[[np.ndarray, np.ndarray], np.ndarray]
MOST_TRAIN_ITEMS = 2_000
_MOST_WINDOWS = 2000
_mean, _nearest = (partial(kind, keep_empty_features=True) for kind in (SimpleImputer, KNNImputer))
_iterative = partial(IterativeImputer, keep_empty_features=True)
_of_tables = partial(_iterative, max_iter=5, n_nearest_features=20, random_state=0)

TABLE_IMPUTERS: dict[str, Callable[[], Any]] = {
    "mean/mode": _mean,
    "KNN": _nearest,
    "BayesianRidge": lambda: _of_tables(BayesianRidge()),
    "ExtraTrees": lambda: _of_tables(ExtraTreesRegressor(30, min_samples_leaf=2, random_state=0)),
}
"""Of the mean of one-hot classes the largest is the most frequent."""


def impute_matrix(imputer: Any, train: np.ndarray, holey: np.ndarray) -> np.ndarray:
    """A matrix with its NaN filled in by an imputer of scikit-learn's fitted to `train`, which may have holes too."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # on how far it has converged
        return np.asarray(imputer.fit(train).transform(holey))


def _regressions(train: np.ndarray, holey: np.ndarray, seed: int) -> np.ndarray:
    """Each element regressed on others, in turn, again and again (van Buuren & Groothuis-Oudshoorn 2011).

    The library's default, Bayesian ridge, reduced to what ends in minutes: an element is regressed on 100 others, drawn by
    their correlation with it; 3 rounds instead of 10; at most 2,000 training items. The items to complete are fitted along
    with them, since rounds only follow each other where something is missing.
    """
    random_state = short_seed(seed, "iterative imputer")
    imputer = _iterative(n_nearest_features=100, max_iter=3, min_value=0, max_value=1, random_state=random_state)
    train = _sample(train, seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return np.asarray(imputer.fit_transform(np.concatenate([train, holey])))[len(train) :]


def _sample(rows: np.ndarray, seed: int) -> np.ndarray:
    if len(rows) <= MOST_TRAIN_ITEMS:
        return rows
    random = np.random.default_rng(derive_seed(seed, "imputer's training items"))
    return rows[random.choice(len(rows), MOST_TRAIN_ITEMS, replace=False)]


_OF_ROWS: dict[str, MatrixImputer] = {
    "mean": lambda train, holey, seed: impute_matrix(_mean(), train, holey),
    # the 5 nearest (Troyanskaya et al. 2001) of a part: the time grows with their number times that of the elements
    "k-nearest neighbours": lambda train, holey, seed: impute_matrix(_nearest(), _sample(train, seed), holey),
    "IterativeImputer": _regressions,
}
_INPAINTING = "biharmonic inpainting"
IMAGE_IMPUTERS: tuple[str, ...] = (*_OF_ROWS, _INPAINTING)


def impute_images(name: str, train: np.ndarray, values: np.ndarray, visible: np.ndarray, seed: int) -> np.ndarray:
    """Images with what is hidden filled in by one of `IMAGE_IMPUTERS`; what is visible comes back as it is.

    `train` `(m, h, w, c)` and `values` `(n, h, w, c)` are float32 in [0, 1], the first with NaN for what is missing;
    `visible` is bool, like `values`. An element that no training item has is 0. `UsageError` without the extra.
    """
    if name == _INPAINTING:
        return _inpaint(impute_images("mean", train, values, visible, seed), values, visible)
    holey = np.where(visible, values, np.nan).reshape(len(values), -1)
    completed = _OF_ROWS[name](train.reshape(len(train), -1), holey, seed).reshape(values.shape)
    return np.where(visible, values, np.clip(completed, 0, 1).astype(np.float32))


def _inpaint(completed: np.ndarray, values: np.ndarray, visible: np.ndarray) -> np.ndarray:
    """The smoothest surface through what is visible of each channel (Damelin & Hoang 2018).

    It is `completed` where nothing is visible, or the system has no solution.
    """
    inpaint = require("skimage.restoration").inpaint_biharmonic
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


def _linear(known: np.ndarray, holey: np.ndarray) -> np.ndarray:
    """Straight lines between the known values of one channel, `(t,)`."""
    seen = np.flatnonzero(~np.isnan(holey))
    filled: np.ndarray = np.interp(np.arange(len(holey)), seen, holey[seen])
    return filled


def _spline(known: np.ndarray, holey: np.ndarray) -> np.ndarray:
    """Cubic splines likewise (SciPy's), straight on beyond the ends."""
    seen = np.flatnonzero(~np.isnan(holey))
    filled = _linear(known, holey)
    if len(seen) >= 4:
        inside = np.arange(seen[0], seen[-1] + 1)
        filled[inside] = CubicSpline(seen, holey[seen])(inside)
    return filled


def _nearest_window(known: np.ndarray, holey: np.ndarray, reach: int = 32) -> np.ndarray:
    """For each gap, what the most similar stretch of `known` `(t,)` has there, moved to the level around.

    Stretches are compared in `reach` steps on either side of a gap, less their means.
    """
    filled = holey.copy()
    missing = np.flatnonzero(np.isnan(holey))
    runs = np.split(missing, np.flatnonzero(np.diff(missing) > 1) + 1) if len(missing) else []
    for run in runs:
        first, last = max(run[0] - reach, 0), min(run[-1] + reach + 1, len(holey))
        here = holey[first:last]
        if len(here) > len(known):
            filled[run] = _linear(known, holey)[run]
            continue
        stretches = np.lib.stride_tricks.sliding_window_view(known, len(here))
        stretches = stretches[:: -(-len(stretches) // _MOST_WINDOWS)]
        seen = ~np.isnan(here)
        levels, level = np.nanmean(stretches[:, seen], axis=1), here[seen].mean()
        distance = np.nanmean(np.square(stretches[:, seen] - levels[:, None] - here[seen] + level), axis=1)
        whole = ~np.isnan(stretches).any(axis=1)
        best = int(np.argmin(np.where(whole, distance, np.inf)))
        filled[run] = stretches[best][run - first] - levels[best] + level
    return filled


SERIES_IMPUTERS: dict[str, SeriesImputer] = {"linear": _linear, "spline": _spline, "nearest window": _nearest_window}


def impute_steps(name: str, known: np.ndarray, holey: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Series `(total, c)` filled by one of `SERIES_IMPUTERS`, channel by channel; `known`: those of the fit, likewise."""
    filled, ends = holey.copy(), np.cumsum(lengths)
    for begin, end in zip(ends - lengths, ends, strict=True):
        for channel in range(holey.shape[1]):
            part = holey[begin:end, channel]
            if not np.isnan(part).all():
                filled[begin:end, channel] = SERIES_IMPUTERS[name](known[:, channel], part)
    return filled


@dataclass
class Attention:
    """Self-attention that fills gaps of series (SAITS: Du et al. 2023, arXiv:2202.08516), by PyPOTS if that is installed.

    Values are scaled by each channel's `mean` and `spread`; `network` is PyPOTS', with the settings of its own example.
    """

    mean: np.ndarray
    spread: np.ndarray
    network: Any

    @classmethod
    def fit(cls, windows: np.ndarray, seconds: float) -> Attention:
        """To windows `(n, t, c)`, NaN where missing, for as many epochs as fit into `seconds`, one at least."""
        from pypots.imputation import SAITS

        mean, spread = np.nanmean(windows, axis=(0, 1)), np.nanstd(windows, axis=(0, 1)) + 1e-9
        train = {"X": (windows - mean) / spread}
        size = {"n_steps": windows.shape[1], "n_features": windows.shape[2], "verbose": False}
        layers = {"n_layers": 2, "d_model": 256, "n_heads": 4, "d_k": 64, "d_v": 64, "d_ffn": 128, "dropout": 0.1}
        begun = time.monotonic()
        SAITS(**size, **layers, epochs=1).fit(train)
        network = SAITS(**size, **layers, epochs=max(1, int(seconds / (time.monotonic() - begun))))
        network.fit(train)
        return cls(mean, spread, network)

    def impute(self, windows: Windows, holey: np.ndarray) -> np.ndarray:
        """Series `(total, c)` with what is missing filled in, window by window."""
        cut = (windows.cut(holey) - self.mean) / self.spread
        filled = self.network.impute({"X": cut}) * self.spread + self.mean
        whole = holey.copy()
        windows.stitch(whole, slice(0, len(windows)), filled)
        return np.where(np.isnan(holey), whole, holey)
