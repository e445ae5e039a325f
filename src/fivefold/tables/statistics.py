"""Statistics of a table: marginal densities and quantiles of its columns; what anomaly detection compares of its rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import cast, final

import numpy as np
import torch
from torch import Tensor

from fivefold.config import Conditioning
from fivefold.errors import ModelError
from fivefold.items import Items
from fivefold.model.calibrations import AnomalyScore, excess_deviation
from fivefold.model.conditional import Conditional
from fivefold.model.context import by_element
from fivefold.model.fitted import FittedModel
from fivefold.model.likelihoods import Likelihood
from fivefold.model.threads import in_threads
from fivefold.tables.likelihood import ColumnLikelihood, Support
from fivefold.tables.looks import Looks
from fivefold.tables.neighbours import Memory, Neighbours
from fivefold.tables.relations import Relations
from fivefold.tables.schema import TableSchema
from fivefold.tables.settings import table_config

_REACH, PLACES = 12.0, 1537  # of the grid, on the columns' scale
_KERNEL_WIDTH = 0.4  # of a logistic: its tails are what is far beyond all that was met
_BATCH = 1 << 16
_LEVELS, _MOST_ROWS = 257, 100_000  # of the quantiles, and of those they are taken from
_MOST_PATTERNS = 4096  # rows
_DENSITIES, _BY_CODE = (0.5, 0.25, 0.25), 0.25  # what statistics count for beside a distance
SMOOTHED = 0.6  # of a column's spread


@dataclass(frozen=True)
class Marginals:
    """A smooth density of each column of numbers, its quantiles, and how frequent classes are.

    Attributes
    ----------
    density : `(d, places)` float64: log density of numbers at places from -12 to 12 of their column's scale, per unit of
        it; of classes the log probability of each in turn
    quantiles : `(d, levels)` float64, ascending: of the encoded cells, from the least to the greatest
    """

    density: np.ndarray
    quantiles: np.ndarray

    def __post_init__(self) -> None:
        d = len(self.density)
        if not (self.density.shape == (d, PLACES) and np.isfinite(self.density).all()):
            raise ModelError("the densities of the columns are damaged")
        if not (self.quantiles.shape == (d, _LEVELS) and (np.diff(self.quantiles) >= 0).all()):
            raise ModelError("the quantiles of the columns are damaged")

    def log_prob(self, schema: TableSchema, x: Tensor) -> Tensor:
        """Log probability of each cell of rows `(n, 1, 1, d)` on the unit scale, nats, as of `ColumnLikelihood`."""
        return self.log_density(schema, x) + Support.of(schema, x).log_width(x)

    def log_density(self, schema: TableSchema, x: Tensor) -> Tensor:
        """Likewise, of numbers per unit of their column's scale."""
        support = Support.of(schema, x)
        places = places_of(support, x).flatten(0, 2).cpu().double().numpy()
        log_densities = [
            np.interp(cells, np.arange(PLACES), log_density)
            for cells, log_density in zip(places.T, self.density, strict=True)
        ]
        return torch.from_numpy(np.stack(log_densities, axis=1)).to(x).view(x.shape)

    def calibrated(self, schema: TableSchema, cells: np.ndarray, drawn: np.ndarray, chance: np.ndarray) -> np.ndarray:
        """Encoded cells `(n, d)` mapped from the quantiles of `drawn` `(m, d)`, of the same kind, to those of the fit's columns.

        Numbers move to the quantiles that they are among those drawn; ties are broken by `chance` `(n, d)`.
        """
        moved, levels = cells.copy(), np.linspace(0, 1, _LEVELS)
        for number, column in enumerate(schema.columns):
            if not column.classes:
                order, values = np.sort(drawn[:, number]), cells[:, number]
                below, upto = (np.searchsorted(order, values, side) for side in ("left", "right"))
                level = (below + chance[:, number] * (upto - below)) / len(order)
                moved[:, number] = np.interp(level, levels, self.quantiles[number])
        return moved


@dataclass(frozen=True)
class MissingPatterns:
    """Which cells are missing together, as rows of the fit have it.

    Attributes
    ----------
    rows : `(m, bytes)` uint8, a bit per column, the lowest first
    """

    rows: np.ndarray

    def __post_init__(self) -> None:
        if not (self.rows.dtype == np.uint8 and self.rows.ndim == 2 and self.rows.size):
            raise ModelError("the patterns of missing cells are damaged")

    def sample(self, n: int, rng: np.random.Generator, columns: int) -> np.ndarray:
        """Of `n` rows `(n, columns)` bool; the first do not depend on `n`."""
        chosen = (rng.random(n) * len(self.rows)).astype(np.int64)
        return np.unpackbits(self.rows[chosen], axis=1, count=columns, bitorder="little").astype(bool)

    @classmethod
    def fit(cls, items: Items) -> MissingPatterns | None:
        """From at most 4,096 rows of a table; None if no cell is missing."""
        missing = ~items.visible()[:, 0, :, 0]
        if not missing.any():
            return None
        return cls(np.packbits(missing[:: -(-len(missing) // _MOST_PATTERNS)], axis=1, bitorder="little"))


@final
@dataclass(frozen=True)
class UpperTailScore(AnomalyScore):
    """How far statistics of rows, of which more is stranger, are above those of the rows of the fit.

    Attributes
    ----------
    centre, scale : `(k,)` float64, means and deviations of the statistics
    calibration : `(m,)` float64, ascending scores of held-out rows
    weight : `(k,)` float64, what each statistic counts for; empty: all for 1
    """

    centre: np.ndarray
    scale: np.ndarray
    calibration: np.ndarray
    weight: np.ndarray = field(default_factory=lambda: np.empty(0))

    def __post_init__(self) -> None:
        shapes = self.centre.ndim == 1 and self.scale.shape == self.centre.shape and len(self.centre) > 0
        shapes = shapes and self.weight.shape in ((0,), self.centre.shape) and bool((self.weight >= 0).all())
        if not (shapes and np.isfinite(self.centre).all() and np.isfinite(self.scale).all() and (self.scale > 0).all()):
            raise ModelError("the densities of the rows' statistics are damaged")
        self.check_order()

    @property
    def size(self) -> int:
        return len(self.centre)

    def score(self, statistics: np.ndarray) -> np.ndarray:
        """Log density of `(n, k)` statistics but for a constant, as if of normal upper tails: `(n,)` float64."""
        above = excess_deviation((statistics - self.centre) / self.scale)
        weighted = np.square(above) * self.weight if self.weight.size else np.square(above)
        log_density: np.ndarray = -0.5 * weighted.sum(axis=1)
        return log_density

    @classmethod
    def fit(cls, statistics: np.ndarray, held_out: np.ndarray, weight: np.ndarray) -> UpperTailScore:
        """From statistics `(n, k)` of all rows, held-out ones among them, and `(m, k)` of those that were held out."""
        scale = np.maximum(statistics.std(axis=0), 1e-9)
        unsorted = cls(statistics.mean(axis=0), scale, np.empty(0), weight)
        return unsorted.recalibrated(unsorted.score(held_out))


def relations_of(model: FittedModel) -> Relations | None:
    """Those found in the fit; raises `ModelError` if they are of other columns."""
    relations: Relations | None = model.calibrations.get("relations")
    return None if relations is None else relations.check(cast(TableSchema, model.schema))


def fit_marginals(items: Items) -> Marginals:
    """From rows of a table; a column's hidden cells are left out."""
    schema = items.schema
    assert isinstance(schema, TableSchema)
    counts = np.zeros((schema.size, PLACES))
    for rows in items.batches(_BATCH):
        unit, visible = (torch.from_numpy(part[:, 0, :, 0]) for part in items.unit(rows))
        x = unit.double()[:, None, None]
        places = places_of(Support.of(schema, x), x).round().long().flatten(0, 2)
        for column, count in enumerate(counts):
            count += torch.bincount(places[visible[:, column], column], minlength=PLACES).numpy()
    grid = np.linspace(-_REACH, _REACH, PLACES)
    kernel = 0.25 / _KERNEL_WIDTH / np.cosh((grid[:, None] - grid) / (2 * _KERNEL_WIDTH)) ** 2
    density = np.empty_like(counts)
    for column, count in enumerate(counts):
        classes = schema.columns[column].classes
        share = (count + (np.arange(PLACES) < classes)) / max(count.sum() + classes, 1)
        density[column] = np.log(np.maximum(share if classes else share @ kernel, 1e-300))
    return Marginals(density, np.stack([_quantiles(items, number) for number in range(schema.size)]))


def _quantiles(items: Items, number: int) -> np.ndarray:
    """Of a column's visible cells; of its centre, where there are none."""
    assert isinstance(items.schema, TableSchema)
    rows = slice(0, None, -(-len(items) // _MOST_ROWS))
    cells = items.values[rows, 0, number, 0][items.visible(rows)[:, 0, number, 0]]
    cells = cells if len(cells) else np.array([items.schema.columns[number].centre])
    return np.asarray(np.quantile(cells, np.linspace(0, 1, _LEVELS)))


def places_of(support: Support, x: Tensor) -> Tensor:
    """Where on the grid cells are."""
    numbers = (support.scaled(x).clamp(-_REACH, _REACH) + _REACH) * ((PLACES - 1) / (2 * _REACH))
    return torch.where(support.classes > 0, support.codes(x), numbers)


@torch.inference_mode()
def row_statistics(model: FittedModel, items: Items, met: bool = False) -> np.ndarray:
    """What is strange of rows, `(n, k)` float64; `met` are those of the fit, which are not compared with themselves.

    Minus log densities of the visible cells of each row: by their columns alone, on average and the worst; and by the context
    decoder, each given all others, on average. Its distributions are smoothed: strange rows that the fit has met are
    predicted nearly as sharply as the normal ones, but few normal ones are near them. Where the context decoder has not
    learnt of missing cells, each is given those before it; where there is none, its row's code.

    If there are relations that rows can break, how many they do. If the model has a memory, minus log density by the row's
    own code, on average; and distances to the nearest rows in the memory, see `Neighbours`.
    """
    relations, memory = relations_of(model), memory_of(model)
    collected = np.empty((len(items), len(statistics_weights(model))))
    cells = np.where(items.visible(), items.values, np.nan)[:, 0, :, 0]
    if relations is not None:
        collected[:, 3] = relations.broken(cells).sum(1)
    if relations is not None and items.repeated is not None:
        collected[:, 3] += items.repeated.sum(axis=(1, 2, 3))
    schema, marginals = cast(TableSchema, model.schema), model.calibrations["marginals"]
    given_others = _look(model)

    def measure(rows: slice, x: Tensor, visible: Tensor) -> None:
        shown = visible.flatten(1).sum(1)
        log_density, log_probs = marginals.log_density(schema, x), [given_others(x, visible)]
        if memory is not None:
            log_probs.append(model.vae.likelihood(model.vae.posterior(x, visible).mu).log_prob(x))
        costs = costs_of(Support.of(schema, x).log_width(x), visible, log_density, log_probs).cpu().numpy()
        collected[rows, :3] = costs[:, :3]
        if memory is not None:
            near = np.where(shown.cpu().numpy()[:, None] > 0, memory.log_distances(cells[rows], met), 0)
            collected[rows, -1 - near.shape[1] :] = np.column_stack((costs[:, 3], near))

    in_threads(model, measure, model.batches(items))
    return collected


def costs_of(width: Tensor, visible: Tensor, log_density: Tensor, log_probs: Sequence[Tensor]) -> Tensor:
    """Minus log densities of the visible cells of rows, `(n, 2 + m)`: by their columns alone, on average and the worst; and on
    average by each of m `log_probs`. Those, and the log widths of what numbers stand for, are `(n, 1, 1, d)`."""
    seen = visible.flatten(1)
    shown = seen.sum(1)
    by_column = torch.where(visible, -log_density, 0).flatten(1)
    worst = by_column.masked_fill(~seen, -torch.inf).amax(1).masked_fill(shown == 0, 0)
    sums = [by_column.sum(1), *(torch.where(visible, width - log_prob, 0).flatten(1).sum(1) for log_prob in log_probs)]
    means = [total / shown.clamp_min(1) for total in sums]
    return torch.stack([means[0], worst, *means[1:]], dim=1)


def _look(model: FittedModel) -> Callable[[Tensor, Tensor], Tensor]:
    """Log probability of each cell of rows `(n, 1, 1, d)` given the others, smoothed, from cells and their visibility."""
    conditioning = Conditioning.MISSING if model.has_learnt(Conditioning.MISSING) else Conditioning.CAUSAL
    if table_config(model.config).exact or conditioning is not Conditioning.MISSING:
        return lambda x, visible: _given_others(model, conditioning, x, visible)
    looks = model.derived("looks", Looks)
    return lambda x, visible: looks.log_prob(x, visible, SMOOTHED)


def _given_others(model: FittedModel, conditioning: Conditioning, x: Tensor, visible: Tensor) -> Tensor:
    """Log probability of each cell of rows `(n, 1, 1, d)`, smoothed, by the context decoder."""
    values = by_element(x)

    def measure(likelihood: Likelihood, items: Tensor, elements: Tensor) -> Tensor:
        assert isinstance(likelihood, ColumnLikelihood)
        return likelihood.smoothed(SMOOTHED).log_prob(values[items, elements].view(-1, 1, 1, 1)).view(-1, 1)

    z = None if model.has_learnt(conditioning) else model.vae.posterior(x, visible).mu
    return Conditional(model, conditioning, x, visible, z).map(measure)[0]


def memory_of(model: FittedModel) -> Neighbours | None:
    """The rows that the model remembers, or None; raises `ModelError` if they are of other columns."""
    memory: Memory | None = model.calibrations.get("memory")
    if memory is None:
        return None
    if memory.rows.shape[1] != model.schema.size:
        raise ModelError("the rows that others are compared with are of other columns")
    neighbours: Neighbours = model.derived("neighbours", lambda of: Neighbours(memory, cast(TableSchema, of.schema)))
    return neighbours


def statistics_weights(model: FittedModel) -> np.ndarray:
    """What each of `row_statistics` counts for, `(k,)`: with a memory, densities count for less than distances."""
    broken = [1.0] * (relations_of(model) is not None)
    if "memory" not in model.calibrations:
        return np.array([1.0, 1.0, 1.0, *broken])
    return np.array([*_DENSITIES, *broken, _BY_CODE, *np.ones(len(Neighbours.NORMS))])


def count_statistics(model: FittedModel) -> int:
    """The k of `row_statistics`."""
    return len(statistics_weights(model))


def alone(model: FittedModel, x: Tensor) -> Tensor:
    """Log probability of each cell by its column alone, nats."""
    log_prob: Tensor = model.calibrations["marginals"].log_prob(model.schema, x)
    return log_prob
