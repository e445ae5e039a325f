"""Where VAEs of tables begin: at a linear model of the rows, which is a VAE too.

A perceptron of SiLU or ReLU holds a linear function exactly, in two units per number: f(u) - f(-u) = u.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class LinearCode:
    """Factor analysis as encoder and decoder: p(numbers | z), and q(z | numbers) with independent units.

    Attributes
    ----------
    loadings, encoding : of the numbers on units, `(numbers, units)`; the posterior mean's weights, `(units, numbers)`
    mean, log_noise : of the numbers, `(numbers,)`: log variances that z leaves
    log_variance : of the posterior, `(units,)`
    """

    loadings: Tensor
    encoding: Tensor
    mean: Tensor
    log_noise: Tensor
    log_variance: Tensor

    @classmethod
    def of(cls, weights: Tensor, mean: Tensor, log_noise: Tensor, most: int) -> LinearCode:
        """Of factors with `weights` `(numbers, factors)`: at most so many, those that numbers say most about.

        They are rotated so that the posterior's covariance is diagonal (Bartholomew 1987, *Latent Variable Models*, 3.3).
        """
        scaled = weights / log_noise.exp()[:, None]
        informed, rotation = torch.linalg.eigh(weights.T @ scaled)
        kept = informed.argsort(descending=True)[:most]
        log_variance = -torch.log1p(informed[kept])
        encoding = log_variance.exp()[:, None] * (scaled @ rotation[:, kept]).T
        return cls(weights @ rotation[:, kept], encoding, mean, log_noise, log_variance)

    def __len__(self) -> int:
        """Number of units."""
        return len(self.log_variance)


def both_signs(weights: Tensor) -> Tensor:
    """Weights `(outputs, u)` of numbers, as `(outputs, 2 u)` of units that hold each and its negative."""
    return torch.stack((weights, -weights), dim=2).flatten(1)


def pass_through(layers: nn.Sequential, weights: Tensor) -> None:
    """Let the first of a perceptron's last units hold linear functions `(u, inputs)` of the inputs, and their negatives."""
    first, second = (layer for layer in layers if isinstance(layer, nn.Linear))
    signed = both_signs(weights.T).T
    first.weight[: len(signed)], first.bias[: len(signed)] = signed, 0
    read_off(second, both_signs(torch.eye(len(weights))).T)


def read_off(layer: nn.Linear, weights: Tensor) -> None:
    """Let a layer's first outputs be functions `(outputs, u)` of the numbers that the first units hold, and of nothing else."""
    signed = both_signs(weights)
    layer.weight[: len(signed)], layer.bias[: len(signed)] = 0, 0
    layer.weight[: len(signed), : signed.shape[1]] = signed
