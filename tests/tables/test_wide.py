"""Tables of many columns: a result, or one line."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest

import fivefold
from fivefold.errors import DataError
from fivefold.tables import dataset
from fivefold.tables.settings import configure


@pytest.mark.situation("more columns than a model has", "one line, in seconds")
def test_too_many_columns(tmp_path):
    path = tmp_path / "a.csv"
    names = [f"c{at}" for at in range(20_000)]
    path.write_text("\n".join([",".join(names), *[",".join(["1.5"] * len(names))] * 3]))
    began = time.process_time()
    for source in (path, np.zeros((2, 20_000))):
        with pytest.raises(DataError, match=r"must have at most 16,384 columns, got 20,000: leave some out"):
            dataset.open(source)
    assert time.process_time() - began < 10


def test_all_rows_are_held_out_in_two_fits_where_too_few_are_in_one():
    rows = np.random.default_rng(0).normal(size=(24, 3))
    quick = {"epochs": 1, "shortest_epoch": 1, "context_width": 8, "hidden": 8, "verdicts": False}
    model = fivefold.fit(rows, folds=2, seed=0, **quick)
    assert len(model.normality.calibration) == 24


def test_fits_to_very_many_columns_are_less_patient():
    few, many, most = (configure(items=1000, size=size).own for size in (32, 100, 101))
    assert (few.patience, many.patience) == (10, 10)
    assert most == replace(many, patience=4)
