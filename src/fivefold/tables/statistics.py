"""Statistics of rows for anomaly detection."""

from __future__ import annotations

from typing import cast

import numpy as np
import torch
from torch import Tensor

from fivefold.config import Conditioning
from fivefold.items import Items
from fivefold.model.conditional import Conditional
from fivefold.model.context import by_element, column
from fivefold.model.fitted import FittedModel
from fivefold.model.likelihoods import Likelihood
from fivefold.tables.likelihood import ColumnLikelihood, Support
from fivefold.tables.schema import TableSchema

_WIDTH = 0.6  # of a column's spread


@torch.inference_mode()
def row_statistics(model: FittedModel, items: Items) -> np.ndarray:
    """Minus log densities of the visible cells of each row, `(n, 3)` float64.

    By their columns alone, on average and the worst; and by the context decoder, each given all others, on average. Its
    distributions are smoothed: strange rows that the fit has met are predicted nearly as sharply as the normal ones, but
    few normal ones are near them. Where the context decoder has not learnt of missing cells, each is given those before it;
    where there is none, its row's code.
    """
    conditioning = Conditioning.MISSING if model.has_learnt(Conditioning.MISSING) else Conditioning.CAUSAL
    collected = np.empty((len(items), 3))
    for rows, x, visible in model.batches(items):
        values, wide = by_element(x), Support.of(cast(TableSchema, model.schema), x).log_width(x)

        def measure(likelihood: Likelihood, items: Tensor, elements: Tensor, values: Tensor = values) -> Tensor:
            assert isinstance(likelihood, ColumnLikelihood)
            return likelihood.smoothed(_WIDTH).log_prob(column(values[items, elements])).view(-1, 1)

        z = None if model.has_learnt(conditioning) else model.vae.posterior(x, visible).mu
        given = Conditional(model, conditioning, x, visible, z).map(measure)[0]
        by_column, by_row = (
            torch.where(visible, wide - log_prob, 0).flatten(1) for log_prob in (alone(model, x), given)
        )
        cells = visible.flatten(1).sum(1)
        worst = by_column.masked_fill(~visible.flatten(1), -torch.inf).amax(1).masked_fill(cells == 0, 0)
        statistics = by_column.sum(1) / cells.clamp_min(1), worst, by_row.sum(1) / cells.clamp_min(1)
        collected[rows] = torch.stack(statistics, dim=1).cpu().numpy()
    return collected


def count_statistics(model: FittedModel) -> int:
    """The k of `row_statistics`."""
    return 3


def alone(model: FittedModel, x: Tensor) -> Tensor:
    """Log probability of each cell by its column alone, nats."""
    log_prob: Tensor = model.calibrations["marginals"].log_prob(model.schema, x)
    return log_prob
