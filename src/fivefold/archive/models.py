"""Models of archives: as stored, without torch; given, or embedded in an archive."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fivefold.archive.container import ArchiveReader
from fivefold.errors import ModelError, UsageError, WrongModelError
from fivefold.storage import StoredModel, as_stored, fingerprint, read, save

if TYPE_CHECKING:
    from fivefold.model.fitted import FittedModel

_FILES = ("config.json", "model.safetensors")


def checked(model: FittedModel | StoredModel) -> StoredModel:
    """A model as it is stored; raises `ModelError` if its weights are not all numbers."""
    stored = model if isinstance(model, StoredModel) else as_stored(model)
    for name, weight in stored.weights.items():
        if not np.isfinite(weight).all():
            raise ModelError(f"the model is damaged: {name} is not all finite numbers")
    return stored


def model_for(reader: ArchiveReader, model: FittedModel | StoredModel | None = None) -> StoredModel:
    """The given model, or the embedded one.

    Raises `UsageError` if there is none, `WrongModelError` if the archive was written with another.
    """
    stored = checked(_embedded(reader) if model is None else model)
    if fingerprint(stored) != reader.facts["model"]:
        raise WrongModelError("the archive was written with another model")
    return stored


def has_context(model: StoredModel) -> bool:
    """Whether a model has a context decoder."""
    return any(name.startswith("context.") for name in model.weights)


def model_files(model: FittedModel) -> dict[str, bytes]:
    """The files of a model that are embedded, by name."""
    with tempfile.TemporaryDirectory() as folder:
        save(model, Path(folder) / "model")
        return {name: (Path(folder) / "model" / name).read_bytes() for name in _FILES}


def _embedded(reader: ArchiveReader) -> StoredModel:
    if not set(_FILES) <= reader.attachments:
        raise UsageError("the archive has no model embedded; name it with `model`")
    with tempfile.TemporaryDirectory() as folder:
        for name in _FILES:
            (Path(folder) / name).write_bytes(reader.attachment(name))
        return read(folder)
