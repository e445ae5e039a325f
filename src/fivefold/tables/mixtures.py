"""Mixtures of logistics cut into cells: log probability and expectation, their gradients in closed form.

Networks of tables are small: step by step, autograd would take many small tensors through each of them.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from fivefold.model.likelihoods import constant, logistic_nodes

NODES = 4  # of quadrature over a logistic
PROBABILITIES = 1e-7, 1 - 1e-7
_MOST_ROUNDS, _CLOSE = 40, 1e-6  # of Newton's method
_FARTHEST = 40.0  # whose sinh can be squared in single precision


def log_prob(log_weights: Tensor, locations: Tensor, scales: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
    """Log probability of the cells from `lower` to `upper`, `(n, 1, h, w)`, under mixtures `(n, k, h, w)`."""
    result: Tensor = _LogProb.apply(log_weights, locations, scales, lower, upper)  # type: ignore[no-untyped-call]
    return result


def expected_sinh(locations: Tensor, scales: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """E[sinh x] for each logistic, `(n, k, h, w)`."""
    result: Tensor = _ExpectedSinh.apply(locations, scales, low, high)  # type: ignore[no-untyped-call]
    return result


def quantile(weights: Tensor, locations: Tensor, scales: Tensor, probability: Tensor) -> Tensor:
    """Where mixtures `(n, k, h, w)` reach a `probability` `(n, 1, h, w)`: by Newton's method, within the quantiles of the
    single logistics, by bisection where it leaves what is known to hold the result."""
    probability = probability.clamp(*PROBABILITIES)
    alone = locations + scales * torch.logit(probability)
    low, high = alone.amin(1, keepdim=True), alone.amax(1, keepdim=True)
    x = (weights * alone).sum(1, keepdim=True)
    for _ in range(_MOST_ROUNDS):
        below = torch.sigmoid((x - locations) / scales)
        off = (weights * below).sum(1, keepdim=True) - probability
        slope = (weights * below * (1 - below) / scales).sum(1, keepdim=True)
        low, high = torch.where(off < 0, x, low), torch.where(off < 0, high, x)
        moved = x - off / slope
        moved = torch.where((moved >= low) & (moved <= high), moved, (low + high) / 2)
        found = ((moved - x).abs() <= _CLOSE * (1 + x.abs())) | (off.abs() <= _CLOSE * probability)
        x = moved
        if bool(found.all()):
            break
    return x


class _LogProb(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, log_weights: Tensor, locations: Tensor, scales: Tensor, lower: Tensor, upper: Tensor
    ) -> Tensor:
        low, high = ((edge - locations) / scales for edge in (lower, upper))
        # log(σ(u) − σ(l)) = log σ(u) + log σ(−l) + log(1 − e^(l − u)), without cancellation
        joint = log_weights + (F.logsigmoid(high) + F.logsigmoid(-low) + torch.log(-torch.expm1(low - high)))
        total = torch.logsumexp(joint, dim=1, keepdim=True)
        ctx.save_for_backward(joint, total, low, high, scales)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        joint, total, low, high, scales = ctx.saved_tensors
        shares = torch.exp(joint - total) * gradient
        above, below, width = torch.sigmoid(-high), torch.sigmoid(low), high - low
        scaled = shares / scales
        stretched = high * above - low * below + width / torch.expm1(width)
        return shares, scaled * (below - above), -scaled * stretched, None, None


class _ExpectedSinh(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, locations: Tensor, scales: Tensor, low: Tensor, high: Tensor) -> Tensor:
        nodes, weights = _nodes(locations)
        places = torch.addcmul(locations.unsqueeze(-1), scales.unsqueeze(-1), nodes)
        inside = places.clamp(low.unsqueeze(-1), high.unsqueeze(-1)).clamp(-_FARTHEST, _FARTHEST)
        reached = torch.sinh(inside)
        ctx.save_for_backward(reached, inside == places)
        return reached @ weights

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None, None]:
        reached, inside = ctx.saved_tensors
        nodes, weights = _nodes(reached)
        slopes = torch.sqrt(reached.square() + 1) * inside
        by_location, by_scale = (slopes @ torch.stack((weights, weights * nodes), dim=1)).unbind(-1)
        return gradient * by_location, gradient * by_scale, None, None


def _nodes(like: Tensor) -> tuple[Tensor, Tensor]:
    nodes, weights = (constant(tuple(part), like.dtype, like.device) for part in logistic_nodes(NODES))
    return nodes, weights
