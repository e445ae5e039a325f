"""The mathematics of jobs on tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

import numpy as np
import pyarrow as pa
import torch
import torch.nn.functional as F
from torch import Tensor

from fivefold.config import Conditioning
from fivefold.errors import UsageError, suggest
from fivefold.items import Items
from fivefold.jobs.detect import Detection, apart
from fivefold.jobs.detect import by_itself as in_context
from fivefold.jobs.drift import remembered as from_calibrations
from fivefold.jobs.generate import Generated, by_quantile, draw_elements, draw_items
from fivefold.jobs.impute import impute_items
from fivefold.jobs.known import Least, known_by_codes, known_items
from fivefold.jobs.strangest import strangest_items
from fivefold.model.conditional import Conditional
from fivefold.model.fitted import FittedModel, channels_last
from fivefold.model.likelihoods import Likelihood
from fivefold.model.reference import Reference
from fivefold.model.scoring import encode_items
from fivefold.seeds import derive_seed
from fivefold.tables.cells import decode_column
from fivefold.tables.likelihood import ColumnLikelihood
from fivefold.tables.neighbours import Memory
from fivefold.tables.relations import Relations
from fivefold.tables.schema import TableSchema
from fivefold.tables.settings import table_config
from fivefold.tables.statistics import MissingPatterns, alone, memory_of, relations_of
from fivefold.tables.statistics import row_statistics as statistics
from fivefold.tables.table import as_items

_CODES_PER_ITEM = 2  # that exact imputation averages over
EXTRA_ROLE = "changes"
_WRONG = 0.05  # how many cells are, before any is looked at
_STRANGE, _SUSPECTS = 3.0, 3  # excess of a cell above which a row has a culprit, and among how many it is looked for
_COUNTED, _LOST = 10.0, 0.3  # of a cell's excess, at most, and the share of what others lose without a suspect
_REFERENCE, _FEWEST_REFERENCE, _REFERENCE_CELLS = 1000, 200, 100_000  # rows by which columns are calibrated
_KIND = 0.3  # what a cell's excess counts for beside its normal score, in telling kinds of strange rows apart
_BREACH = 10.0  # excess of a cell that breaks a relation
_REDRAWN = 5  # times that rows are drawn anew in which not all relations can hold

__all__ = [
    "EXTRA_ROLE",
    "apart",
    "compared",
    "consistent",
    "denoise",
    "draw",
    "filling",
    "find_wrong_cells",
    "generate",
    "in_context",
    "known",
    "remembered",
    "statistics",
    "strangest",
    "surprise",
    "watcher",
]


def denoise(
    model: FittedModel, items: Items, *, threshold: float = 0.5, seed: int = 0
) -> dict[str, tuple[np.ndarray, np.ndarray | None]]:
    """Rows with the cells replaced that are wrong with a probability above `threshold`; in the role `changes` `(n, 1, d, 2)`,
    what each is expected to be, and that probability.
    """
    probability, expected = find_wrong_cells(model, items, threshold)
    replaced = np.nan_to_num(probability) > threshold
    values = np.where(replaced, expected, items.values)
    return {"": (values, replaced), "changes": (np.concatenate((expected, probability), axis=3), replaced)}


@torch.inference_mode()
def find_wrong_cells(model: FittedModel, items: Items, threshold: float = 0.5) -> tuple[np.ndarray, np.ndarray]:
    """The probability that each cell is wrong, float64, NaN where it is missing; and each as the others of its row have it,
    encoded: both `(n, 1, d, 1)`.

    A wrong cell is taken to be another row's. So one of probability p given its row, and m by its column alone, is wrong
    with w m / (w m + (1 - w) p), w = 0.05. That is looked at twice: the second time, what is suspect by the first, above
    `threshold`, tells nothing of the others.
    """
    probability, expected = np.empty((2, *items.values.shape))
    for rows, x, visible in model.batches(items):
        wrong, _ = _suspect(model, x, visible, visible)
        wrong, likely = _suspect(model, x, visible, visible & (wrong <= threshold))
        probability[rows] = wrong.where(visible, torch.nan).cpu().numpy().transpose(0, 2, 3, 1)
        expected[rows] = model.values(likely)
    return probability, expected


def filling(model: FittedModel) -> tuple[FittedModel, int]:
    """In single precision, by the posterior's mean alone (0 codes), unless it is to be exact; rows are drawn so, too."""
    return (model, _CODES_PER_ITEM) if table_config(model.config).exact else (model.single(), 0)


def draw(model: FittedModel, codes: np.ndarray, seed: int) -> np.ndarray:
    """See `draw_elements`; by quantiles, if the model is to be exact."""
    return draw_elements(model, codes, seed, by_quantile if table_config(model.config).exact else _by_choice)


def _by_choice(likelihood: Likelihood, chance: Tensor) -> Tensor:
    assert isinstance(likelihood, ColumnLikelihood)
    return likelihood.draw(chance)


def watcher(model: FittedModel) -> Callable[[Items], Items]:
    """Marks cells that repeat a key of a row before."""
    relations = relations_of(model)
    if relations is None:
        return lambda items: items
    met = relations.keys()

    def watch(items: Items) -> Items:
        cells = np.where(items.visible(), items.values, np.nan)[:, 0, :, 0]
        return replace(items, repeated=met.repeated(cells)[:, None, :, None])

    return watch


@torch.inference_mode()
def surprise(model: FittedModel, items: Items) -> np.ndarray:
    """How far each cell costs more than expected, given the others of its row: `(n, 1, d, 1)` float32, 0 where missing.

    A wrong cell makes others of its row look wrong. So in a row with a cell above 3 spreads, the three highest are hidden in
    turn; the one is the culprit that has the highest excess together with 0.3 of what the others lose without it, no cell
    counting for more than 10. The others are then given without the culprit. A cell that breaks a relation has 10 more.
    """
    found = np.empty(items.values.shape, np.float32)
    for rows, x, visible in model.batches(items):
        excess = _excess(model, x, visible)
        strange = (excess > _STRANGE).flatten(1).any(1)
        if strange.any():
            excess[strange] = _without_culprit(model, x[strange], visible[strange], excess[strange])
        found[rows] = channels_last(excess)
    if (relations := relations_of(model)) is not None:
        cells = np.where(items.visible(), items.values, np.nan)[:, 0, :, 0]
        found += (_BREACH * relations.suspects(cells))[:, None, :, None].astype(found.dtype)
    if items.repeated is not None:
        found += found.dtype.type(_BREACH) * items.repeated
    return found


def remembered(model: FittedModel) -> Reference:
    """See `Jobs`: the rows of the memory."""
    memory: Memory | None = model.calibrations.get("memory")
    if memory is None:
        return from_calibrations(model)
    return Reference(encode_items(model, _memory_items(model))[0], memory.cells)


def _memory_items(model: FittedModel) -> Items:
    return as_items(model.calibrations["memory"].cells, cast(TableSchema, model.schema), "memory")


def compared(items: Items) -> tuple[np.ndarray, Sequence[str], Sequence[int]]:
    """See `Jobs`: the cells."""
    schema = cast(TableSchema, items.schema)
    cells = np.where(items.visible(), items.values, np.nan)[:, 0, :, 0]
    return cells, schema.names, [column.classes for column in schema.columns]


def known(model: FittedModel, data: Any) -> Least:
    """See `Jobs`: by the cells' normal scores, as of `Neighbours`, and how surprising each is."""
    memory = memory_of(model)
    if memory is None:
        return known_by_codes(model, data)

    def place(items: Items) -> Tensor:
        strange = np.clip(surprise(model, items)[:, 0, :, 0], 0, _COUNTED) * _KIND
        return torch.from_numpy(np.hstack((memory.normal_scores(compared(items)[0]), strange)))

    others = model.derived("kinds", lambda of: place(_memory_items(of)))
    return known_items(model, data, others, place, norm=1.0)


def strangest(model: FittedModel, data: Any, top: int, false_alarm_rate: float, known: Any) -> Detection:
    """See `Jobs`; of each row the cell, as the column spells it."""
    return strangest_items(model, data, top, false_alarm_rate, known, _as_cells)


def _as_cells(schema: TableSchema, elements: np.ndarray, found: np.ndarray, expected: np.ndarray) -> dict[str, Any]:
    columns = [schema.columns[element] for element in elements.tolist()]
    texts = {
        name: pa.array(
            decode_column(column, np.array([value]), pa.large_string())[0].as_py()
            for column, value in zip(columns, values.tolist(), strict=True)
        )
        for name, values in (("found", found), ("expected", expected))
    }
    return {"column": [column.name for column in columns], **texts}


def _without_culprit(model: FittedModel, x: Tensor, visible: Tensor, excess: Tensor) -> Tensor:
    """The `excess` of the cells of rows, of all but the culprit given the others without it: `(n, 1, 1, d)`."""
    columns, counted = x.shape[3], excess.clamp(0, _COUNTED)
    most, result = excess.new_full((len(x),), -torch.inf), excess
    for cells in excess.flatten(1).topk(min(_SUSPECTS, columns)).indices.unbind(1):
        suspect = F.one_hot(cells, columns).bool().view(x.shape)
        others = _excess(model, x, visible & ~suspect)
        lost = torch.where(suspect, counted, _LOST * (counted - others.clamp(0, _COUNTED))).flatten(1).sum(1)
        better = (lost > most).view(-1, 1, 1, 1)
        most = torch.maximum(lost, most)
        result = torch.where(better, torch.where(suspect, excess, others), result)
    return result


def _excess(model: FittedModel, x: Tensor, visible: Tensor) -> Tensor:
    """Of the visible cells of rows, given the other visible ones; by the context decoder alone, as z has seen the cell itself."""
    conditioning = Conditioning.MISSING if model.has_learnt(Conditioning.MISSING) else Conditioning.CAUSAL
    z = None if model.has_learnt(conditioning) else model.vae.posterior(x, visible).mu
    given = Conditional(model, conditioning, torch.where(visible, x, 0.0), visible, z)
    return torch.where(visible, given.excess(x), 0.0)


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


def generate(
    model: FittedModel,
    n: int,
    seed: int,
    *,
    given: Mapping[str, Any] | None = None,
    temperature: float = 1.0,
    free: bool = False,
    complete: bool = False,
) -> Generated:
    """`n` new rows, their numbers at the columns' steps and in the ranges met in the fit.

    Codes are drawn from the fitted prior and, with a context decoder, the cells column after column; then each column's
    numbers are moved to the quantiles of the training rows that they have among many rows so drawn. If some cells are
    `given`, codes come from the posterior given those, and the others are drawn together as in `impute`. Relations between
    columns hold, unless `free`; cells are missing as together as in the fit, unless `complete`.

    Raises `UsageError` if there is no such column, or what is given can't be one of its cells.
    """
    schema = cast(TableSchema, model.schema)
    row = encode_given(schema, given or {})
    cells = complete_rows(model, n, seed, row) if given else _draw_rows(model, n, seed, temperature)
    relations, fixed = relations_of(model), ~np.isnan(row) & np.ones((n, 1), bool)
    if relations is not None and not free:
        rng = np.random.default_rng(derive_seed(seed, "relations"))
        cells = relations.hold(cells, ~fixed, schema, rng)
        for number in range(0 if given else _REDRAWN):
            broken = relations.broken(cells).any(1)
            if not broken.any():
                break
            others = _draw_rows(model, n, derive_seed(seed, f"again {number}"), temperature)
            cells[broken] = relations.hold(others, ~fixed, schema, rng)[broken]
    if not complete:
        missing = _draw_missing(model, cells, seed, None if free else relations)
        cells = np.where(missing & ~fixed, np.nan, cells)
    return Generated(cells[:, None, :, None], counts={"rows": n})


def _draw_rows(model: FittedModel, n: int, seed: int, temperature: float) -> np.ndarray:
    """New rows `(n, d)`, encoded, from the prior."""
    schema = cast(TableSchema, model.schema)
    model, _ = filling(model)
    sharp = model.has_learnt(Conditioning.CAUSAL)
    chance = np.random.default_rng(derive_seed(seed, "calibrate")).random((n, schema.size))
    rows = min(max(_REFERENCE_CELLS // schema.size, _FEWEST_REFERENCE), _REFERENCE)
    drawn, reference = (
        schema.snap(draw_items(model, count, stream, prior="fitted", sharp=sharp, temperature=factor))[:, 0, :, 0]
        for count, stream, factor in ((n, seed, temperature), (rows, derive_seed(0, "reference"), 1.0))
    )
    cells = model.calibrations["marginals"].calibrated(schema, drawn, reference, chance)
    return np.asarray(schema.snap(cells[:, :, None])[:, :, 0])


def _draw_missing(model: FittedModel, cells: np.ndarray, seed: int, relations: Relations | None) -> np.ndarray:
    """Which cells of new rows are missing, bool `(n, d)`: as in a row of the fit, or because another column says so."""
    patterns: MissingPatterns | None = model.calibrations.get("missing")
    if patterns is None:
        return np.zeros(cells.shape, bool)
    missing = patterns.sample(len(cells), np.random.default_rng(derive_seed(seed, "missing")), cells.shape[1])
    return missing if relations is None else relations.absent(cells, missing)


def consistent(model: FittedModel, items: Items, filled: np.ndarray) -> np.ndarray:
    """Completions of rows in which the relations between columns hold, as far as the visible cells let them."""
    relations = relations_of(model)
    if relations is None:
        return filled
    missing = np.isnan(items.values[:, 0, :, 0]) | ~items.visible()[:, 0, :, 0]
    schema = cast(TableSchema, model.schema)
    held = [relations.hold(rows[:, 0, :, 0], missing, schema) for rows in filled]
    return np.stack(held)[:, :, None, :, None]


def encode_given(schema: TableSchema, given: Mapping[str, Any]) -> np.ndarray:
    """Cells by column name as one encoded row `(d,)`, NaN where nothing is given; raises `UsageError`."""
    for name in given:
        if name not in schema.names:
            raise UsageError(f"`given` must name modelled columns, got {name}{suggest(str(name), schema.names)}")
    row = np.full(schema.size, np.nan)
    for name, value in given.items():
        place = schema.names.index(name)
        row[place] = schema.columns[place].parse(str(value))
    return row


def complete_rows(model: FittedModel, n: int, seed: int, row: np.ndarray) -> np.ndarray:
    """`n` rows `(n, d)` that have the cells of an encoded `row` `(d,)`, where it is not NaN; the others are drawn."""
    schema = cast(TableSchema, model.schema)
    items = as_items(np.tile(row, (n, 1)), schema, "given")
    drawn = impute_items(model, items, n_draws=1, seed=seed)[1]
    return np.asarray(np.where(items.visible(), items.values, schema.snap(drawn))[:, 0, :, 0])
