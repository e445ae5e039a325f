"""Other ways to remove noise from series; each with the parameter that did best on noisy training series."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.signal import medfilt, savgol_filter

from fivefold.evaluation.specialists.extra import require

Filter = Callable[[np.ndarray, tuple], np.ndarray]
_LONGEST = 20_000


def savitzky_golay(values: np.ndarray, parameter: tuple[int, int]) -> np.ndarray:
    """Polynomials of a degree through windows of a width (SciPy)."""
    width, degree = parameter
    width = min(width, len(values) - 1 + len(values) % 2)
    return values if width <= degree else savgol_filter(values, width, degree)


def median(values: np.ndarray, parameter: tuple[int]) -> np.ndarray:
    """The median of a window (SciPy)."""
    return medfilt(values, parameter[0])


def wavelets(values: np.ndarray, parameter: tuple[str, float]) -> np.ndarray:
    """Soft thresholds at a multiple of the universal one (Donoho & Johnstone 1994; PyWavelets)."""
    pywt = require("pywt")
    name, factor = parameter
    coarse, *details = pywt.wavedec(values, name, mode="symmetric")
    if not details:
        return values
    noise = np.median(np.abs(details[-1])) / 0.6745
    threshold = factor * noise * np.sqrt(2 * np.log(len(values)))
    shrunk = [pywt.threshold(each, threshold, "soft") for each in details]
    return pywt.waverec([coarse, *shrunk], name, mode="symmetric")[: len(values)]


SERIES_FILTERS: dict[str, tuple[Filter, list[tuple]]] = {
    "Savitzky–Golay": (
        savitzky_golay,
        [(width, degree) for width in (5, 7, 9, 13, 17, 25, 35, 51) for degree in (1, 2, 4)],
    ),
    "wavelets": (
        wavelets,
        [(name, factor) for name in ("db4", "sym8", "coif3") for factor in (0.2, 0.4, 0.6, 0.8, 1.0)],
    ),
    "median": (median, [(width,) for width in (1, 3, 5, 7, 9, 13, 17)]),
}


def denoise_steps(
    name: str,
    clean: np.ndarray,
    noisy_known: np.ndarray,
    known_lengths: np.ndarray,
    noisy: np.ndarray,
    lengths: np.ndarray,
) -> np.ndarray:
    """Series `(total, c)` cleaned by one of `SERIES_FILTERS`: the parameter, of each channel, has the least error on the
    training series `clean`, noisy as `noisy_known`.
    """
    apply, parameters = SERIES_FILTERS[name]
    cleaned = np.empty_like(noisy)
    for channel in range(noisy.shape[1]):

        def error(parameter: tuple, channel: int = channel) -> float:
            found = _each(apply, parameter, noisy_known[:_LONGEST, channel], known_lengths)
            return float(np.nanmean(np.square(found - clean[:_LONGEST, channel])))

        best = min(parameters, key=error)
        cleaned[:, channel] = _each(apply, best, noisy[:, channel], lengths)
    return cleaned


def _each(apply: Filter, parameter: tuple, values: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Series after series; missing values are interpolated."""
    cleaned, ends = values.copy(), np.cumsum(lengths)
    for begin, end in zip(ends - lengths, ends, strict=True):
        part = values[begin:end]
        seen = np.flatnonzero(~np.isnan(part))
        if len(seen) > 1:
            cleaned[begin:end] = apply(np.interp(np.arange(len(part)), seen, part[seen]), parameter)
    return cleaned
