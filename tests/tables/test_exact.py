"""Without torch: the same distributions as the networks give."""

from __future__ import annotations

import numpy as np
import torch

from fivefold.config import Conditioning
from fivefold.tables import exact as exact_rows
from fivefold.tables.context import TableContext
from fivefold.tables.exact import ExactRows, RowChain


def test_column_after_column_the_networks_say_the_same(table_model, trees, monkeypatch):
    monkeypatch.setattr(exact_rows, "_CHUNK", 7)
    items = table_model.read(trees[250:])
    cells = items.values[:, 0, :, 0]
    assert np.isnan(cells).any()
    weights = {name: weight.numpy() for name, weight in table_model.networks.state_dict().items()}
    chain = RowChain(ExactRows(weights, table_model.schema, table_model.config), len(cells))
    unit, visible = items.unit(slice(None))
    x, seen = table_model.tensor(unit), table_model.tensor(visible)
    assert isinstance(table_model.context, TableContext)
    around = table_model.context.surroundings(x, seen, Conditioning.CAUSAL, None)
    with torch.inference_mode():
        for number, (told, _, _) in enumerate(table_model.context.every(around)):
            found = chain.distribution(number)
            if classes := table_model.schema.columns[number].classes:
                wanted = (told.log_classes[:, :classes],)
            else:
                wanted = told.log_weights, told.locations, told.scales.log()
            for mine, theirs in zip(found, wanted, strict=True):
                np.testing.assert_allclose(mine, theirs[:, :, 0, 0], atol=1e-5)
            chain.observe(number, cells[:, number])
