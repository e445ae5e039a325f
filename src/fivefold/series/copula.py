"""Probability-integral-transform residuals of windows given their codes: standard normal, and independent if codes said all.

Values drawn for a code are to depend on each other as those of real windows do: a normal copula (Nelsen 2006, chapter 2) over the
distributions that the VAE has of each.
"""

from __future__ import annotations

import torch
from torch import Tensor

from fivefold.items import Items
from fivefold.model.fitted import FittedModel
from fivefold.series.context import SeriesContext
from fivefold.series.linear import Windowed, some_windows

_SURE = 1e-3  # probabilities nearer to 0 or 1 are taken for that


@torch.inference_mode()
def normal_residuals(model: FittedModel, items: Items) -> Windowed:
    """Residuals of evenly chosen windows given their codes, as quantiles of the standard normal."""
    residuals, seen = [], []
    for _, x, visible in model.batches(items.select(some_windows(len(items)))):
        shares = model.vae.likelihood(model.vae.posterior(x, visible).mu).cdf(x).cpu().double()
        residuals.append(torch.special.ndtri(shares.clamp(_SURE, 1 - _SURE))[:, 0])
        seen.append(visible[:, 0].cpu())
    known = torch.cat(seen)
    return torch.where(known, torch.cat(residuals), 0.0), known


def draw_windows(model: FittedModel, z: Tensor, noise: Tensor) -> Tensor:
    """Windows `(n, 1, t, c)` for codes `(n, latent_dim)`, from independent standard normal numbers `(n, 1, t, c)`."""
    assert isinstance(model.context, SeriesContext)
    return model.vae.likelihood(z).quantile(torch.special.ndtr(model.context.residual.correlated(noise)))
