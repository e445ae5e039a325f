"""Distances to rows of the fit, and what they do for the scores of rows."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import fivefold
from fivefold.errors import ModelError
from fivefold.tables import dataset, neighbours
from fivefold.tables.neighbours import Memory, Neighbours
from fivefold.tables.statistics import count_statistics, memory_of, row_statistics, statistics_weights

FAST = {"epochs": 1, "shortest_epoch": 4, "longest_epoch": 8, "members": 1, "folds": 1, "verdicts": False}


def ring(rows: int, seed: int) -> np.ndarray:
    """Points on a circle: in its middle there are none, though each coordinate is usual there."""
    random = np.random.default_rng(seed)
    angle = random.uniform(0, 2 * np.pi, rows)
    return np.column_stack((np.cos(angle), np.sin(angle))) + 0.02 * random.standard_normal((rows, 2))


def remembered(table: pd.DataFrame | np.ndarray, most: int = 1024) -> tuple[Neighbours, np.ndarray]:
    """Neighbours among the rows of a table, and its encoded cells."""
    items = dataset.open(table).all_items()
    memory = Memory.fit(items, most, seed=0)
    assert memory is not None
    return Neighbours(memory, items.schema), memory.cells


def scores(model, rows: np.ndarray) -> np.ndarray:
    """Of rows of the same columns, by a model."""
    return model.normality.score(row_statistics(model, model.read(rows)))


@pytest.fixture(scope="module")
def ring_model():
    return fivefold.fit(ring(400, 0), kind="tables", seed=0, **FAST)


def test_what_lies_apart_is_far_in_each_space():
    neighbours, _ = remembered(ring(300, 0))
    near, far = (neighbours.log_distances(rows) for rows in (ring(50, 1), np.zeros((1, 2))))
    assert near.shape == (50, 3)
    assert (far > near.max(0)).all()


def test_distances_are_those_of_the_norms():
    rows = np.random.default_rng(0).standard_normal((60, 2))
    memory, cells = remembered(rows)
    new = np.array([[3.0, -2.0]])
    off = (new - cells) / cells.std(axis=0)
    covariance = np.cov(cells / cells.std(axis=0), rowvar=False, bias=True) + np.diag([3e-3, 3e-3])
    nearest = np.sqrt(np.einsum("nf,fg,ng->n", off, np.linalg.inv(covariance), off)).min() / np.sqrt(2)
    mean = np.sort(np.abs(off).sum(1))[:20].mean() / 2
    np.testing.assert_allclose(memory.log_distances(new)[0, :2], np.log(np.array([mean, nearest]) + 1e-3), atol=1e-3)


def test_rows_of_the_fit_are_not_compared_with_themselves():
    rows = ring(300, 0)
    neighbours, cells = remembered(rows)
    np.testing.assert_array_equal(neighbours.log_distances(cells), neighbours.log_distances(cells, met=True))
    alone, _ = remembered(np.delete(rows, 7, axis=0))
    np.testing.assert_allclose(alone.log_distances(rows[[7]]), neighbours.log_distances(cells[[7]]), atol=0.05)


def test_where_rows_repeat_a_like_one_is_a_neighbour():
    random = np.random.default_rng(0)
    neighbours, cells = remembered(pd.DataFrame(random.integers(0, 4, (300, 3)), columns=list("abc")))
    assert (neighbours.log_distances(cells)[:, 1] < np.log(2e-3)).all()
    once = np.unique(cells, axis=0, return_counts=True)
    assert (neighbours.log_distances(once[0][once[1] > 1], met=True)[:, 1] < np.log(2e-3)).all()


def test_distances_do_not_depend_on_the_batch_or_on_missing_cells_being_there(trees):
    neighbours, cells = remembered(trees[:200])
    together = neighbours.log_distances(cells)
    np.testing.assert_allclose(neighbours.log_distances(cells[5:6]), together[5:6], atol=1e-6)
    assert np.isfinite(neighbours.log_distances(np.full((1, cells.shape[1]), np.nan))).all()
    assert np.isfinite(together).all()


def test_distances_are_the_same_in_numpy_as_compiled(trees, monkeypatch):
    memory, cells = remembered(trees)
    by_numpy = memory.log_distances(cells)
    monkeypatch.setattr(neighbours, "_SHORT", 0)
    assert np.array_equal(memory.log_distances(cells), by_numpy)


def test_rare_and_unknown_classes_are_farther_than_usual_ones():
    words = pd.DataFrame({"word": ["a"] * 200 + ["b"] * 95 + ["c"] * 5, "number": np.tile([0.1, 0.2, 0.3], 100)})
    neighbours, cells = remembered(words)
    usual, rare = neighbours.log_distances(cells[[0, -1]], met=True)
    assert usual[0] < rare[0]
    unknown = cells[[0]].copy()
    unknown[0, 0] = 3
    assert neighbours.log_distances(unknown)[0, 0] > rare[0]


def test_huge_numbers_are_far_and_nothing_more():
    rows = ring(100, 0)
    rows[0] = 1e150
    neighbours, cells = remembered(rows)
    assert np.isfinite(neighbours.log_distances(np.vstack((cells, [[-1e308, 1e308]])))).all()


def test_wide_tables_are_remembered_in_part():
    neighbours, cells = remembered(np.random.default_rng(0).standard_normal((400, 600)))
    assert len(cells) == 256
    assert neighbours.log_distances(cells[:3]).shape == (3, 3)
    assert Memory.fit(dataset.open(ring(50, 0)).all_items(), 0, seed=0) is None


def test_scores_see_what_single_columns_hide(ring_model):
    score = scores(ring_model, np.vstack((ring(200, 5), [[0.0, 0.0]])))
    assert score[-1] < np.quantile(score[:-1], 0.02)


def test_p_values_of_new_normal_rows_are_uniform(ring_model):
    p_value = fivefold.detect(ring_model, ring(2000, 9), false_alarm_rate=0.05).p_value
    held_out = len(ring_model.normality.calibration)
    for level in (0.05, 0.2, 0.5):
        error = 3 * np.sqrt(level * (1 - level) * (1 / held_out + 1 / 2000))
        assert abs((p_value <= level).mean() - level) < error + 1 / held_out


def test_scores_hold_when_strange_rows_were_in_the_fit():
    random = np.random.default_rng(3)
    strange, fitted = (0.3 * random.standard_normal((rows, 2)) for rows in (100, 20))
    models = (
        fivefold.fit(rows, kind="tables", seed=0, **FAST) for rows in (ring(400, 0), np.vstack((ring(400, 0), fitted)))
    )
    clean, contaminated = ((scores(model, ring(100, 4))[:, None] > scores(model, strange)).mean() for model in models)
    assert clean > 0.95
    assert contaminated > clean - 0.1


def test_scores_do_not_depend_on_the_batch(ring_model):
    rows = ring(40, 2)
    together = scores(ring_model, rows)
    alone = [scores(ring_model, rows[[number]])[0] for number in range(3)]
    np.testing.assert_allclose(alone, together[:3], rtol=1e-6)


def test_models_without_a_memory_score_as_before(table_model, trees, tmp_path):
    kept = {name: part for name, part in table_model.calibrations.items() if name not in ("memory", "normality")}
    before = replace(table_model, calibrations=kept)
    items = table_model.read(trees[300:])
    assert count_statistics(before) == count_statistics(table_model) - 4
    assert set(statistics_weights(before)) == {1.0}
    np.testing.assert_array_equal(
        row_statistics(before, items), row_statistics(table_model, items)[:, : count_statistics(before)]
    )
    fivefold.save(table_model, tmp_path / "model")
    loaded = fivefold.load(tmp_path / "model")
    np.testing.assert_array_equal(row_statistics(loaded, items), row_statistics(table_model, items))


def test_a_memory_of_other_columns_is_refused(table_model):
    other = replace(table_model, calibrations={"memory": Memory(np.zeros((3, 2)), np.zeros((3, 2), bool))})
    with pytest.raises(ModelError, match="other columns"):
        memory_of(other)
