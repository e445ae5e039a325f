"""What moves the weights: Adam, and Muon for the hidden layers of small networks.

PyTorch's classes import its compiler when the first one is made, which takes as long as all of PyTorch; its functions do not.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.optim.adam import adam

from fivefold.model.context import ParameterGroup

_DECAY, _SQUARES_DECAY, _LEAST = 0.9, 0.999, 1e-8
_MOMENTUM = 0.95
_COEFFICIENTS = 3.4445, -4.775, 2.0315  # of the iteration, which bring singular values near 1 fastest
_SWEEPS = 3  # the usual 5 take longer and teach no more in the same time
_RMS = 0.2  # of an element's usual change under Adam, in learning rates


class Optimizer(ABC):
    """Moves groups of weights; of each weight it keeps some numbers, its `state`, from step to step."""

    def __init__(self, groups: Sequence[ParameterGroup]) -> None:
        self.groups = groups
        self.state = [[self._begin(weight) for weight in group.weights] for group in groups]

    @torch.no_grad()
    def step(self, share: float) -> None:
        """Move all weights that have a gradient, at `share` of their groups' peak rates."""
        for group, states in zip(self.groups, self.state, strict=True):
            moved = [place for place, weight in enumerate(group.weights) if weight.grad is not None]
            self._move([group.weights[at] for at in moved], [states[at] for at in moved], share * group.peak)

    @torch.no_grad()
    def restore(self, state: list[list[list[Tensor]]]) -> None:
        """Go on from another's `state`, of the same weights."""
        for own, others in zip(self.state, state, strict=True):
            for parts, others_parts in zip(own, others, strict=True):
                for part, other in zip(parts, others_parts, strict=True):
                    part.copy_(other)

    @abstractmethod
    def _begin(self, weight: Tensor) -> list[Tensor]: ...

    @abstractmethod
    def _move(self, weights: list[Tensor], states: list[list[Tensor]], rate: float) -> None: ...


class Adam(Optimizer):
    """Kingma & Ba 2015 (arXiv:1412.6980), algorithm 1."""

    def _begin(self, weight: Tensor) -> list[Tensor]:
        """Averages of its gradient and of this squared; the number of steps."""
        count = torch.zeros((), dtype=torch.float32, device=weight.device)
        return [torch.zeros_like(weight), torch.zeros_like(weight), count]

    def _move(self, weights: list[Tensor], states: list[list[Tensor]], rate: float) -> None:
        averages, squares, counts = ([state[part] for state in states] for part in range(3))
        gradients = [weight.grad for weight in weights if weight.grad is not None]
        of_adam = {"beta1": _DECAY, "beta2": _SQUARES_DECAY, "eps": _LEAST, "lr": rate, "weight_decay": 0.0}
        how = {"fused": True, "amsgrad": False, "maximize": False}
        adam(weights, gradients, averages, squares, [], counts, **how, **of_adam)  # type: ignore[arg-type]


class Muon(Optimizer):
    """Moves matrices by their averaged gradients, made as long in all directions: Jordan et al. 2024, as in Liu et al. 2025
    (arXiv:2502.16982).

    All arithmetic is in the weights' own precision. PyTorch's is in bfloat16, which processors without instructions for it
    only imitate: half of a training step's time went there.
    """

    def _begin(self, weight: Tensor) -> list[Tensor]:
        return [torch.zeros_like(weight)]

    def _move(self, weights: list[Tensor], states: list[list[Tensor]], rate: float) -> None:
        for weight, (average,) in zip(weights, states, strict=True):
            assert weight.grad is not None
            average.lerp_(weight.grad, 1 - _MOMENTUM)
            matrix = weight.grad.lerp(average, _MOMENTUM).flatten(1)  # of a convolution, a row per channel
            direction = _orthogonal(matrix).view_as(weight)
            weight.sub_(direction, alpha=rate * _RMS * max(matrix.shape) ** 0.5)


def _orthogonal(matrix: Tensor) -> Tensor:
    """The nearest matrix whose singular values are all 1, roughly, by Newton and Schulz's iteration."""
    wide = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    wide = wide / wide.norm().clamp_min(1e-7)
    linear, cubic, quintic = _COEFFICIENTS
    for _ in range(_SWEEPS):
        gram = wide @ wide.T
        wide = torch.addmm(wide, torch.addmm(gram, gram, gram, beta=cubic, alpha=quintic), wide, beta=linear)
    return wide if matrix.shape[0] <= matrix.shape[1] else wide.T
