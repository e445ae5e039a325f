"""Fit one variational autoencoder to your data.

It compresses, generates, denoises, finds anomalies and fills in missing values.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fivefold.data.series import read_series
    from fivefold.estimator import VAE, VAEImputer, VAEOutlierDetector
    from fivefold.jobs.codes import decode, encode
    from fivefold.jobs.compress import compress
    from fivefold.jobs.decompress import decompress
    from fivefold.jobs.denoise import denoise
    from fivefold.jobs.denoise_rows import denoise_rows
    from fivefold.jobs.detect import detect, surprise
    from fivefold.jobs.generate import generate, morph
    from fivefold.jobs.generate_rows import generate_rows
    from fivefold.jobs.impute import impute
    from fivefold.jobs.series import continue_series, denoise_series, detect_series, impute_series
    from fivefold.model.fitted import FittedModel
    from fivefold.storage import load, save
    from fivefold.training.fit import fit

_HOMES = {
    "FittedModel": "model.fitted",
    "VAE": "estimator",
    "VAEImputer": "estimator",
    "VAEOutlierDetector": "estimator",
    "compress": "jobs.compress",
    "continue_series": "jobs.series",
    "decode": "jobs.codes",
    "decompress": "jobs.decompress",
    "denoise": "jobs.denoise",
    "denoise_rows": "jobs.denoise_rows",
    "denoise_series": "jobs.series",
    "detect": "jobs.detect",
    "detect_series": "jobs.series",
    "encode": "jobs.codes",
    "fit": "training.fit",
    "generate": "jobs.generate",
    "generate_rows": "jobs.generate_rows",
    "impute": "jobs.impute",
    "impute_series": "jobs.series",
    "load": "storage",
    "morph": "jobs.generate",
    "read_series": "data.series",
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
