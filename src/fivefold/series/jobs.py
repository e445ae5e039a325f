"""The jobs on whole series: window by window, and stitched together, each step from the window in whose middle it is.

All take what `read_series` takes. Windows are looked at so many at once that memory grows with the results alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fivefold.errors import DataError, UsageError
from fivefold.items import Items
from fivefold.jobs.detect import benjamini_hochberg, check_rates, surprise, warn_of_few
from fivefold.jobs.impute import impute
from fivefold.model.conditional import Conditional
from fivefold.model.conditioning import Conditioning
from fivefold.model.context import by_element
from fivefold.model.fitted import FittedModel, standard_normal, uniform
from fivefold.model.likelihoods import Likelihood
from fivefold.model.scores import IndependentScore
from fivefold.progress import progress_bar
from fivefold.seeds import derive_seed
from fivefold.series.dataset import SeriesSet, read_series
from fivefold.series.statistics import step_statistics
from fivefold.tables.likelihood import ColumnLikelihood

_BLOCK = 256  # windows at once
_JOINED = 4  # steps that may lie between flagged ones of one event
_KNOWN = 4  # share of a window that is drawn at once, as 1 / so much; the rest is known


@dataclass(frozen=True)
class SeriesImputed:
    """Series one after the other, encoded: `values`, `lower` and `upper` `(total, c)`, `draws` `(n_draws, total, c)`."""

    values: np.ndarray
    draws: np.ndarray
    lower: np.ndarray | None
    upper: np.ndarray | None


@dataclass(frozen=True)
class SeriesDenoised:
    """`values` and `std`, `(total, c)`, encoded; NaN where nothing was visible."""

    values: np.ndarray
    std: np.ndarray


@dataclass(frozen=True)
class Events:
    """Runs of strange steps, most likely one thing each; `(e,)` all.

    Attributes
    ----------
    series : in which series, by number
    start, end, peak : first and last step, and the strangest, counted from the series' start
    score, p_value : of the strangest step
    """

    series: np.ndarray
    start: np.ndarray
    end: np.ndarray
    peak: np.ndarray
    score: np.ndarray
    p_value: np.ndarray


@dataclass(frozen=True)
class SeriesDetection:
    """Of each step, series one after the other, `(total,)`; and of windows, `(w,)`.

    Attributes
    ----------
    score : float64, nats; higher = more normal; NaN where nothing was visible
    p_value : how often a normal step scores as low; NaN likewise
    anomaly : bool
    window_score, window_p_value : the lowest score in each window's middle, and how often a normal window's is as low
    events : what the flagged steps make up
    calibrated_on : number of held-out steps that the p-values compare with
    """

    score: np.ndarray
    p_value: np.ndarray
    anomaly: np.ndarray
    window_score: np.ndarray
    window_p_value: np.ndarray
    events: Events
    calibrated_on: int


def impute_series(
    model: FittedModel, data: Any, *, n_draws: int = 0, interval: float | None = None, seed: int = 0
) -> SeriesImputed:
    """Fill in what is missing; see `impute`."""
    series = read_series(data, model.series_schema)
    whole = np.repeat(series.values[None], 1 + n_draws + (0 if interval is None else 2), axis=0)
    for number, (rows, items) in enumerate(_blocks(series, "impute")):
        if items.visible().all():
            continue
        part = derive_seed(seed, "block", number)
        found = impute(model, items, n_draws=n_draws, interval=interval, seed=part)
        ends = [] if found.lower is None or found.upper is None else [found.lower, found.upper]
        for target, values in zip(whole, [found.items, *found.draws, *ends], strict=True):
            series.windows.stitch(target, rows, values[..., 0])
    bounds = whole[1 + n_draws :]
    return SeriesImputed(whole[0], whole[1 : 1 + n_draws], *(bounds if len(bounds) else (None, None)))


@torch.inference_mode()
def denoise_series(model: FittedModel, data: Any) -> SeriesDenoised:
    """The clean series that the noisy ones stand for, and how sure that is: E[x | z, noisy window] and its deviation.

    Noise is taken to be white, its strength need not be known.
    """
    series = read_series(data, model.series_schema)
    whole = np.full((2, *series.values.shape), np.nan)
    for rows, items in _blocks(series, "denoise"):
        for some, x, visible in model.batches(items):
            given = Conditional(model, Conditioning.NOISY, x, visible, model.vae.posterior(x, visible).mu)
            values, std = given.map(_expected)
            both = model.values(values), _as_spread(model, values, std)
            for target, part in zip(whole, both, strict=True):
                windows = slice(rows.start + some.start, rows.start + some.stop)
                series.windows.stitch(target, windows, part[..., 0])
    whole[:, ~series.visible] = np.nan
    return SeriesDenoised(*whole)


def _expected(likelihood: Likelihood, items: Tensor, elements: Tensor) -> Tensor:
    assert isinstance(likelihood, ColumnLikelihood)
    return torch.stack((likelihood.point(), likelihood.moments()[1].clamp_min(0).sqrt()), dim=1).view(-1, 2)


def _as_spread(model: FittedModel, unit: Tensor, std: Tensor) -> np.ndarray:
    """Deviations on the channels' scales, `(n, 1, t, c)`, in the data's units: `(n, t, c, 1)`."""
    columns = model.series_schema.channels.columns
    spread, centre = (np.array([getattr(each, name) for each in columns])[:, None] for name in ("spread", "centre"))
    off = (model.values(unit) - centre) / spread
    return spread * np.sqrt(1 + np.square(off)) * std.cpu().numpy().transpose(0, 2, 3, 1)


def detect_series(
    model: FittedModel, data: Any, *, false_alarm_rate: float = 0.01, fdr: float | None = None
) -> SeriesDetection:
    """Score each step and each window, and flag those that are too strange; see `detect` for the options.

    A step is looked at by how improbable it and those around are, given what came before and given the window's code; the
    score is the joint density of such statistics among those of held-out steps.
    """
    check_rates(false_alarm_rate, fdr)
    series, normality = read_series(data, model.series_schema), model.normality
    if not isinstance(normality, IndependentScore):
        raise DataError(
            "the model has too few held-out windows to compare with; fit with more steps or a larger --validation"
        )
    warn_of_few(len(normality.calibration), "steps", false_alarm_rate, fdr)
    score, p_value = np.full((2, len(series.values)), np.nan)
    worst = np.full(len(series.windows), np.nan)
    middle = model.series_schema.central
    for rows, items in _blocks(series, "detect"):
        found = normality.score(step_statistics(model, items))
        series.windows.stitch(score, rows, found)
        series.windows.stitch(p_value, rows, np.where(np.isnan(found), np.nan, normality.p_value(found)))
        worst[rows] = np.where(np.isnan(found[:, middle]), np.inf, found[:, middle]).min(axis=1)
    anomaly = p_value <= false_alarm_rate  # which NaN is not
    if fdr is not None:
        known = ~np.isnan(p_value)
        anomaly[known] = benjamini_hochberg(p_value[known], fdr)
    return SeriesDetection(
        score,
        p_value,
        anomaly,
        worst,
        normality.window_p_value(worst),
        _events(series.lengths, score, p_value, anomaly),
        len(normality.calibration),
    )


def _events(lengths: np.ndarray, score: np.ndarray, p_value: np.ndarray, anomaly: np.ndarray) -> Events:
    """Flagged steps as events: those at most 4 steps apart belong together."""
    flagged = np.flatnonzero(anomaly)
    firsts = np.concatenate(([0], np.cumsum(lengths)[:-1]))
    series = np.searchsorted(firsts, flagged, side="right") - 1
    new = (np.diff(flagged, prepend=-np.inf) > _JOINED + 1) | (np.diff(series, prepend=-1) != 0)
    begins = np.flatnonzero(new)
    run = np.cumsum(new) - 1
    peaks = flagged[np.lexsort((score[flagged], run))[begins]]  # the lowest of each run comes first
    start, end = flagged[begins], flagged[np.append(begins, len(flagged))[1:] - 1]
    mine = series[begins]
    first = firsts[mine]
    return Events(mine, start - first, end - first, peaks - first, score[peaks], p_value[peaks])


def surprise_series(model: FittedModel, data: Any) -> np.ndarray:
    """Bits that each value costs, given z and those before it: `(total, c)` float64, NaN where nothing is."""
    series = read_series(data, model.series_schema)
    whole = np.full(series.values.shape, np.nan)
    for rows, items in _blocks(series, "surprise"):
        series.windows.stitch(whole, rows, np.where(items.visible(), surprise(model, items), np.nan)[..., 0])
    return whole


@torch.inference_mode()
def continue_series(model: FittedModel, data: Any, steps: int, n: int = 1, seed: int = 0) -> np.ndarray:
    """`n` ways in which each series may go on, drawn step by step: `(n, s, steps, c)`, encoded.

    Each part of a window is drawn given what came before in it, and a code drawn from the posterior given that.

    Raises `UsageError` if a number is below 1, `DataError` if the model's context decoder has not learnt what it takes.
    """
    for flag, number in (("steps", steps), ("items", n)):
        if number < 1:
            raise UsageError(f"--{flag} must be at least 1, got {number}")
    if not model.has_learnt(Conditioning.CAUSAL):
        raise DataError("--after needs a model with a context decoder, this one was fitted with --window 0")
    schema, series = model.series_schema, read_series(data, model.series_schema)
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
    return model.series_schema.snap(drawn)[..., 0]


def _blocks(series: SeriesSet, name: str) -> Iterator[tuple[slice, Items]]:
    """All windows, so many at once, with their place among all."""
    with progress_bar(name, len(series.windows)) as bar:
        for rows in series.windows.batches(_BLOCK):
            yield rows, series.items(rows=rows)
            bar.advance(steps=rows.stop - rows.start)
