"""The five jobs, each measured beside its specialists."""

from __future__ import annotations

from collections.abc import Callable

from fivefold.evaluation.comparison import Comparison
from fivefold.evaluation.comparisons import compress, denoise, detect, generate, impute
from fivefold.evaluation.material import Material

COMPARISONS: dict[str, Callable[[Material], Comparison]] = {
    "compress": compress.compare,
    "denoise": denoise.compare,
    "detect": detect.compare,
    "generate": generate.compare,
    "impute": impute.compare,
}
