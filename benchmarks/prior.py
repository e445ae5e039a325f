"""Which density explains codes of real items best: mixtures of normals, or a flow (zuko's neural splines)."""

from __future__ import annotations

import math
import time
from typing import Any

import numpy as np
import torch

from fivefold.items import Items, split_rows
from fivefold.model.calibrations import fit_prior
from fivefold.model.fitted import FittedModel
from fivefold.model.scoring import encode_items
from fivefold.system import environment

_CODES = 20_000
_STEPS, _BATCH, _RATE = 2_000, 512, 2e-3


def measure(model: FittedModel, test: Items, train: Items) -> dict[str, Any]:
    """Nats per held-out code, and seconds to fit; the flow keeps the best of its weights by held-out codes too."""
    rows, held_out = split_rows(train, model.config.training.validation, model.config.training.seed)
    rng = np.random.default_rng(0)
    codes, others = (_codes(model, train.select(chosen), rng) for chosen in (rng.permutation(rows)[:_CODES], held_out))
    start = time.monotonic()
    mixture = fit_prior(codes, others, seed=0)
    middle = time.monotonic()
    flow = _fit_flow(codes, others)
    end = time.monotonic()
    log_probs = {
        "standard normal": float(
            (-0.5 * np.square(others).sum(1)).mean() - model.latent_dim / 2 * math.log(2 * math.pi)
        ),
        f"mixture of {mixture.components} normals": float(mixture.log_prob(others).mean()),
        "neural spline flow": flow,
    }
    seconds = {"mixture": middle - start, "flow": end - middle}
    return {"nats": log_probs, "seconds": seconds, "codes": len(codes), "environment": environment()}


def _codes(model: FittedModel, items: Items, rng: np.random.Generator) -> np.ndarray:
    mu, std = encode_items(model, items)
    return mu + std * rng.standard_normal(mu.shape)


def _fit_flow(codes: np.ndarray, others: np.ndarray) -> float:
    """Mean log density of `others`."""
    import zuko

    torch.manual_seed(0)
    mean, std = codes.mean(0), codes.std(0)
    x, y = (torch.from_numpy((each - mean) / std).float() for each in (codes, others))
    flow = zuko.flows.NSF(x.shape[1], transforms=4, hidden_features=(128, 128))
    optimizer = torch.optim.Adam(flow.parameters(), lr=_RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, _STEPS)
    best = -math.inf
    for step in range(_STEPS):
        loss = -flow().log_prob(x[torch.randint(len(x), (_BATCH,))]).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % 200 == 199:
            with torch.inference_mode():
                best = max(best, flow().log_prob(y).mean().item())
    return best - float(np.log(std).sum())
