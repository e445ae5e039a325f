"""Filters that remove noise: from images, at a level estimated from the image itself; from series, with the parameter that
did best on noisy training series."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.ndimage import median_filter
from scipy.signal import medfilt, savgol_filter

from fivefold.evaluation.rivals import Series, require

Denoiser = Callable[[np.ndarray], np.ndarray]
Filter = Callable[[np.ndarray, Any], np.ndarray]
_MOST_TUNING_STEPS = 20_000
_LEAST_SIGMA = 1e-6
_BM3D_SIDE = 16  # the library crashes on images of 8×8
_BM3D_SPECTRUM = 16


def _non_local_means(image: np.ndarray) -> np.ndarray:
    """Buades et al. 2005; patches, distance and strength as in scikit-image's guide for its fast variant."""
    sigma = _estimate_sigma(image)
    if sigma < _LEAST_SIGMA:
        return image
    denoised = require("skimage.restoration").denoise_nl_means(
        image, patch_size=5, patch_distance=6, h=0.8 * sigma, sigma=sigma, fast_mode=True, channel_axis=-1
    )
    return np.reshape(denoised, image.shape)  # which drops an only channel's axis


def _bm3d(image: np.ndarray) -> np.ndarray:
    """Dabov et al. 2007; Mäkinen et al. 2020. Three channels are matched by their luminance, others each by itself.

    The library's default settings, but for the size of the noise's spectrum: 16 instead of 32, which for white noise
    takes a quarter of the time and costs less than 0.1 dB.
    """
    bm3d = require("bm3d")
    sigma = _estimate_sigma(image)
    if sigma < _LEAST_SIGMA:
        return image
    profile = bm3d.BM3DProfile()
    profile.nf = _BM3D_SPECTRUM
    profile.num_threads = 1  # with more, results vary from run to run
    height, width, channels = image.shape
    below, right = (max(0, _BM3D_SIDE - side) for side in (height, width))
    padded = np.pad(image.astype(np.float64), ((0, below), (0, right), (0, 0)), mode="symmetric")
    if channels == 3 and _has_colour(padded):
        denoised = bm3d.bm3d_rgb(padded, sigma, profile)
    else:
        planes = [bm3d.bm3d(padded[..., channel], sigma, profile) for channel in range(channels)]
        denoised = np.stack([plane.reshape(padded.shape[:2]) for plane in planes], axis=-1)
    return np.asarray(denoised)[:height, :width]


def _has_colour(image: np.ndarray) -> bool:
    """Whether both colour differences vary: the library divides by their range."""
    red, green, blue = np.moveaxis(image, -1, 0)
    return bool(min(np.ptp(red - blue), np.ptp(red - 2 * green + blue)) > _LEAST_SIGMA)


def _estimate_sigma(image: np.ndarray) -> float:
    """The noise's standard deviation, the mean over channels (Donoho & Johnstone 1994); 0 for constant images."""
    require("pywt")  # scikit-image takes it for granted
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # on small images
        sigma = require("skimage.restoration").estimate_sigma(image, average_sigmas=True, channel_axis=-1)
    return float(np.nan_to_num(sigma))


DENOISERS: dict[str, Denoiser] = {
    "median": lambda image: median_filter(image, size=(3, 3, 1)),
    "non-local means": _non_local_means,
    "total variation": lambda image: require("skimage.restoration").denoise_tv_chambolle(
        image, weight=0.1, channel_axis=-1
    ),
    "BM3D": _bm3d,
}
"""By name, functions of one image `(h, w, c)`; `UsageError` without the extra. Total variation (Chambolle 2004) is at
scikit-image's default weight."""


def denoise_images(name: str, images: np.ndarray) -> np.ndarray:
    """Images `(n, h, w, c)`, float32 in [0, 1], cleaned one by one by one of `DENOISERS`."""
    denoised = np.empty(images.shape, np.float32)
    for index, image in enumerate(images):
        denoised[index] = np.clip(DENOISERS[name](image), 0, 1)
    return denoised


def _savitzky_golay(values: np.ndarray, parameter: tuple[int, int]) -> np.ndarray:
    """Polynomials of a degree through windows of a width (SciPy)."""
    width, degree = parameter
    width = min(width, len(values) - 1 + len(values) % 2)
    return values if width <= degree else savgol_filter(values, width, degree)


def _wavelets(values: np.ndarray, parameter: tuple[str, float]) -> np.ndarray:
    """Soft thresholds at a multiple of the universal one (Donoho & Johnstone 1994; PyWavelets)."""
    pywt = require("pywt")
    name, factor = parameter
    coarse, *details = pywt.wavedec(values, name, mode="symmetric")
    if not details:
        return values
    noise = np.median(np.abs(details[-1])) / 0.6745
    threshold = factor * noise * np.sqrt(2 * np.log(len(values)))
    shrunk = [pywt.threshold(detail, threshold, "soft") for detail in details]
    return np.asarray(pywt.waverec([coarse, *shrunk], name, mode="symmetric"))[: len(values)]


_WIDTHS, _FACTORS = (5, 7, 9, 13, 17, 25, 35, 51), (0.2, 0.4, 0.6, 0.8, 1.0)
FILTERS: dict[str, tuple[Filter, list[Any]]] = {
    "Savitzky–Golay": (_savitzky_golay, [(width, degree) for width in _WIDTHS for degree in (1, 2, 4)]),
    "wavelets": (_wavelets, [(name, factor) for name in ("db4", "sym8", "coif3") for factor in _FACTORS]),
    "median": (medfilt, [1, 3, 5, 7, 9, 13, 17]),
}
"""By name, a filter of one channel and the parameters to choose from."""


def filter_series(name: str, clean: np.ndarray, known: Series, test: Series) -> np.ndarray:
    """Noisy series `test` cleaned by one of `FILTERS`, `(total, c)`: the parameter, of each channel, has the least error on
    the training series `clean`, noisy as in `known`.
    """
    apply, parameters = FILTERS[name]
    (noisy, noisy_lengths), (values, lengths) = known, test
    cleaned = np.empty_like(values)
    for channel in range(values.shape[1]):

        def error(parameter: tuple[Any, ...], channel: int = channel) -> float:
            filtered = _by_series(apply, parameter, noisy[:_MOST_TUNING_STEPS, channel], noisy_lengths)
            return float(np.nanmean(np.square(filtered - clean[:_MOST_TUNING_STEPS, channel])))

        best = min(parameters, key=error)
        cleaned[:, channel] = _by_series(apply, best, values[:, channel], lengths)
    return cleaned


def _by_series(apply: Filter, parameter: tuple[Any, ...], values: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Filter series after series; missing values are interpolated."""
    cleaned, ends = values.copy(), np.cumsum(lengths)
    for begin, end in zip(ends - lengths, ends, strict=True):
        part = values[begin:end]
        seen = np.flatnonzero(~np.isnan(part))
        if len(seen) > 1:
            cleaned[begin:end] = apply(np.interp(np.arange(len(part)), seen, part[seen]), parameter)
    return cleaned
