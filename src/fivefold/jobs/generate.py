"""Draw new items from the prior, and walk between, along and across codes."""

from __future__ import annotations

from typing import get_args

import numpy as np
import torch

from fivefold.config import PriorName
from fivefold.errors import ModelError, UsageError
from fivefold.images.dataset import Source
from fivefold.items import Items
from fivefold.jobs.codes import decode, encode
from fivefold.model.conditional import Conditional
from fivefold.model.conditioning import Conditioning
from fivefold.model.context import as_items
from fivefold.model.fitted import FittedModel, standard_normal, uniform
from fivefold.seeds import derive_seed
from fivefold.series.copula import draw_windows
from fivefold.series.schema import SeriesSchema

_WIDER = 4  # batches for drawing: their steps are many and small


def generate(
    model: FittedModel,
    n: int,
    seed: int = 0,
    *,
    prior: PriorName = "standard",
    sharp: bool = False,
    like: Source | None = None,
    temperature: float = 1.0,
) -> np.ndarray:
    """`n` new items: `(n, h, w, c)` in the data's dtype; the first do not depend on `n`.

    Parameters
    ----------
    prior : where codes are drawn from: `standard`, the normal distribution that the VAE was trained with, or `fitted`,
        the density fitted to the training items' codes
    sharp : draw the elements too, one after the other through the causal context decoder, instead of their means; of series
        all together, see `copula`
    like : one item; codes are then drawn from its posterior instead
    temperature : factor on the deviation of the codes from their centre, `like`'s or the prior's; 0 for the centre

    Raises
    ------
    UsageError : if `n` is below 1, `temperature` negative, or `like` goes with a prior or is not one item
    ModelError : if the model has no fitted prior, or no context decoder to be sharp with
    """
    if n < 1:
        raise UsageError(f"-n must be at least 1, got {n}")
    if not 0 <= temperature < float("inf"):
        raise UsageError(f"--temperature must be at least 0, got {temperature:g}")
    if sharp and not model.has_learnt(Conditioning.CAUSAL):
        raise ModelError("--sharp needs a model with a context decoder, this one was fitted with --window 0")
    codes = _draw_codes(model, n, np.random.default_rng(derive_seed(seed, "generate")), prior, like, temperature)
    if not sharp:
        return decode(model, codes)
    draw = _draw_windows if isinstance(model.schema, SeriesSchema) else _draw_elements
    return draw(model, codes, seed)


def _draw_codes(
    model: FittedModel, n: int, rng: np.random.Generator, prior: PriorName, like: Source | None, temperature: float
) -> np.ndarray:
    if like is not None:
        if prior != "standard":
            raise UsageError("--like and --prior fitted exclude each other: codes come from the item's posterior")
        items = model.read(like)
        if len(items) != 1:
            raise UsageError(f"--like must be one item, got {len(items)}")
        mu, std = encode(model, items)
        return mu + temperature * std * rng.standard_normal((n, model.latent_dim))
    if prior not in get_args(PriorName):
        raise UsageError(f"--prior must be one of {', '.join(get_args(PriorName))}; got {prior!r}")
    if prior == "fitted":
        if model.prior is None:
            raise ModelError("--prior fitted needs a model with a fitted prior, this one has none")
        return model.prior.sample(n, rng, temperature)
    return temperature * rng.standard_normal((n, model.latent_dim))


@torch.inference_mode()
def _draw_windows(model: FittedModel, codes: np.ndarray, seed: int) -> np.ndarray:
    """Windows of series, all steps at once."""
    rng, parts = np.random.default_rng(derive_seed(seed, "sharp")), []
    steps, channels, _ = model.schema.shape
    for start in range(0, len(codes), model.batch_size):
        z = model.codes(codes[start : start + model.batch_size].astype(np.float32))
        noise = standard_normal(rng, (len(z), 1, steps, channels), model.device)
        parts.append(model.values(draw_windows(model, z, noise)))
    return np.concatenate(parts)


@torch.inference_mode()
def _draw_elements(model: FittedModel, codes: np.ndarray, seed: int) -> np.ndarray:
    """Items drawn element by element in raster order, all items of a batch at once."""
    rng = np.random.default_rng(derive_seed(seed, "sharp"))
    size, device = model.schema.size, model.device
    height, width, channels = model.schema.shape
    drawn = np.empty((len(codes), *model.schema.shape), model.schema.dtype)
    batch = _WIDER * model.batch_size
    for start in range(0, len(codes), batch):
        z = model.codes(codes[start : start + batch].astype(np.float32))
        chances = uniform(rng, (len(z), size), device)
        x = z.new_zeros((len(z), channels, height, width))
        given = Conditional(model, Conditioning.CAUSAL, x, torch.zeros_like(x, dtype=torch.bool), z)
        items, values = torch.arange(len(z), device=device), z.new_zeros(chances.shape)
        for element in range(size):
            here = torch.full_like(items, element)
            chance = chances[:, element].view(-1, 1, 1, 1)
            values[:, element] = given(items, here).quantile(chance).view(-1).clamp(0, 1)
            given.put(items, here, values[:, element])
        drawn[start : start + batch] = model.values(as_items(values, x))
    return drawn


def nearest_items(items: Items, among: Items) -> tuple[np.ndarray, np.ndarray]:
    """For each of `items` the nearest of `among`: its index and its distance, both `(n,)`.

    The distance is the Euclidean one of the values in [0, 1], hidden ones counting as 0.
    """
    from sklearn.metrics import pairwise_distances_argmin_min

    flat = (each.unit()[0].reshape(len(each), -1) for each in (items, among))
    return pairwise_distances_argmin_min(*flat)


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
