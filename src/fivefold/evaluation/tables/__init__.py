"""The five jobs on tables, each measured beside its rivals; and the sections of their report, in order."""

from __future__ import annotations

from collections.abc import Callable

from fivefold.evaluation.contest import Section
from fivefold.evaluation.tables import comparisons as of
from fivefold.evaluation.tables.material import TableMaterial as Material

COMPARISONS: dict[str, Callable[[Material], Section]] = {
    "compress": of.compare_compression,
    "denoise": of.compare_denoising,
    "detect": of.compare_detection,
    "generate": of.compare_generation,
    "impute": of.compare_imputation,
}
SECTIONS: dict[str, Callable[[Material], Section]] = {
    "codes": of.report_codes,
    "compress": of.compare_compression,
    "generate": of.report_generation,
    "denoise": of.report_denoising,
    "detect": of.report_detection,
    "impute": of.report_imputation,
}
NEEDED = {"detect": ("pyod",)}
