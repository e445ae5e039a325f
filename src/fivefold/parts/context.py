"""The context decoder of parts: how probable it is that a pixel was altered, given z and all pixels around.

A U-Net learns to tell where patches were altered. Its log odds estimate the ratio of two densities, that of what was made up and
that of good parts (Gutmann & Hyvärinen 2010), which is all that detection takes.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from fivefold.model.context import ParameterGroup, TrainingBatch
from fivefold.parts.alterations import changed
from fivefold.pictures.context import UNet

_REACH = 33  # pixels along each side, whose mean and deviation a pixel is compared with
_LEAST_DEVIATION = 0.01  # on the unit scale
_ADAM_RATE = 0.5  # of Muon's
_WEIGHT = 5.0  # of altered pixels, which are few


class DefectDecoder(UNet):
    """Pictures `(n, c, h, w)` and the decoder's map of z `(n, f, h / 4, w / 4)` → log odds that pixels were altered."""

    def __init__(self, channels: int, width: int, coarse: int) -> None:
        super().__init__(3 * channels, 1, width, coarse)

    def forward(self, x: Tensor, coarse: Tensor) -> Tensor:
        """`(n, 1, h, w)`."""
        mean = _around(x)
        off = x - mean
        deviation = (_around(off.square()) + _LEAST_DEVIATION**2).sqrt()
        shown = (off / deviation, 2 * x - 1, deviation.log() / 2 + 1)
        return self.maps(torch.cat(shown, dim=1), coarse)

    def loss(self, batch: TrainingBatch) -> Tensor:
        """Cross-entropy of what was altered, altered pixels weighted: mean over the pixels, nats."""
        seen, x = batch.seen.x[:, :-1], batch.x[:, :-1]
        altered = changed(x, seen).to(x.dtype)
        weight = 1 + (_WEIGHT - 1) * altered
        return F.binary_cross_entropy_with_logits(self(seen, batch.z_features.coarse), altered, weight)

    def parameter_groups(self, peak: float) -> list[ParameterGroup]:
        """The convolutions between the first and the last by Muon, all other weights by Adam."""
        ends = self.first[0].weight, self.last[1].weight
        hidden = [weight for weight in self.parameters() if weight.ndim == 4 and all(weight is not end for end in ends)]
        others = [weight for weight in self.parameters() if all(weight is not one for one in hidden)]
        return [ParameterGroup(others, _ADAM_RATE * peak), ParameterGroup(hidden, peak, hidden=True)]


def _around(x: Tensor) -> Tensor:
    """Means over the squares around pixels, of what is there."""
    half = _REACH // 2
    for size, padding in (((_REACH, 1), (half, 0)), ((1, _REACH), (0, half))):
        x = F.avg_pool2d(x, size, 1, padding, count_include_pad=False)
    return x
