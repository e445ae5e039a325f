"""Weights that the processes of a server have in common: each maps the same pages of a file.

It is a file of the server's own, not the model's: that may be written over while the model is in use.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from fivefold.storage import fingerprint
from fivefold.verbs.opened import OpenModel

_LINE = 64  # bytes: weights begin where cache lines do, as PyTorch's own


def share_weights(model: OpenModel, folder: Path) -> OpenModel:
    """The same model, with its networks' weights in a file of `folder`, from which all that share it map them; what is written
    to them stays in this process. A model on an accelerator is left as it is."""
    if model.fitted.device.type != "cpu":
        return model
    stored, networks = model.stored, model.fitted.networks
    arrays = {name: tensor.numpy() for name, tensor in networks.state_dict().items()}
    path = _path(folder, fingerprint(stored))
    try:
        mapped = _mapped(path, arrays)
    except FileNotFoundError:
        with tempfile.TemporaryDirectory(dir=folder) as own:
            fresh = Path(own, path.name)
            _flat(arrays).tofile(fresh)
            with suppress(FileExistsError):  # of processes that write at once the first one's file is for all
                path.hardlink_to(fresh)
        mapped = _mapped(path, arrays)
    networks.load_state_dict({name: torch.from_numpy(array) for name, array in mapped.items()}, assign=True)
    weights = stored.weights | {name: array for name, array in mapped.items() if array.dtype == np.float32}
    shared = OpenModel(replace(stored, weights=weights))
    shared.fitted = model.fitted
    return shared


def forget_weights(folder: Path, fingerprint: str) -> None:
    """Delete the file of a model that was replaced; processes that still map it keep its pages."""
    with suppress(OSError):  # on Windows it stays until nobody does
        _path(folder, fingerprint).unlink()


def _path(folder: Path, fingerprint: str) -> Path:
    return folder / f"{fingerprint}.weights"


def _places(arrays: Mapping[str, np.ndarray]) -> list[int]:
    """At which byte each begins, and where the last one's room ends."""
    rooms = [-(-array.nbytes // _LINE) * _LINE for array in arrays.values()]
    return [0, *np.cumsum(rooms).tolist()]


def _flat(arrays: Mapping[str, np.ndarray]) -> np.ndarray:
    places = _places(arrays)
    flat = np.zeros(places[-1], np.uint8)
    for place, array in zip(places, arrays.values(), strict=False):
        flat[place : place + array.nbytes] = np.frombuffer(array.tobytes(), np.uint8)
    return flat


def _mapped(path: Path, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    flat = np.asarray(np.memmap(path, np.uint8, "c"))
    places = zip(_places(arrays), arrays.items(), strict=False)
    return {name: flat[at : at + array.nbytes].view(array.dtype).reshape(array.shape) for at, (name, array) in places}
