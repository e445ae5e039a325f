"""One noisy picture as two of independent noise, so that each tells what the other's signal is.

Normal noise is added to the one, and the same, scaled, taken from the other (Pang et al. 2021, Recorrupted-to-Recorrupted,
CVPR); counts are dealt out to both at random (Monroy et al. 2025, arXiv:2412.04648). A share p of the information on the signal
is then in one, and 1 - p in the other: what has a share s of it has the variance of the noise divided by s. Hidden pixels are
the end of that scale: their share is 0, and what they hide all goes to the other picture (Krull et al. 2019, Noise2Void,
arXiv:1811.10980).

Pictures with shares are tensors `(n, c + 1, h, w)`, whose last channel is the share.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fivefold.pictures.noise import Noise

_SHARES = (0.1, 0.5)  # of the information, that goes to the target
_HIDDEN = 0.05  # share of the pixels
_HIDDEN_OF_IMPULSES = (0.05, 0.3)
_REACH = 5  # pixels that a first guess at the signal is the mean of
_LEAST_VISIBLE = 1e-3


class NoiseModel(nn.Module):
    """The noise of pictures, stored with the networks that it belongs to."""

    numbers: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("numbers", torch.from_numpy(Noise().as_array()))

    def set(self, noise: Noise) -> None:
        """Make it `noise`."""
        self.numbers.copy_(torch.from_numpy(noise.as_array()))

    @property
    def noise(self) -> Noise:
        """As plain numbers."""
        return Noise.of(self.numbers.tolist())

    def variance(self, signal: Tensor, share: Tensor | float = 1.0) -> Tensor:
        """Of the noise of pixels with `share` of the information."""
        _, gain, floor, _, _ = self.numbers
        variance: Tensor = (gain * signal.clamp_min(0) + floor).clamp_min(1e-7) / share
        return variance


@dataclass(frozen=True)
class Split:
    """What networks see, and what they are to explain: `seen` `(n, c + 1, h, w)` where `visible` `(n, c, h, w)`, 0 elsewhere; and
    `target` where it is `known`, likewise."""

    seen: Tensor
    visible: Tensor
    target: Tensor
    known: Tensor


def with_share(x: Tensor, share: Tensor | float = 1.0) -> Tensor:
    """Pictures `(n, c, h, w)` with the share of the information that they have."""
    shares = torch.as_tensor(share, dtype=x.dtype, device=x.device).expand(len(x), 1, *x.shape[2:])
    return torch.cat((x, shares), dim=1)


def first_guess(x: Tensor, visible: Tensor) -> Tensor:
    """The signal `(n, c, h, w)`, roughly: means of what is visible around, those nearby more."""
    there = visible.to(x.dtype)
    for _ in range(2):
        x, there = (F.avg_pool2d(part, _REACH, 1, _REACH // 2) for part in (x * (there > 0), there))
    return x / there.clamp_min(_LEAST_VISIBLE)


def can_be_seen(x: Tensor, visible: Tensor, noise: Noise) -> Tensor:
    """What of `visible` pixels tells of the signal: under impulses none that is black or white."""
    return visible & (x > 0) & (x < 1) if noise.name == "impulse" else visible


def split(x: Tensor, visible: Tensor, model: NoiseModel, generator: torch.Generator) -> Split:
    """Two pictures of each, `x` `(n, c, h, w)` where it is `visible`; a few pixels are hidden from the one, at random."""
    noise, n = model.noise, len(x)

    def draw(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand((n, 1, 1, 1), generator=generator, device=x.device)

    impulses = noise.name == "impulse"
    share = draw(*_SHARES)
    chance = torch.rand((n, 1, *x.shape[2:]), generator=generator, device=x.device)
    hidden = chance < (draw(*_HIDDEN_OF_IMPULSES) if impulses else _HIDDEN)
    if impulses:
        visible = can_be_seen(x, visible, noise)
        first, second, share, known = x, x, torch.zeros_like(share), visible & hidden
    elif noise.step:
        first, second = _dealt(x, share, noise.step, generator)
        known = visible
    else:
        first, second = _recorrupted(x, share, model.variance(first_guess(x, visible)), generator)
        known = visible
    seen = with_share(torch.where(visible & ~hidden, first, 0.0), 1 - share)
    target = with_share(torch.where(hidden, x, second), torch.where(hidden, 1.0, share))
    return Split(seen, visible & ~hidden, torch.where(with_share(known, True), target, 1.0), known)


def _dealt(x: Tensor, share: Tensor, step: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Each count goes to the second picture with probability `share`; both are brought back to the signal's scale."""
    counts = (x / step).round().clamp_min(0)
    second = torch.binomial(counts, share.expand_as(counts).contiguous(), generator=generator)
    return (counts - second) * step / (1 - share), second * step / share


def _recorrupted(x: Tensor, share: Tensor, variance: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    noise = torch.randn(x.shape, generator=generator, device=x.device) * variance.sqrt()
    odds = (share / (1 - share)).sqrt()
    return x + noise * odds, x - noise / odds
