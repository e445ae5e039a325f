"""Statistics of the steps of series for anomaly detection."""

from __future__ import annotations

from typing import cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from fivefold.config import Conditioning
from fivefold.items import Items
from fivefold.model.calibrations import IndependentScore
from fivefold.model.conditional import Conditional
from fivefold.model.context import by_element, column
from fivefold.model.fitted import FittedModel
from fivefold.model.likelihoods import Likelihood
from fivefold.seeds import derive_seed
from fivefold.series.layers import step_support
from fivefold.series.schema import SeriesSchema
from fivefold.series.windows import Windows
from fivefold.tables.likelihood import ColumnLikelihood

_WIDTHS = (9, 33)  # steps over which squared deviations are averaged
_FEWEST_RUNS, _MOST_WINDOWS = 8, 5000
_SUSPECT = 8.0  # nats of surprise, about four deviations, above which a value is not to mislead what follows
_TRIALS = 8  # values of a window that may be suspect
_FAR, _COUNTED = 30.0, 16.0  # nats of one step's surprise, and its squared deviations in averages: more does not count
_LEAST = 1e-4  # mean squared deviation


@torch.inference_mode()
def step_statistics(model: FittedModel, items: Items) -> np.ndarray:
    """Surprise of the visible values of each step, `(n, t, k)` float64, NaN where nothing is visible.

    Given those before them, by the context decoder, and given the window's code, by the VAE: minus log density; and log mean
    squared deviations over 9 and over 33 steps around, which are strange if they are small, too. Both are in units of the
    deviation that was expected, so that steps of which more is known can be compared with others, and means over the channels.
    Very surprising values are taken for wrong: predictions and codes do without.
    """
    batches = []
    for _, x, visible in model.batches(items):
        trusted, parts = visible, []
        if model.has_learnt(Conditioning.CAUSAL):
            surprise, trusted = _doubting(model, x, visible)
            parts += [surprise]
        level = _levelled(model, x, trusted)
        likelihood = model.vae.likelihood(model.vae.posterior(_shown(level, trusted), trusted).mu)
        parts += [_surprise(likelihood, level)]
        steps, count = visible.any(3), visible.sum(3).clamp_min(1)
        features = []
        for surprise, square in parts:
            features.append(torch.where(visible, surprise.clamp(max=_FAR), 0).sum(3) / count)
            averaged = torch.where(visible, square.clamp(max=_COUNTED), 0).sum(3) / count
            features += [_log_averaged(averaged, steps, width) for width in _WIDTHS]
        shown = torch.where(steps[:, 0, :, None], torch.stack(features, dim=3)[:, 0], torch.nan)
        batches.append(shown.double().cpu().numpy())
    return np.concatenate(batches)


def _doubting(model: FittedModel, x: Tensor, visible: Tensor) -> tuple[Tensor, Tensor]:
    """Surprise and squared deviation given those before, `(2, n, 1, t, c)`, and which values are to be trusted.

    The first suspect value of a window can't be one that others mislead, so it is left out; then the next is looked for.
    """
    measured, trusted = _of_causal(model, x, visible), visible.clone()
    rows = torch.arange(len(x), device=x.device)
    for _ in range(_TRIALS):
        suspect = ((measured[0, rows] > _SUSPECT) & trusted[rows]).flatten(1)
        chosen = suspect.any(1)
        rows, suspect = rows[chosen], suspect[chosen]
        if len(rows) == 0:
            break
        first = suspect.to(torch.uint8).argmax(1)
        trusted.view(len(x), -1)[rows, first] = False
        measured[:, rows] = _of_causal(model, x[rows], trusted[rows])
    return measured, trusted


def _of_causal(model: FittedModel, x: Tensor, trusted: Tensor) -> Tensor:
    values = by_element(x)

    def measure(likelihood: Likelihood, items: Tensor, elements: Tensor) -> Tensor:
        return _surprise(likelihood, column(values[items, elements])).flatten(1).T

    return Conditional(model, Conditioning.CAUSAL, _shown(x, trusted), trusted, None).map(measure)


def _levelled(model: FittedModel, x: Tensor, trusted: Tensor) -> Tensor:
    """Windows whose channels' levels wander, moved to the middle of where they were in the fit."""
    schema = cast(SeriesSchema, model.schema)
    wanders = torch.tensor(schema.wander, device=x.device) > 0
    middle = step_support(schema, x).unit(x.new_zeros(()))
    mean = _shown(x, trusted).sum(2, keepdim=True) / trusted.sum(2, keepdim=True).clamp_min(1)
    return torch.where(wanders, x - mean + middle, x)


def _shown(x: Tensor, trusted: Tensor) -> Tensor:
    return torch.where(trusted, x, 0.0)


def count_statistics(model: FittedModel) -> int:
    """The k of `step_statistics`."""
    return (1 + len(_WIDTHS)) * (2 if model.has_learnt(Conditioning.CAUSAL) else 1)


def _surprise(likelihood: Likelihood, x: Tensor) -> Tensor:
    """Minus log density, and squared deviation, of each value: `(2, n, 1, t, c)`."""
    assert isinstance(likelihood, ColumnLikelihood)
    mean, variance = likelihood.moments()
    surprise = likelihood.support.log_width(x) - likelihood.log_prob(x) - 0.5 * variance.log()
    return torch.stack((surprise, (likelihood.support.scaled(x) - mean).square() / variance))


def _log_averaged(squares: Tensor, steps: Tensor, width: int) -> Tensor:
    """Log means of `(n, 1, t)` over the known steps around; of fewer than `width` nearer to 0, as such means vary more."""
    kernel = squares.new_ones(1, 1, width)
    known = steps.to(squares.dtype)
    sums, counts = (F.conv1d(values, kernel, padding=width // 2) for values in (squares * known, known))
    return (sums / counts.clamp_min(1)).clamp_min(_LEAST).log() * (counts / width).sqrt()


def fit_step_score(model: FittedModel, items: Items, held_out: np.ndarray, seed: int) -> IndependentScore | None:
    """From windows that were held out, each step once, as `detect` looks at it; None if there are too few.

    If they are of fewer than 8 stretches, from those of the fit as well, since series vary from time to time. The networks may
    know the latter too well: their statistics are moved by as much as they are less, in the median.
    """
    windows, every = cast(Windows, items.origin), np.arange(len(items))
    rng = np.random.default_rng(derive_seed(seed, "normality"))
    statistics = _as_asked(model, items, held_out)
    if windows.overlap and windows.select(held_out).runs()[-1] + 1 < _FEWEST_RUNS:
        known = _as_asked(model, items, np.setdiff1d(every, held_out))
        middles = (np.nanmedian(part, axis=(0, 1)) for part in (statistics, known))
        statistics = np.concatenate((statistics, known + np.maximum(np.subtract(*middles), 0)))
    parts = statistics.shape[2] // (1 + len(_WIDTHS))
    least = [0.0, *((2 / width) ** 0.5 for width in _WIDTHS)]  # of log mean squares of normal numbers
    two_sided = [0.0, *(1.0 for _ in _WIDTHS)]
    return IndependentScore.fit(rng.permutation(statistics), np.tile(two_sided, parts), np.tile(least, parts))


def _as_asked(model: FittedModel, items: Items, rows: np.ndarray) -> np.ndarray:
    """Statistics `(n, t, k)` of the windows numbered `rows`, thinned, NaN but for the steps that they are asked for."""
    windows = cast(Windows, items.origin)
    chosen = rows[windows.select(rows).thinned(cast(SeriesSchema, model.schema).stride)][:_MOST_WINDOWS]
    statistics = step_statistics(model, items.select(chosen))
    statistics[~windows.select(chosen).answers()] = np.nan
    return statistics
