"""Looks at a share of the columns, beside one look per cell."""

import numpy as np
import pytest
import torch

from fivefold.config import Conditioning
from fivefold.model.conditional import Conditional
from fivefold.tables.looks import Looks


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
