"""A supervised opponent: a U-Net that learns to undo one kind of damage.

Ronneberger et al. 2015, arXiv:1505.04597, with fewer levels and channels, padded convolutions, group normalisation (Wu &
He 2018, arXiv:1803.08494) and the mean squared error.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fivefold.evaluation.baselines.loop import run_minutes
from fivefold.items import Items
from fivefold.model.fitted import FittedModel
from fivefold.seeds import derive_seed

Damage = Callable[[Tensor, torch.Generator], tuple[Tensor, Tensor]]
_WIDTHS = (16, 32, 64)  # channels at full, half and quarter resolution
_GROUPS = 8
_PEAK_RATE = 5e-3
_WARM_UP = 0.02
_BATCH_SIZE = 128


@dataclass
class FittedUNet:
    """A trained U-Net.

    Attributes
    ----------
    network : from `(n, 2c, h, w)`, values and their visibility, to `(n, c, h, w)`
    like : the model it is compared with
    seconds : how long it was trained
    """

    network: nn.Module
    like: FittedModel
    seconds: float

    @torch.inference_mode()
    def restore(self, x: np.ndarray, visible: np.ndarray) -> np.ndarray:
        """What damaged items were before, visible elements included.

        Parameters
        ----------
        x : `(n, h, w, c)` in [0, 1]
        visible : bool, `(n, h, w, c or 1)`

        Returns
        -------
        `(n, h, w, c)` float32 in [0, 1]
        """
        restored = np.empty(x.shape, np.float32)
        for start in range(0, len(x), self.like.batch_size):
            rows = slice(start, start + self.like.batch_size)
            seen = self.like.tensor(x[rows].astype(np.float32, copy=False))
            output = self.network(_network_input(seen, self.like.tensor(visible[rows])))
            restored[rows] = output.clamp(0, 1).cpu().numpy().transpose(0, 2, 3, 1)
        return restored


def fit_unet(items: Items, *, like: FittedModel, damage: Damage, minutes: float, seed: int = 0) -> FittedUNet:
    """Train on pairs of damaged and clean items for `minutes`, so that the result depends on the machine's speed.

    Parameters
    ----------
    items : clean ones; what is missing in them counts neither as input nor in the loss
    like : says where to train, and of what kind the items are
    damage : from clean `(n, c, h, w)` in [0, 1] and a generator to what the network is to see: values, and their
        visibility, bool `(n, c or 1, h, w)`
    """
    device = like.device
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(seed, "U-Net"))
        network = _UNet(like.image_schema.channels).to(device)
    optimizer = torch.optim.Adam(network.parameters(), lr=_PEAK_RATE, fused=True)

    def step(x: Tensor, there: Tensor, rows: np.ndarray, generator: torch.Generator, passed: float) -> None:
        seen, visible = damage(x, generator)
        error = torch.where(there, network(_network_input(seen, visible & there)) - x, 0.0)
        loss = error.square().sum() / there.sum()
        for group in optimizer.param_groups:
            group["lr"] = _rate(passed)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    seconds = run_minutes("U-Net", items, step, minutes=minutes, batch_size=_BATCH_SIZE, seed=seed, device=device)
    return FittedUNet(network.eval(), like, seconds)


def _rate(passed: float) -> float:
    """A short rise, then half a cosine to 0 (Loshchilov & Hutter 2017, arXiv:1608.03983)."""
    return _PEAK_RATE * min(1.0, (passed + 0.1 * _WARM_UP) / _WARM_UP) * 0.5 * (1 + math.cos(math.pi * passed))


def _network_input(x: Tensor, visible: Tensor) -> Tensor:
    """Values, 0 where hidden, and the visibility of each: `(n, 2c, h, w)`."""
    return torch.cat((torch.where(visible, x, 0.0), visible.expand_as(x).to(x.dtype)), dim=1)


class _UNet(nn.Module):
    """Two halvings, rounded up, so that images may have any size; most of the work is done on the halves."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        full, half, quarter = _WIDTHS
        self.into_full = _block(2 * channels, full)
        self.into_half = nn.Sequential(_block(full, half), _block(half, half))
        self.into_quarter = nn.Sequential(_block(half, quarter), _block(quarter, quarter), _block(quarter, half))
        self.back_to_half = nn.Sequential(_block(2 * half, half), _block(half, full))
        self.back_to_full = nn.Sequential(_block(2 * full, full), nn.Conv2d(full, channels, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        full = self.into_full(x)
        half = self.into_half(_halve(full))
        up = self.back_to_half(_join(self.into_quarter(_halve(half)), half))
        return self.back_to_full(_join(up, full))


def _halve(x: Tensor) -> Tensor:
    return F.max_pool2d(x, 2, ceil_mode=True)


def _join(coarse: Tensor, fine: Tensor) -> Tensor:
    """The coarse features, enlarged, beside the fine ones."""
    return torch.cat((F.interpolate(coarse, size=fine.shape[2:], mode="nearest"), fine), dim=1)


def _block(channels: int, width: int) -> nn.Sequential:
    convolution = nn.Conv2d(channels, width, 3, padding=1, bias=False)
    return nn.Sequential(convolution, nn.GroupNorm(_GROUPS, width), nn.SiLU())
