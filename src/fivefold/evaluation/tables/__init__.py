"""The five jobs on tables, each measured beside its rivals; and the sections of their report, in order."""

from __future__ import annotations

from collections.abc import Callable

from fivefold.evaluation.contest import Section
from fivefold.evaluation.tables import cells, rows
from fivefold.evaluation.tables.material import TableMaterial as Material

COMPARISONS: dict[str, Callable[[Material], Section]] = {
    "compress": rows.compare_compression,
    "denoise": cells.compare_denoising,
    "detect": rows.compare_detection,
    "generate": rows.compare_generation,
    "impute": cells.compare_imputation,
}
SECTIONS: dict[str, Callable[[Material], Section]] = {
    "codes": rows.report_codes,
    "compress": rows.compare_compression,
    "generate": rows.report_generation,
    "denoise": cells.report_denoising,
    "detect": rows.report_detection,
    "impute": cells.report_imputation,
}
NEEDED = {"detect": ("pyod",)}
