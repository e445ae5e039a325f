"""Muon for the hidden layers of small networks: Jordan et al. 2024, as in Liu et al. 2025 (arXiv:2502.16982)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

_MOMENTUM = 0.95
_COEFFICIENTS = 3.4445, -4.775, 2.0315  # of the iteration, which bring singular values near 1 fastest
_SWEEPS = 3  # the usual 5 take longer and teach no more in the same time
_RMS = 0.2  # of an element's usual change under Adam, in learning rates


class Muon(Optimizer):
    """Moves matrices by their averaged gradients, made as long in all directions.

    All arithmetic is in the weights' own precision. PyTorch's is in bfloat16, which processors without instructions for it
    only imitate: half of a training step's time went there.
    """

    def __init__(self, groups: Iterable[dict[str, Any]]) -> None:
        super().__init__(groups, {})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step, after `closure`, whose result is returned."""
        result = None
        if closure is not None:
            with torch.enable_grad():
                result = closure()
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                state = self.state[weight]
                if not state:
                    state["momentum_buffer"] = torch.zeros_like(weight)
                average = state["momentum_buffer"]
                average.lerp_(weight.grad, 1 - _MOMENTUM)
                direction = _orthogonal(weight.grad.lerp(average, _MOMENTUM))
                weight.sub_(direction, alpha=group["lr"] * _RMS * max(weight.shape) ** 0.5)
        return result


def _orthogonal(matrix: Tensor) -> Tensor:
    """The nearest matrix whose singular values are all 1, roughly, by Newton and Schulz's iteration."""
    wide = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    wide = wide / wide.norm().clamp_min(1e-7)
    linear, cubic, quintic = _COEFFICIENTS
    for _ in range(_SWEEPS):
        gram = wide @ wide.T
        wide = torch.addmm(wide, torch.addmm(gram, gram, gram, beta=cubic, alpha=quintic), wide, beta=linear)
    return wide if matrix.shape[0] <= matrix.shape[1] else wide.T
