"""Models as archives need them: plain arrays, of a fitted model or of one that is embedded in an archive."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fivefold.archive.container import ArchiveReader
from fivefold.config import FitConfig
from fivefold.errors import ModelError, UsageError, WrongModelError
from fivefold.modality import Schema

if TYPE_CHECKING:
    from fivefold.model.fitted import FittedModel

_FILES = ("config.json", "model.safetensors")


@dataclass(frozen=True)
class ModelArrays:
    """A model without its networks: all that decoding needs.

    Attributes
    ----------
    schema, config
    weights : by name, as in the model's `model.safetensors`, float32
    calibrations : by part (`prior`, …) its arrays by name
    fingerprint : SHA-256 in hexadecimal
    """

    schema: Schema
    config: FitConfig
    weights: Mapping[str, np.ndarray]
    calibrations: Mapping[str, Mapping[str, np.ndarray]]
    fingerprint: str

    def __post_init__(self) -> None:
        for name, weight in self.weights.items():
            if not np.isfinite(weight).all():
                raise ModelError(f"the model is damaged: {name} is not all finite numbers")

    @property
    def has_context(self) -> bool:
        """Whether it has a context decoder."""
        return any(name.startswith("context.") for name in self.weights)


def arrays_of(model: FittedModel) -> ModelArrays:
    """The arrays of a fitted model; raises `ModelError` if its weights are not all numbers."""
    from fivefold.storage import fingerprint

    weights = {name: weight.cpu().float().numpy() for name, weight in model.networks.state_dict().items()}
    calibrations = {} if model.prior is None else {"prior": vars(model.prior)}
    return ModelArrays(model.schema, model.config, weights, calibrations, fingerprint(model))


def model_for(reader: ArchiveReader, model: FittedModel | None = None) -> ModelArrays:
    """The given model, or the embedded one.

    Raises `UsageError` if there is none, `WrongModelError` if the archive was written with another.
    """
    arrays = arrays_of(_embedded(reader) if model is None else model)
    if arrays.fingerprint != reader.facts["model"]:
        raise WrongModelError("the archive was written with another model")
    return arrays


def model_files(model: FittedModel) -> dict[str, bytes]:
    """The files of a model that are embedded, by name."""
    from fivefold.storage import save

    with tempfile.TemporaryDirectory() as folder:
        save(model, Path(folder) / "model")
        return {name: (Path(folder) / "model" / name).read_bytes() for name in _FILES}


def _embedded(reader: ArchiveReader) -> Any:
    from fivefold.storage import load

    if not set(_FILES) <= reader.attachments:
        raise UsageError("the archive has no model embedded; name it with --model")
    with tempfile.TemporaryDirectory() as folder:
        for name in _FILES:
            (Path(folder) / name).write_bytes(reader.attachment(name))
        return load(folder)
