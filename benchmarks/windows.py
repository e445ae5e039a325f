"""The trade-off in the context decoder: variants, each trained for 45 seconds on causal windows of the fitted VAE."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fivefold.evaluation.rivals.networks import train_network
from fivefold.images.context import ImageContext
from fivefold.images.jobs import code_length
from fivefold.images.networks import build, recipe
from fivefold.images.settings import configure
from fivefold.items import Items, split_rows
from fivefold.model.context import TrainingBatch
from fivefold.model.corruption import Corrupted
from fivefold.model.fitted import FittedModel
from fivefold.system import environment
from fivefold.training.module import VAETraining

VARIANTS: tuple[dict[str, int], ...] = (
    {},
    {"field": 7},
    {"field": 11},
    {"context_width": 96},
    {"context_width": 224},
    {"context_depth": 3},
    {"positions": 24},
    {"positions": 96},
)
_MINUTES, _BATCH, _HELD_OUT, _Z_STEP = 0.75, 64, 2_000, 4.0


def measure(model: FittedModel, test: Items, train: Items) -> dict[str, Any]:
    """Bits per element of held-out training items, z not counted, in the same time; the test items play no part."""
    training = model.config.training
    rows, held_out = split_rows(train, training.validation, training.seed)
    learnt, others = train.select(rows), train.select(held_out[:_HELD_OUT])
    bits = {}
    for variant in VARIANTS:
        context = _train(model, learnt, variant)
        lengths = code_length(dataclasses.replace(model, context=context), others, _Z_STEP)
        name = ", ".join(f"{setting} {value}" for setting, value in variant.items()) or "default"
        bits[name] = float(lengths.elements.mean()) / (math.log(2) * train.schema.size)
    return {"bits": bits, "minutes": _MINUTES, "environment": environment()}


def _train(model: FittedModel, items: Items, variant: dict[str, int]) -> ImageContext:
    fit = configure(**variant)
    networks = build(items.schema, fit, 0)
    context = networks["context"]
    assert isinstance(context, ImageContext)
    optimizers = VAETraining(networks, fit, recipe(items.schema, fit), "").configure_optimizers()

    def step(x: Tensor, visible: Tensor, rows: np.ndarray, generator: torch.Generator, passed: float) -> None:
        share = max(1e-2, min(passed / 0.02, 0.5 * (1 + math.cos(math.pi * passed))))
        with torch.no_grad():
            posterior = model.vae.posterior(x, visible)
            noise = torch.randn(posterior.mu.shape, generator=generator, device=x.device)
            z_features = model.vae.likelihood_and_features(posterior.at(noise))[1]
        clean = torch.zeros(len(x), dtype=torch.bool, device=x.device)
        seen = Corrupted(x, visible, clean, clean)
        loss = context.loss(TrainingBatch(z_features, seen, x, visible, fit.context.positions, generator))
        for optimizer in optimizers:
            optimizer.zero_grad()
        loss.backward()
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = share * group["peak"]
            optimizer.step()

    train_network("windows", items, step, minutes=_MINUTES, batch_size=_BATCH, seed=0, device=model.device)
    return context.eval()
