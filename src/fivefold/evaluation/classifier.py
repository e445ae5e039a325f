"""A small classifier: its features are the space in which generated items are compared with real ones."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fivefold.evaluation.baselines.loop import run_epochs
from fivefold.items import Items
from fivefold.model.fitted import FittedModel
from fivefold.seeds import derive_seed

_FEATURES = 64
_PEAK_RATE = 4e-3
_BATCH_SIZE = 128


class Classifier:
    """Convolutions, 64 features, classes. Fitted by `fit_classifier`."""

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
            return self.classes[self._head(features).argmax(dim=1).cpu().numpy()]


def fit_classifier(items: Items, *, like: FittedModel, epochs: int, seed: int) -> Classifier:
    """Train on labelled items, where `like` is (one-cycle rate: Smith & Topin 2017, arXiv:1708.07120)."""
    assert items.labels is not None
    device = like.device
    classes, targets = np.unique(items.labels, return_inverse=True)
    labels = torch.from_numpy(targets).to(device)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(seed, "classifier"))
        side = min(items.image_schema.shape[:2])
        body = nn.Sequential(
            *_block(items.image_schema.channels, 16, side),
            *_block(16, 32, side // 2),
            *_block(32, 64, side // 4),
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

    def step(x: Tensor, visible: Tensor, rows: np.ndarray, generator: torch.Generator) -> None:
        if len(x) < 2:  # too few to normalise over
            return
        loss = F.cross_entropy(head(body(x)), labels[torch.from_numpy(rows).to(device)])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()

    run_epochs("classifier", items, step, epochs=epochs, batch_size=_BATCH_SIZE, seed=seed, device=device)
    return Classifier(body.eval(), head.eval(), classes, like)


def _block(channels: int, width: int, side: int) -> list[nn.Module]:
    """Halves the image, unless it is down to one pixel."""
    pool = nn.MaxPool2d(2) if side >= 2 else nn.Identity()
    return [nn.Conv2d(channels, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU(), pool]
