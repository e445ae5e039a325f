"""Plain training loops for the small networks that the VAE is compared with or measured by."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from itertools import count

import numpy as np
import torch
from torch import Tensor

from fivefold.items import Items
from fivefold.model.fitted import channels_first
from fivefold.progress import progress_bar
from fivefold.seeds import derive_seed

Batch = tuple[Tensor, Tensor, np.ndarray]
Step = Callable[[Tensor, Tensor, np.ndarray, torch.Generator], None]
TimedStep = Callable[[Tensor, Tensor, np.ndarray, torch.Generator, float], None]


def run_epochs(
    description: str, items: Items, step: Step, *, epochs: int, batch_size: int, seed: int, device: torch.device
) -> float:
    """Call `step(x, visible, rows, generator)` on shuffled batches `(b, c, h, w)`; returns the seconds it took."""
    start = time.monotonic()
    generator = torch.Generator(device).manual_seed(derive_seed(seed, description))
    batches = -(-len(items) // batch_size)
    with progress_bar(description, epochs * batches) as bar:
        for epoch in range(epochs):
            for batch in _epoch(items, batch_size, derive_seed(seed, description, epoch), device):
                step(*batch, generator)
                bar.advance(f"{description}, epoch {epoch + 1}/{epochs}")
    return time.monotonic() - start


def run_minutes(
    description: str, items: Items, step: TimedStep, *, minutes: float, batch_size: int, seed: int, device: torch.device
) -> float:
    """Like `run_epochs`, for `minutes` and the step that they end in.

    `step(x, visible, rows, generator, passed)` also learns which share of the time will have passed by its end, from
    0 to 1, if it takes as long as the step before.
    """
    start = time.monotonic()
    generator = torch.Generator(device).manual_seed(derive_seed(seed, description))
    budget = 60 * minutes
    with progress_bar(description, budget) as bar:
        elapsed = took = 0.0
        for batch in _epochs(items, batch_size, seed, description, device):
            if elapsed >= budget:
                break
            step(*batch, generator, min(1.0, (elapsed + took) / budget))
            before, elapsed = elapsed, time.monotonic() - start
            took = elapsed - before
            bar.advance(steps=took)
    return time.monotonic() - start


def _epochs(items: Items, batch_size: int, seed: int, description: str, device: torch.device) -> Iterator[Batch]:
    for epoch in count():
        yield from _epoch(items, batch_size, derive_seed(seed, description, epoch), device)


def _epoch(items: Items, batch_size: int, seed: int, device: torch.device) -> Iterator[Batch]:
    """`(x, visible, rows)` of all items in an order of the seed's."""
    order = np.random.default_rng(seed).permutation(len(items))
    for start in range(0, len(items), batch_size):
        rows = order[start : start + batch_size]
        x, visible = (channels_first(array).to(device) for array in items.unit(rows))
        yield x, visible, rows
