"""The model folder: config.json, model.safetensors, README.md (the model card). No pickle, ever.

What is stored is read without torch; only `load` makes networks of it.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import safetensors.numpy
from safetensors import SafetensorError

from fivefold.atomic import MODEL_FILES, atomic_folder, check_free, is_model, recover
from fivefold.config import FitConfig
from fivefold.errors import ModelError, UsageError
from fivefold.hub import is_address, located, upload
from fivefold.items import Schema
from fivefold.modality import Modality, modality_of, modality_taking, schema_from_json
from fivefold.modelcard import render_card, render_metadata
from fivefold.system import find_device

if TYPE_CHECKING:
    import torch

    from fivefold.model.fitted import FittedModel

FORMAT = "fivefold-model"
FORMAT_VERSION = 2
_CONFIG, _WEIGHTS = MODEL_FILES
_CARD = "README.md"
_NETWORKS = ("vae", "context")
_DECODING = ("prior", "coder")  # calibrations that archives are decoded with


@dataclass(frozen=True)
class StoredModel:
    """A model as it is stored: plain values and arrays.

    Attributes
    ----------
    path : the model folder; empty if it was never in one
    schema, config, record : as `FittedModel` has them
    weights : of the networks by name, float32 as they were trained
    calibrations : arrays by name, of each of `FittedModel.calibrations`

    Raises
    ------
    ModelError : if weights are not all finite float32, or calibrations no numbers
    """

    path: Path
    schema: Schema
    config: FitConfig
    record: dict[str, Any]
    weights: dict[str, np.ndarray]
    calibrations: dict[str, dict[str, np.ndarray]]

    def __post_init__(self) -> None:
        for name, weight in self.weights.items():
            if weight.dtype != np.float32 or not np.isfinite(weight).all():
                raise ModelError(f"the model is damaged: {name} is not all finite float32, but {weight.dtype}")
        for part, arrays in self.calibrations.items():
            if any(array.dtype.kind not in "biuf" or np.isnan(array).any() for array in arrays.values()):
                raise ModelError(f"the model is damaged: its {part} is not all numbers")

    @property
    def parameters(self) -> int:
        """Number of trained weights."""
        buffers = modality_of(self.schema).settings.BUFFERS
        return sum(weight.size for name, weight in self.weights.items() if not name.startswith(buffers))

    @property
    def has_context(self) -> bool:
        """Whether there is a context decoder."""
        return any(name.startswith("context.") for name in self.weights)

    @property
    def files(self) -> dict[str, bytes]:
        """The files that hold all of it, by name."""
        parts = self.calibrations.items()
        arrays = self.weights | {f"{part}.{name}": array for part, arrays in parts for name, array in arrays.items()}
        content = safetensors.numpy.save({name: np.ascontiguousarray(array) for name, array in arrays.items()})
        config = {
            "format": FORMAT,
            "version": FORMAT_VERSION,
            "weights_sha256": hashlib.sha256(content).hexdigest(),
            "schema": self.schema.to_json(),
            "fit": self.config.to_json(),
            "record": self.record,
        }
        return {_CONFIG: json.dumps(config, indent=1).encode(), _WEIGHTS: content}


def as_stored(model: FittedModel | StoredModel) -> StoredModel:
    """A model as it is stored; raises `ModelError` if its weights are not all finite numbers."""
    modality_taking(model, "save")
    if isinstance(model, StoredModel):
        return model
    weights = {name: weight.cpu().float().numpy() for name, weight in model.networks.state_dict().items()}
    calibrations = {
        part: {
            field.name: array
            for field in dataclasses.fields(calibration)
            if (array := getattr(calibration, field.name)).size or field.default_factory is dataclasses.MISSING
        }
        for part, calibration in model.calibrations.items()
        if calibration is not None
    }
    return StoredModel(Path(), model.schema, model.config, model.record, weights, calibrations)


def fingerprint(model: FittedModel | StoredModel) -> str:
    """SHA-256, in hexadecimal, of what a model is: schema, configuration, weights, prior, coder of pictures."""
    stored = as_stored(model)
    about = {"schema": stored.schema.to_json(), "fit": stored.config.to_json()}
    digest = hashlib.sha256(json.dumps(about, sort_keys=True).encode())
    arrays = dict(stored.weights)
    for part in _DECODING:
        arrays |= {f"{part}.{name}": array for name, array in stored.calibrations.get(part, {}).items()}
    for name, array in sorted(arrays.items()):
        digest.update(f"{name} {array.shape} ".encode())
        digest.update(np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes())
    return digest.hexdigest()


def check_model_path(path: str | Path, force: bool = False) -> Path:
    """Raise `UsageError` if a model can't be saved at `path`; only another model is ever replaced."""
    path = _as_path(path)
    if is_address(path):
        raise UsageError(f"models are sent to the Hub by push, which takes user/name; got {path}")
    check_free(path, force, model=True)
    if path.exists() and not is_model(path) and (not path.is_dir() or any(path.iterdir())):
        raise UsageError(f"{path} exists and is not a model; `force` overwrites models only")
    return path


def _as_path(path: str | Path) -> Path:
    if not isinstance(path, str | os.PathLike):
        raise UsageError(f"`path` must be that of a model's folder, got {type(path).__name__}")
    return Path(path)


def save(model: FittedModel, path: str | Path, *, force: bool = False, training: Path | None = None) -> None:
    """Write the model folder, whole or not at all; a folder `training` (state and logs) is copied into it.

    Raises `UsageError` if `path` exists (with `force`: and is no model).

    Examples
    --------
    >>> fivefold.save(tree_model, "saved")
    >>> fivefold.load("saved").schema == tree_model.schema
    True
    """
    stored, path = as_stored(model), check_model_path(path, force)
    with atomic_folder(path, merge=False) as folder:
        for name, content in stored.files.items():
            (folder / name).write_bytes(content)
        (folder / _CARD).write_text(render_card(stored), encoding="utf-8")
        if training is not None:
            shutil.copytree(training, folder / "training")


def push(model: FittedModel | str | Path, name: str, *, private: bool = False) -> str:
    """Send a model to the Hugging Face Hub: its settings, weights and card, and nothing that could run; the commit's URL.

    Parameters
    ----------
    model : fitted, or a model's folder
    name : `user/name` of the repository, which is made if there is none
    private : whether one that is made is seen by its owner alone

    Raises
    ------
    UsageError : if `name` can't be one, or the extra `hub` is not installed
    ModelError : if the model can't be read, or the Hub refuses it or can't be reached

    Examples
    --------
    >>> fivefold.push(tree_model, "trees")
    Traceback (most recent call last):
    fivefold.errors.UsageError: `name` must be user/name, got 'trees'
    """
    stored = read(model) if isinstance(model, str | os.PathLike) else as_stored(model)
    card = f"{render_metadata(stored, name)}\n{render_card(stored)}".encode()
    return upload(name, stored.files | {_CARD: card}, message="Fitted with Fivefold", private=private)


def read(path: str | Path) -> StoredModel:
    """Read a model folder, or one on the Hub, without torch.

    Raises
    ------
    ModelError : if it is damaged, foreign, or newer than this version of the package; or can't be fetched
    UsageError : if `path` is no path
    """
    path = located(_as_path(path))
    recover(path)
    if path.is_file():
        raise ModelError(f"{path}: must be a model's folder, got a file; are the arguments in another order?")
    if not path.is_dir():
        raise ModelError(f"{path}: no such model folder")
    files = dict[str, bytes]()
    for name in MODEL_FILES:
        if not (path / name).is_file():  # nor a pipe, which would never end
            raise ModelError(f"{path} is not a model folder: it has no {name}")
        try:
            files[name] = (path / name).read_bytes()  # not mapped: it may be replaced while the model is in use
        except OSError as error:
            raise ModelError(f"{path / name} can't be read: {error.strerror or error}") from None
    return parse(files, path)


def parse(files: Mapping[str, bytes], path: Path) -> StoredModel:
    """A model from the content of its `MODEL_FILES`, which are in `path`; raises `ModelError` likewise."""
    config = _parse_config(files[_CONFIG], path)
    schema = schema_from_json(config["schema"])
    fit_config = FitConfig.from_json(config["fit"], modality_of(schema).settings.CONFIG)
    weights, calibrations = dict[str, np.ndarray](), dict[str, dict[str, np.ndarray]]()
    for name, array in _parse_arrays(files[_WEIGHTS], config["weights_sha256"], path / _WEIGHTS).items():
        part, _, rest = name.partition(".")
        if part in _NETWORKS:
            weights[name] = array
        else:
            calibrations.setdefault(part, {})[rest] = array
    stored = StoredModel(path, schema, fit_config, config["record"], weights, calibrations)
    try:
        render_card(stored)
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise ModelError(f"{path / _CONFIG} is damaged: its record can't be rendered ({error!r})") from None
    return stored


def load(path: str | Path, device: str = "auto") -> FittedModel:
    """Open a model folder, or a model on the Hugging Face Hub.

    Parameters
    ----------
    path : of a folder; or an address, `hf://user/name`, or `hf://user/name@revision` for what nobody can change
    device : a PyTorch device, or `auto`: the accelerator if there is one

    Raises
    ------
    ModelError : if it is damaged, foreign, or newer than this version of the package; or can't be fetched
    UsageError : if there is no such device

    Examples
    --------
    >>> model = fivefold.load("image-model", device="cpu")
    >>> model.latent_dim, model.schema.describe()
    (3, '8×6×3 uint8 in [0, 255]')
    """
    return build(read(path), device)


def build(stored: StoredModel, device: str = "auto") -> FittedModel:
    """A model with its networks; see `load`."""
    from fivefold.model.fitted import FittedModel

    networks = _build(stored)
    networks.to(find_device(device, "device")).eval()
    modality = modality_of(stored.schema)
    calibrations = {part: _calibration(modality, part, arrays) for part, arrays in stored.calibrations.items()}
    parts: dict[str, Any] = dict(networks.named_children())
    model = FittedModel(
        schema=stored.schema, config=stored.config, calibrations=calibrations, record=stored.record, **parts
    )
    if model.prior is not None and model.prior.means.shape[1] != model.latent_dim:
        raise ModelError(f"{stored.path / _WEIGHTS} is damaged: its prior is of other codes")
    if model.normality is not None and model.normality.size != modality.networks.count_statistics(model):
        raise ModelError(f"{stored.path / _WEIGHTS} is damaged: its normality is of other statistics")
    return model


def _build(stored: StoredModel) -> torch.nn.ModuleDict:
    """The networks with the stored weights."""
    import torch

    try:
        with torch.device("meta"):  # the weights' sizes are compared before any are allocated
            networks = modality_of(stored.schema).networks.build(stored.schema, stored.config, seed=0)
        tensors = {name: torch.from_numpy(weight.copy()) for name, weight in stored.weights.items()}
        networks.load_state_dict(tensors, assign=True)
    except (KeyError, TypeError, RuntimeError) as error:
        raise ModelError(f"{stored.path / _WEIGHTS} is damaged: {str(error).splitlines()[0]}") from None
    return networks


def _calibration(modality: Modality, part: str, arrays: dict[str, np.ndarray]) -> Any:
    """What `arrays` were stored of; raises `ModelError`."""
    try:
        return modality.networks.CALIBRATIONS[part](**arrays)
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(f"the model's {part} is damaged: {error}") from None


def _parse_arrays(content: bytes, sha256: object, path: Path) -> dict[str, np.ndarray]:
    """All arrays of a file with the checksum `sha256`, in hexadecimal."""
    if hashlib.sha256(content).hexdigest() != sha256:
        raise ModelError(f"{path} is damaged: its SHA-256 is not the one that {_CONFIG} states")
    try:
        return safetensors.numpy.load(content)
    except (SafetensorError, KeyError) as error:
        raise ModelError(f"{path} is damaged: {str(error).splitlines()[0]}") from None


def _parse_config(content: bytes, path: Path) -> dict[str, Any]:
    try:
        config = json.loads(content.decode())
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{path / _CONFIG} is damaged: {error}") from None
    if not isinstance(config, dict) or config.get("format") != FORMAT:
        raise ModelError(f"{path} is not a model folder: its {_CONFIG} is of another program")
    version = config.get("version")
    if version != FORMAT_VERSION:
        older = isinstance(version, int) and version < FORMAT_VERSION
        advice = "fit it again" if older else "upgrade fivefold"
        raise ModelError(f"{path} has format version {version}, this package reads {FORMAT_VERSION}: {advice}")
    missing = {"weights_sha256", "schema", "fit", "record"} - config.keys()
    if missing:
        raise ModelError(f"{path / _CONFIG} is damaged: it lacks {', '.join(sorted(missing))}")
    return config
