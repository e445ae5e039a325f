"""The five jobs on series, each measured beside its rivals; and the sections of their report, in order."""

from __future__ import annotations

from collections.abc import Callable

from fivefold.evaluation.contest import Section
from fivefold.evaluation.series import comparisons as of
from fivefold.evaluation.series import events
from fivefold.evaluation.series.material import SeriesMaterial as Material

COMPARISONS: dict[str, Callable[[Material], Section]] = {
    "compress": of.compare_compression,
    "denoise": of.compare_denoising,
    "detect": events.compare_detection,
    "generate": of.compare_generation,
    "impute": of.compare_imputation,
}
SECTIONS: dict[str, Callable[[Material], Section]] = {
    "codes": of.report_codes,
    "compress": of.compare_compression,
    "generate": of.report_generation,
    "denoise": of.report_denoising,
    "detect": events.report_detection,
    "impute": of.report_imputation,
}
NEEDED = {"compress": ("pcodec", "soundfile"), "denoise": ("pywt",), "detect": ("stumpy",)}
