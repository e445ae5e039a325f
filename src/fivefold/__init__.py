"""Fit one variational autoencoder to your data.

It compresses, generates, denoises, finds anomalies and fills in missing values.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fivefold.archive.read import decompress as decompress
    from fivefold.archive.write import compress as compress
    from fivefold.batches import batch_function as batch_function
    from fivefold.estimator import VAE as VAE
    from fivefold.estimator import VAEImputer as VAEImputer
    from fivefold.estimator import VAEOutlierDetector as VAEOutlierDetector
    from fivefold.evaluation.report import evaluate as evaluate
    from fivefold.jobs.check import check as check
    from fivefold.jobs.codes import decode as decode
    from fivefold.jobs.codes import encode as encode
    from fivefold.jobs.denoise import denoise as denoise
    from fivefold.jobs.detect import detect as detect
    from fivefold.jobs.detect import surprise as surprise
    from fivefold.jobs.drift import drift as drift
    from fivefold.jobs.generate import generate as generate
    from fivefold.jobs.generate import morph as morph
    from fivefold.jobs.impute import impute as impute
    from fivefold.model.fitted import FittedModel as FittedModel
    from fivefold.onnx import export as export
    from fivefold.series.stream import Stream as Stream
    from fivefold.storage import load as load
    from fivefold.storage import push as push
    from fivefold.storage import save as save
    from fivefold.training.fit import fit as fit

_HOMES = {
    "Stream": "series.stream",
    "VAE": "estimator",
    "FittedModel": "model.fitted",
    "VAEImputer": "estimator",
    "VAEOutlierDetector": "estimator",
    "batch_function": "batches",
    "check": "jobs.check",
    "compress": "archive.write",
    "decode": "jobs.codes",
    "decompress": "archive.read",
    "denoise": "jobs.denoise",
    "detect": "jobs.detect",
    "drift": "jobs.drift",
    "encode": "jobs.codes",
    "evaluate": "evaluation.report",
    "export": "onnx",
    "fit": "training.fit",
    "generate": "jobs.generate",
    "impute": "jobs.impute",
    "load": "storage",
    "morph": "jobs.generate",
    "push": "storage",
    "save": "storage",
    "surprise": "jobs.detect",
}
__all__ = tuple(_HOMES)
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Public names are imported when first used: `import fivefold` alone does not import torch."""
    if name in _HOMES:
        return getattr(import_module(f"fivefold.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'fivefold' has no attribute {name!r}")
