"""What a row looks like to the model, in numbers that tell the normal from the strange."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from fivefold.data import Items
from fivefold.model.columns import Columns
from fivefold.model.conditional import Conditional
from fivefold.model.context import Window, by_element, column
from fivefold.model.fitted import FittedModel
from fivefold.model.likelihoods import Likelihood

_WIDTH = 0.5  # of a column's spread


@torch.inference_mode()
def row_statistics(model: FittedModel, items: Items) -> np.ndarray:
    """Minus the log density per visible cell of each row by the context decoder, column after column, `(n, 1)` float64.

    The cells' distributions are smoothed: strange rows that the fit has met are told nearly as sharply as the normal ones,
    but few normal ones are near them.
    """
    found = np.empty((len(items), 1))
    for rows, x, visible in model.batches(items):
        values = by_element(x)

        def measure(likelihood: Likelihood, items: Tensor, elements: Tensor, values: Tensor = values) -> Tensor:
            assert isinstance(likelihood, Columns)
            told = column(values[items, elements])
            return (likelihood.smoothed(_WIDTH).log_prob(told) - likelihood.support.log_width(told)).view(-1, 1)

        nats = torch.where(visible, -Conditional(model, Window.CAUSAL, x, visible, None).map(measure)[0], 0)
        found[rows, 0] = (nats.flatten(1).sum(1) / visible.flatten(1).sum(1).clamp_min(1)).cpu().numpy()
    return found


def alone(model: FittedModel, x: Tensor) -> Tensor:
    """Log probability of each cell by its column alone, nats."""
    assert model.marginals is not None
    return model.marginals.log_prob(model.table_schema, x)
