"""The five jobs on series, each measured beside its rivals; and the sections of their report, in order."""

from __future__ import annotations

from collections.abc import Callable

from fivefold.evaluation.contest import Section
from fivefold.evaluation.series import events, steps, windows
from fivefold.evaluation.series.material import SeriesMaterial as Material

COMPARISONS: dict[str, Callable[[Material], Section]] = {
    "compress": windows.compare_compression,
    "denoise": steps.compare_denoising,
    "detect": events.compare_detection,
    "generate": windows.compare_generation,
    "impute": steps.compare_imputation,
}
SECTIONS: dict[str, Callable[[Material], Section]] = {
    "codes": windows.report_codes,
    "compress": windows.compare_compression,
    "generate": windows.report_generation,
    "denoise": steps.report_denoising,
    "detect": events.report_detection,
    "impute": steps.report_imputation,
}
NEEDED = {"compress": ("pcodec", "soundfile"), "denoise": ("pywt",), "detect": ("stumpy",)}
