"""Jobs on tables as networks from columns to columns, for other runtimes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from fivefold.config import Conditioning
from fivefold.errors import UsageError
from fivefold.items import Items
from fivefold.jobs.codes import decode_items, encode
from fivefold.jobs.detect import calibrated
from fivefold.jobs.impute import impute_items
from fivefold.model.fitted import FittedModel
from fivefold.model.graph import Graph, Ranks
from fivefold.tables.context import TableContext
from fivefold.tables.distances import Distances
from fivefold.tables.jobs import statistics
from fivefold.tables.likelihood import Support
from fivefold.tables.looks import Looks
from fivefold.tables.relations import Dependency, Formula, Order, Relation
from fivefold.tables.schema import FARTHEST, Column, TableSchema
from fivefold.tables.settings import table_config
from fivefold.tables.statistics import (
    PLACES,
    SMOOTHED,
    Marginals,
    UpperTailScore,
    costs_of,
    memory_of,
    places_of,
    relations_of,
)

FILLED = ".imputed"  # after a column's name
_NO_TEXT = ""
_ROUNDING = 2e-6  # of scores, relative: a calibrating row counts itself by single precision of another kind, too


def graph(model: FittedModel, job: str, free: bool = False) -> Graph:
    """A job from columns, one input each, `(n,)`: float64, NaN where missing; texts of a category, empty where missing.

    Numbers are as they are, dates and times counts of the column's unit since 1970, truth values 0 and 1.

    Raises `UsageError` for a job, or a model, that a graph can't hold.
    """
    schema = cast(TableSchema, model.schema)
    if hashed := [column.name for column in schema.columns if column.hashed]:
        raise UsageError(
            f"column {hashed[0]!r} has too many categories: it goes by their hashes, which ONNX has no operator for"
        )
    if job == "decode":
        z = {"z": ((model.latent_dim,), torch.float32)}
        return Graph(_Decode(model), z, schema.names, {}, _labels(schema, "", False), _steps(schema, ""))
    if job not in _NETWORKS:
        raise UsageError(
            f"{job} of tables can't be exported: cells are asked for one after the other, each given what the last one told"
        )
    _check(model, job, free)
    network, outputs = _NETWORKS[job](model), _OUTPUTS[job]
    inputs = dict.fromkeys(schema.names, ((), torch.float64))
    texts = {column.name: (_codes(column), len(column.categories)) for column in schema.columns if _is_text(column)}
    if job == "impute":
        outputs = tuple(name + FILLED for name in schema.names)
        return Graph(network, inputs, outputs, texts, _labels(schema, FILLED, True), _steps(schema, FILLED))
    return Graph(network, inputs, outputs, texts)


def feeds(model: FittedModel, job: str, items: Items, free: bool = False) -> dict[str, np.ndarray]:
    """Rows, or of `decode` their codes, as graphs take them."""
    if job == "decode":
        return {"z": encode(model, items)[0]}
    cells = np.where(items.visible(), items.values, np.nan)[:, 0, :, 0]
    return _in_form(cast(TableSchema, model.schema), cells)


def results(model: FittedModel, job: str, items: Items, free: bool = False) -> dict[str, np.ndarray]:
    """What the job itself gives for rows, each by itself."""
    if job == "detect":
        normal = calibrated(model)
        score = normal.score(statistics(model, items))
        return {"score": score, "p_value": normal.p_value(score)}
    if job == "encode":
        return dict(zip(_OUTPUTS["encode"], encode(model, items), strict=True))
    if job == "decode":
        return _in_form(cast(TableSchema, model.schema), decode_items(model, encode(model, items)[0])[:, 0, :, 0])
    filled = impute_items(model, items, free=free)[0][:, 0, :, 0]
    found = _in_form(cast(TableSchema, model.schema), filled)
    return {name + FILLED: values for name, values in found.items()}


def _check(model: FittedModel, job: str, free: bool) -> None:
    """Raise `UsageError` for a model that does the job in a way of which there is no graph."""
    by_looks = not table_config(model.config).exact and model.has_learnt(Conditioning.MISSING)
    if job in ("detect", "impute") and not by_looks:
        raise UsageError(
            f"{job} of this model can't be exported: it looks at cells one by one in double precision, as with `exact`; fit anew"
        )
    if job == "impute" and not free and relations_of(model) is not None:
        raise UsageError(
            "impute of this model can't be exported: relations between columns are made to hold in a loop until nothing "
            "changes; without them, with `free`, it can"
        )


class _Cells(nn.Module):
    """Columns `(n,)` each as encoded cells `(n, d)`, NaN where missing."""

    def __init__(self, schema: TableSchema) -> None:
        super().__init__()
        self._columns = schema.columns

    def forward(self, columns: Sequence[Tensor]) -> Tensor:
        return torch.stack([self._of(*pair) for pair in zip(self._columns, columns, strict=True)], dim=1)

    def _of(self, column: Column, given: Tensor) -> Tensor:
        if _is_text(column):
            return torch.where(given < 0, torch.nan, given)
        for sentinel in _numbers(column.sentinels):
            given = torch.where(given == given.new_tensor(sentinel), torch.nan, given)
        if column.kind != "category":
            return given
        codes = torch.full_like(given, len(column.categories))
        for code, category in enumerate(_numbers(column.categories)):
            codes = torch.where(given == given.new_tensor(category), code, codes)
        return torch.where(torch.isnan(given), torch.nan, codes)


class _Unit(nn.Module):
    """`TableSchema.to_unit`, and its inverse, of cells `(n, d)`."""

    def __init__(self, schema: TableSchema) -> None:
        super().__init__()
        classes, low, extent, _, _ = schema.support
        self.classes, self.low, self.extent = map(_double, (classes, low, extent))
        names = "centre", "spread", "low", "high", "step"
        columns = [[getattr(column, name) for column in schema.columns] for name in names]
        self.centre, self.spread, self.least, self.greatest, self.step = map(_double, columns)
        self.whole = nn.Buffer(torch.tensor([column.is_whole for column in schema.columns]))

    def forward(self, cells: Tensor) -> tuple[Tensor, Tensor]:
        """On the unit scale, float32 with 0 where missing, and what is visible: both `(n, 1, 1, d)`."""
        numbers = (torch.asinh((cells - self.centre) / self.spread) - self.low) / self.extent
        unit = torch.where(self.classes > 0, cells / (self.classes - 1).clamp_min(1), numbers)
        visible = ~torch.isnan(cells)
        x = torch.where(visible, unit.clamp(-FARTHEST, 1 + FARTHEST).float(), 0.0)
        return x[:, None, None], visible[:, None, None]

    def inverse(self, unit: Tensor) -> Tensor:
        """Encoded cells `(n, d)` of `(n, 1, 1, d)`."""
        inside = unit[:, 0, 0].double().clamp(0, 1)
        numbers = self.centre + self.spread * torch.sinh(self.low + inside * self.extent)
        numbers = torch.where(self.whole, self._rounded(numbers), numbers)
        classes = torch.round(inside * (self.classes - 1))
        return torch.where(self.classes > 0, classes, numbers).maximum(self.least).minimum(self.greatest)

    def _rounded(self, numbers: Tensor) -> Tensor:
        step = torch.where(self.step > 0, self.step, 1.0)
        times, parts = torch.round(numbers / step), torch.round(1 / step)
        return torch.where(self.step > 0, torch.where(step < 1, times / parts, times * step), numbers)


class _Detect(nn.Module):
    """Columns to scores and p-values, both `(n,)` float64."""

    def __init__(self, model: FittedModel) -> None:
        super().__init__()
        schema = self._schema = cast(TableSchema, model.schema)
        self.cells, self.unit = _Cells(schema), _Unit(schema)
        self._looks = model.derived("looks", Looks)
        self._relations = () if (found := relations_of(model)) is None else tuple(found.all)
        marginals: Marginals = model.calibrations["marginals"]
        self.density = _double(marginals.density.reshape(-1))
        self.first = nn.Buffer(torch.arange(schema.size) * PLACES)
        memory = memory_of(model)
        self.vae = None if memory is None else model.vae
        self.distances = None if memory is None else Distances(memory, schema.numbers[:, 0])
        normal = cast(UpperTailScore, calibrated(model))
        self.centre, self.scale = _double(normal.centre), _double(normal.scale)
        self.weight = _double(normal.weight if normal.weight.size else np.ones(normal.size))
        self.ranks, self._count = Ranks(normal.calibration), len(normal.calibration)

    def forward(self, *columns: Tensor) -> tuple[Tensor, Tensor]:
        cells = self.cells(columns)
        above = (self._statistics(cells) - self.centre) / self.scale
        above = above.clamp_min(0) + torch.log(1 + torch.exp(-2 * above.abs())) / 2
        score = -0.5 * (above.square() * self.weight).sum(1)
        as_strange = self.ranks((score + _ROUNDING * (1 + score.abs()))[:, None], right=True)
        return score, (1 + as_strange[:, 0]).double() / (1 + self._count)

    def _statistics(self, cells: Tensor) -> Tensor:
        """`row_statistics`."""
        single, visible = self.unit(cells)
        x, support = single.double(), Support.of(self._schema, single.double())
        log_probs = [self._looks.of_batch(single, visible, SMOOTHED).double()]
        if self.vae is not None:
            log_probs.append(self.vae.likelihood(self.vae.posterior(x, visible).mu).log_prob(x))
        costs = costs_of(support.log_width(x), visible, self._log_density(places_of(support, x)), log_probs)
        parts = [costs[:, :3]]
        if self._relations:
            broken = torch.stack([_broken(relation, cells) for relation in self._relations], dim=1)
            parts.append(broken.double().sum(1, keepdim=True))
        if self.distances is not None:
            shown = visible[:, 0, 0].any(1, keepdim=True)
            parts += [costs[:, 3:], torch.where(shown, self.distances(cells), 0.0)]
        return torch.cat(parts, dim=1)

    def _log_density(self, places: Tensor) -> Tensor:
        """`Marginals.log_density` at places on the grid `(n, 1, 1, d)`: between two by linear interpolation."""
        below = places.floor().clamp(0, PLACES - 2)
        left, right = (self.density[self.first + below.long() + beside] for beside in (0, 1))
        return left + (right - left) * (places - below)


class _Encode(nn.Module):
    """Columns to posterior means and deviations, both `(n, latent_dim)` float32."""

    def __init__(self, model: FittedModel) -> None:
        super().__init__()
        schema = cast(TableSchema, model.schema)
        self.cells, self.unit, self.vae = _Cells(schema), _Unit(schema), model.vae

    def forward(self, *columns: Tensor) -> tuple[Tensor, Tensor]:
        x, visible = self.unit(self.cells(columns))
        posterior = self.vae.posterior(x.double(), visible)
        return posterior.mu.float(), posterior.std.float()


class _Decode(nn.Module):
    """Codes `(n, latent_dim)` float32 to columns."""

    def __init__(self, model: FittedModel) -> None:
        super().__init__()
        schema = self._schema = cast(TableSchema, model.schema)
        self.unit, self.vae = _Unit(schema), model.vae

    def forward(self, z: Tensor) -> tuple[Tensor, ...]:
        return _columns(self._schema, self.unit.inverse(self.vae.likelihood(z.double()).point()))


class _Impute(nn.Module):
    """Columns to columns without missing cells: those are as expected, given the posterior's mean and all that is visible."""

    def __init__(self, model: FittedModel) -> None:
        super().__init__()
        single = model.single()
        schema = self._schema = cast(TableSchema, model.schema)
        self.cells, self.unit, self.vae = _Cells(schema), _Unit(schema), single.vae
        self.context = cast(TableContext, single.context)

    def forward(self, *columns: Tensor) -> tuple[Tensor, ...]:
        cells = self.cells(columns)
        x, visible = self.unit(cells)
        _, features = self.vae.likelihood_and_features(self.vae.posterior(x, visible).mu)
        found = self.context.given_visible(x, visible, Conditioning.MISSING, features.coarse.flatten(1))
        missing = torch.isnan(cells)
        filled = torch.where(missing, self.unit.inverse(found.point()), cells)
        return _columns(self._schema, filled, missing)


_NETWORKS = {"detect": _Detect, "encode": _Encode, "impute": _Impute}
_OUTPUTS = {"detect": ("score", "p_value"), "encode": ("mean", "std"), "impute": ()}


def _broken(relation: Relation, cells: Tensor) -> Tensor:
    """`Relation.broken`: which rows it does not hold in, `(n,)`.

    Numbers that must be exact are tensors: others go through single precision on their way.
    """
    if isinstance(relation, Order):
        return cells[:, relation.lower] > cells[:, relation.upper]
    if isinstance(relation, Formula):
        parts, weights = cells[:, list(relation.columns)], cells.new_tensor(relation.weights)
        constant, tolerance = map(cells.new_tensor, (relation.constant, relation.tolerance))
        value = constant * (parts**weights).prod(1) if relation.product else constant + parts @ weights
        return (cells[:, relation.target] - value).abs() > tolerance
    broken = torch.zeros_like(cells[:, 0], dtype=torch.bool)
    if isinstance(relation, Dependency):
        given, target = cells[:, relation.column], cells[:, relation.target]
        for key, expected in zip(relation.keys, relation.values, strict=True):
            other = target != cells.new_tensor(torch.nan if expected is None else expected)
            broken = broken | ((given == cells.new_tensor(key)) & ~torch.isnan(target) & other)
    return broken


def _columns(schema: TableSchema, cells: Tensor, missing: Tensor | None = None) -> tuple[Tensor, ...]:
    """Encoded cells as columns; of texts codes, -1 where they are to stay as they came."""
    found = list[Tensor]()
    for at, column in enumerate(schema.columns):
        own = cells[:, at]
        if _is_text(column):
            own = own if missing is None else torch.where(missing[:, at], own, -1.0)
        elif column.kind == "category":
            own = cells.new_tensor([*_numbers(column.categories), torch.nan])[own.long()]
        found.append(own)
    return tuple(found)


def _in_form(schema: TableSchema, cells: np.ndarray) -> dict[str, np.ndarray]:
    """Encoded cells `(n, d)` as columns by name."""
    found = dict[str, np.ndarray]()
    for column, own in zip(schema.columns, cells.T, strict=True):
        if column.kind == "category":
            other = "?" * (1 + max(map(len, map(str, column.categories)))) if _is_text(column) else np.inf
            none = _NO_TEXT if _is_text(column) else np.nan
            values = [*column.categories, other, none]
            found[column.name] = np.array(values, object if _is_text(column) else np.float64)[
                np.where(np.isnan(own), len(values) - 1, own).astype(int)
            ]
        else:
            found[column.name] = np.ascontiguousarray(own)
    return found


def _labels(schema: TableSchema, ending: str, kept: bool) -> dict[str, tuple[tuple[str, ...], str | None]]:
    """Of columns of texts, by the outputs' names."""
    return {
        column.name + ending: ((*map(str, column.categories), _NO_TEXT), column.name if kept else None)
        for column in schema.columns
        if _is_text(column)
    }


def _steps(schema: TableSchema, ending: str) -> dict[str, float]:
    """Of whole numbers, by the outputs' names."""
    return {column.name + ending: column.step or 1.0 for column in schema.columns if column.is_whole}


def _codes(column: Column) -> dict[str, int]:
    """Of texts that are known."""
    missing = {str(sentinel): -1 for sentinel in (_NO_TEXT, *column.sentinels)}
    return missing | {str(category): code for code, category in enumerate(column.categories)}


def _is_text(column: Column) -> bool:
    return column.kind == "category" and isinstance(column.categories[0], str)


def _numbers(values: Sequence[object]) -> list[float]:
    """Those of values that are numbers, or read as such."""
    found = list[float]()
    for value in values:
        try:
            found.append(float(cast(float, value)))
        except ValueError:
            continue
    return found


def _double(numbers: object) -> nn.Buffer:
    return nn.Buffer(torch.tensor(np.asarray(numbers, np.float64)))
