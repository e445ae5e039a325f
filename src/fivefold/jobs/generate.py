"""Draw new items from the prior, and walk between, along and across codes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, get_args

import numpy as np
import torch
from torch import Tensor

from fivefold.config import Conditioning, JobNumbers, PriorName
from fivefold.dataset import open_data
from fivefold.errors import ModelError, UsageError
from fivefold.items import Items
from fivefold.jobs.codes import checked_codes, decode_items, encode
from fivefold.modality import chosen, modality_of, modality_taking
from fivefold.model.conditional import Conditional
from fivefold.model.context import as_items
from fivefold.model.fitted import FittedModel, uniform
from fivefold.model.likelihoods import Likelihood
from fivefold.model.threads import in_threads
from fivefold.model.verdicts import warn_if_worse
from fivefold.seeds import derive_seed

_WIDER = 4  # batches for drawing: their steps are many and small


@dataclass(frozen=True)
class Generated:
    """New items, encoded.

    Attributes
    ----------
    values : `(m, h, w, c)`
    labels : `(m,)` what a table that has several rows of each is to say of it, by column; of series also when steps are, as an
        Arrow array
    axes : shape of the first axis, where it stands for several
    counts : how many there are of what
    """

    values: np.ndarray
    labels: dict[str, Any] = field(default_factory=dict)
    axes: tuple[int, ...] | None = None
    counts: dict[str, int] = field(default_factory=dict)


def generate(
    model: FittedModel,
    n: int,
    seed: int = 0,
    *,
    prior: PriorName | None = None,
    sharp: bool | None = None,
    like: Any = None,
    temperature: float = 1.0,
    given: Mapping[str, Any] | None = None,
    after: Any = None,
    steps: int | None = None,
    free: bool | None = None,
    complete: bool | None = None,
    strict: bool = False,
    **reading: Any,
) -> Any:
    """`n` new items in the form of the data of the fit; the first do not depend on `n`.

    Of images `(n, h, w, c)`, in the data's dtype; of tables a table; of series windows `(n, t, c)`, or how given ones may go on.

    Parameters
    ----------
    prior : of images, where codes are drawn from: `standard` (the default), the normal distribution that the VAE was trained
        with, or `fitted`, the density fitted to the training items' codes, from which tables and series are always drawn
    sharp : of images, draw the elements too, one after the other through the causal context decoder, instead of their means,
        as is always done of tables and series
    like : of images, one item; codes are then drawn from its posterior instead
    temperature : factor on the deviation of the codes from their centre, `like`'s or the prior's; 0 for the centre
    given : of tables, values that new rows have, by column
    after : series; each of `n` draws is how they may go on: `(n, series, steps, c)`
    steps : of those, by default as many as a window has
    free : of tables: relations between columns that were found in the fit need not hold
    complete : of tables: no cell is missing; else as many are, and together, as in the fit
    strict : raise `ModelError` instead of warning where the simplest alternative did better on held-out items
    reading : how a file of `after` is read, such as `separator`; see the modality's `open`

    Raises
    ------
    UsageError : if `n` is below 1, `temperature` negative, `like` goes with a prior or is not one item, or an option is not
        for the model's modality
    ModelError : if the model has no fitted prior, or no context decoder to be sharp with

    Examples
    --------
    >>> fivefold.generate(tree_model, 5, seed=1, given={"kind": "oak"}).num_rows
    5
    >>> fivefold.generate(load_model, 3, after=loads, steps=4).shape
    (3, 2, 4, 2)
    """
    options = {"prior": prior, "sharp": sharp, "like": like, "given": given, "after": after, "steps": steps}
    options |= {"free": free, "complete": complete, **reading}
    found = new_items(model, n, seed, temperature=temperature, strict=strict, **options)
    values = modality_of(model.schema).data.new(model.schema, found.values, model.data_record)
    return values if found.axes is None else values.reshape(*found.axes, *values.shape[1:])


def new_items(
    model: FittedModel, n: int, seed: int, *, temperature: float = 1.0, strict: bool = False, **options: Any
) -> Generated:
    """`generate`, encoded."""
    modality = modality_taking(model, "generate", **options)
    JobNumbers(n=n, seed=seed, temperature=temperature, steps=options.get("steps"))
    if not isinstance(cells := options.get("given") or {}, Mapping):
        raise UsageError(f"`given` must be values by column, such as {{'city': 'Bern'}}; got {cells!r}")
    warn_if_worse(model, "generate", strict)
    found: Generated = modality.jobs.generate(model, n, seed, temperature=temperature, **chosen(options))
    return found


def draw_items(
    model: FittedModel,
    n: int,
    seed: int,
    *,
    prior: PriorName,
    sharp: bool,
    like: Any = None,
    temperature: float = 1.0,
) -> np.ndarray:
    """`n` new items `(n, h, w, c)`, encoded: decoded from codes or, if `sharp`, drawn given these."""
    if sharp and not model.has_learnt(Conditioning.CAUSAL):
        raise ModelError("`sharp` needs a model with a context decoder, this one has none")
    codes = _draw_codes(model, n, np.random.default_rng(derive_seed(seed, "generate")), prior, like, temperature)
    if not sharp:
        return decode_items(model, codes)
    drawn: np.ndarray = modality_of(model.schema).jobs.draw(model, codes, seed)
    return drawn


def by_quantile(likelihood: Likelihood, chance: Tensor) -> Tensor:
    """Elements that are as far up in their distributions as uniform numbers in (0, 1)."""
    return likelihood.quantile(chance)


@torch.inference_mode()
def draw_elements(
    model: FittedModel, codes: np.ndarray, seed: int, draw: Callable[[Likelihood, Tensor], Tensor] = by_quantile
) -> np.ndarray:
    """Items `(n, h, w, c)` for codes `(n, latent_dim)`, drawn element by element, those of a batch at once.

    `draw` gives elements of their distributions for uniform numbers in (0, 1).
    """
    rng = np.random.default_rng(derive_seed(seed, "sharp"))
    size, device = model.schema.size, model.device
    height, width, channels = model.schema.shape
    drawn = np.empty((len(codes), *model.schema.shape), model.schema.dtype)

    def tasks() -> Iterator[tuple[slice, Tensor, Tensor]]:
        batch = _WIDER * model.batch_size
        for rows in (slice(start, start + batch) for start in range(0, len(codes), batch)):
            z = model.codes(codes[rows].astype(np.float32))
            yield rows, z, uniform(rng, (len(z), size), device)

    def fill(rows: slice, z: Tensor, chances: Tensor) -> None:
        x = z.new_zeros((len(z), channels, height, width))
        given = Conditional(model, Conditioning.CAUSAL, x, torch.zeros_like(x, dtype=torch.bool), z)
        items, values = torch.arange(len(z), device=device), z.new_zeros(chances.shape)
        for element in range(size):
            here = torch.full_like(items, element)
            chance = chances[:, element].view(-1, 1, 1, 1)
            values[:, element] = draw(given(items, here), chance).view(-1).clamp(0, 1)
            given.put(items, here, values[:, element])
        drawn[rows] = model.values(as_items(values, x))

    in_threads(model, fill, tasks())
    return drawn


def _draw_codes(
    model: FittedModel, n: int, rng: np.random.Generator, prior: PriorName, like: Any, temperature: float
) -> np.ndarray:
    if like is not None:
        if prior != "standard":
            raise UsageError("`like` and `prior` fitted exclude each other: codes come from the item's posterior")
        items = open_data(like, model.schema).all_items()
        if len(items) != 1:
            raise UsageError(f"`like` must be one item, got {len(items)}")
        mu, std = encode(model, items)
        return mu + temperature * std * rng.standard_normal((n, model.latent_dim))
    if prior not in get_args(PriorName):
        raise UsageError(f"`prior` must be one of {', '.join(get_args(PriorName))}; got {prior!r}")
    if prior == "fitted":
        if model.prior is None:
            raise ModelError("`prior` fitted needs a model with a fitted prior, this one has none")
        return model.prior.sample(n, rng, temperature)
    return temperature * rng.standard_normal((n, model.latent_dim))


def nearest_items(items: Items, among: Items) -> tuple[np.ndarray, np.ndarray]:
    """For each of `items` the nearest of `among`: its index and its distance, both `(n,)`.

    The distance is the Euclidean one of the values in [0, 1], hidden ones counting as 0.
    """
    from sklearn.metrics import pairwise_distances_argmin_min

    flat = (part.unit()[0].reshape(len(part), -1) for part in (items, among))
    index, distance = pairwise_distances_argmin_min(*flat)
    return index, distance


def morph(model: FittedModel, start: np.ndarray, end: np.ndarray, steps: int) -> Any:
    """Items along the line between two codes `(latent_dim,)`, ends included, as new data in the form of the fit's.

    Raises `UsageError` if `steps` is below 2, `DataError` for codes that aren't finite numbers.

    Examples
    --------
    >>> means, _ = fivefold.encode(image_model, images)
    >>> fivefold.morph(image_model, means[0], means[1], steps=5).shape
    (5, 8, 6, 3)
    """
    modality = modality_taking(model, "morph")
    values = morph_items(model, start, end, steps)
    return modality.data.new(model.schema, values, model.data_record)


def morph_items(model: FittedModel, start: np.ndarray, end: np.ndarray, steps: int) -> np.ndarray:
    """`morph`, encoded: `(steps, h, w, c)`."""
    JobNumbers(steps=steps)
    if steps < 2:
        raise UsageError(f"`steps` must be at least 2, got {steps}")
    checked_codes(model, [start, end])
    along = np.linspace(0.0, 1.0, steps)[:, None]
    return decode_items(model, (1 - along) * np.asarray(start) + along * np.asarray(end))
