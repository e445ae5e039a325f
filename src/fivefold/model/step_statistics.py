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


@torch.inference_mode()
def step_statistics(model: FittedModel, items: Items) -> np.ndarray:
    """How surprising the visible values of each step are, `(n, t, k)` float64, NaN where nothing is visible.

    Given those before them, by the context decoder, and given the window's code, by the VAE: minus log probabilities, less
    the log deviations that were expected, so that steps of which more is known can be compared with others; means over the
    channels, and over 1, 9 and 33 steps around.
    """
    found = []
    for _, x, visible in model.batches(items):
        mu = model.vae.posterior(x, visible).mu
        parts = [_surprise(model.vae.likelihood(mu), x)]
        if model.has_learnt(Window.CAUSAL):
            values = by_element(x)

            def measure(likelihood: Likelihood, items: Tensor, elements: Tensor, values: Tensor = values) -> Tensor:
                return _surprise(likelihood, column(values[items, elements])).view(-1, 1)

            parts.append(Conditional(model, Window.CAUSAL, x, visible, None).map(measure)[0])
        steps = visible.any(3)
        each = [torch.where(visible, part, 0).sum(3) / visible.sum(3).clamp_min(1) for part in parts]
        smooth = [_averaged(part, steps, width) for part in each for width in _WIDTHS]
        features = torch.stack(smooth, dim=3)[:, 0]
        found.append(torch.where(steps[:, 0, :, None], features, torch.nan).double().cpu().numpy())
    return np.concatenate(found)


def count_step_statistics(model: FittedModel) -> int:
    """The k of `step_statistics`."""
    return len(_WIDTHS) * (2 if model.has_learnt(Window.CAUSAL) else 1)


def _surprise(likelihood: Likelihood, x: Tensor) -> Tensor:
    assert isinstance(likelihood, Columns)
    return -likelihood.log_prob(x) - 0.5 * likelihood.moments()[1].log()


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
