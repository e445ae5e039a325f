"""Looks at a share of the columns, beside one look per cell."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import fivefold
from fivefold.config import Conditioning
from fivefold.model.conditional import Conditional
from fivefold.tables.looks import Looks, _apart
from fivefold.tables.statistics import row_statistics


@pytest.fixture(scope="module")
def rows(table_model, trees):
    return next(table_model.batches(table_model.read(trees)))[1:]


def changed(model, **settings):
    """The model, scored otherwise."""
    return replace(model, config=replace(model.config, own=replace(model.config.own, **settings)))


def test_with_a_look_per_column_rows_are_looked_at_cell_by_cell(table_model, rows):
    x, visible = rows
    with torch.inference_mode():
        each = Conditional(table_model, Conditioning.MISSING, x, visible, None).log_prob(x)
        found = Looks(changed(table_model, looks=x.shape[3])).log_prob(x, visible, 0.0)
    np.testing.assert_allclose(found[visible], each[visible], atol=1e-4)


def test_a_row_is_given_the_same_among_others_and_alone(table_model, rows):
    x, visible = rows
    looks = Looks(table_model)
    with torch.inference_mode():
        together = looks.log_prob(x, visible, 0.6)
        alone = torch.cat([looks.log_prob(x[[row]], visible[[row]], 0.6) for row in (0, 7, 123)])
    np.testing.assert_allclose(alone, together[[0, 7, 123]], rtol=1e-6)


def test_columns_that_go_together_are_asked_for_apart():
    together = [(0, 4), (1, 5), (2, 3), (6, 7)]
    loadings = np.zeros((8, 4))
    for factor, pair in enumerate(together):
        loadings[list(pair), factor] = 0.9
    groups = _apart(loadings, 3)
    assert sorted(place for group in groups for place in group) == list(range(8))
    assert [len(group) for group in groups] == [3, 3, 2]
    assert not any(set(pair) <= set(group) for pair in together for group in groups)


def test_loadings_give_correlations():
    numbers = np.random.default_rng(0).standard_normal((400, 1)) * [1.0, 2.0, -3.0]
    numbers = np.column_stack((numbers + 0.5 * np.random.default_rng(1).standard_normal((400, 3)), np.arange(400) % 2))
    model = fivefold.fit(numbers, kind="tables", epochs=1, shortest_epoch=1, longest_epoch=1, factors=2)
    loadings = model.context.loadings()
    np.testing.assert_allclose((loadings @ loadings.T)[:2, 2], np.corrcoef(numbers[:, :3].T)[:2, 2], atol=0.1)


def test_an_exact_model_gives_each_cell_all_others(table_model, trees):
    models = changed(table_model, looks=table_model.schema.size), changed(table_model, exact=True)
    fast, each = (row_statistics(model, model.read(trees)) for model in models)
    np.testing.assert_allclose(fast[:, :2], each[:, :2], rtol=1e-9)
    np.testing.assert_allclose(fast[:, 2], each[:, 2], rtol=1e-4)
    assert not np.array_equal(fast[:, 2], each[:, 2])
