"""The five jobs on tables, each measured beside its specialists."""

from __future__ import annotations

from collections.abc import Callable

from fivefold.evaluation.rows import compress, denoise, detect, generate, impute
from fivefold.evaluation.rows.material import RowMaterial
from fivefold.evaluation.section import Section

ROW_COMPARISONS: dict[str, Callable[[RowMaterial], Section]] = {
    "compress": compress.compare,
    "denoise": denoise.compare,
    "detect": detect.compare,
    "generate": generate.compare,
    "impute": impute.compare,
}
