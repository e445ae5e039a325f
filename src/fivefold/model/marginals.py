"""How the cells of each column lie, the other columns left out of account."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from fivefold.data import Items
from fivefold.errors import ModelError
from fivefold.model.columns import Support
from fivefold.schema import TableSchema

_REACH, _PLACES = 12.0, 1537  # of the grid, on the columns' scale
_WIDTH = 0.4  # of the kernel, a logistic: its tails are what is far beyond all that was met
_BATCH = 1 << 16


@dataclass(frozen=True)
class Marginals:
    """A smooth density of each column of numbers, and how frequent classes are.

    Attributes
    ----------
    density : `(d, places)` float64: log density of numbers at places from -12 to 12 of their column's scale, per unit of
        it; of classes the log probability of each in turn
    """

    density: np.ndarray

    def __post_init__(self) -> None:
        if not (self.density.ndim == 2 and self.density.shape[1] == _PLACES and np.isfinite(self.density).all()):
            raise ModelError("the densities of the columns are damaged")

    def log_prob(self, schema: TableSchema, x: Tensor) -> Tensor:
        """Log probability of each cell of rows `(n, 1, 1, d)` on the unit scale, nats; of numbers, as `Columns` has it."""
        support = Support.of(schema, x)
        places = _places(support, x).flatten(0, 2).cpu().double().numpy()
        found = [np.interp(cells, np.arange(_PLACES), mine) for cells, mine in zip(places.T, self.density, strict=True)]
        density = torch.from_numpy(np.stack(found, axis=1)).to(x).view(x.shape)
        return density + support.log_width(x)


def fit_marginals(items: Items) -> Marginals:
    """From rows of a table; a column's hidden cells are left out."""
    schema = items.schema
    assert isinstance(schema, TableSchema)
    counts = np.zeros((schema.size, _PLACES))
    for rows in items.batches(_BATCH):
        unit, visible = (torch.from_numpy(part[:, 0, :, 0]) for part in items.unit(rows))
        x = unit.double()[:, None, None]
        places = _places(Support.of(schema, x), x).round().long().flatten(0, 2)
        for column, count in enumerate(counts):
            count += torch.bincount(places[visible[:, column], column], minlength=_PLACES).numpy()
    grid = np.linspace(-_REACH, _REACH, _PLACES)
    kernel = 0.25 / _WIDTH / np.cosh((grid[:, None] - grid) / (2 * _WIDTH)) ** 2
    density = np.empty_like(counts)
    for column, count in enumerate(counts):
        classes = schema.columns[column].classes
        share = (count + (np.arange(_PLACES) < classes)) / max(count.sum() + classes, 1)
        density[column] = np.log(np.maximum(share if classes else share @ kernel, 1e-300))
    return Marginals(density)


def _places(support: Support, x: Tensor) -> Tensor:
    """Where on the grid cells are."""
    numbers = (support.scaled(x).clamp(-_REACH, _REACH) + _REACH) * ((_PLACES - 1) / (2 * _REACH))
    return torch.where(support.classes > 0, support.codes(x), numbers)
