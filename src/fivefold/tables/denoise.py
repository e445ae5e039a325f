"""Find cells of a table that do not belong into their rows, and say what would."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from fivefold.errors import UsageError
from fivefold.items import Items
from fivefold.model.conditional import Conditional
from fivefold.model.conditioning import Conditioning
from fivefold.model.fitted import FittedModel
from fivefold.model.likelihoods import Likelihood
from fivefold.tables.statistics import alone

_WRONG = 0.05  # how many cells are, before any is looked at


@dataclass(frozen=True)
class DenoisedRows:
    """Rows `(n, 1, d, 1)` with what is most likely wrong replaced.

    Attributes
    ----------
    items : encoded cells
    replaced : bool, which cells are not as they were
    probability : float64, that a cell is wrong; NaN where it is missing
    expected : encoded cells as the others of their row have them
    """

    items: np.ndarray
    replaced: np.ndarray
    probability: np.ndarray
    expected: np.ndarray


@torch.inference_mode()
def denoise_rows(model: FittedModel, items: Items, threshold: float = 0.5) -> DenoisedRows:
    """Replace the cells that are wrong with a probability above `threshold`.

    A wrong cell is taken to be another row's. So one of probability p given its row, and m by its column alone, is wrong
    with w m / (w m + (1 - w) p), w = 0.05. That is looked at twice: the second time, what is suspect by the first tells
    nothing of the others.

    Raises `UsageError` if `threshold` is not between 0 and 1.
    """
    if not 0 < threshold < 1:
        raise UsageError(f"--threshold must be between 0 and 1, got {threshold:g}")
    found = DenoisedRows(
        items.values.copy(),
        np.zeros(items.values.shape, bool),
        np.full(items.values.shape, np.nan),
        np.empty(items.values.shape),
    )
    for rows, x, visible in model.batches(items):
        wrong, _ = _suspect(model, x, visible, visible)
        wrong, expected = _suspect(model, x, visible, visible & (wrong <= threshold))
        replaced = visible & (wrong > threshold)
        for place, tensor in ((found.replaced, replaced), (found.probability, wrong.where(visible, torch.nan))):
            place[rows] = tensor.cpu().numpy().transpose(0, 2, 3, 1)
        found.expected[rows] = model.values(expected)
        found.items[rows] = np.where(found.replaced[rows], found.expected[rows], found.items[rows])
    return found


def _suspect(model: FittedModel, x: Tensor, visible: Tensor, trusted: Tensor) -> tuple[Tensor, Tensor]:
    """The probability that each visible cell is wrong, and what the trusted others say of it: `(n, 1, 1, d)`."""
    seen = torch.where(trusted, x, 0.0)
    given = Conditional(model, Conditioning.NOISY, seen, trusted, model.vae.posterior(seen, trusted).mu)
    cells = x.flatten(1)

    def measure(likelihood: Likelihood, items: Tensor, elements: Tensor) -> Tensor:
        log_prob = likelihood.log_prob(cells[items, elements].view(-1, 1, 1, 1))
        return torch.stack((log_prob, likelihood.point()), dim=1).view(-1, 2)

    log_prob, expected = given.map(measure)
    odds = alone(model, x) - log_prob + np.log(_WRONG / (1 - _WRONG))
    return torch.sigmoid(odds), expected
