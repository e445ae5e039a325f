"""The context decoder of noisy pictures: the signal of each pixel given z, the noisy pixels around, and its own noisy value.

A U-Net on half the resolution. Where a pixel is hidden it is a blind spot, and what is learnt is the density of the signal
given the neighbourhood; where it is seen, the variance of that density and of the pixel's noise make that of the posterior
(Laine et al. 2019, arXiv:1901.10277, section 4).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fivefold.model.context import ParameterGroup, TrainingBatch
from fivefold.pictures.splitting import NoiseModel, first_guess

DEPTH = 8  # sides must be multiples of it
_NARROWEST, _WIDEST = -8.0, 8.0  # log of the prior variance, in those of the noise
_BLIND = 4.0  # deviations of the noise, that a hidden pixel's first guess may be off


@dataclass(frozen=True)
class Signal:
    """Posterior `mean` and `variance` of the signal, `(n, c, h, w)`."""

    mean: Tensor
    variance: Tensor


class _Residual(nn.Sequential):
    def __init__(self, width: int) -> None:
        super().__init__(
            nn.Conv2d(width, width, 3, padding=1), nn.ReLU(inplace=True), nn.Conv2d(width, width, 3, padding=1)
        )

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = x + super().forward(x)  # type: ignore[no-untyped-call]
        return found


class UNet(nn.Module):
    """Maps `(n, inputs, h, w)` and the decoder's map of z `(n, f, h / 4, w / 4)` → maps `(n, outputs, h, w)`, at first all 0.

    `width` is that of the layers at half the resolution; below they are half and once again as wide.
    """

    def __init__(self, inputs: int, outputs: int, width: int, coarse: int) -> None:
        super().__init__()
        middle, deep = width * 3 // 2, width * 2
        self.first = nn.Sequential(nn.Conv2d(4 * inputs, width, 3, padding=1), _Residual(width))
        self.down = nn.Conv2d(width, middle, 2, 2)
        self.codes = nn.Conv2d(coarse, middle, 1)
        self.second = nn.Sequential(_Residual(middle), _Residual(middle))
        self.deeper = nn.Conv2d(middle, deep, 2, 2)
        self.third = nn.Sequential(_Residual(deep), _Residual(deep))
        self.rise = nn.ConvTranspose2d(deep, middle, 2, 2)
        self.fourth = _Residual(middle)
        self.up = nn.ConvTranspose2d(middle, width, 2, 2)
        out = nn.Conv2d(width, 4 * outputs, 3, padding=1)
        nn.init.zeros_(out.weight)
        out.register_parameter("bias", nn.Parameter(torch.zeros(len(out.weight))))
        self.last = nn.Sequential(_Residual(width), out)

    def maps(self, shown: Tensor, coarse: Tensor) -> Tensor:
        """The outputs; sides must be multiples of `DEPTH`."""
        half = F.pixel_unshuffle(shown, 2).contiguous(memory_format=torch.channels_last)
        fine = self.first(half)
        middle = self.second(self.down(fine) + self.codes(coarse))
        deep = self.third(self.deeper(middle))
        fine = fine + self.up(self.fourth(middle + self.rise(deep)))
        return F.pixel_shuffle(self.last(fine), 2)

    def parameter_groups(self, peak: float) -> list[ParameterGroup]:
        """All weights, by Adam."""
        return [ParameterGroup(list(self.parameters()), peak)]


class SignalDecoder(UNet):
    """Pictures with shares `(n, c + 1, h, w)`, what is visible, and the decoder's map of z → `Signal`."""

    def __init__(self, channels: int, width: int, coarse: int) -> None:
        super().__init__(3 * channels, 2 * channels, width, coarse)
        self.noise = NoiseModel()

    def forward(self, x: Tensor, visible: Tensor, coarse: Tensor) -> Signal:
        values, share = x[:, :-1], x[:, -1:]
        guess = first_guess(values, visible)
        noise = self.noise.variance(guess, share)
        base, scale = torch.where(visible, values, guess), torch.where(visible, 1.0, _BLIND) * noise.sqrt()
        shown = (base - 0.5, visible.to(x.dtype) - 0.5, noise.sqrt().expand_as(base) * 4)
        offset, width = self.maps(torch.cat(shown, dim=1), coarse).chunk(2, dim=1)
        prior = noise * width.clamp(_NARROWEST, _WIDEST).exp()
        return Signal(base + scale * offset, torch.where(visible, prior * noise / (prior + noise), prior))

    def loss(self, batch: TrainingBatch) -> Tensor:
        """Minus the log density of the other half under its noise, but for a constant: mean over what is known, nats."""
        signal = self(batch.seen.x, batch.seen.visible, batch.z_features.coarse)
        values, share = batch.x[:, :-1], batch.x[:, -1:]
        total = signal.variance + self.noise.variance(signal.mean.detach(), share)
        loss = 0.5 * ((values - signal.mean).square() / total + total.log())
        return torch.where(batch.visible, loss, 0.0).sum() / batch.visible.sum().clamp_min(1)
