"""The five jobs on images, each measured beside its rivals; and the sections of their report, in order."""

from __future__ import annotations

from collections.abc import Callable

from fivefold.evaluation.contest import Section
from fivefold.evaluation.images import compress, denoise, detect, generate, impute
from fivefold.evaluation.images.material import ImageMaterial as Material

_JOBS = {"compress": compress, "denoise": denoise, "detect": detect, "generate": generate, "impute": impute}
COMPARISONS: dict[str, Callable[[Material], Section]] = {name: job.compare for name, job in _JOBS.items()}
SECTIONS: dict[str, Callable[[Material], Section | None]] = {
    **{name: _JOBS[name].report for name in ("compress", "generate", "denoise", "detect", "impute")},
    "autoencoder": compress.report_autoencoder,
    "GAN": generate.report_gan,
}
NEEDED = {"denoise": ("bm3d", "pywt", "skimage"), "detect": ("pyod",), "generate": ("pythae",), "impute": ("skimage",)}
