"""A small classifier: its features are the space in which generated items are compared with real ones."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fivefold.baselines.loop import run_epochs
from fivefold.data import Items
from fivefold.seeds import derive_seed

_FEATURES = 64
_PEAK_RATE = 4e-3
_BATCH_SIZE = 128
_EVALUATION_BATCH = 500


class Classifier:
    """Convolutions, 64 features, classes. Fitted by `fit_classifier`."""

    def __init__(self, body: nn.Module, head: nn.Module, classes: np.ndarray, device: torch.device) -> None:
        self._body, self._head, self.classes, self._device = body, head, classes, device

    @torch.inference_mode()
    def features(self, items: Items) -> np.ndarray:
        """What the last hidden layer makes of the items: `(n, 64)` float32."""
        return np.concatenate([self._body(x).cpu().numpy() for x in self._batches(items)])

    @torch.inference_mode()
    def predict(self, items: Items) -> np.ndarray:
        """The most likely class of each item: `(n,)`."""
        logits = np.concatenate([self._head(self._body(x)).cpu().numpy() for x in self._batches(items)])
        return self.classes[logits.argmax(axis=1)]

    def _batches(self, items: Items) -> list[Tensor]:
        slices = items.batches(_EVALUATION_BATCH)
        return [_channels_first(items.unit(rows)[0]).to(self._device) for rows in slices]


def fit_classifier(items: Items, *, device: torch.device, epochs: int = 3, seed: int = 0) -> Classifier:
    """Train on labelled items (one-cycle rate: Smith & Topin 2017, arXiv:1708.07120)."""
    assert items.labels is not None
    classes, targets = np.unique(items.labels, return_inverse=True)
    labels = torch.from_numpy(targets).to(device)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(seed, "classifier"))
        body = nn.Sequential(
            *_block(items.schema.channels, 16),
            *_block(16, 32),
            *_block(32, 64),
            nn.AdaptiveAvgPool2d(3),
            nn.Flatten(),
            nn.Linear(64 * 9, _FEATURES),
            nn.ReLU(),
        ).to(device)
        head = nn.Linear(_FEATURES, len(classes)).to(device)
    weights = [*body.parameters(), *head.parameters()]
    optimizer = torch.optim.AdamW(weights, weight_decay=1e-2, fused=True)
    steps = epochs * -(-len(items) // _BATCH_SIZE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=_PEAK_RATE, total_steps=steps)

    def step(x: Tensor, rows: np.ndarray, generator: torch.Generator) -> None:
        loss = F.cross_entropy(head(body(x)), labels[torch.from_numpy(rows).to(device)])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()

    run_epochs("classifier", items, step, epochs=epochs, batch_size=_BATCH_SIZE, seed=seed, device=device)
    return Classifier(body.eval(), head.eval(), classes, device)


def _block(channels: int, width: int) -> list[nn.Module]:
    return [nn.Conv2d(channels, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU(), nn.MaxPool2d(2)]


def _channels_first(unit: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(unit.transpose(0, 3, 1, 2)))
