"""The plain autoencoder: the VAE's networks, a point for a code, no KL, no sampling."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from fivefold.evaluation.baselines.loop import run_epochs
from fivefold.images.networks import build_vae
from fivefold.items import Items
from fivefold.model.fitted import FittedModel
from fivefold.seeds import derive_seed


def fit_autoencoder(like: FittedModel, items: Items, *, epochs: int, seed: int = 0) -> tuple[FittedModel, float]:
    """Train the networks of `like` on the reconstruction alone.

    Returns
    -------
    The autoencoder as a model, so that encoding, decoding and morphing work on it (its posterior's deviation means
    nothing), and the seconds that training took.
    """
    training = like.config.training
    device = like.device
    vae = build_vae(like.image_schema, like.config.network, derive_seed(seed, "autoencoder")).to(device)
    optimizer = torch.optim.Adam(vae.parameters(), lr=training.learning_rate, fused=True)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * -(-len(items) // training.batch_size))

    def step(x: Tensor, visible: Tensor, rows: np.ndarray, generator: torch.Generator) -> None:
        loss = -vae.likelihood(vae.posterior(x, visible).mu).item_log_prob(x, visible).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()

    seconds = run_epochs(
        "autoencoder", items, step, epochs=epochs, batch_size=training.batch_size, seed=seed, device=device
    )
    return FittedModel(vae.eval(), like.schema, like.config), seconds
