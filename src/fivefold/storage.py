"""The model folder: config.json, model.safetensors, README.md (the model card). No pickle, ever."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from fivefold.atomic import atomic_folder, check_free
from fivefold.config import FitConfig
from fivefold.errors import ModelError, UsageError
from fivefold.images.schema import ImageSchema
from fivefold.images.statistics import count_statistics
from fivefold.modality import modality_of, schema_from_json
from fivefold.model.build import build_networks
from fivefold.model.fitted import FittedModel
from fivefold.model.intervals import IntervalCalibration
from fivefold.model.prior import FittedPrior
from fivefold.model.scores import IndependentScore, JointScore, UpperTailScore
from fivefold.modelcard import render_card
from fivefold.series.schema import SeriesSchema
from fivefold.series.statistics import count_step_statistics
from fivefold.tables.marginals import Marginals
from fivefold.tables.schema import TableSchema

FORMAT = "fivefold-model"
FORMAT_VERSION = 2
_CONFIG, _WEIGHTS, _CARD = "config.json", "model.safetensors", "README.md"
_FITTED: dict[str, type[Any]] = {"prior": FittedPrior, "marginals": Marginals, "coverage": IntervalCalibration}
_NORMALITIES: dict[type[Any], type[Any]] = {
    ImageSchema: JointScore,
    TableSchema: UpperTailScore,
    SeriesSchema: IndependentScore,
}


def fingerprint(model: FittedModel) -> str:
    """SHA-256, in hexadecimal, of what a model is: schema, configuration, weights, prior."""
    about = {"schema": model.schema.to_json(), "fit": model.config.to_json()}
    digest = hashlib.sha256(json.dumps(about, sort_keys=True).encode())
    arrays = {name: weight.cpu().numpy() for name, weight in _weights(model).items()}
    if model.prior is not None:
        arrays |= {f"prior.{name}": array for name, array in vars(model.prior).items()}
    for name, array in sorted(arrays.items()):
        digest.update(f"{name} {array.shape} ".encode())
        digest.update(np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes())
    return digest.hexdigest()


def _weights(model: FittedModel) -> dict[str, torch.Tensor]:
    """As they were trained, float32."""
    return {name: weight.cpu().float() for name, weight in model.networks.state_dict().items()}


def check_model_path(path: str | Path, force: bool = False) -> Path:
    """Raise `UsageError` if a model can't be saved at `path`; only another model is ever replaced."""
    path = Path(path)
    check_free(path, force)
    is_model = all((path / name).is_file() for name in (_CONFIG, _WEIGHTS))
    if path.exists() and not is_model and (not path.is_dir() or any(path.iterdir())):
        raise UsageError(f"{path} exists and is not a model; --force overwrites models only")
    return path


def save(model: FittedModel, path: str | Path, *, force: bool = False, training: Path | None = None) -> None:
    """Write the model folder, whole or not at all; a folder `training` (state and logs) is copied into it.

    Raises `UsageError` if `path` exists (with `force`: and is no model).
    """
    path = check_model_path(path, force)
    tensors = {name: weight.contiguous() for name, weight in _weights(model).items()}
    for part in (*_FITTED, "normality"):
        if (fitted := getattr(model, part)) is not None:
            arrays = {name: np.ascontiguousarray(array) for name, array in vars(fitted).items()}
            tensors |= {f"{part}.{name}": torch.from_numpy(array) for name, array in arrays.items()}
    with atomic_folder(path, merge=False) as folder:
        content = save_tensors(tensors)
        (folder / _WEIGHTS).write_bytes(content)
        config = {
            "format": FORMAT,
            "version": FORMAT_VERSION,
            "weights_sha256": hashlib.sha256(content).hexdigest(),
            "schema": model.schema.to_json(),
            "fit": model.config.to_json(),
            "record": model.record,
        }
        (folder / _CONFIG).write_text(json.dumps(config, indent=1), encoding="utf-8")
        (folder / _CARD).write_text(render_card(model), encoding="utf-8")
        if training is not None:
            shutil.copytree(training, folder / "training")


def load(path: str | Path, device: str = "auto") -> FittedModel:
    """Open a model folder.

    Parameters
    ----------
    device : a PyTorch device, or `auto`: the accelerator if there is one

    Raises
    ------
    ModelError : if it is damaged, foreign, or newer than this version of the package
    UsageError : if there is no such device
    """
    path = Path(path)
    config = _read_config(path)
    schema = schema_from_json(config["schema"])
    fit_config = FitConfig.from_json(config["fit"], modality_of(schema).settings.CONFIG)
    weights = path / _WEIGHTS
    try:
        content = weights.read_bytes()  # not mapped: the file may be replaced while the model is in use
        if hashlib.sha256(content).hexdigest() != config["weights_sha256"]:
            raise ModelError(f"{weights} is damaged: its SHA-256 is not the one that {_CONFIG} states")
        tensors = load_tensors(content)
        kinds = {**_FITTED, "normality": _NORMALITIES[type(schema)]}
        fitted = {part: _take(tensors, part, kind) for part, kind in kinds.items()}
        with torch.device("meta"):  # the weights' sizes are compared before any are allocated
            networks = build_networks(schema, fit_config, seed=0)
        networks.load_state_dict(tensors, assign=True)
    except (SafetensorError, OSError, KeyError, RuntimeError) as error:
        raise ModelError(f"{weights} is damaged: {str(error).splitlines()[0]}") from None
    networks.to(_device(device)).eval()
    if fitted["prior"] is not None and fitted["prior"].means.shape[1] != fit_config.network.latent_dim:
        raise ModelError(f"{weights} is damaged: its prior is of other codes")
    parts = {**dict(networks.named_children()), **fitted}
    model = FittedModel(schema=schema, config=fit_config, record=config["record"], **parts)
    normality = model.normality
    if isinstance(normality, JointScore) and len(normality.centre) != count_statistics(model):
        raise ModelError(f"{weights} is damaged: its normality is of other statistics")
    if isinstance(normality, IndependentScore) and len(normality.knots) != count_step_statistics(model):
        raise ModelError(f"{weights} is damaged: its normality is of other statistics")
    try:
        render_card(model)
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise ModelError(f"{path / _CONFIG} is damaged: its record can't be told ({error!r})") from None
    return model


def _take(tensors: dict[str, torch.Tensor], part: str, kind: type[Any]) -> Any:
    """Take the arrays of a part out of `tensors`; None if there are none."""
    mine = [name for name in tensors if name.startswith(part + ".")]
    if not mine:
        return None
    try:
        arrays = {name.removeprefix(part + "."): tensors.pop(name).numpy() for name in mine}
        return kind(**arrays)
    except (TypeError, ValueError) as error:
        raise ModelError(f"the model's {part} is damaged: {error}") from None


def _read_config(path: Path) -> dict[str, Any]:
    if not path.is_dir():
        raise ModelError(f"{path}: no such model folder")
    try:
        config = json.loads((path / _CONFIG).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelError(f"{path} is not a model folder: it has no {_CONFIG}") from None
    except (ValueError, OSError, RecursionError) as error:
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


def _device(name: str) -> torch.device:
    if name != "auto":
        try:
            return torch.empty(0, device=name).device
        except (RuntimeError, AssertionError) as error:
            raise UsageError(f"device {name!r} can't be used: {str(error).splitlines()[0]}") from None
    return torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")
