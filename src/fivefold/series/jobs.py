"""The mathematics of jobs on series."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from fivefold.config import Conditioning
from fivefold.errors import ModelError, UsageError
from fivefold.items import Items
from fivefold.jobs.generate import Generated, draw_items
from fivefold.model.conditional import Conditional
from fivefold.model.context import by_element
from fivefold.model.fitted import FittedModel, standard_normal, uniform
from fivefold.model.likelihoods import Likelihood
from fivefold.progress import progress_bar
from fivefold.seeds import derive_seed
from fivefold.series.copula import draw_windows
from fivefold.series.dataset import SeriesSet, read_series
from fivefold.series.schema import SeriesSchema
from fivefold.series.statistics import step_statistics as statistics
from fivefold.tables.likelihood import ColumnLikelihood

CODES_PER_ITEM = 2
BESIDES = "std"
_BLOCK = 256  # windows at once
_KNOWN = 4  # share of a window that is drawn at once, as 1 / so much; the rest is known

__all__ = ["BESIDES", "CODES_PER_ITEM", "continuations", "denoise", "draw", "generate", "statistics"]


@torch.inference_mode()
def denoise(model: FittedModel, items: Items, *, seed: int = 0) -> dict[str, tuple[np.ndarray, np.ndarray | None]]:
    """The clean windows `(n, t, c, 1)` that noisy ones stand for: E[x | z, noisy window]; and in the role `std` its deviation.

    Noise is taken to be white, its strength need not be known.
    """
    values, std = np.empty((2, *items.values.shape))
    for rows, x, visible in model.batches(items):
        given = Conditional(model, Conditioning.NOISY, x, visible, model.vae.posterior(x, visible).mu)
        unit, deviation = given.map(_expected)
        values[rows], std[rows] = model.values(unit), _as_spread(model, unit, deviation)
    return {"": (values, items.visible()), "std": (std, items.visible())}


def _expected(likelihood: Likelihood, items: Tensor, elements: Tensor) -> Tensor:
    assert isinstance(likelihood, ColumnLikelihood)
    return torch.stack((likelihood.point(), likelihood.moments()[1].clamp_min(0).sqrt()), dim=1).view(-1, 2)


def _as_spread(model: FittedModel, unit: Tensor, std: Tensor) -> np.ndarray:
    """Deviations on the channels' scales, `(n, 1, t, c)`, in the data's units: `(n, t, c, 1)`."""
    columns = cast(SeriesSchema, model.schema).channels.columns
    spread, centre = (np.array([getattr(each, name) for each in columns])[:, None] for name in ("spread", "centre"))
    off = (model.values(unit) - centre) / spread
    return spread * np.sqrt(1 + np.square(off)) * std.cpu().numpy().transpose(0, 2, 3, 1)


def generate(
    model: FittedModel, n: int, seed: int, *, after: Any = None, steps: int | None = None, temperature: float = 1.0
) -> Generated:
    """`n` new windows; or, `after` series, `n` ways in which each may go on for some `steps`.

    Raises `UsageError` for options that exclude each other, `ModelError` if the context decoder has not learnt what it takes.
    """
    schema = cast(SeriesSchema, model.schema)
    if after is None:
        if steps is not None:
            raise UsageError("`steps` goes with `after`: a window that is drawn anew has the model's number of steps")
        sharp = model.has_learnt(Conditioning.CAUSAL)
        drawn = draw_items(model, n, seed, prior="fitted", sharp=sharp, temperature=temperature)
        counts = {"windows": n, "steps": schema.steps}
        return Generated(schema.snap(drawn), {"sample": np.arange(n)}, counts=counts)
    if temperature != 1:
        raise UsageError("`temperature` does not go with `after`")
    series = read_series(after, schema)
    drawn = continuations(model, series, schema.steps if steps is None else steps, n, seed)
    count = drawn.shape[1]
    number = np.tile(np.arange(count), n)
    labels: dict[str, np.ndarray] = {"sample": np.repeat(np.arange(n), count)}
    names = None if series.grid is None else series.grid.names
    if names is not None or count > 1:
        labels[schema.ids or "series"] = number if names is None else np.array(names.to_pylist(), object)[number]
    counts = {"continuations": n, "series": count, "steps": drawn.shape[2]}
    return Generated(drawn.reshape(-1, *drawn.shape[2:], 1), labels, (n, count), counts)


@torch.inference_mode()
def draw(model: FittedModel, codes: np.ndarray, seed: int) -> np.ndarray:
    """Windows `(n, t, c, 1)`, all steps at once: a normal copula over the VAE's distributions; see `copula`."""
    rng, parts = np.random.default_rng(derive_seed(seed, "sharp")), []
    steps, channels, _ = model.schema.shape
    for start in range(0, len(codes), model.batch_size):
        z = model.codes(codes[start : start + model.batch_size].astype(np.float32))
        noise = standard_normal(rng, (len(z), 1, steps, channels), model.device)
        parts.append(model.values(draw_windows(model, z, noise)))
    return np.concatenate(parts)


@torch.inference_mode()
def continuations(model: FittedModel, series: SeriesSet, steps: int, n: int, seed: int) -> np.ndarray:
    """`n` ways in which each series may go on, drawn step by step: `(n, s, steps, c)`, encoded.

    Each part of a window is drawn given what came before in it, and a code drawn from the posterior given that.

    Raises `UsageError` if `steps` is below 1, `ModelError` if the model's context decoder has not learnt what it takes.
    """
    if steps < 1:
        raise UsageError(f"`steps` must be at least 1, got {steps}")
    if not model.has_learnt(Conditioning.CAUSAL):
        raise ModelError("`after` needs a model with a context decoder, this one was fitted with `window` 0")
    schema = cast(SeriesSchema, model.schema)
    rng, c = np.random.default_rng(derive_seed(seed, "continue")), schema.channels.size
    ahead = max(schema.steps // _KNOWN, 1)
    ends = np.cumsum(series.lengths)
    places = ends[:, None] + np.arange(-schema.steps, 0)
    inside = places >= (ends - series.lengths)[:, None]
    known = np.where(inside[..., None], series.values[np.maximum(places, 0)], np.nan)
    paths = np.tile(known, (n, 1, 1))
    parts = []
    with progress_bar("continue", steps) as bar:
        for first in range(0, steps, ahead):
            count = min(ahead, steps - first)
            windows = np.concatenate((paths[:, count:], np.full((len(paths), count, c), np.nan)), axis=1)
            items = Items(windows[..., None], schema, series.source)
            drawn = np.concatenate(
                [_draw_ahead(model, items.select(rows), count, rng) for rows in items.batches(_BLOCK)]
            )
            paths = np.concatenate((windows[:, : schema.steps - count], drawn), axis=1)
            parts.append(drawn)
            bar.advance(steps=count)
    return np.concatenate(parts, axis=1).reshape(n, len(ends), steps, c)


def _draw_ahead(model: FittedModel, items: Items, count: int, rng: np.random.Generator) -> np.ndarray:
    """The last `count` steps of windows, `(b, count, c)`."""
    unit, seen = items.unit()
    x, visible = model.tensor(unit), model.tensor(seen)
    c, size = x.shape[3], x.shape[2] * x.shape[3]
    noise = standard_normal(rng, (len(x), model.latent_dim), x.device)
    chances = uniform(rng, (len(x), count * c), x.device).to(x.dtype)
    given = Conditional(model, Conditioning.CAUSAL, x, visible, model.vae.posterior(x, visible).at(noise))
    values, rows = by_element(x).clone(), torch.arange(len(x), device=x.device)
    for number, element in enumerate(range(size - count * c, size)):
        here = torch.full_like(rows, element)
        values[:, element] = given(rows, here).quantile(chances[:, number].view(-1, 1, 1, 1)).view(-1).clamp(0, 1)
        given.put(rows, here, values[:, element])
    drawn = model.values(values.view(len(x), 1, -1, c))[:, -count:]
    return model.schema.snap(drawn)[..., 0]
