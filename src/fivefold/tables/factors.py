"""A linear-Gaussian model of a row's numbers, beneath the networks."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fivefold.tables.settings import LOG_NOISE


class Factors(nn.Module):
    """Numbers as a linear function of few normal factors, with noise: given any of them, the expected others.

    Factor analysis; E[f | visible] in closed form, for each row's own visible cells (Ghahramani & Hinton 1996, eq. 4).
    """

    def __init__(self, numbers: int, factors: int) -> None:
        super().__init__()
        self.weights = nn.Parameter(0.3 / factors**0.5 * torch.randn(numbers, factors))
        self.log_noise = nn.Parameter(torch.zeros(numbers))
        self.mean = nn.Parameter(torch.zeros(numbers))

    def forward(self, scaled: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
        """`(n, numbers)` twice → the expected numbers `(n, numbers)` and factors `(n, factors)`."""
        precision = torch.exp(-self.log_noise.clamp(*LOG_NOISE)) * seen
        weighted = self.weights * precision.unsqueeze(2)
        return self.expect(weighted.transpose(1, 2) @ self.weights, (weighted * (scaled - self.mean)[..., None]).sum(1))

    def evidence(self, number: int, scaled: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
        """What one number `(n,)` adds to what `expect` takes."""
        weighted = self.weights[number] * (torch.exp(-self.log_noise[number].clamp(*LOG_NOISE)) * seen)[:, None]
        return weighted[:, :, None] * self.weights[number], weighted * (scaled - self.mean[number])[:, None]

    def expect(self, precision: Tensor, told: Tensor) -> tuple[Tensor, Tensor]:
        """From what the visible numbers say of the factors: precisions `(n, f, f)`, and the sums weighted by them `(n, f)`."""
        own = torch.eye(told.shape[1], dtype=told.dtype, device=told.device)
        factors = torch.linalg.solve(precision + own, told.unsqueeze(2)).squeeze(2)
        return factors @ self.weights.T + self.mean, factors
