"""Small networks that the VAE is compared with or measured by: an autoencoder, a U-Net, a classifier; and their training."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from typing import cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fivefold.images.networks import build_vae
from fivefold.images.schema import ImageSchema
from fivefold.items import Items
from fivefold.model.fitted import FittedModel, channels_first
from fivefold.progress import progress_bar
from fivefold.seeds import derive_seed

Batch = tuple[Tensor, Tensor, np.ndarray]
Step = Callable[[Tensor, Tensor, np.ndarray, torch.Generator, float], None]
BatchDamage = Callable[[Tensor, torch.Generator], tuple[Tensor, Tensor]]
_BATCH_SIZE = 128
_WIDTHS = (16, 32, 64)  # the U-Net's channels at full, half and quarter resolution
_GROUPS = 8
_UNET_RATE, _WARM_UP = 5e-3, 0.02
_FEATURES, _CLASSIFIER_RATE = 64, 4e-3


def train_network(
    description: str,
    items: Items,
    step: Step,
    *,
    seed: int,
    device: torch.device,
    epochs: int | None = None,
    minutes: float = math.inf,
    batch_size: int = _BATCH_SIZE,
) -> float:
    """Call `step(x, visible, rows, generator, passed)` on shuffled batches `(b, c, h, w)`; returns the seconds it took.

    For so many `epochs`, or for `minutes` and the step that they end in. `passed`, from 0 to 1, is the share of the
    minutes that will have passed by the end of the step, if it takes as long as the one before.
    """
    start = time.monotonic()
    generator = torch.Generator(device).manual_seed(derive_seed(seed, description))
    total = 60 * minutes if epochs is None else epochs * -(-len(items) // batch_size)
    with progress_bar(description, total) as bar:
        elapsed = took = 0.0
        for epoch in count() if epochs is None else range(epochs):
            label = description if epochs is None else f"{description}, epoch {epoch + 1}/{epochs}"
            for batch in _batches(items, batch_size, derive_seed(seed, description, epoch), device):
                if elapsed >= 60 * minutes:
                    return time.monotonic() - start
                step(*batch, generator, min(1.0, (elapsed + took) / (60 * minutes)))
                before, elapsed = elapsed, time.monotonic() - start
                took = elapsed - before
                bar.advance(label, steps=took if epochs is None else 1)
    return time.monotonic() - start


def _batches(items: Items, batch_size: int, seed: int, device: torch.device) -> Iterator[Batch]:
    """`(x, visible, rows)` of all items in an order of the seed's."""
    order = np.random.default_rng(seed).permutation(len(items))
    for start in range(0, len(items), batch_size):
        rows = order[start : start + batch_size]
        x, visible = (channels_first(array).to(device) for array in items.unit(rows))
        yield x, visible, rows


def fit_autoencoder(like: FittedModel, items: Items, *, epochs: int, seed: int = 0) -> tuple[FittedModel, float]:
    """Train the VAE's networks on the reconstruction alone: a point for a code, no KL, no sampling.

    Returns it as a model (its posterior's deviation means nothing), and the seconds that training took.
    """
    training = like.config.training
    vae = build_vae(cast(ImageSchema, like.schema), like.config.network, derive_seed(seed, "autoencoder")).to(
        like.device
    )
    optimizer = torch.optim.Adam(vae.parameters(), lr=training.learning_rate, fused=True)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * -(-len(items) // training.batch_size))

    def step(x: Tensor, visible: Tensor, rows: np.ndarray, generator: torch.Generator, passed: float) -> None:
        descend(optimizer, -vae.likelihood(vae.posterior(x, visible).mu).item_log_prob(x, visible).mean())
        schedule.step()

    settings = {"epochs": epochs, "batch_size": training.batch_size}
    seconds = train_network("autoencoder", items, step, seed=seed, device=like.device, **settings)
    return FittedModel(vae.eval(), like.schema, like.config), seconds


def descend(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    """One step down the loss's gradient."""
    optimizer.zero_grad()
    torch.autograd.backward(loss)
    optimizer.step()


@dataclass
class FittedUNet:
    """A trained U-Net, which undoes one kind of damage.

    Ronneberger et al. 2015, arXiv:1505.04597, with fewer levels and channels, padded convolutions, group normalisation
    (Wu & He 2018, arXiv:1803.08494) and the mean squared error.

    `network` maps `(n, 2c, h, w)`, values and their visibility, to `(n, c, h, w)`; `like` is the model compared with.
    """

    network: nn.Module
    like: FittedModel
    seconds: float

    @torch.inference_mode()
    def restore(self, x: np.ndarray, visible: np.ndarray) -> np.ndarray:
        """What damaged items `(n, h, w, c)` were before, visible elements included, float32 in [0, 1]."""
        restored = np.empty(x.shape, np.float32)
        for start in range(0, len(x), self.like.batch_size):
            rows = slice(start, start + self.like.batch_size)
            seen = self.like.tensor(x[rows].astype(np.float32, copy=False))
            output = self.network(_network_input(seen, self.like.tensor(visible[rows])))
            restored[rows] = output.clamp(0, 1).cpu().numpy().transpose(0, 2, 3, 1)
        return restored


def fit_unet(items: Items, *, like: FittedModel, damage: BatchDamage, minutes: float, seed: int = 0) -> FittedUNet:
    """Train on pairs of damaged and clean items for `minutes`, so that the result depends on the machine's speed.

    What is missing in the items counts neither as input nor in the loss. `damage` makes of clean `(n, c, h, w)` in [0, 1]
    and a generator what the network is to see: values, and their visibility, bool `(n, c or 1, h, w)`.
    """
    device = like.device
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(seed, "U-Net"))
        network = _UNet(cast(ImageSchema, like.schema).channels).to(device)
    optimizer = torch.optim.Adam(network.parameters(), lr=_UNET_RATE, fused=True)

    def step(x: Tensor, there: Tensor, rows: np.ndarray, generator: torch.Generator, passed: float) -> None:
        seen, visible = damage(x, generator)
        error = torch.where(there, network(_network_input(seen, visible & there)) - x, 0.0)
        rise = min(1.0, (passed + 0.1 * _WARM_UP) / _WARM_UP)
        for group in optimizer.param_groups:  # then half a cosine to 0 (Loshchilov & Hutter 2017, arXiv:1608.03983)
            group["lr"] = _UNET_RATE * rise * 0.5 * (1 + math.cos(math.pi * passed))
        descend(optimizer, error.square().sum() / there.sum())

    seconds = train_network("U-Net", items, step, minutes=minutes, seed=seed, device=device)
    return FittedUNet(network.eval(), like, seconds)


def _network_input(x: Tensor, visible: Tensor) -> Tensor:
    """Values, 0 where hidden, and the visibility of each: `(n, 2c, h, w)`."""
    return torch.cat((torch.where(visible, x, 0.0), visible.expand_as(x).to(x.dtype)), dim=1)


class _UNet(nn.Module):
    """Two halvings, rounded up, so that images may have any size; most of the work is done on the halves."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        full, half, quarter = _WIDTHS
        self.halve = nn.MaxPool2d(2, ceil_mode=True)
        self.into_full = _convolve(2 * channels, full)
        self.into_half = nn.Sequential(_convolve(full, half), _convolve(half, half))
        self.into_quarter = nn.Sequential(
            _convolve(half, quarter), _convolve(quarter, quarter), _convolve(quarter, half)
        )
        self.back_to_half = nn.Sequential(_convolve(2 * half, half), _convolve(half, full))
        self.back_to_full = nn.Sequential(_convolve(2 * full, full), nn.Conv2d(full, channels, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        full = self.into_full(x)
        half = self.into_half(self.halve(full))
        up = self.back_to_half(_join(self.into_quarter(self.halve(half)), half))
        restored: Tensor = self.back_to_full(_join(up, full))
        return restored


def _join(coarse: Tensor, fine: Tensor) -> Tensor:
    """The coarse features, enlarged, beside the fine ones."""
    return torch.cat((F.interpolate(coarse, size=fine.shape[2:], mode="nearest"), fine), dim=1)


def _convolve(channels: int, width: int) -> nn.Sequential:
    convolution = nn.Conv2d(channels, width, 3, padding=1, bias=False)
    return nn.Sequential(convolution, nn.GroupNorm(_GROUPS, width), nn.SiLU())


class Classifier:
    """Convolutions, 64 features, classes. The features are the space in which generated items are compared with real ones."""

    def __init__(self, body: nn.Module, head: nn.Module, classes: np.ndarray, like: FittedModel) -> None:
        self._body, self._head, self.classes, self._like = body, head, classes, like

    @torch.inference_mode()
    def features(self, items: Items) -> np.ndarray:
        """What the last hidden layer makes of the items: `(n, 64)` float32."""
        return np.concatenate([self._body(x).cpu().numpy() for _, x, _ in self._like.batches(items)])

    def predict(self, items: Items) -> np.ndarray:
        """The most likely class of each item: `(n,)`."""
        features = torch.from_numpy(self.features(items)).to(self._like.device)
        with torch.inference_mode():
            likeliest = self._head(features).argmax(dim=1).cpu().numpy()
        return np.asarray(self.classes[likeliest])


def fit_classifier(items: Items, *, like: FittedModel, epochs: int, seed: int) -> Classifier:
    """Train on labelled items, where `like` is (one-cycle rate: Smith & Topin 2017, arXiv:1708.07120)."""
    assert items.labels is not None
    device = like.device
    classes, targets = np.unique(items.labels, return_inverse=True)
    labels = torch.from_numpy(targets).to(device)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(seed, "classifier"))
        side = min(cast(ImageSchema, items.schema).shape[:2])
        body = nn.Sequential(
            *_halving(cast(ImageSchema, items.schema).channels, 16, side),
            *_halving(16, 32, side // 2),
            *_halving(32, 64, side // 4),
            nn.AdaptiveAvgPool2d(3),
            nn.Flatten(),
            nn.Linear(64 * 9, _FEATURES),
            nn.ReLU(),
        ).to(device)
        head = nn.Linear(_FEATURES, len(classes)).to(device)
    weights = [*body.parameters(), *head.parameters()]
    optimizer = torch.optim.AdamW(weights, weight_decay=1e-2, fused=True)
    steps = epochs * -(-len(items) // _BATCH_SIZE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=_CLASSIFIER_RATE, total_steps=steps)

    def step(x: Tensor, visible: Tensor, rows: np.ndarray, generator: torch.Generator, passed: float) -> None:
        if len(x) < 2:  # too few to normalise over
            return
        descend(optimizer, F.cross_entropy(head(body(x)), labels[torch.from_numpy(rows).to(device)]))
        schedule.step()

    train_network("classifier", items, step, epochs=epochs, seed=seed, device=device)
    return Classifier(body.eval(), head.eval(), classes, like)


def _halving(channels: int, width: int, side: int) -> list[nn.Module]:
    """Halves the image, unless it is down to one pixel."""
    pool = nn.MaxPool2d(2) if side >= 2 else nn.Identity()
    return [nn.Conv2d(channels, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU(), pool]
