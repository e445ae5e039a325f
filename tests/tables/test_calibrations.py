"""What a fit to a table leaves besides networks: columns' densities, rows' scores, calibrated intervals."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from fivefold.errors import ModelError
from fivefold.model.calibrations import IntervalCalibration
from fivefold.tables import dataset
from fivefold.tables.likelihood import Support
from fivefold.tables.neighbours import Memory
from fivefold.tables.statistics import Marginals, UpperTailScore, alone, count_statistics, fit_marginals, row_statistics


def test_marginals_are_densities_of_their_columns(trees):
    items = dataset.open(trees).all_items()
    marginals, schema = fit_marginals(items), items.schema
    for number, column in enumerate(schema.columns):
        if column.classes:
            shares = np.exp(marginals.density[number, : column.classes])
            known = trees[column.name].dropna()
            counts = [float((known == each).mean()) for each in column.categories or (False, True)]
            np.testing.assert_allclose(shares[: len(counts)], counts, atol=0.02)
        else:
            grid = np.linspace(-12, 12, marginals.density.shape[1])
            assert np.trapezoid(np.exp(marginals.density[number]), grid) == pytest.approx(1, abs=0.01)


def test_far_numbers_are_ever_less_probable_alone(table_model):
    schema = table_model.schema
    row = np.array([column.centre for column in schema.columns])
    rows = np.tile(row, (4, 1))
    rows[:, schema.names.index("girth")] += np.array([0, 200, 400, 4000])
    x = table_model.tensor(schema.to_unit(rows[:, None, :, None]))
    assert (alone(table_model, x)[:, 0, 0, schema.names.index("girth")].diff() < -1).all()


def test_statistics_tell_swapped_rows(table_model, trees):
    normal = trees[300:].dropna().reset_index(drop=True)
    swapped = normal.copy()
    swapped["height"] = normal["height"].to_numpy()[::-1]
    good, bad = (row_statistics(table_model, table_model.read(each)) for each in (normal, swapped))
    assert good.shape == (len(normal), count_statistics(table_model))
    assert np.allclose(good[:, 0].mean(), bad[:, 0].mean(), atol=1e-6), "the columns alone are the same"
    assert bad[:, 2].mean() > good[:, 2].mean() + 0.1


def test_equal_numbers_are_spread_over_all_that_they_stand_for(table_model):
    schema = table_model.schema
    girth = schema.names.index("girth")
    drawn = np.zeros((1000, schema.size))
    drawn[500:, girth] = np.linspace(100, 200, 500)
    chance = np.random.default_rng(0).random(drawn.shape)
    moved = table_model.calibrations["marginals"].calibrated(schema, drawn, drawn, chance)[:, girth]
    quantiles = table_model.calibrations["marginals"].quantiles[girth]
    assert moved[:500].min() < np.quantile(quantiles, 0.02)
    assert np.quantile(quantiles, 0.48) < moved[:500].max() <= np.quantile(quantiles, 0.51)
    assert (np.diff(moved[500:]) >= 0).all()


def test_one_far_cell_is_the_worst(table_model, trees):
    one = table_model.read(trees[300:301])
    far = dataclasses.replace(one, values=one.values.copy())
    girth = table_model.schema.names.index("girth")
    far.values[0, 0, girth, 0] += 2000
    before, after = (row_statistics(table_model, each)[0] for each in (one, far))
    cells = table_model.schema.size
    np.testing.assert_allclose((after - before)[0] * cells, after[1] - _cell_alone(table_model, one)[girth], rtol=1e-6)


def _cell_alone(model, items) -> np.ndarray:
    """Minus log density of each cell of one row by its column alone."""
    x = next(model.batches(items))[1]
    return (Support.of(model.schema, x).log_width(x) - alone(model, x))[0, 0, 0].numpy()


def test_statistics_go_by_the_visible_cells(table_model, trees):
    holey = trees[300:320].copy()
    holey["girth"] = np.nan
    holey["age"] = holey["age"].astype(float)
    holey.loc[:, "age"] = np.nan
    assert np.isfinite(row_statistics(table_model, table_model.read(holey))).all()
    items = table_model.read(holey[:3])
    nothing = dataclasses.replace(items, values=np.full_like(items.values, np.nan))
    assert not row_statistics(table_model, nothing).any()


def test_more_than_usual_is_stranger_and_less_is_not():
    random = np.random.default_rng(0)
    statistics = random.normal([1.0, 5.0], [1.0, 2.0], (500, 2))
    normality = UpperTailScore.fit(statistics, statistics[:100], np.ones(2))
    usual, high, low = normality.score(np.array([[1.0, 5.0], [4.0, 5.0], [-4.0, 5.0]]))
    assert high < usual < low
    assert low - usual < usual - high
    p_values = normality.p_value(normality.score(random.normal([1.0, 5.0], [1.0, 2.0], (2000, 2))))
    assert abs((p_values <= 0.1).mean() - 0.1) < 0.06
    assert (normality.calibration < normality.threshold(0.1)).sum() == 9  # with 10 p-values would be above 0.1


def test_intervals_ask_for_what_held_out_rows_need():
    coverage = IntervalCalibration(np.linspace(0, 1, 1001) ** 0.5)
    assert coverage.share(0.81) == pytest.approx(0.9, abs=1e-3)
    assert 0 < coverage.share(0.0) < coverage.share(1.0) < 1


@pytest.mark.parametrize(
    "broken",
    [
        lambda: IntervalCalibration(np.linspace(1, 0, 1001)),
        lambda: IntervalCalibration(np.zeros(5)),
        lambda: Marginals(np.zeros((2, 3)), np.zeros((2, 257))),
        lambda: Marginals(np.zeros((2, 1537)), np.zeros((1, 257))),
        lambda: Marginals(np.zeros((1, 1537)), np.linspace(1, 0, 257)[None]),
        lambda: UpperTailScore(np.zeros(2), np.zeros(2), np.zeros(1)),
        lambda: UpperTailScore(np.zeros(2), np.ones(2), np.array([2.0, 1.0])),
        lambda: UpperTailScore(np.zeros(2), np.ones(2), np.zeros(1), np.ones(3)),
        lambda: UpperTailScore(np.zeros(2), np.ones(2), np.zeros(1), np.array([1.0, -1.0])),
        lambda: Memory(np.zeros((1, 3)), np.zeros((1, 3), bool)),
        lambda: Memory(np.zeros((4, 3)), np.zeros((4, 2), bool)),
    ],
)
def test_what_is_damaged_is_refused(broken):
    with pytest.raises(ModelError):
        broken()


def test_models_of_tables_count_in_double_precision(table_model):
    assert table_model.dtype == torch.float64
    assert table_model.coverage is not None
    assert table_model.calibrations["marginals"] is not None
