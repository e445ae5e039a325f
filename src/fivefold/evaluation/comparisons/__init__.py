"""The five jobs, each measured beside its specialists."""

from __future__ import annotations

from collections.abc import Callable

from fivefold.evaluation.comparisons import compress, denoise, detect, generate, impute
from fivefold.evaluation.material import Material
from fivefold.evaluation.section import Section

COMPARISONS: dict[str, Callable[[Material], Section]] = {
    "compress": compress.compare,
    "denoise": denoise.compare,
    "detect": detect.compare,
    "generate": generate.compare,
    "impute": impute.compare,
}
