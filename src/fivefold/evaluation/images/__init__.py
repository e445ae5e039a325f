"""The five jobs on images, each measured beside its rivals; and the sections of their report, in order."""

from __future__ import annotations

from collections.abc import Callable

from fivefold.evaluation.contest import Section
from fivefold.evaluation.images import compress, detect, generate, restoration
from fivefold.evaluation.images.material import ImageMaterial as Material

COMPARISONS: dict[str, Callable[[Material], Section]] = {
    "compress": compress.compare,
    "denoise": restoration.compare_denoising,
    "detect": detect.compare,
    "generate": generate.compare,
    "impute": restoration.compare_imputation,
}
SECTIONS: dict[str, Callable[[Material], Section | None]] = {
    "compress": compress.report,
    "generate": generate.report,
    "denoise": restoration.report_denoising,
    "detect": detect.report,
    "impute": restoration.report_imputation,
    "autoencoder": compress.report_autoencoder,
    "GAN": generate.report_gan,
}
NEEDED = {"denoise": ("bm3d", "pywt", "skimage"), "detect": ("pyod",), "generate": ("pythae",), "impute": ("skimage",)}
