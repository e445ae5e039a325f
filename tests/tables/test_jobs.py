"""The jobs on rows of a table."""

from __future__ import annotations

import dataclasses
import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import ks_2samp
from sklearn.metrics import roc_auc_score

import fivefold
from fivefold.config import Conditioning
from fivefold.errors import DataError, ModelError, UsageError
from fivefold.jobs.generate import new_items
from fivefold.jobs.impute import impute_items
from fivefold.model.conditional import Conditional
from fivefold.storage import fingerprint
from fivefold.tables import dataset
from fivefold.tables.jobs import find_wrong_cells
from fivefold.tables.table import Table


@pytest.fixture(scope="module")
def fresh(trees) -> pd.DataFrame:
    """Whole rows that the model was not fitted to."""
    return trees[300:].dropna().reset_index(drop=True)


@pytest.fixture(scope="module")
def imputed(table_model, fresh):
    """Rows of which a third of the cells is lost, and what they may have been."""
    items = table_model.read(fresh)
    lost = np.random.default_rng(0).random(items.values.shape) < 0.3
    rows = dataclasses.replace(items, values=np.where(lost, np.nan, items.values))
    return rows, fivefold.impute(table_model, rows, n_draws=4, interval=0.9)


def test_what_was_there_stays_to_the_bit(imputed):
    rows, found = imputed
    seen = rows.visible()
    for each in (found.data, *found.draws, found.lower, found.upper):
        assert np.array_equal(each[seen].view(np.int64), rows.values[seen].view(np.int64))


def test_completed_cells_are_of_their_columns_kind_and_range(imputed, table_model):
    rows, found = imputed
    for number, column in enumerate(table_model.schema.columns):
        for each in (found.data, *found.draws):
            cells = each[:, 0, number, 0]
            new = cells[~rows.visible()[:, 0, number, 0]]
            if column.name not in ("age", "planted"):  # which follow from each other
                assert ((new >= column.low) & (new <= column.high)).all()
            if column.classes or column.is_whole:
                assert np.array_equal(new, np.rint(new))


def test_draws_vary_and_intervals_have_ends_for_numbers_only(imputed, table_model):
    rows, found = imputed
    lost = ~rows.visible()
    assert (found.draws[0][lost] != found.draws[1][lost]).mean() > 0.2
    classes = np.array([column.classes > 0 for column in table_model.schema.columns])[:, None]
    assert np.isnan(found.lower[lost & classes]).all()
    numbers = lost & ~classes
    assert (found.lower[numbers] <= found.upper[numbers]).all()


def test_intervals_hold_about_what_they_promise(imputed, fresh, table_model):
    rows, found = imputed
    truth = Table.of(fresh).cells(table_model.schema)[:, None, :, None]
    numbers = np.array([not column.classes for column in table_model.schema.columns])[:, None]
    lost = ~rows.visible() & numbers
    inside = (found.lower[lost] <= truth[lost]) & (truth[lost] <= found.upper[lost])
    assert 0.75 < inside.mean() < 0.99


def test_missing_numbers_are_told_from_the_others(imputed, fresh, table_model):
    rows, found = imputed
    truth = Table.of(fresh).cells(table_model.schema)[:, None, :, None]
    girth = table_model.schema.names.index("girth")
    lost = ~rows.visible()[:, 0, girth, 0]
    error = found.data[lost, 0, girth, 0] - truth[lost, 0, girth, 0]
    assert np.sqrt((error**2).mean()) < 0.6 * truth[:, 0, girth, 0].std()


@pytest.fixture(scope="module")
def bad(fresh) -> pd.DataFrame:
    """`fresh` with an absurd cell."""
    spoilt = fresh.copy()
    spoilt.loc[3, "height"] = 23.0 if spoilt.loc[3, "girth"] < 110 else 6.0
    return spoilt


def test_an_absurd_cell_is_found_and_its_row_mended(table_model, fresh, bad):
    found = fivefold.denoise(table_model, bad)
    changes = found.changes
    assert type(changes) is type(found.data) is pd.DataFrame
    assert list(changes.columns) == ["row", "column", "was", "is", "probability"]
    assert (changes["probability"] > 0.5).all()
    assert ((changes["row"] == 3) & (changes["column"] == "height")).sum() == 1
    assert abs(found.data.loc[3, "height"] - fresh.loc[3, "height"]) < 4
    assert found.changed == len(changes) < 0.05 * len(fresh) * 6
    replaced = pd.DataFrame(False, bad.index, bad.columns)
    for row, column in zip(changes["row"], changes["column"], strict=True):
        replaced.loc[row, column] = True
    pd.testing.assert_frame_equal(found.data.mask(replaced), bad.mask(replaced))
    assert found.std is None
    none = fivefold.denoise(table_model, bad, threshold=0.999999)
    assert none.changed <= found.changed
    with pytest.raises(UsageError, match="threshold"):
        fivefold.denoise(table_model, bad, threshold=1.0)


def test_encoded_rows_come_back_encoded(table_model, bad):
    items = table_model.read(bad)
    found = fivefold.denoise(table_model, items)
    probability, expected = find_wrong_cells(table_model, items)
    wrong = probability > 0.5
    assert wrong.any()
    assert found.changed == wrong.sum()
    assert np.array_equal(found.data, np.where(wrong, expected, items.values))
    assert fivefold.surprise(table_model, items).shape == items.values.shape


@pytest.mark.situation("a number that does not fit the rest of its row", "its cell surprises most")
@pytest.mark.parametrize(
    ("column", "change"), [("girth", lambda x: 10 * x), ("height", lambda x: x + 12), ("age", lambda x: x + 60)]
)
def test_a_wrong_cell_surprises_most_and_makes_no_other_look_wrong(table_model, fresh, column, change):
    found = fivefold.surprise(table_model, fresh.assign(**{column: change(fresh[column])}))
    assert (found.idxmax(axis=1) == column).mean() >= 0.9
    others = found.drop(columns=[column, "planted"])  # which an exact relation ties to the age
    assert (others > 3).mean(axis=None) < 0.05


def test_cells_of_all_types_usually_cost_what_is_expected(table_model, fresh):
    found = fivefold.surprise(table_model, fresh)
    means = found.mean()
    assert (means < 1).all()
    assert (
        means.drop("planted") > -1
    ).all()  # which an exact relation ties to the age, nearer than a short fit dares to say
    assert (found > 5).mean(axis=None) < 0.02


def test_changes_of_arrays_go_by_the_places_of_columns(trees, table_settings):
    numbers = trees[["height", "girth", "age"]].dropna()
    model = fivefold.fit(numbers, **{**table_settings, "epochs": 1})
    array = numbers[:40].to_numpy(copy=True)
    array[7, 1] = 9999.0
    found = fivefold.denoise(model, array, threshold=0.01)
    assert isinstance(found.data, np.ndarray)
    row, _, was, became, probability = next(each for each in found.changes if each[:2].tolist() == [7, "girth"])
    assert float(was) == 9999.0
    assert float(became) == pytest.approx(found.data[row, 1])
    assert probability > 0.01


def test_without_rows_there_are_results_without_rows(table_model, fresh):
    none = fresh[:0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        assert fivefold.detect(table_model, none).score.shape == (0,)
        assert fivefold.encode(table_model, none)[0].shape == (0, table_model.latent_dim)
        for found in (fivefold.impute(table_model, none), fivefold.denoise(table_model, none)):
            pd.testing.assert_frame_equal(found.data, none)
    assert fivefold.surprise(table_model, none).shape == (0, 6)


@pytest.mark.filterwarnings("ignore:detection compares with")
@pytest.mark.parametrize("form", ["frame", "csv", "parquet"])
def test_results_do_not_depend_on_the_blocks(table_model, bad, tmp_path, monkeypatch, form):
    data = bad.set_index(pd.Index(range(500, 500 + len(bad)))) if form == "frame" else tmp_path / f"rows.{form}"
    bad.to_csv(tmp_path / "rows.csv", index=False)
    bad.to_parquet(tmp_path / "rows.parquet")

    def found():
        denoised = fivefold.denoise(table_model, data)
        score, bits = fivefold.detect(table_model, data).score, fivefold.surprise(table_model, data)
        tables = [each if form == "frame" else each.to_pandas() for each in (denoised.data, denoised.changes, bits)]
        return [*tables, pd.Series(score), pd.DataFrame(fivefold.encode(table_model, data)[0])]

    whole = found()
    monkeypatch.setattr(dataset, "_BLOCK_ROWS", 7)
    for one, other in zip(whole, found(), strict=True):
        (pd.testing.assert_series_equal if one.ndim == 1 else pd.testing.assert_frame_equal)(one, other, rtol=1e-6)
    assert 3 in whole[1]["row"].to_list()
    if form == "frame":
        assert whole[0].index.equals(data.index)
        assert whole[2].index.equals(data.index)


def test_what_is_drawn_depends_on_the_block(table_model, trees, monkeypatch):
    whole = fivefold.impute(table_model, trees[:40], n_draws=1)
    monkeypatch.setattr(dataset, "_BLOCK_ROWS", 20)
    parts = fivefold.impute(table_model, trees[:40], n_draws=1)
    assert whole.missing == parts.missing
    pd.testing.assert_frame_equal(whole.data, parts.data, rtol=1e-5)
    pd.testing.assert_frame_equal(whole.draws[0][:20], parts.draws[0][:20], rtol=1e-5)
    assert not whole.draws[0][20:].equals(parts.draws[0][20:])
    known = trees[:40].notna()
    pd.testing.assert_frame_equal(parts.data.where(known), trees[:40].where(known))


def test_lists_and_dicts_come_back_as_they_came(table_settings):
    rng = np.random.default_rng(0)
    columns = {"kind": [("oak", "elm")[at % 2] for at in range(60)], "height": rng.normal(10.0, 2.0, 60).tolist()}
    columns["height"][4] = None
    rows = [list(row) for row in zip(*columns.values(), strict=True)]
    quick = {**table_settings, "epochs": 1}
    for data, form, kind in ((columns, "columns", dict), (rows, "rows", list)):
        model = fivefold.fit(data, **quick)
        assert model.data_record["form"] == form
        filled = fivefold.impute(model, data, n_draws=1, interval=0.9)
        for completed in (filled.data, *filled.draws, filled.lower, filled.upper):
            assert type(completed) is kind
        made = filled.data["height"] if kind is dict else [row[1] for row in filled.data]
        assert made[:4] + made[5:] == columns["height"][:4] + columns["height"][5:]
        assert isinstance(made[4], float)
        for other in (fivefold.denoise(model, data).data, fivefold.surprise(model, data), fivefold.generate(model, 3)):
            assert type(other) is kind
        assert type(fivefold.decode(model, np.zeros((2, model.latent_dim)))) is kind
        assert fivefold.detect(model, data, false_alarm_rate=0.5).score.shape == (60,)
        assert columns["height"][4] is None
    wrong = (([["oak", 1.0], ["elm"]], "one length each"), ({"kind": ["oak"], "height": [1.0, 2.0]}, "one length"))
    for data, message in wrong:
        with pytest.raises(DataError, match=message):
            fivefold.impute(model, data)


def test_items_of_rows_are_fitted_to(table_model, trees, table_settings):
    items = table_model.read(trees[:60])
    assert fivefold.fit(items, **{**table_settings, "epochs": 1}).schema == table_model.schema


def test_new_rows_are_rows_of_the_table(table_model, trees):
    rows = new_items(table_model, 200, seed=1, complete=True).values
    schema = table_model.schema
    for number, column in enumerate(schema.columns):
        cells = rows[:, 0, number, 0]
        assert ((cells >= column.low) & (cells <= column.high)).all()
        if column.step:
            np.testing.assert_allclose(cells / column.step, np.rint(cells / column.step), atol=1e-6)
    kind, height, girth = (rows[:, 0, schema.names.index(name), 0] for name in ("kind", "height", "girth"))
    assert np.corrcoef(height, girth)[0, 1] > 0.7
    assert len(np.unique(kind)) == 3
    assert np.array_equal(new_items(table_model, 20, seed=1, complete=True).values, rows[:20])
    assert not np.array_equal(new_items(table_model, 20, seed=2, complete=True).values, rows[:20])
    frame = fivefold.generate(table_model, 200, seed=1, complete=True)
    assert list(frame.columns) == list(schema.names)
    assert np.array_equal(Table.of(frame).cells(schema), rows[:, 0, :, 0])


def test_columns_of_new_rows_lie_as_those_of_the_fit(table_model, trees):
    schema = table_model.schema
    rows, fitted = (
        each[:, 0, :, 0]
        for each in (new_items(table_model, 1500, 0, complete=True).values, table_model.read(trees[:300]).values)
    )
    for number, column in enumerate(schema.columns):
        if not column.classes:
            met = fitted[~np.isnan(fitted[:, number]), number]
            assert ks_2samp(rows[:, number], met, method="asymp").statistic < 0.08, column.name


def test_given_cells_are_kept_and_tell_of_the_others(table_model):
    mean = {}
    for kind in ("oak", "ash"):
        rows = fivefold.generate(table_model, 60, given={"kind": kind})
        assert (rows["kind"] == kind).all()
        mean[kind] = rows["height"].mean()
    assert mean["oak"] > mean["ash"] + 4
    planted = pd.Timestamp("1990-05-01")
    rows = fivefold.generate(table_model, 5, given={"age": 30, "healthy": True, "planted": planted, "girth": 91.5})
    assert (rows["age"] == 30).all()
    assert (rows["planted"] == planted).all()
    assert (rows["girth"] == 91.5).all()
    assert rows["healthy"].all()
    for name, value in (("width", 1.0), ("kind", "fir"), ("age", "old"), ("age", float("nan"))):
        with pytest.raises(UsageError, match=name):
            fivefold.generate(table_model, 3, given={name: value})
    with pytest.raises(UsageError, match="`n` must"):
        fivefold.generate(table_model, 0, given={"kind": "oak"})


def test_swapped_rows_are_stranger(table_model, fresh):
    swapped = fresh.copy()
    swapped["height"] = np.random.default_rng(0).permutation(fresh["height"])
    both = pd.concat((fresh, swapped), ignore_index=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # few rows are held out
        found = fivefold.detect(table_model, both)
    assert roc_auc_score(np.arange(len(both)) < len(fresh), found.score) > 0.7
    assert ((found.p_value > 0) & (found.p_value <= 1)).all()


def test_scores_do_not_depend_on_company_or_order(table_model, fresh):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        together = fivefold.detect(table_model, fresh).score
        alone = [fivefold.detect(table_model, fresh[row : row + 1]).score[0] for row in range(5)]
        backwards = fivefold.detect(table_model, fresh[::-1]).score
    np.testing.assert_allclose(together[:5], alone, rtol=1e-10)
    np.testing.assert_allclose(together, backwards[::-1], rtol=1e-10)


def test_a_saved_model_scores_the_same(table_model, fresh, tmp_path):
    fivefold.save(table_model, tmp_path / "model")
    again = fivefold.load(tmp_path / "model", "cpu")
    assert fingerprint(again) == fingerprint(table_model)
    assert again.schema == table_model.schema
    rows = table_model.read(fresh)
    assert np.array_equal(fivefold.surprise(again, rows), fivefold.surprise(table_model, rows))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        assert np.array_equal(fivefold.detect(again, rows).score, fivefold.detect(table_model, rows).score)
    holes = fresh.mask(np.random.default_rng(0).random(fresh.shape) < 0.2)
    one, other = (fivefold.impute(each, holes, interval=0.8) for each in (table_model, again))
    pd.testing.assert_frame_equal(one.upper, other.upper)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("setting", [{"corruption": "none"}, {"context": False}])
def test_a_model_without_some_part_does_what_it_can(trees, fresh, setting):
    model = fivefold.fit(trees[:300], epochs=1, shortest_epoch=2, accelerator="cpu", **setting)
    assert np.isfinite(fivefold.detect(model, fresh).score).all()
    assert len(fivefold.generate(model, 5)) == 5
    assert not fivefold.impute(model, trees[:40]).data.isna().any(axis=None)
    assert len(fivefold.denoise(model, fresh).data) == len(fresh)
    if "context" in setting:
        with pytest.raises(ModelError, match="has none"):
            fivefold.compress(model, fresh)
    else:
        pd.testing.assert_frame_equal(fivefold.decompress(fivefold.compress(model, fresh), model), fresh)


def test_what_is_for_others_is_refused(table_model, fresh, model, digits):
    with pytest.raises(UsageError, match="`n_samples` goes with images, not with tables"):
        fivefold.denoise(table_model, fresh, n_samples=3)
    with pytest.raises(UsageError, match="`mask` goes with images, not with tables"):
        fivefold.impute(table_model, fresh, mask=np.zeros((1, 6)))
    with pytest.raises(UsageError, match="`sharp` goes with images, not with tables"):
        fivefold.generate(table_model, 3, sharp=True)
    with pytest.raises(UsageError, match="`given` goes with tables, not with images"):
        fivefold.generate(model, 3, given={"kind": "oak"})
    with pytest.raises(UsageError, match="`nonsense` is no option of impute"):
        fivefold.impute(table_model, fresh, nonsense=1)
    with pytest.raises(UsageError, match="`mask` goes with images, not with tables"):
        table_model.read(fresh, mask=np.zeros((1, 6)))
    with pytest.raises(DataError, match="must be images"):
        fivefold.encode(model, fresh)
    with pytest.raises(DataError, match="array"):
        fivefold.encode(table_model, digits)
    with pytest.raises(DataError, match=r"must be .* columns .*, got 28×28×1 uint8"):
        fivefold.encode(table_model, model.read(digits[:3]))


def test_items_of_another_schema_are_refused(table_model, fresh):
    others = dataset.open(fresh[["kind", "girth"]]).all_items()
    with pytest.raises(DataError, match="got 2 columns"):
        fivefold.encode(table_model, others)


def test_one_row_is_too_few_and_options_go_with_images(trees):
    with pytest.raises(DataError, match="at least 2 rows"):
        fivefold.fit(trees[:1])
    with pytest.raises(UsageError, match="preset"):
        fivefold.fit(trees, preset="paper")
    with pytest.raises(UsageError, match="resize"):
        fivefold.fit(trees, resize=(3, 3))


def test_draws_and_ends_are_values_that_the_column_can_take(trees, table_settings):
    """A whole-number column with holes comes as reals with a step: the ends must hold its numbers."""
    steps = trees[["height", "girth"]].round().mask(np.random.default_rng(1).random((len(trees), 2)) < 0.2)
    found = fivefold.impute(fivefold.fit(steps, **table_settings), steps, n_draws=1, interval=0.9)
    for each in (found.draws[0], found.lower, found.upper):
        pd.testing.assert_frame_equal(each, each.round())
    assert (found.data != found.data.round()).any(axis=None)


def test_expected_cells_are_given_the_mean_of_the_posterior(table_model, trees):
    items, single = table_model.read(trees[:40]), table_model.single()
    (_, x, visible) = next(single.batches(items))
    with torch.inference_mode():
        z = single.vae.posterior(x, visible).mu
        told = Conditional(single, Conditioning.MISSING, x, visible, z)
        rows, columns = (~visible.flatten(1)).nonzero().unbind(1)
        expected = (
            torch.where(visible, x, 0).flatten(1).index_put((rows, columns), told(rows, columns).point().flatten())
        )
    whole = impute_items(table_model, items, free=True)[0]
    np.testing.assert_allclose(whole, single.values(expected.view(x.shape)), rtol=1e-5, equal_nan=True)
