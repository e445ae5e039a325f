"""Looks at a share of the columns, beside one look per cell."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from fivefold.config import Conditioning
from fivefold.model.conditional import Conditional
from fivefold.tables.looks import Looks, _apart
from fivefold.tables.statistics import row_statistics


@pytest.fixture(scope="module")
def rows(table_model, trees):
    return next(table_model.batches(table_model.read(trees)))[1:]


def test_rows_of_few_columns_are_looked_at_cell_by_cell(table_model, rows):
    x, visible = rows
    with torch.inference_mode():
        each = Conditional(table_model, Conditioning.MISSING, x, visible, None).log_prob(x)
        found = Looks(table_model).log_prob(x, visible, 0.0)
    assert x.shape[3] <= 6, "else some cells would be looked at together"
    np.testing.assert_allclose(found[visible], each[visible], atol=1e-4)


def test_a_row_is_given_the_same_among_others_and_alone(table_model, rows):
    x, visible = rows
    looks = Looks(table_model)
    with torch.inference_mode():
        together = looks.log_prob(x, visible, 0.6)
        alone = torch.cat([looks.log_prob(x[[row]], visible[[row]], 0.6) for row in (0, 7, 123)])
    np.testing.assert_allclose(alone, together[[0, 7, 123]], rtol=1e-6)


def test_columns_that_go_together_are_asked_for_apart():
    related = np.zeros((8, 8))
    for one, other in ((0, 4), (1, 5), (2, 3), (6, 7)):
        related[one, other] = related[other, one] = 0.9
    groups = _apart(related, 3)
    assert sorted(place for group in groups for place in group) == list(range(8))
    assert sorted(map(len, groups)) == [2, 3, 3]
    assert all(related[np.ix_(group, group)].sum() == 0 for group in groups)


def test_an_exact_model_gives_each_cell_all_others(table_model, trees):
    exact = replace(table_model.config, own=replace(table_model.config.own, exact=True))
    slow = replace(table_model, config=exact)
    fast, each = (row_statistics(model, model.read(trees)) for model in (table_model, slow))
    np.testing.assert_allclose(fast[:, :2], each[:, :2], rtol=1e-9)
    np.testing.assert_allclose(fast[:, 2], each[:, 2], rtol=1e-4)
    assert not np.array_equal(fast[:, 2], each[:, 2])
