"""The jobs on series, each measured beside its specialists."""

from __future__ import annotations

from collections.abc import Callable

from fivefold.evaluation.section import Section
from fivefold.evaluation.series import compress, denoise, detect, generate, impute
from fivefold.evaluation.series.material import SeriesMaterial

SERIES_COMPARISONS: dict[str, Callable[[SeriesMaterial], Section]] = {
    "compress": compress.compare,
    "denoise": denoise.compare,
    "detect": detect.compare,
    "generate": generate.compare,
    "impute": impute.compare,
}
