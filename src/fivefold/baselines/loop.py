"""A plain training loop for the small networks that the VAE is compared with or measured by."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

from fivefold.data import Items
from fivefold.model.fitted import channels_first
from fivefold.progress import progress_bar
from fivefold.seeds import derive_seed

Step = Callable[[Tensor, Tensor, np.ndarray, torch.Generator], None]


def run_epochs(
    description: str, items: Items, step: Step, *, epochs: int, batch_size: int, seed: int, device: torch.device
) -> float:
    """Call `step(x, visible, rows, generator)` on shuffled batches `(b, c, h, w)`; returns the seconds it took."""
    start = time.monotonic()
    generator = torch.Generator(device).manual_seed(derive_seed(seed, description))
    batches = -(-len(items) // batch_size)
    with progress_bar(description, epochs * batches) as bar:
        for epoch in range(epochs):
            for rows in _shuffled(len(items), batch_size, derive_seed(seed, description, epoch)):
                x, visible = (channels_first(array).to(device) for array in items.unit(rows))
                step(x, visible, rows, generator)
                bar.advance(f"{description}, epoch {epoch + 1}/{epochs}")
    return time.monotonic() - start


def _shuffled(n: int, batch_size: int, seed: int) -> Iterator[np.ndarray]:
    order = np.random.default_rng(seed).permutation(n)
    return (order[start : start + batch_size] for start in range(0, n, batch_size))
