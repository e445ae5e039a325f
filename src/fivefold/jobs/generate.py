"""Draw new items from the prior, and walk between, along and across codes."""

from __future__ import annotations

import numpy as np

from fivefold.errors import UsageError
from fivefold.jobs.codes import decode
from fivefold.model.fitted import FittedModel
from fivefold.seeds import derive_seed


def generate(model: FittedModel, n: int, seed: int = 0) -> np.ndarray:
    """`n` new items, decoded from draws of the standard normal prior: `(n, h, w, c)` in the data's dtype.

    The first items do not depend on `n`. Raises `UsageError` if `n` is below 1.
    """
    if n < 1:
        raise UsageError(f"-n must be at least 1, got {n}")
    draws = np.random.default_rng(derive_seed(seed, "generate")).standard_normal((n, model.latent_dim))
    return decode(model, draws)


def morph(model: FittedModel, start: np.ndarray, end: np.ndarray, steps: int) -> np.ndarray:
    """Items along the line between two codes `(latent_dim,)`, ends included: `(steps, h, w, c)`.

    Raises `UsageError` if `steps` is below 2.
    """
    if steps < 2:
        raise UsageError(f"--steps must be at least 2, got {steps}")
    along = np.linspace(0.0, 1.0, steps)[:, None]
    return decode(model, (1 - along) * start + along * end)


def latent_grid(model: FittedModel, side: int = 20, reach: float = 3.0) -> np.ndarray:
    """Items at the points of a square grid over a 2-D latent space.

    Returns `(side, side, h, w, c)`: rows from `z[1] = reach` down to `-reach`, columns from `z[0] = -reach` up.
    Raises `UsageError` unless the model has 2 latent dimensions.
    """
    if model.latent_dim != 2:
        raise UsageError(f"a latent grid needs a model with --latent-dim 2, this one has {model.latent_dim}")
    along = np.linspace(-reach, reach, side)
    across, down = np.meshgrid(along, along[::-1])
    codes = np.stack([across.ravel(), down.ravel()], axis=1)
    return decode(model, codes).reshape(side, side, *model.schema.shape)


def traverse(
    model: FittedModel, code: np.ndarray, units: np.ndarray, steps: int = 11, reach: float = 3.0
) -> np.ndarray:
    """Items with one unit of `code` at a time moved from `-reach` to `reach`: `(units, steps, h, w, c)`."""
    codes = np.tile(code, (len(units), steps, 1)).astype(np.float64)
    for row, unit in enumerate(units):
        codes[row, :, unit] = np.linspace(-reach, reach, steps)
    items = decode(model, codes.reshape(-1, model.latent_dim))
    return items.reshape(len(units), steps, *model.schema.shape)
