"""The state of a training as a file: tensors, numbers, text, lists and dicts with any plain keys, as safetensors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from fivefold.atomic import atomic_file
from fivefold.errors import ModelError

_TREE = "tree"


def write_state(path: Path, state: dict[str, Any]) -> None:
    """Write it whole or not at all."""
    tensors: dict[str, torch.Tensor] = {}
    tree = json.dumps(_detach(state, tensors))
    with atomic_file(path) as temporary:
        temporary.write_bytes(save(tensors, {_TREE: tree}))  # not `save_file`, whose errors are all of one kind


def read_state(path: Path) -> dict[str, Any]:
    """What was written, its tensors on the CPU; raises `ModelError` if it is damaged, or not there."""
    try:
        with safe_open(path, "pt") as file:
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
            state: dict[str, Any] = _attach(json.loads(file.metadata()[_TREE]), tensors)
            return state
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise ModelError(f"{path}: the training state is damaged ({error}); fit without `resume`") from None


def _detach(node: Any, tensors: dict[str, torch.Tensor]) -> Any:
    """`node` as JSON: a dict as `{"d": [[key, value], …]}`, a tensor as `{"t": its name}`."""
    if isinstance(node, torch.Tensor):
        name = f"t{len(tensors)}"
        tensors[name] = node.detach().clone().contiguous()
        return {"t": name}
    if isinstance(node, dict):
        return {"d": [[key, _detach(value, tensors)] for key, value in node.items()]}
    if isinstance(node, (list, tuple)):
        return [_detach(value, tensors) for value in node]
    return node


def _attach(node: Any, tensors: dict[str, torch.Tensor]) -> Any:
    if isinstance(node, dict):
        return tensors[node["t"]] if "t" in node else {key: _attach(value, tensors) for key, value in node["d"]}
    if isinstance(node, list):
        return [_attach(value, tensors) for value in node]
    return node
