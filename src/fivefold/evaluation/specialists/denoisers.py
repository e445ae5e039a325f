"""Denoisers that know nothing of the data and estimate each image's noise from the image itself."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np

from fivefold.evaluation.specialists.extra import require

Denoiser = Callable[[np.ndarray], np.ndarray]
_LEAST_SIGMA = 1e-6
_BM3D_SIDE = 16  # the library crashes on images of 8×8
_BM3D_SPECTRUM = 16


def _median(image: np.ndarray) -> np.ndarray:
    """Of 3×3 places, in each channel."""
    from scipy.ndimage import median_filter

    return median_filter(image, size=(3, 3, 1))


def _non_local_means(image: np.ndarray) -> np.ndarray:
    """Buades et al. 2005; patches, distance and strength as in scikit-image's guide for its fast variant."""
    sigma = _estimate_sigma(image)
    if sigma < _LEAST_SIGMA:
        return image
    denoised = require("skimage.restoration").denoise_nl_means(
        image, patch_size=5, patch_distance=6, h=0.8 * sigma, sigma=sigma, fast_mode=True, channel_axis=-1
    )
    return denoised.reshape(image.shape)  # which drops an only channel's axis


def _total_variation(image: np.ndarray) -> np.ndarray:
    """Chambolle 2004, at scikit-image's default weight."""
    return require("skimage.restoration").denoise_tv_chambolle(image, weight=0.1, channel_axis=-1)


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
    return denoised[:height, :width]


def _has_colour(image: np.ndarray) -> bool:
    """Whether both colour differences vary: the library divides by their range."""
    red, green, blue = np.moveaxis(image, -1, 0)
    return min(np.ptp(red - blue), np.ptp(red - 2 * green + blue)) > _LEAST_SIGMA


def _estimate_sigma(image: np.ndarray) -> float:
    """The noise's standard deviation, the mean over channels (Donoho & Johnstone 1994); 0 for constant images."""
    require("pywt")  # scikit-image takes it for granted
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "image is size", UserWarning)
        warnings.filterwarnings("ignore", "Mean of empty slice", RuntimeWarning)
        warnings.filterwarnings("ignore", "invalid value encountered in .*divide", RuntimeWarning)
        sigma = require("skimage.restoration").estimate_sigma(image, average_sigmas=True, channel_axis=-1)
    return float(np.nan_to_num(sigma))


def _each(denoise: Denoiser) -> Denoiser:
    """From one image `(h, w, c)` to many, with results in [0, 1]."""

    def denoise_all(images: np.ndarray) -> np.ndarray:
        denoised = np.empty(images.shape, np.float32)
        for index, image in enumerate(images):
            denoised[index] = np.clip(denoise(image), 0, 1)
        return denoised

    return denoise_all


DENOISERS: dict[str, Denoiser] = {
    "median": _each(_median),
    "non-local means": _each(_non_local_means),
    "total variation": _each(_total_variation),
    "BM3D": _each(_bm3d),
}
"""By name, functions of images `(n, h, w, c)`, float32 in [0, 1], that return the same; `UsageError` without the extra."""
