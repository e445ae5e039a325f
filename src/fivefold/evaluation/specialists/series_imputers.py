"""Other ways to fill gaps of series."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.interpolate import CubicSpline

Imputer = Callable[[np.ndarray, np.ndarray], np.ndarray]
_MOST_WINDOWS = 2000


def linear(known: np.ndarray, holey: np.ndarray) -> np.ndarray:
    """Straight lines between the known values of one channel, `(t,)`."""
    seen = np.flatnonzero(~np.isnan(holey))
    return np.interp(np.arange(len(holey)), seen, holey[seen])


def spline(known: np.ndarray, holey: np.ndarray) -> np.ndarray:
    """Cubic splines likewise (SciPy's), straight on beyond the ends."""
    seen = np.flatnonzero(~np.isnan(holey))
    if len(seen) < 4:
        return linear(known, holey)
    inside = np.arange(seen[0], seen[-1] + 1)
    filled = linear(known, holey)
    filled[inside] = CubicSpline(seen, holey[seen])(inside)
    return filled


def nearest_window(known: np.ndarray, holey: np.ndarray, reach: int = 32) -> np.ndarray:
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
            filled[run] = linear(known, holey)[run]
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


SERIES_IMPUTERS: dict[str, Imputer] = {"linear": linear, "spline": spline, "nearest window": nearest_window}


def impute_steps(name: str, known: np.ndarray, holey: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Series `(total, c)` filled by one of `SERIES_IMPUTERS`, channel by channel; `known`: those of the fit, likewise."""
    filled, ends = holey.copy(), np.cumsum(lengths)
    for begin, end in zip(ends - lengths, ends, strict=True):
        for channel in range(holey.shape[1]):
            part = holey[begin:end, channel]
            if not np.isnan(part).all():
                filled[begin:end, channel] = SERIES_IMPUTERS[name](known[:, channel], part)
    return filled
