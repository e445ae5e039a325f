"""The jobs on images beside their simplest alternatives."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import cast

import imagecodecs
import numpy as np
from scipy.ndimage import gaussian_filter, median_filter

from fivefold.archive.write import coded_size
from fivefold.images.jobs import denoise, generate, statistics
from fivefold.images.schema import ImageSchema
from fivefold.items import Items
from fivefold.jobs.impute import impute_items
from fivefold.model.fitted import FittedModel
from fivefold.model.verdicts import (
    Trial,
    Verdict,
    compare_losses,
    try_compression,
    try_detection,
    try_generation,
)

MOST_ITEMS, MOST_ELEMENTS = 200, 1 << 17  # that jobs are tried on
_NOISE, _REPLACED = 0.1, 0.1  # deviation of Gaussian noise, share of the other
_HIDDEN = 0.3
_REACH = 2.0  # of a weighted mean of neighbours, in pixels
_ERROR = "mean squared error on the scale from 0 to 1"
_LEAST_WEIGHT = 1e-6


def _smooth(unit: np.ndarray, seen: np.ndarray, deviation: float = 1.0) -> np.ndarray:
    """Means of what is visible around, weighted by a normal density, `(n, h, w, c)`."""
    sigma = (0, deviation, deviation, 0)
    weight = gaussian_filter(seen.astype(np.float32), sigma)
    return np.asarray(gaussian_filter(np.where(seen, unit, 0), sigma) / np.maximum(weight, _LEAST_WEIGHT))


def _median(unit: np.ndarray, seen: np.ndarray) -> np.ndarray:
    return np.asarray(median_filter(np.where(seen, unit, _smooth(unit, seen)), size=(1, 3, 3, 1)))


FILTERS: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "the input": lambda unit, seen: np.where(seen, unit, _smooth(unit, seen)),
    "median filter": _median,
    "Gaussian filter": _smooth,
}


def denoise_simply(items: Items, name: str) -> dict[str, tuple[np.ndarray, np.ndarray | None]]:
    """What `jobs.denoise` gives, by a filter of that name, which does not know how sure it is."""
    cleaned = items.schema.from_unit(FILTERS[name](*items.unit()), items.values.dtype)
    return {"": (cleaned, None), "std": (np.full(items.values.shape, np.nan, np.float32), None)}


def _try_denoising(model: FittedModel, items: Items, train: Items, rng: np.random.Generator) -> Verdict:
    """Of every other item a tenth of the elements is replaced, the others get Gaussian noise."""
    truth, seen = items.unit()
    noisy = np.clip(truth + _NOISE * rng.standard_normal(truth.shape), 0, 1)
    replaced = np.where(rng.random(truth.shape) < _REPLACED, rng.random(truth.shape), truth)
    noisy[::2] = replaced[::2]
    damaged = replace(items, values=items.schema.from_unit(noisy.astype(np.float32), items.values.dtype), hidden=~seen)
    cleaned = items.schema.to_unit(denoise(model, damaged)[""][0])
    others = {name: _loss(apply(*damaged.unit()), truth, seen) for name, apply in FILTERS.items()}
    return compare_losses("denoise", _loss(cleaned, truth, seen), others, _ERROR)


def _try_imputation(model: FittedModel, items: Items, train: Items, rng: np.random.Generator) -> Verdict:
    """Of every other item a block of a quarter of the area is hidden, of the others 30 % of the pixels."""
    truth, seen = items.unit()
    hidden = np.broadcast_to(rng.random((*truth.shape[:3], 1)) < _HIDDEN, truth.shape) & seen
    hidden[::2] = _blocks(truth.shape, rng)[::2] & seen[::2]
    holey = replace(items, hidden=hidden | ~seen)
    filled = items.schema.to_unit(impute_items(model, holey, n_samples=2)[0])
    known, there = train.unit()
    mean = known.sum(axis=0) / np.maximum(there.sum(axis=0), 1)
    others = {
        "mean": np.broadcast_to(mean, truth.shape),
        "mean of the neighbours": _smooth(truth, seen & ~hidden, _REACH),
    }
    losses = {name: _loss(images, truth, hidden) for name, images in others.items()}
    return compare_losses("impute", _loss(filled, truth, hidden), losses, _ERROR)


def _loss(images: np.ndarray, truth: np.ndarray, where: np.ndarray) -> np.ndarray:
    """Mean squared error of each item, `(n,)`; NaN where there is nothing."""
    square = np.where(where, np.square(images - truth, dtype=np.float64), 0).sum(axis=(1, 2, 3))
    count = where.sum(axis=(1, 2, 3))
    return np.where(count > 0, square / np.maximum(count, 1), np.nan)


def _blocks(shape: tuple[int, ...], rng: np.random.Generator, part: int = 2) -> np.ndarray:
    """A block of half the height and width, or of another `part`, in each item, bool like them."""
    n, height, width, _ = shape
    rows, columns = (
        (places >= first) & (places < first + -(-side // part))
        for side in (height, width)
        for places, first in [(np.arange(side), rng.integers(0, side + 1 - -(-side // part), (n, 1)))]
    )
    return np.broadcast_to(rows[:, :, None, None] & columns[:, None, :, None], shape)


def _try_detection(model: FittedModel, items: Items, train: Items, rng: np.random.Generator) -> Verdict | None:
    """See `with_strange_blocks`."""
    normality = model.normality
    if normality is None or len(items) < 2:
        return None
    truth, seen = items.unit()
    strange = with_strange_blocks(truth, rng)
    odd = replace(items, values=items.schema.from_unit(strange.astype(np.float32), items.values.dtype), hidden=~seen)
    normal, found = (normality.score(statistics(model, part)) for part in (items, odd))
    known, real, made = (part.unit()[0].reshape(len(part), -1) for part in (train, items, odd))
    return try_detection((normal, found), (known, real, made))


def with_strange_blocks(truth: np.ndarray, rng: np.random.Generator, part: int = 2) -> np.ndarray:
    """Items `(n, h, w, c)` on the unit scale, with a block each in turn of one colour, of noise, and from another item."""
    blocks, strange = _blocks(truth.shape, rng, part), truth.copy()
    patches = (
        np.broadcast_to(rng.random((len(truth), 1, 1, truth.shape[3])), truth.shape),
        rng.random(truth.shape),
        np.roll(truth, 1, 0),
    )
    for turn, patch in enumerate(patches):
        strange[turn::3] = np.where(blocks, patch, truth)[turn::3]
    return strange


def _try_generation(model: FittedModel, items: Items, train: Items, rng: np.random.Generator) -> Verdict | None:
    real, known = (part.unit()[0].reshape(len(part), -1) for part in (items, train))
    made = items.schema.to_unit(generate(model, len(real), 0).values).reshape(real.shape)
    alone = np.stack([rng.choice(pixel, len(real)) for pixel in known.T], axis=1)
    return try_generation(real, made, alone)


def _try_compression(model: FittedModel, items: Items, train: Items, rng: np.random.Generator) -> Verdict | None:
    schema = cast(ImageSchema, model.schema)
    if model.context is None or not items.visible().all() or schema.dtype not in ("uint8", "uint16"):
        return None
    return compare_with_png(model, np.ascontiguousarray(items.values))


def compare_with_png(model: FittedModel, images: np.ndarray) -> Verdict:
    """The archive of images `(n, h, w, c)` of 8 or 16 bits beside their PNGs."""
    plain = images[..., 0] if images.shape[3] == 1 else images
    sizes = {"PNG": sum(len(imagecodecs.png_encode(image, level=9)) for image in plain)}
    return try_compression(sizes, coded_size(model, images), len(images))


TRIALS: Mapping[str, Trial] = {
    "compress": _try_compression,
    "denoise": _try_denoising,
    "detect": _try_detection,
    "generate": _try_generation,
    "impute": _try_imputation,
}
