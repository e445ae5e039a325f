"""Relations between columns are found, said, held and checked."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fivefold.errors import ModelError
from fivefold.tables import dataset
from fivefold.tables.discovery import find_relations
from fivefold.tables.relations import Key, KeysMet, Relations

N = 600


def search(columns):
    items = dataset.open(pd.DataFrame(columns)).all_items()
    return find_relations(items.values[:, 0, :, 0], items.schema), items


def lines(columns) -> set[str]:
    relations, items = search(columns)
    return set() if relations is None else set(relations.lines(items.schema))


def days(numbers) -> pd.DatetimeIndex:
    return pd.to_datetime("2024-01-01") + pd.to_timedelta(numbers, "D")


@pytest.fixture(scope="module")
def orders() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    quantity, price = rng.integers(1, 20, N), rng.gamma(3, 10, N).round(2)
    net = (quantity * price).round(2)
    tax = (0.19 * net).round(2)
    town = rng.integers(0, 9, N)
    start, stay = rng.integers(0, 300, N), rng.integers(0, 40, N)
    firm = rng.random(N) < 0.4
    return {
        "order": np.arange(1000, 1000 + N),
        "quantity": quantity,
        "price": price,
        "net": net,
        "tax": tax,
        "gross": (net + tax).round(2),
        "town": np.array([f"town {number}" for number in town]),
        "region": np.array(["north", "south", "west"])[town % 3],
        "start": days(start),
        "end": days(start + stay),
        "firm": np.where(firm, "firm", "person"),
        "number": np.where(firm, rng.normal(5, 1, N).round(2), np.nan),
    }


def test_all_kinds_are_found_and_said(orders):
    assert lines(orders) == {
        "order is a key: no value is there twice",
        "net = quantity * price",
        "tax = 0.19 net",
        "gross = net + tax",
        "town determines region",
        "start ≤ end",
        "firm determines where number is missing",
    }


@pytest.mark.parametrize(
    ("make", "line"),
    [
        (lambda a, b: {"a": a, "b": b, "c": a - b}, "a = b + c"),
        (lambda a, b: {"a": a, "b": b, "c": a + b - 7}, "c = a + b - 7"),
        (lambda a, b: {"a": a, "b": b, "c": np.round(1.8 * a + 32, 1)}, "c = 1.8 a + 32"),
        (lambda a, b: {"a": a, "b": a + 1000, "c": b}, "b = a + 1000"),
        (lambda a, b: {"a": a, "b": b, "c": 100.0 - a - b}, "c = 100 - a - b"),
        (lambda a, b: {"a": a + 1, "b": b + 1, "c": np.round((a + 1) / (b + 1), 3)}, "c = a / b"),
    ],
)
def test_formulas(make, line):
    rng = np.random.default_rng(1)
    assert line in lines(make(rng.integers(0, 50, N).astype(float), rng.integers(0, 40, N).astype(float)))


def test_rounded_parts_of_a_whole():
    shares = np.random.default_rng(0).dirichlet([3, 3, 3], N) * 100
    relations, items = search(dict(zip("abc", shares.round(1).T, strict=True)))
    (formula,) = relations.all
    assert set(formula.cells) == {0, 1, 2}
    assert not formula.broken(items.values[:, 0, :, 0]).any()


def test_few_exceptions(orders):
    rng = np.random.default_rng(2)
    frame = pd.DataFrame(orders)
    rows = rng.choice(N, 4, replace=False)
    frame.loc[rows, "gross"] += 30
    frame.loc[rows[:3], "end"] -= pd.to_timedelta(400, "D")
    relations, items = search(frame)
    assert {"gross = net + tax", "start ≤ end"} <= set(relations.lines(items.schema))
    broken = relations.broken(items.values[:, 0, :, 0])
    assert set(np.flatnonzero(broken.any(1))) == set(rows)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 12), st.sampled_from(["normal", "whole", "class"]))
def test_none_in_unrelated_columns(seed, columns, kind):
    rng = np.random.default_rng(seed)
    numbers = rng.normal(size=(200, columns)) @ rng.normal(size=(columns, columns))
    if kind == "whole":
        numbers = rng.integers(0, 5, numbers.shape)
    if kind == "class":
        numbers = rng.choice(list("abcd"), numbers.shape)
    assert lines({f"c{at}": column for at, column in enumerate(numbers.T)}) == set()


def test_a_calendar_is_no_key():
    assert lines({"day": days(np.arange(300)), "x": np.random.default_rng(0).normal(size=300)}) == set()


@pytest.mark.parametrize("rows", [1, 7, 1000])
@pytest.mark.parametrize("most", [0, 1 << 24])
def test_a_read_knows_the_keys_that_it_met(monkeypatch, rows, most):
    monkeypatch.setattr("fivefold.tables.relations._MOST_MET", most)
    rng = np.random.default_rng(5)
    cells = np.column_stack([rng.integers(0, 300, 400), rng.normal(size=400)]).astype(float)
    cells[rng.random(400) < 0.2, 0] = np.nan
    met = KeysMet([Key(0, dense=False)])
    found = np.concatenate([met.repeated(cells[at : at + rows]) for at in range(0, 400, rows)])
    assert not found[:, 1].any()
    if most or rows == 1000:
        again = pd.Series(cells[:, 0])
        assert found[:, 0].tolist() == (again.duplicated() & again.notna()).tolist()
    else:
        assert found[:, 0].sum() < 200


def test_new_cells_hold_them(orders):
    relations, items = search(orders)
    rng = np.random.default_rng(3)
    cells = items.values[:, 0, :, 0]
    drawn = np.column_stack([rng.permutation(column) for column in cells.T])
    held = relations.hold(drawn, np.ones(drawn.shape, bool), items.schema, rng)
    assert relations.broken(drawn).any(1).mean() > 0.9
    assert relations.broken(np.where(relations.absent(held, np.isnan(held)), np.nan, held)).any(1).mean() < 0.03
    key = items.schema.names.index("order")
    assert len(np.unique(held[:, key])) == N
    assert not np.isin(held[:, key], cells[:, key]).any()


def test_visible_cells_stay_and_missing_ones_follow(orders):
    relations, items = search(orders)
    cells, rng = items.values[:, 0, :, 0], np.random.default_rng(4)
    hidden = np.zeros(cells.shape, bool)
    hidden[np.arange(N), rng.choice([1, 3, 4, 5, 6, 7], N)] = True
    spoilt = np.where(hidden, np.column_stack([rng.permutation(column) for column in cells.T]), cells)
    held = relations.hold(spoilt, hidden, items.schema)
    np.testing.assert_array_equal(held[~hidden], cells[~hidden])
    determined = hidden & (np.arange(cells.shape[1]) != items.schema.names.index("town"))
    np.testing.assert_allclose(held[determined], cells[determined], rtol=1e-3)
    assert not relations.broken(held).any()


def test_they_are_stored_and_damage_is_refused(orders):
    relations, items = search(orders)
    again = Relations(relations.content.copy())
    assert again.all == relations.all
    for content in (
        b"{",
        b"[1]",
        b'[{"kind": "order"}]',
        b'[{"kind": "magic"}]',
        b'[{"kind":"order","lower":"a","upper":1}]',
    ):
        with pytest.raises(ModelError, match="relations"):
            Relations(np.frombuffer(content, np.uint8))
    with pytest.raises(ModelError, match="other columns"):
        Relations(np.frombuffer(b'[{"kind":"order","lower":0,"upper":99}]', np.uint8)).check(items.schema)
