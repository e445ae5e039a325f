"""Relations between a table's columns: found in the rows of the fit, held by new and filled-in cells, checked in any row.

Rows are encoded cells `(n, d)`, float64, NaN where missing. A row breaks no relation of which it lacks a cell.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from fivefold.errors import ModelError
from fivefold.tables.schema import Column, TableSchema

_ROUNDS = 6  # in which relations that share columns are made to agree
_MOST_MET = 1 << 24  # values of a key, 8 bytes each
_SPREADING = 2  # of them, in which all cells of a sum move, not its target alone


@dataclass(frozen=True)
class Formula:
    """target = constant + Σ weight · column, or constant · Π column ** weight, to within `tolerance`."""

    kind: ClassVar[str] = "formula"
    target: int
    columns: tuple[int, ...]
    weights: tuple[float, ...]
    constant: float
    product: bool
    tolerance: float

    @property
    def cells(self) -> tuple[int, ...]:
        """The columns that it is between."""
        return (*self.columns, self.target)

    def value(self, cells: np.ndarray) -> np.ndarray:
        """The target `(n,)` as the other columns have it."""
        parts = cells[:, list(self.columns)]
        with np.errstate(all="ignore"):
            if self.product:
                return np.asarray(self.constant * np.prod(parts ** np.array(self.weights), axis=1))
            return np.asarray(self.constant + parts @ np.array(self.weights))

    def broken(self, cells: np.ndarray) -> np.ndarray:
        """Rows that it does not hold in, bool `(n,)`."""
        with np.errstate(invalid="ignore"):
            return np.asarray(np.abs(cells[:, self.target] - self.value(cells)) > self.tolerance)

    def spread(self, cells: np.ndarray, free: np.ndarray, schema: TableSchema) -> None:
        """Spread what a sum is off over the free cells of a row, by their columns' variances."""
        own = np.array(self.cells)
        share = free[:, own] * self._spreads(schema) ** 2 * np.array([*self.weights, -1.0])
        total = (share * [*self.weights, -1.0]).sum(1)
        off = np.divide(self.value(cells) - cells[:, self.target], total, out=np.zeros(len(cells)), where=total > 0)
        moved = schema.rounded(cells[:, own] - share * off[:, None], own)
        low, high = (np.array([getattr(schema.columns[at], end) for at in own]) for end in ("low", "high"))
        cells[:, own] = np.where(free[:, own], np.clip(moved, low, high), cells[:, own])

    def hold(self, cells: np.ndarray, free: np.ndarray, schema: TableSchema, rng: np.random.Generator | None) -> None:
        """Solve for the target where it is free, else for the free cell that can move most."""
        own = np.array(self.cells)
        reach = np.where(free[:, own], np.abs([*self.weights, -1.0]) * self._spreads(schema), -1.0)
        reach[free[:, self.target], -1] = np.inf
        pivot = reach.argmax(1)
        for place, at in enumerate(own):
            rows = np.flatnonzero((pivot == place) & free[:, at])
            solved = schema.rounded(self._solved(cells[rows], place), at)
            cells[rows, at] = np.where(np.isfinite(solved), solved, cells[rows, at])

    def _spreads(self, schema: TableSchema) -> np.ndarray:
        return np.array([schema.columns[at].spread for at in self.cells])

    def _solved(self, cells: np.ndarray, place: int) -> np.ndarray:
        """Column `place` of the relation `(n,)` from the others."""
        if place == len(self.columns):
            return self.value(cells)
        column, weight, target = self.columns[place], self.weights[place], cells[:, self.target]
        others = cells.copy()
        others[:, column] = 1.0 if self.product else 0.0
        with np.errstate(all="ignore"):
            rest = self.value(others)
            return np.asarray((target / rest) ** (1 / weight) if self.product else (target - rest) / weight)

    def describe(self, schema: TableSchema) -> str:
        """`total = a + b + c`."""
        about, unit = schema.columns, _unit(schema.columns[self.target])
        times = [_unit(about[at]) is not None for at in self.columns]
        pairs = zip(self.columns, self.weights, times, strict=True)
        terms = [_term(w, about[at].name, self.product, None if time else unit) for at, w, time in pairs]
        if self.constant != (1.0 if self.product else 0.0):
            sign = "*" if self.product else "+" if self.constant >= 0 else "-"
            is_date = unit is not None and not any(times)
            date = str(np.datetime64(round(self.constant * (unit or 1.0)), "s")).removesuffix("T00:00:00")
            size = date if is_date else _amount(abs(self.constant), unit)
            terms.insert(0 if self.product else len(terms), ("+" if is_date else sign, size))
        (sign, first), *others = sorted(terms, key=lambda term: term[0] in "-/")
        lead = {"-": "-", "/": "1 / "}.get(sign, "")
        return f"{about[self.target].name} = {lead}{first}" + "".join(f" {sign} {text}" for sign, text in others)


@dataclass(frozen=True)
class Order:
    """lower ≤ upper."""

    kind: ClassVar[str] = "order"
    lower: int
    upper: int

    @property
    def cells(self) -> tuple[int, ...]:
        """The columns that it is between."""
        return self.lower, self.upper

    def broken(self, cells: np.ndarray) -> np.ndarray:
        """Rows that it does not hold in, bool `(n,)`."""
        with np.errstate(invalid="ignore"):
            return np.asarray(cells[:, self.lower] > cells[:, self.upper])

    def hold(self, cells: np.ndarray, free: np.ndarray, schema: TableSchema, rng: np.random.Generator | None) -> None:
        """Exchange two free cells; mirror a single one at the other."""
        rows = np.flatnonzero(self.broken(cells))
        low, high = cells[rows, self.lower], cells[rows, self.upper]
        low_free, high_free = free[rows, self.lower], free[rows, self.upper]
        lowest, highest = schema.columns[self.lower].low, schema.columns[self.upper].high
        new_low = np.where(high_free, high, np.minimum(np.maximum(2 * high - low, lowest), high))
        new_high = np.where(low_free, low, np.maximum(np.minimum(2 * low - high, highest), low))
        cells[rows, self.lower] = np.where(low_free, new_low, low)
        cells[rows, self.upper] = np.where(high_free, new_high, high)

    def describe(self, schema: TableSchema) -> str:
        """`start ≤ end`."""
        names = schema.names
        return f"{names[self.lower]} ≤ {names[self.upper]}"


@dataclass(frozen=True)
class Dependency:
    """A value of one column determines the target's: of `keys`, ascending, each its one of `values`; None: missing.

    `counts` is how often each key was met.
    """

    kind: ClassVar[str] = "dependency"
    column: int
    target: int
    keys: tuple[float, ...]
    values: tuple[float | None, ...]
    counts: tuple[int, ...]

    @property
    def cells(self) -> tuple[int, ...]:
        """The columns that it is between."""
        return self.column, self.target

    def expected(self, cells: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The target `(n,)`, NaN for missing; and whether it is determined, bool."""
        given, keys = cells[:, self.column], np.array(self.keys)
        at = np.searchsorted(keys, given).clip(max=len(keys) - 1)
        return np.array(self.values, np.float64)[at], keys[at] == given

    def broken(self, cells: np.ndarray) -> np.ndarray:
        """Rows that it does not hold in, bool `(n,)`."""
        expected, determined = self.expected(cells)
        return np.asarray(determined & ~np.isnan(cells[:, self.target]) & (cells[:, self.target] != expected))

    def hold(self, cells: np.ndarray, free: np.ndarray, schema: TableSchema, rng: np.random.Generator | None) -> None:
        """The free target as the key has it; else a free key that has the target: the likeliest, or with `rng` a random one."""
        rows = np.flatnonzero(self.broken(cells))
        expected, _ = self.expected(cells[rows])
        fill = free[rows, self.target] & ~np.isnan(expected)
        cells[rows[fill], self.target] = expected[fill]
        values, keys, counts = np.array(self.values, np.float64), np.array(self.keys), np.array(self.counts, float)
        rest = rows[~fill & free[rows, self.column]]
        for value in np.unique(cells[rest, self.target]):
            where, fitting = rest[cells[rest, self.target] == value], values == value
            if fitting.any() and rng is None:
                cells[where, self.column] = keys[np.where(fitting, counts, -1).argmax()]
            elif fitting.any() and rng is not None:
                share = fitting * counts / (fitting * counts).sum()
                cells[where, self.column] = rng.choice(keys, len(where), p=share)

    @property
    def is_absence(self) -> bool:
        """Whether all that it determines is that the target is missing."""
        return all(value is None for value in self.values)

    def describe(self, schema: TableSchema) -> str:
        """`city determines country`."""
        names = schema.names
        if self.is_absence:
            return f"{names[self.column]} determines where {names[self.target]} is missing"
        return f"{names[self.column]} determines {names[self.target]}"


@dataclass(frozen=True)
class Key:
    """A column whose values all differ."""

    kind: ClassVar[str] = "key"
    column: int
    dense: bool

    @property
    def cells(self) -> tuple[int, ...]:
        """The column."""
        return (self.column,)

    def broken(self, cells: np.ndarray) -> np.ndarray:
        """None: a row by itself breaks no key; see `KeysMet`."""
        return np.zeros(len(cells), bool)

    def hold(self, cells: np.ndarray, free: np.ndarray, schema: TableSchema, rng: np.random.Generator | None) -> None:
        """Count on from the greatest that was met where they were counted; else move what is there twice to the next free."""
        column = schema.columns[self.column]
        step, values = column.step or 1.0, cells[:, self.column]
        if not free[:, self.column].all():
            return
        if self.dense:
            cells[:, self.column] = column.high + step * np.arange(1, len(cells) + 1)
            return
        for _ in range(_ROUNDS * 10):
            _, first = np.unique(values, return_index=True)
            twice = np.setdiff1d(np.arange(len(values)), first)
            if not len(twice):
                return
            values[twice] += step * np.arange(1, len(twice) + 1)

    def describe(self, schema: TableSchema) -> str:
        """`order is a key`."""
        names = schema.names
        return f"{names[self.column]} is a key: no value is there twice"


class KeysMet:
    """The values of keys that a read of rows has met so far, of each key at most 16,777,216."""

    def __init__(self, keys: Sequence[Key]) -> None:
        self._met = {key.column: np.empty(0) for key in keys}

    def repeated(self, cells: np.ndarray) -> np.ndarray:
        """Which cells of the read's next rows repeat a key of a row before, bool `(n, d)`."""
        found = np.zeros(cells.shape, bool)
        for column, met in self._met.items():
            rows = np.flatnonzero(~np.isnan(cells[:, column]))
            values, first = np.unique(cells[rows, column], return_index=True)
            known = np.isin(values, met, assume_unique=True)
            found[rows, column] = True
            found[rows[first[~known]], column] = False
            if len(met) < _MOST_MET:
                new = values[~known]
                self._met[column] = np.insert(met, np.searchsorted(met, new), new)
        return found


Relation = Formula | Order | Dependency | Key
_KINDS: dict[str, type[Any]] = {kind.kind: kind for kind in (Formula, Order, Dependency, Key)}


@dataclass(frozen=True)
class Relations:
    """All relations of a table, as a model stores them.

    Attributes
    ----------
    content : `(bytes,)` uint8, JSON: a list of relations by kind, columns by number
    """

    content: np.ndarray

    def __post_init__(self) -> None:
        if self.content.dtype != np.uint8 or self.content.ndim != 1:
            raise ModelError("the relations of the columns are damaged")
        _ = self.all

    @cached_property
    def all(self) -> list[Relation]:
        """In the order in which they are held; raises `ModelError` if they are damaged."""
        try:
            return [_from_json(fields) for fields in json.loads(self.content.tobytes())]
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise ModelError(f"the relations of the columns are damaged: {error}") from None

    @classmethod
    def of(cls, relations: Sequence[Relation]) -> Relations:
        """As they are stored."""
        content = json.dumps([{"kind": relation.kind, **asdict(relation)} for relation in relations])
        return cls(np.frombuffer(content.encode(), np.uint8))

    def keys(self) -> KeysMet:
        """For a read of rows, which may repeat keys."""
        return KeysMet([relation for relation in self.all if isinstance(relation, Key)])

    def broken(self, cells: np.ndarray) -> np.ndarray:
        """Which relations rows break, bool `(n, relations)`."""
        return np.stack([relation.broken(cells) for relation in self.all], axis=1)

    def suspects(self, cells: np.ndarray) -> np.ndarray:
        """How many broken relations each cell is in, `(n, d)`, each divided among that and those that confirm the cell."""
        broken, confirmed = np.zeros(cells.shape), np.ones(cells.shape)
        for relation in self.all:
            own, breaks = list(relation.cells), relation.broken(cells)[:, None]
            broken[:, own] += breaks
            if isinstance(relation, Formula):
                confirmed[:, own] += ~breaks & ~np.isnan(cells[:, own]).any(1, keepdims=True)
        return broken / confirmed

    def hold(
        self, cells: np.ndarray, free: np.ndarray, schema: TableSchema, rng: np.random.Generator | None = None
    ) -> np.ndarray:
        """Rows in which as many relations hold as can by changing `free` cells alone, bool `(n, d)`: `(n, d)`.

        A free target that its key determines is filled in; of classes that are to be drawn `rng` draws, else they are the
        likeliest.
        """
        held = cells.copy()
        for number in range(_ROUNDS):
            before = held.copy()
            for relation in self.all:
                rows = (
                    np.arange(len(held))
                    if isinstance(relation, Key) and not number
                    else relation.broken(held).nonzero()[0]
                )
                part = held[rows]
                if isinstance(relation, Formula) and not relation.product and number < _SPREADING:
                    relation.spread(part, free[rows], schema)
                relation.hold(part, free[rows], schema, rng)
                held[rows] = part
            if np.array_equal(before, held, equal_nan=True):
                break
        return held

    def absent(self, cells: np.ndarray, missing: np.ndarray) -> np.ndarray:
        """The `missing` cells, bool `(n, d)`, and of columns of which another says where they are these alone."""
        found = missing.copy()
        absences = [relation for relation in self.all if isinstance(relation, Dependency) and relation.is_absence]
        found[:, [relation.target for relation in absences]] = False
        for relation in absences:
            found[:, relation.target] |= relation.expected(cells)[1]
        return found

    def lines(self, schema: TableSchema) -> list[str]:
        """A line per relation."""
        return [relation.describe(schema) for relation in self.all]

    def check(self, schema: TableSchema) -> Relations:
        """Raise `ModelError` if they are of other columns."""
        if any(not 0 <= at < schema.size for relation in self.all for at in relation.cells):
            raise ModelError("the relations of the columns are damaged: they are of other columns")
        return self


def _from_json(fields: dict[str, Any]) -> Relation:
    values = {name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()}
    relation: Relation = _KINDS[str(values.pop("kind"))](**values)
    if any(type(at) is not int for at in relation.cells):
        raise ValueError("columns must be numbers")
    if isinstance(relation, Formula) and len(relation.columns) != len(relation.weights):
        raise ValueError("a formula has as many weights as columns")
    if isinstance(relation, Dependency) and not len(relation.keys) == len(relation.values) == len(relation.counts) > 0:
        raise ValueError("a dependency has a value per key")
    return relation


def _term(weight: float, name: str, product: bool, unit: float | None) -> tuple[str, str]:
    size = abs(weight)
    sign = ("*" if product else "+") if weight > 0 else "/" if product else "-"
    if size == 1 and unit is None:
        return sign, name
    return sign, f"{name}^{size:g}" if product else f"{_amount(size, unit)}{' *' * (unit is not None)} {name}"


def _unit(column: Column) -> float | None:
    """Seconds in which times are counted; None of other numbers."""
    found = re.search(r"\[(s|ms|us|ns|day)\b", column.dtype) if column.kind == "datetime" else None
    return None if found is None else {"day": 86400.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}[found[1]]


def _amount(size: float, unit: float | None) -> str:
    """A number, or how long so many units are."""
    if unit is None:
        return f"{size:g}"
    return f"{size * unit / 86400:g} d" if round(size * unit) % 86400 == 0 else f"{size * unit:g} s"
