"""What each step of a window looks like to the model, in numbers that tell the normal from the strange."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from fivefold.data import Items
from fivefold.model.columns import Columns
from fivefold.model.conditional import Conditional
from fivefold.model.context import by_element, column
from fivefold.model.fitted import FittedModel
from fivefold.model.likelihoods import Likelihood
from fivefold.model.normality import StepNormality
from fivefold.model.window import Window
from fivefold.seeds import derive_seed

_WIDTHS = (1, 9, 33)  # steps over which a surprise is averaged
_MOST_SCORES = 20_000
_SUSPECT = 8.0  # nats of surprise, about four deviations, above which a value is not to mislead what follows
_TRIALS = 8  # values of a window that may be suspect
_FAR, _COUNTED = 30.0, 4.0  # nats: more of one step's surprise does not count, by itself and in averages


@torch.inference_mode()
def step_statistics(model: FittedModel, items: Items) -> np.ndarray:
    """How surprising the visible values of each step are, `(n, t, k)` float64, NaN where nothing is visible.

    Given those before them, by the context decoder, and given the window's code, by the VAE: minus log densities in units of
    the deviations that were expected, so that steps of which more is known can be compared with others; means over the
    channels, and over 1, 9 and 33 steps around. Very surprising values are taken for wrong: predictions and codes do without.
    """
    found = []
    for _, x, visible in model.batches(items):
        trusted, parts = visible, []
        if model.has_learnt(Window.CAUSAL):
            surprise, trusted = _doubting(model, x, visible)
            parts.append(surprise)
        parts.append(_surprise(model.vae.likelihood(model.vae.posterior(_shown(x, trusted), trusted).mu), x))
        steps = visible.any(3)
        each = [torch.where(visible, part.clamp(max=_FAR), 0).sum(3) / visible.sum(3).clamp_min(1) for part in parts]
        smooth = [
            part if width == 1 else _averaged(part.clamp(max=_COUNTED), steps, width)
            for part in each
            for width in _WIDTHS
        ]
        features = torch.stack(smooth, dim=3)[:, 0]
        found.append(torch.where(steps[:, 0, :, None], features, torch.nan).double().cpu().numpy())
    return np.concatenate(found)


def _doubting(model: FittedModel, x: Tensor, visible: Tensor) -> tuple[Tensor, Tensor]:
    """Surprise given those before, `(n, 1, t, c)`, and which values are to be trusted.

    The first suspect value of a window can't be one that others mislead, so it is left out; then the next is looked for.
    """
    surprise, trusted = _of_causal(model, x, visible), visible.clone()
    rows = torch.arange(len(x), device=x.device)
    for _ in range(_TRIALS):
        suspect = ((surprise[rows] > _SUSPECT) & trusted[rows]).flatten(1)
        chosen = suspect.any(1)
        rows, suspect = rows[chosen], suspect[chosen]
        if len(rows) == 0:
            break
        first = suspect.to(torch.uint8).argmax(1)
        trusted.view(len(x), -1)[rows, first] = False
        surprise[rows] = _of_causal(model, x[rows], trusted[rows])
    return surprise, trusted


def _of_causal(model: FittedModel, x: Tensor, trusted: Tensor) -> Tensor:
    values = by_element(x)

    def measure(likelihood: Likelihood, items: Tensor, elements: Tensor) -> Tensor:
        return _surprise(likelihood, column(values[items, elements])).view(-1, 1)

    return Conditional(model, Window.CAUSAL, _shown(x, trusted), trusted, None).map(measure)[0]


def _shown(x: Tensor, trusted: Tensor) -> Tensor:
    return torch.where(trusted, x, 0.0)


def count_step_statistics(model: FittedModel) -> int:
    """The k of `step_statistics`."""
    return len(_WIDTHS) * (2 if model.has_learnt(Window.CAUSAL) else 1)


def _surprise(likelihood: Likelihood, x: Tensor) -> Tensor:
    assert isinstance(likelihood, Columns)
    return likelihood.support.log_width(x) - likelihood.log_prob(x) - 0.5 * likelihood.moments()[1].log()


def _averaged(values: Tensor, steps: Tensor, width: int) -> Tensor:
    """Means of `(n, 1, t)` over the known steps around, 0 where there are none."""
    kernel = values.new_ones(1, 1, width)
    known = steps.to(values.dtype)
    sums, counts = (F.conv1d(each, kernel, padding=width // 2) for each in (values * known, known))
    return sums / counts.clamp_min(1)


def fit_step_normality(model: FittedModel, held_out: Items, seed: int) -> StepNormality | None:
    """From the steps in the middle of held-out windows; None if there are too few."""
    order = np.random.default_rng(derive_seed(seed, "normality")).permutation(len(held_out))[:_MOST_SCORES]
    statistics = step_statistics(model, held_out.select(order))[:, model.series_schema.central]
    both = np.tile(np.array(_WIDTHS) > 1, statistics.shape[2] // len(_WIDTHS))
    return StepNormality.fit(statistics, both.astype(np.float64))
