"""What a row looks like to the model, in numbers that tell the normal from the strange."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from fivefold.data import Items
from fivefold.model.columns import Columns, Support
from fivefold.model.conditional import Conditional
from fivefold.model.context import by_element, column
from fivefold.model.fitted import FittedModel
from fivefold.model.likelihoods import Likelihood
from fivefold.model.window import Window

_WIDTH = 0.3  # of a column's spread


@torch.inference_mode()
def row_statistics(model: FittedModel, items: Items) -> np.ndarray:
    """How improbable the visible cells of each row are, `(n, 2)` float64: minus log densities, on average.

    By their columns alone; and by the context decoder, column after column. Its distributions are smoothed: strange rows
    that the fit has met are told nearly as sharply as the normal ones, but few normal ones are near them.
    """
    found = np.empty((len(items), 2))
    for rows, x, visible in model.batches(items):
        values, wide = by_element(x), Support.of(model.table_schema, x).log_width(x)

        def measure(likelihood: Likelihood, items: Tensor, elements: Tensor, values: Tensor = values) -> Tensor:
            assert isinstance(likelihood, Columns)
            return likelihood.smoothed(_WIDTH).log_prob(column(values[items, elements])).view(-1, 1)

        given = Conditional(model, Window.CAUSAL, x, visible, None).map(measure)[0]
        for place, log_prob in enumerate((alone(model, x), given)):
            improbable = torch.where(visible, wide - log_prob, 0).flatten(1).sum(1)
            found[rows, place] = (improbable / visible.flatten(1).sum(1).clamp_min(1)).cpu().numpy()
    return found


def alone(model: FittedModel, x: Tensor) -> Tensor:
    """Log probability of each cell by its column alone, nats."""
    assert model.marginals is not None
    return model.marginals.log_prob(model.table_schema, x)
