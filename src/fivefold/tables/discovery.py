"""The search for relations between a table's columns: candidates from few rows, verified in all; see `relations`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from fivefold.tables.relations import Dependency, Formula, Key, Order, Relation, Relations
from fivefold.tables.schema import TableSchema

_SAMPLE = 2000  # rows among which relations are looked for
_FEW, _MOST_AMONG_FEW = 64, 0.2  # rows that are tried first, and the share of them that may break an order
_EXCEPTIONS = 0.01  # share of rows that may break a relation
_EVIDENCE = 20.0  # nats by which a relation is less probable by chance
_MOST_NUMBERS = 256  # columns of numbers among which formulas are looked for
_MOST_CANDIDATES = 200
_FEWEST_ROWS = 20
_MOST_TERMS = 12
_EXACT, _NEARLY = 1e-12, 1e-9  # relative errors of float64: of sums, and of weights by least squares
_TRIALS = 6


def find_relations(cells: np.ndarray, schema: TableSchema) -> Relations | None:
    """Those of a table's rows, encoded `(n, d)`; None if there are none.

    Candidates come from at most 2,000 rows, and are verified in all. A relation is one if at most 1 % of the rows break it, and
    if that many rows would hardly hold it by chance.
    """
    if len(cells) < _FEWEST_ROWS:
        return None
    sample = cells[:: -(-len(cells) // _SAMPLE)]
    formulas = _find_formulas(sample, cells, schema)
    orders = _find_orders(sample, cells, schema, formulas)
    dependencies = _find_dependencies(sample, cells, schema, formulas)
    found: list[Relation] = [*dependencies, *orders, *formulas, *_find_keys(cells, schema)]
    return Relations.of(found) if found else None


def _numbers(schema: TableSchema) -> np.ndarray:
    """Columns of numbers that are not all the same."""
    return np.array(
        [at for at, column in enumerate(schema.columns) if not column.classes and column.low < column.high], int
    )


def _find_formulas(sample: np.ndarray, cells: np.ndarray, schema: TableSchema) -> list[Formula]:
    """Sums and products; of those that follow from each other the most exact and shortest; none in a circle."""
    found = list[tuple[tuple[int, int, bool], Formula]]()
    for product in (False, True):
        numbers = _numbers(schema)[:_MOST_NUMBERS]
        if product:
            columns = [schema.columns[at] for at in numbers]
            numbers = numbers[[column.low > 0 and column.kind != "datetime" for column in columns]]
        values = np.log(sample[:, numbers]) if product else sample[:, numbers]
        for places in _candidates(values)[:_MOST_CANDIDATES]:
            fitted = _fit_formula(sample, cells, numbers[list(places)], product, schema)
            if fitted is not None:
                tier, formula = fitted
                found.append(((tier, len(places), product), formula))
    parents, vectors = dict[int, set[int]](), list[np.ndarray]()
    chosen = []
    for _, formula in sorted(found, key=lambda ranked: ranked[0]):
        vector = np.zeros(2 * schema.size)  # sums in the first half, products in the second
        scales = [1.0 if formula.product else schema.columns[at].spread for at in formula.cells]
        vector[np.array(formula.cells) + formula.product * schema.size] = [*formula.weights, -1.0] * np.array(scales)
        pair = len(formula.columns) == 1 and {formula.target} == parents.get(formula.columns[0])
        if formula.target in parents or pair or _reaches(parents, formula) or not _is_independent(vector, vectors):
            continue
        vectors.append(vector)
        parents[formula.target] = set(formula.columns)
        chosen.append(formula)
    return _in_turn(chosen)


def _in_turn(formulas: list[Formula]) -> list[Formula]:
    """What others need comes first."""
    ordered = list[Formula]()
    while formulas:
        targets = {formula.target for formula in formulas}
        ready = [formula for formula in formulas if not targets & set(formula.columns)]
        ordered += ready
        formulas = [formula for formula in formulas if formula not in ready]
    return ordered


def _reaches(parents: dict[int, set[int]], formula: Formula) -> bool:
    """Whether the formula's target is needed for one of its own columns."""
    waiting, seen = list(formula.columns), set[int]()
    while waiting:
        at = waiting.pop()
        if at == formula.target:
            return True
        if at not in seen:
            seen.add(at)
            waiting += parents.get(at, ())
    return False


def _is_independent(vector: np.ndarray, vectors: list[np.ndarray]) -> bool:
    if not vectors:
        return True
    basis = np.stack(vectors, axis=1)
    rest = vector - basis @ np.linalg.lstsq(basis, vector, rcond=None)[0]
    return bool(np.linalg.norm(rest) > 1e-3 * np.linalg.norm(vector))


def _candidates(values: np.ndarray) -> list[tuple[int, ...]]:
    """Sets of columns of `values` `(n, k)` between which a linear relation may hold, those of fewest first.

    They are the supports of a sparse basis of the null space of random rows, of each numerical rank that these may have.
    """
    if values.shape[1] < 2:
        return []
    rng = np.random.default_rng(0)
    columns = np.arange(values.shape[1])
    missing = np.isnan(values)
    while len(columns) > 1 and (~missing[:, columns].any(1)).sum() < 2 * len(columns) + 10:
        columns = np.delete(columns, missing[:, columns].sum(0).argmax())
        if not missing[:, columns].any():
            break
    rows = np.flatnonzero(~missing[:, columns].any(1))
    count = 2 * len(columns) + 10
    if len(rows) < count:
        return _pairs(values)
    found = set[tuple[int, ...]]()
    for _ in range(_TRIALS):
        part = values[np.ix_(rng.choice(rows, count, replace=False), columns)]
        deviation = part.std(0)
        scale = np.where(deviation > 0, deviation, 1.0)
        _, singular, directions = np.linalg.svd((part - part.mean(0)) / scale, full_matrices=False)
        singular = singular / np.sqrt(count)
        for size in {int((singular < border).sum()) for border in (1e-8, 1e-5, 1e-4, 1e-3, 1e-2, 5e-2)} - {0}:
            for order in (np.argsort(deviation), np.argsort(-deviation)):
                for row in _sparse_basis(directions[-size:], order):
                    for least in (1e-3, 2e-2):
                        support = np.flatnonzero(np.abs(row) > least * np.abs(row).max())
                        if 2 <= len(support) <= _MOST_TERMS:
                            found.add(tuple(columns[support].tolist()))
    return sorted(found, key=lambda places: (len(places), places))


def _pairs(values: np.ndarray) -> list[tuple[int, ...]]:
    """Pairs of columns that are all but perfectly correlated."""
    centred = values - np.nanmean(values, axis=0)
    filled = np.nan_to_num(centred)
    length = np.maximum(np.linalg.norm(filled, axis=0), 1e-300)
    correlation = np.triu(np.abs(filled.T @ filled) / np.outer(length, length), 1)
    return [(int(a), int(b)) for a, b in np.argwhere(correlation > 1 - 1e-4)[:1000]]


def _sparse_basis(rows: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Reduced row echelon form, pivots in that order of the columns."""
    rows, done = rows.copy(), 0
    for column in order:
        if done == len(rows):
            break
        pivot = done + int(np.abs(rows[done:, column]).argmax())
        if abs(rows[pivot, column]) < 0.05:
            continue
        rows[[done, pivot]] = rows[[pivot, done]]
        rows[done] /= rows[done, column]
        others = np.arange(len(rows)) != done
        rows[others] -= np.outer(rows[others, column], rows[done])
        done += 1
    return rows[:done]


def _fit_formula(
    sample: np.ndarray, cells: np.ndarray, columns: np.ndarray, product: bool, schema: TableSchema
) -> tuple[int, Formula] | None:
    """The formula between the columns that is exact, or else rounded least, and of the plainest weights; None if none holds.

    Of which tolerance it is comes first; see `_round_weights`.
    """
    rows = sample[~np.isnan(sample[:, columns]).any(1)]
    if len(rows) < 3 * len(columns) + _FEWEST_ROWS:
        return None
    values = np.log(rows[:, columns]) if product else rows[:, columns]
    centre, spread = np.median(values, axis=0), np.maximum(values.std(0), 1e-300)
    scaled, kept = (values - centre) / spread, np.arange(len(values))
    for _ in range(5):  # least trimmed squares: exceptions must not bend it
        weights, _, _, _ = np.linalg.lstsq(np.c_[scaled[kept, :-1], np.ones(len(kept))], scaled[kept, -1], rcond=None)
        off = np.abs(scaled[:, :-1] @ weights[:-1] + weights[-1] - scaled[:, -1])
        kept = np.argsort(off, kind="stable")[: max(int(0.9 * len(off)), len(columns) + 2)]
    vector = np.append(weights[:-1], -1.0) / spread
    vector = np.append(weights[:-1], -1.0) / spread
    steps = np.array([schema.columns[at].step for at in columns])
    rounding = np.abs(vector) * (steps / (rows[:, columns] if product else 1.0) + _NEARLY * np.abs(values))
    if (off / spread[-1] > 2 * rounding.sum(1)).mean() > 0.1:
        return None
    best: tuple[tuple[float, ...], Formula] | None = None
    for place in np.flatnonzero(np.abs(vector) * spread > 1e-6):
        others = np.delete(np.arange(len(columns)), place)
        order = [*columns[others], columns[place]]
        found = _round_weights(rows, order, -vector[others] / vector[place], product, schema)
        if found is None:
            continue
        tier, formula = found
        close = np.round(np.log10(formula.tolerance / rows[:, formula.target].std())) if tier else -np.inf
        signs = sum(weight < 0 for weight in formula.weights), formula.constant < 0
        rank = (close, tier, sum(abs(weight) != 1 for weight in formula.weights), *signs, -spread[place])
        if (best is None or rank < best[0]) and _holds(formula, cells):
            best = rank, formula
    return None if best is None else (int(best[0][1]), best[1])


def _round_weights(
    rows: np.ndarray, columns: Sequence[int], ratios: np.ndarray, product: bool, schema: TableSchema
) -> tuple[int, Formula] | None:
    """The formula for the last of the columns, of the closest tolerance and then the plainest weights; and which tolerance.

    Tolerances are what floating-point numbers are off, what the target was rounded, what all columns were rounded.
    """
    about = [schema.columns[at] for at in columns]
    steps, target = np.array([column.step for column in about]), int(columns[-1])
    relative = 1e-6 if any(column.dtype in ("float", "halffloat") for column in about) else _EXACT
    for tier in range(2 if product else 3):
        for digits in range(1, 7):
            weights = [float(f"{ratio:.{digits}g}") for ratio in ratios]
            if 0.0 in weights or (product and any(weight != round(weight) for weight in weights)):
                break
            neutral = 1.0 if product else 0.0
            base = Formula(target, tuple(map(int, columns[:-1])), tuple(weights), neutral, product, 0.0)
            value, met = base.value(rows), rows[:, target]
            size = np.abs(value) if product else np.abs(rows[:, columns[:-1]]) @ np.abs(weights)
            tolerance = relative * float((size + np.abs(met)).max())
            tolerance += 0.5001 * float((0, steps[-1], steps[-1] + np.abs(weights) @ steps[:-1])[tier])
            middle = float(np.median(met / value if product else met - value))
            for constant in _plain_constants(middle, float(steps[-1]), product):
                formula = replace(base, constant=constant, tolerance=tolerance)
                if formula.broken(rows).mean() <= _EXCEPTIONS and _is_evident(formula, rows, tier):
                    return tier, formula
    return None


def _plain_constants(middle: float, step: float, product: bool) -> list[float]:
    """A constant rounded more and more finely."""
    if product:
        return [float(f"{middle:.{digits}g}") for digits in (1, 2, 3, 4)]
    return [0.0, round(middle / step) * step if step else float(f"{middle:.6g}"), middle]


def _holds(formula: Formula, cells: np.ndarray) -> bool:
    """Whether few rows break it of those that show all its columns."""
    seen = ~np.isnan(cells[:, list(formula.cells)]).any(1)
    return bool(formula.broken(cells[seen]).mean() <= _EXCEPTIONS)


def _is_evident(formula: Formula, rows: np.ndarray, tier: int) -> bool:
    """Whether it would rarely hold with the target of another row."""
    rng = np.random.default_rng(0)
    other = rows.copy()
    other[:, formula.target] = rng.permutation(rows[:, formula.target])
    by_chance = max(float((~formula.broken(other)).mean()), 1 / len(rows))
    enough = len(rows) * -np.log(by_chance) >= _EVIDENCE + 5 * len(formula.cells)
    return bool(enough and by_chance <= (0.9, 0.3, 0.1)[tier])


def _find_orders(
    sample: np.ndarray, cells: np.ndarray, schema: TableSchema, formulas: Sequence[Formula]
) -> list[Order]:
    """Pairs of numbers, or of times, of which one is never greater, though the other rows' often are."""
    numbers, found = _numbers(schema), []
    times = np.array([schema.columns[at].kind == "datetime" for at in numbers], bool)
    for group in (numbers[times], numbers[~times]):
        values, few = sample[:, group], sample[:: -(-len(sample) // _FEW), group]
        above, seen, chance = (np.zeros((len(group), len(group))) for _ in range(3))
        with np.errstate(invalid="ignore"):
            for place in range(len(group)):
                others = np.flatnonzero((few[:, [place]] > few).mean(0) <= _MOST_AMONG_FEW)
                own, theirs = values[:, [place]], values[:, others]
                above[place, others] = (own > theirs).sum(0)
                seen[place, others] = (~np.isnan(own) & ~np.isnan(theirs)).sum(0)
                chance[place, others] = sum((np.roll(own, shift) > theirs).sum(0) for shift in (1, 3, 7)) / 3
        enough = (chance >= _EVIDENCE + 2 * np.log(max(len(group), 1))) & (chance >= 0.05 * seen)
        for low, high in np.argwhere(enough & (above <= _EXCEPTIONS * seen)):
            order = Order(int(group[low]), int(group[high]))
            if low != high and order.broken(cells).mean() <= _EXCEPTIONS:
                found.append(order)
    implied = {order.cells for order in found if any(_implies(formula, order, schema) for formula in formulas)}
    pairs = {order.cells for order in found} - implied
    middles = {at for pair in pairs for at in pair}
    return [
        Order(low, high)
        for low, high in sorted(pairs)
        if not any((low, at) in pairs and (at, high) in pairs for at in middles - {low, high})
    ]


def _implies(formula: Formula, order: Order, schema: TableSchema) -> bool:
    """Whether two columns alone are in a formula, or the greater is a sum of what is never negative."""
    if set(formula.cells) == set(order.cells):
        return True
    if formula.product or order.upper != formula.target or order.lower not in formula.columns:
        return False
    own = formula.weights[formula.columns.index(order.lower)]
    others = [schema.columns[at].low >= 0 for at in formula.columns if at != order.lower]
    return own >= 1 and formula.constant >= 0 and min(formula.weights) > 0 and all(others)


def _find_dependencies(
    sample: np.ndarray, cells: np.ndarray, schema: TableSchema, formulas: Sequence[Formula]
) -> list[Dependency]:
    """Columns of few values that determine others, or where these are missing."""
    found = dict[tuple[int, int], Dependency]()
    pairs = {formula.target: formula.columns[0] for formula in formulas if len(formula.columns) == 1}
    evidence = _EVIDENCE + 2 * np.log(schema.size)
    for at, column in enumerate(schema.columns):
        if not (column.classes or column.is_whole) or at in pairs:
            continue
        keys, codes = np.unique(cells[:, at], return_inverse=True, equal_nan=True)
        keys = keys[~np.isnan(keys)]
        if not 2 <= len(keys) <= min(4096, len(cells) / 3):
            continue
        candidates = _constant_in_groups(sample, at)
        for target in candidates:
            if target != at and pairs.get(int(target)) != at:
                exceptions = _EXCEPTIONS if column.classes else 0.0  # classes may nearly be separated by any number
                relation = _verify_dependency(cells, at, int(target), keys, codes, evidence, exceptions)
                if relation is not None:
                    found[at, int(target)] = relation
        for target in np.flatnonzero(np.isnan(cells).any(0)):
            if target != at and (at, int(target)) not in found:
                relation = _find_absence(cells, at, int(target), keys, codes, evidence)
                if relation is not None:
                    found[at, int(target)] = relation
    return _without_detours(found)


def _constant_in_groups(sample: np.ndarray, column: int, most: int = 5) -> np.ndarray:
    """Columns of which rows that agree in `column` mostly agree, too."""
    given = sample[:, column]
    order = np.argsort(given, kind="stable")
    order = order[~np.isnan(given[order])]
    starts = np.flatnonzero(np.r_[True, np.diff(given[order]) != 0])
    rank = np.arange(len(order)) - np.repeat(starts, np.diff(np.r_[starts, len(order)]))
    order = order[rank < most]
    starts = np.flatnonzero(np.r_[True, np.diff(given[order]) != 0])
    sizes = np.diff(np.r_[starts, len(order)])
    if not (sizes > 1).any():
        return np.empty(0, np.int64)
    part = sample[order]
    lowest = np.minimum.reduceat(np.where(np.isnan(part), np.inf, part), starts)
    highest = np.maximum.reduceat(np.where(np.isnan(part), -np.inf, part), starts)
    return np.flatnonzero((lowest >= highest)[sizes > 1].mean(0) >= 0.8)


def _verify_dependency(
    cells: np.ndarray,
    column: int,
    target: int,
    keys: np.ndarray,
    codes: np.ndarray,
    evidence: float,
    exceptions: float,
) -> Dependency | None:
    """It, if few rows have another value than most of their key's, and if that is not by chance."""
    rows = np.flatnonzero((codes < len(keys)) & ~np.isnan(cells[:, target]))
    values, places, shares = np.unique(cells[rows, target], return_inverse=True, return_counts=True)
    if len(rows) == 0 or len(values) < 2:
        return None
    pairs, counts = np.unique(codes[rows] * len(values) + places, return_counts=True)
    own = pairs // len(values)
    order = np.lexsort((-counts, own))
    first = order[np.r_[True, np.diff(own[order]) != 0]]
    chosen, agreeing = pairs[first] % len(values), counts[first]
    surprise = ((agreeing - 1) * -np.log(shares[chosen] / len(rows))).sum()
    if agreeing.sum() < (1 - exceptions) * len(rows) or surprise < evidence or len(np.unique(chosen)) < 2:
        return None
    met = np.bincount(codes[rows], minlength=len(keys))[own[first]]
    if np.median(met) < 2:
        return None
    return Dependency(
        column, target, tuple(keys[own[first]].tolist()), tuple(values[chosen].tolist()), tuple(met.tolist())
    )


def _find_absence(
    cells: np.ndarray, column: int, target: int, keys: np.ndarray, codes: np.ndarray, evidence: float
) -> Dependency | None:
    """Values of a column with which the target is missing, as it is not with the others."""
    missing = np.isnan(cells[:, target])
    met = np.bincount(codes, minlength=len(keys) + 1)[: len(keys)]
    lacking = np.bincount(codes[missing], minlength=len(keys) + 1)[: len(keys)]
    never = (lacking >= (1 - _EXCEPTIONS) * met) & (met > 0)
    if not never.any() or never.all() or met[never].sum() * -np.log(missing.mean()) < evidence:
        return None
    rest = lacking[~never].sum() / met[~never].sum()
    if rest > 0.5 * missing.mean():
        return None
    return Dependency(
        column, target, tuple(keys[never].tolist()), (None,) * int(never.sum()), tuple(met[never].tolist())
    )


def _without_detours(found: dict[tuple[int, int], Dependency]) -> list[Dependency]:
    """Without those that follow from two others, or from the same one the other way round; what determines comes first."""
    pairs = {pair for pair, relation in found.items() if not relation.is_absence}
    pairs -= {(a, b) for a, b in pairs if (b, a) in pairs and b < a}
    middles = {at for pair in pairs for at in pair}
    direct = {(a, b) for a, b in pairs if not any((a, at) in pairs and (at, b) in pairs for at in middles - {a, b})}
    ordered, waiting = [], sorted(direct)
    while waiting:
        targets = {b for _, b in waiting}
        ready = [pair for pair in waiting if pair[0] not in targets] or waiting
        ordered += ready
        waiting = [pair for pair in waiting if pair not in ready]
    absent = [pair for pair, relation in found.items() if relation.is_absence]
    return [found[pair] for pair in (*ordered, *absent)]


def _find_keys(cells: np.ndarray, schema: TableSchema) -> list[Key]:
    """Integers that all differ, though so many drawn at random would not; dates that do only lie in one calendar."""
    found, n = [], len(cells)
    for at in _numbers(schema):
        column, values = schema.columns[at], cells[:, at]
        places = (column.high - column.low) / (column.step or 1.0) + 1
        if (
            column.kind == "integer"
            and n * n / (2 * places) >= _EVIDENCE
            and len(np.unique(values)) == n
            and not np.isnan(values).any()
        ):
            found.append(Key(int(at), n > 0.5 * places))
    return found
