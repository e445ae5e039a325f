"""The jobs on series beside their simplest alternatives, window by window."""

from __future__ import annotations

import lzma
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import cast

import numpy as np
from scipy.ndimage import gaussian_filter1d, median_filter

from fivefold.archive.write import coded_size
from fivefold.arrays import Floats
from fivefold.items import Items
from fivefold.jobs.impute import impute_items
from fivefold.model.fitted import FittedModel
from fivefold.model.verdicts import Trial, Verdict, compare_losses, try_compression, try_detection, try_generation
from fivefold.series.jobs import apart, denoise, generate, statistics
from fivefold.series.schema import SeriesSchema
from fivefold.tables.table import decode_rows

MOST_ITEMS, MOST_ELEMENTS = 100, 1 << 15  # that jobs are tried on
_NOISE = 10 ** (-10 / 20)  # deviation of white noise 10 dB below the signal, in the signal's deviations
_SINGLE, _GAP = 0.1, 8  # share of single steps that are hidden; a gap is a window's steps divided by this
_EVENT = 4  # likewise an event
_ERROR = "squared error in standard deviations"


def _interpolate(values: np.ndarray) -> np.ndarray:
    """Windows `(n, t, c)` with straight lines where something is missing; 0 in channels where all is."""
    length, steps, seen = values.shape[1], np.arange(values.shape[1])[None, :, None], np.isfinite(values)
    before = np.maximum.accumulate(np.where(seen, steps, -1), axis=1)
    after = np.minimum.accumulate(np.where(seen, steps, length)[:, ::-1], axis=1)[:, ::-1]
    left, right = np.where(before < 0, after, before), np.where(after == length, before, after)
    first, last = (np.take_along_axis(values, places.clip(0, length - 1), axis=1) for places in (left, right))
    between: Floats = first + (last - first) * (steps - left) / np.maximum(right - left, 1)
    return np.nan_to_num(between)


_FILTERS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "the input": _interpolate,
    "median filter": lambda values: median_filter(_interpolate(values), size=(1, 5, 1)),
    "Gaussian filter": lambda values: gaussian_filter1d(_interpolate(values), 1.5, axis=1),
}


def denoise_simply(items: Items, name: str) -> dict[str, tuple[np.ndarray, np.ndarray | None]]:
    """What `jobs.denoise` gives, by a filter of that name, which does not know how sure it is."""
    seen = items.visible()
    cleaned = _FILTERS[name](np.where(seen, items.values, np.nan)[..., 0])[..., None]
    return {"": (cleaned, seen), "std": (np.full(items.values.shape, np.nan), seen)}


def _windows(items: Items) -> np.ndarray:
    """Values `(n, t, c)`, NaN where missing."""
    return np.where(items.visible(), items.values, np.nan)[..., 0]


def _spread(train: Items) -> np.ndarray:
    """Deviation of each channel, `(c,)`; 1 of those that do not vary."""
    values = _interpolate(_windows(train))
    spread = values.std(axis=(0, 1))
    return np.where(spread > 0, spread, 1.0)


def _with(items: Items, values: np.ndarray) -> Items:
    """The windows with other values `(n, t, c)`, NaN where missing."""
    return replace(items, values=values[..., None], hidden=None)


def _loss(values: np.ndarray, truth: np.ndarray, spread: np.ndarray, where: np.ndarray) -> np.ndarray:
    """Mean squared error of each window `where` it is known, `(n,)`; NaN where nothing is."""
    where = where & np.isfinite(truth)
    square = np.where(where, np.square((values - truth) / spread), 0).sum(axis=(1, 2))
    count = where.sum(axis=(1, 2))
    return np.where(count > 0, square / np.maximum(count, 1), np.nan)


def _try_denoising(model: FittedModel, items: Items, train: Items, rng: np.random.Generator) -> Verdict:
    truth, spread = _windows(items), _spread(train)
    noisy = truth + _NOISE * spread * rng.standard_normal(truth.shape)
    cleaned, everywhere = denoise(model, _with(items, noisy))[""][0][..., 0], np.ones(truth.shape, bool)
    others = {name: _loss(apply(noisy), truth, spread, everywhere) for name, apply in _FILTERS.items()}
    return compare_losses("denoise", _loss(cleaned, truth, spread, everywhere), others, _ERROR)


def _try_imputation(model: FittedModel, items: Items, train: Items, rng: np.random.Generator) -> Verdict:
    """Hidden are single steps and, in every window, a gap."""
    truth, spread = _windows(items), _spread(train)
    n, steps, _ = truth.shape
    hidden = ((rng.random((n, steps, 1)) < _SINGLE) | _run(n, steps, steps // _GAP, rng)) & np.isfinite(truth)
    holey = np.where(hidden, np.nan, truth)
    filled = impute_items(model, _with(items, holey))[0][..., 0]
    middle = np.broadcast_to(np.nanmedian(_interpolate(_windows(train)), axis=(0, 1)), truth.shape)
    others = {"linear": _interpolate(holey), "median": middle}
    losses = {name: _loss(values, truth, spread, hidden) for name, values in others.items()}
    return compare_losses("impute", _loss(filled, truth, spread, hidden), losses, _ERROR)


def _run(n: int, steps: int, length: int, rng: np.random.Generator) -> np.ndarray:
    """A run of steps in each window, bool `(n, t, 1)`."""
    length = max(length, 1)
    first = rng.integers(0, steps - length + 1, (n, 1))
    places = np.arange(steps)
    return ((places >= first) & (places < first + length))[..., None]


def _try_detection(model: FittedModel, items: Items, train: Items, rng: np.random.Generator) -> Verdict | None:
    """In a quarter of each strange window, in turn, the level is another, there is noise, and nothing moves."""
    normality = model.normality
    if normality is None or len(items) < 2:
        return None
    truth, spread = _interpolate(_windows(items)), _spread(train)
    events, strange = _run(len(truth), truth.shape[1], truth.shape[1] // _EVENT, rng), truth.copy()
    stuck = np.broadcast_to(truth[:, :1], truth.shape)
    for turn, other in enumerate((truth + spread, truth + spread * rng.standard_normal(truth.shape), stuck)):
        strange[turn::3] = np.where(events, other, truth)[turn::3]
    with np.errstate(invalid="ignore"):
        scores = [normality.score(statistics(model, _with(items, values))) for values in (truth, strange)]
    normal, found = (np.nanmin(np.where(np.isnan(score), np.inf, score), axis=1) for score in scores)
    known, real, odd = (
        values.reshape(len(values), -1) for values in (_scaled(train, spread), truth / spread, strange / spread)
    )
    return try_detection((normal, found), (known, real, odd))


def _scaled(items: Items, spread: np.ndarray) -> np.ndarray:
    return np.asarray(_interpolate(_windows(items)) / spread)


def _try_generation(model: FittedModel, items: Items, train: Items, rng: np.random.Generator) -> Verdict | None:
    """Beside windows whose steps come each from another window."""
    spread, n = _spread(train), len(items)
    real, known = _scaled(items, spread), _scaled(train, spread)
    made = generate(model, n, 0).values[..., 0] / spread
    alone = np.stack([rng.permutation(step) for step in known[rng.choice(len(known), n)].swapaxes(0, 1)], axis=1)
    return try_generation(*(windows.reshape(n, -1) for windows in (real, made, alone)))


def _try_compression(model: FittedModel, items: Items, train: Items, rng: np.random.Generator) -> Verdict | None:
    """Of windows side by side: of others xz would leave out what overlaps."""
    schema = cast(SeriesSchema, model.schema)
    if model.context is None:
        return None
    windows = _windows(apart(items))
    table = decode_rows(schema.channels, windows.reshape(-1, windows.shape[2]))
    values = np.column_stack([column.to_numpy() for column in table.columns])  # floats where channels differ
    sizes = {"xz": len(lzma.compress(np.ascontiguousarray(values).tobytes()))}
    return try_compression(sizes, coded_size(model, np.split(values, len(windows))), len(windows))


TRIALS: Mapping[str, Trial] = {
    "compress": _try_compression,
    "denoise": _try_denoising,
    "detect": _try_detection,
    "generate": _try_generation,
    "impute": _try_imputation,
}
