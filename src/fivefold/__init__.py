"""Fit one variational autoencoder to your data.

It compresses, generates, denoises, finds anomalies and fills in missing values.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fivefold.archive.read import decompress
    from fivefold.archive.write import compress
    from fivefold.estimator import VAE, VAEImputer, VAEOutlierDetector
    from fivefold.jobs.codes import decode, encode
    from fivefold.jobs.denoise import denoise
    from fivefold.jobs.detect import detect, surprise
    from fivefold.jobs.generate import generate, morph
    from fivefold.jobs.impute import impute
    from fivefold.model.fitted import FittedModel
    from fivefold.series.dataset import read_series
    from fivefold.series.jobs import continue_series, denoise_series, detect_series, impute_series
    from fivefold.storage import load, save
    from fivefold.tables.denoise import denoise_rows
    from fivefold.tables.generate import generate_rows
    from fivefold.training.fit import fit

_HOMES = {
    "FittedModel": "model.fitted",
    "VAE": "estimator",
    "VAEImputer": "estimator",
    "VAEOutlierDetector": "estimator",
    "compress": "archive.write",
    "continue_series": "series.jobs",
    "decode": "jobs.codes",
    "decompress": "archive.read",
    "denoise": "jobs.denoise",
    "denoise_rows": "tables.denoise",
    "denoise_series": "series.jobs",
    "detect": "jobs.detect",
    "detect_series": "series.jobs",
    "encode": "jobs.codes",
    "fit": "training.fit",
    "generate": "jobs.generate",
    "generate_rows": "tables.generate",
    "impute": "jobs.impute",
    "impute_series": "series.jobs",
    "load": "storage",
    "morph": "jobs.generate",
    "read_series": "series.dataset",
    "save": "storage",
    "surprise": "jobs.detect",
}
__all__ = [
    "VAE",
    "FittedModel",
    "VAEImputer",
    "VAEOutlierDetector",
    "compress",
    "continue_series",
    "decode",
    "decompress",
    "denoise",
    "denoise_rows",
    "denoise_series",
    "detect",
    "detect_series",
    "encode",
    "fit",
    "generate",
    "generate_rows",
    "impute",
    "impute_series",
    "load",
    "morph",
    "read_series",
    "save",
    "surprise",
]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Public names are imported when first used: `import fivefold` alone does not import torch."""
    if name in _HOMES:
        return getattr(import_module(f"fivefold.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'fivefold' has no attribute {name!r}")
