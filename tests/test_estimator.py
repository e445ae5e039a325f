"""The estimators are as scikit-learn's own, and do the five jobs."""

from __future__ import annotations

import pickle

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from sklearn.base import clone
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks

import fivefold
from fivefold import VAE, VAEImputer, VAEOutlierDetector

_SMALL = {"shortest_epoch": 8, "hidden": 16, "context_width": 16, "members": 2}
_QUICK = {"accelerator": "cpu", "epochs": 2, "settings": _SMALL}
_LEAST = {
    "accelerator": "cpu",
    "epochs": 1,
    "settings": {"shortest_epoch": 2, "hidden": 8, "context_width": 8, "members": 1},
}


@pytest.mark.filterwarnings("ignore:.*:UserWarning")
@parametrize_with_checks([VAE(**_LEAST), VAEImputer(**_LEAST), VAEOutlierDetector(**_LEAST)])
def test_scikit_learn(estimator, check):
    check(estimator)


@pytest.fixture(scope="module")
def frame(trees) -> pd.DataFrame:
    """With an index of its own."""
    return trees[:120].set_index(pd.Index(range(1000, 1120), name="number"))


@pytest.fixture(scope="module")
def vae(frame) -> VAE:
    return VAE(latent_dim=3, random_state=0, **_QUICK).fit(frame)


@pytest.mark.situation("pandas frames with an index of their own", "result right")
def test_frames_come_back_with_columns_types_and_index(vae, frame):
    whole = vae.impute(frame)
    assert list(whole.columns) == list(frame.columns)
    assert (whole.dtypes == frame.dtypes).all()
    assert whole.index.equals(frame.index)
    assert not whole.isna().any(axis=None)
    pd.testing.assert_frame_equal(whole.where(frame.notna()), frame.where(frame.notna()))
    pd.testing.assert_series_equal(whole["id"], frame["id"])
    draws = vae.impute(frame, n_draws=2)
    assert len(draws) == 2
    assert not draws[0].equals(draws[1])
    lower, upper = vae.impute_interval(frame, 0.8)
    missing = frame["height"].isna()
    assert (lower["height"][missing] < upper["height"][missing]).all()
    assert lower["kind"][frame["kind"].isna()].isna().all()


def test_why_has_the_columns_and_index_of_the_table(vae, frame):
    why = vae.explain(frame)
    assert list(why.columns) == [name for name in frame.columns if name != "id"]
    assert why.index.equals(frame.index)
    assert why["height"].isna().equals(frame["height"].isna())
    odd = frame.copy()
    odd.iloc[2, odd.columns.get_loc("girth")] = 9000.0
    assert vae.explain(odd).iloc[2]["girth"] > why.iloc[2]["girth"] + 2


@pytest.mark.situation("polars frames and Arrow tables", "result right")
@pytest.mark.parametrize("convert", [pl.from_pandas, lambda f: pa.Table.from_pandas(f, preserve_index=False)])
def test_other_frames_stay_what_they_are(vae, frame, convert):
    plain = frame.reset_index(drop=True)
    table = convert(plain)
    estimator = VAE(random_state=0, **_QUICK).fit(table)
    for found in (estimator.impute(table), estimator.denoise(table), estimator.explain(table), estimator.sample(5)):
        assert type(found) is type(table)
    assert estimator.score_samples(table).shape == (120,)
    assert len(estimator.sample(5)) == 5


def test_scores_p_values_and_verdicts_agree(vae, frame):
    score = vae.score_samples(frame)
    assert score.dtype == np.float64
    np.testing.assert_array_equal(vae.decision_function(frame), score - vae.offset_)
    np.testing.assert_array_equal(vae.predict(frame), np.where(score >= vae.offset_, 1, -1))
    p_values = vae.p_values(frame)
    assert ((p_values > 0) & (p_values <= 1)).all()
    order = np.argsort(score)
    assert (np.diff(p_values[order]) >= 0).all()


def test_codes_have_names_and_lead_back_to_rows(vae, frame):
    codes = vae.transform(frame)
    assert codes.shape == (120, 3)
    assert list(vae.get_feature_names_out()) == ["vae0", "vae1", "vae2"]
    back = vae.inverse_transform(codes)
    assert set(back.columns) == set(frame.columns) - {"id"}
    assert set(back["kind"]) <= {"oak", "elm", "ash"}
    named = clone(vae).set_output(transform="pandas").fit(frame).transform(frame)
    assert list(named.columns) == ["vae0", "vae1", "vae2"]
    assert named.index.equals(frame.index)


def test_the_seed_reproduces_fit_and_draws(vae, frame):
    again = clone(vae).fit(frame)
    np.testing.assert_array_equal(again.score_samples(frame), vae.score_samples(frame))
    pd.testing.assert_frame_equal(again.sample(7), vae.sample(7))
    pd.testing.assert_frame_equal(again.impute(frame, n_draws=1)[0], vae.impute(frame, n_draws=1)[0])
    other = clone(vae).set_params(random_state=1).fit(frame)
    assert not np.array_equal(other.score_samples(frame), vae.score_samples(frame))


@pytest.mark.situation("an estimator that is pickled", "result right")
def test_pickles_go_by_the_models_folder(vae, frame, tmp_path):
    state = vae.__getstate__()
    assert set(state["model_"]) == {"config.json", "model.safetensors", "README.md"}
    again = pickle.loads(pickle.dumps(vae))
    np.testing.assert_array_equal(again.score_samples(frame), vae.score_samples(frame))
    vae.save(tmp_path / "model")
    loaded = fivefold.load(tmp_path / "model", "cpu")
    assert loaded.latent_dim == 3


@pytest.mark.situation("a column of the fit under another name, or absent", "refused in one line")
def test_columns_must_be_those_of_the_fit(vae, frame):
    for other in (frame.rename(columns={"girth": "width"}), frame.drop(columns="girth")):
        for method in (vae.impute, vae.transform, vae.predict, vae.score_samples, vae.explain, vae.compress):
            with pytest.raises(ValueError, match="girth"):
                method(other)


@pytest.mark.situation("columns in another order, further ones, carried ones absent", "result right")
@pytest.mark.parametrize(
    "convert", [lambda f: f, pl.from_pandas, pa.Table.from_pandas], ids=["pandas", "polars", "arrow"]
)
def test_columns_go_by_their_names(vae, frame, convert):
    plain = frame.reset_index(drop=True)
    other = plain[plain.columns[::-1]].drop(columns="id").assign(further=range(len(plain)))
    np.testing.assert_array_equal(vae.score_samples(convert(other)), vae.score_samples(plain))
    np.testing.assert_array_equal(vae.transform(convert(other)), vae.transform(plain))
    filled = vae.impute(convert(other))
    assert list(getattr(filled, "column_names", filled.columns)) == list(other.columns)
    assert vae.feature_names_in_.tolist() == list(frame.columns)


@pytest.mark.situation("other columns to a step of a pipeline", "result right")
def test_an_imputer_gives_the_columns_of_the_fit(frame):
    imputer = VAEImputer(random_state=0, **_QUICK).set_output(transform="pandas").fit(frame)
    other = frame[frame.columns[::-1]].drop(columns="id").assign(further=0)
    whole = imputer.transform(other)
    assert list(whole.columns) == list(frame.columns)
    assert whole["id"].isna().all()
    pd.testing.assert_frame_equal(whole.drop(columns="id"), imputer.transform(frame).drop(columns="id"))


@pytest.mark.situation("a dict of columns", "read right")
def test_a_dict_of_columns(frame):
    columns = {name: frame[name].tolist() for name in ("height", "girth")}
    vae = VAE(random_state=0, **_QUICK).fit(columns)
    assert vae.feature_names_in_.tolist() == ["height", "girth"]
    assert not np.isnan(np.array(vae.impute(columns)["height"], float)).any()


def test_a_schema_overrules_what_is_inferred(frame):
    asked = {"columns": {"age": {"kind": "category"}, "girth": {"kind": "carried"}}}
    estimator = VAE(schema=asked, **_QUICK).fit(frame)
    kinds = {column.name: column.kind for column in estimator.model_.schema.columns}
    assert kinds["age"] == "category"
    assert "girth" not in kinds
    with pytest.raises(ValueError, match="false_alarm_rate"):
        VAE(false_alarm_rate=0, **_QUICK).fit(frame)


@pytest.mark.situation("arrays with NaN, and arrays of objects", "read right")
def test_arrays_with_holes_and_words(frame):
    numbers = frame[["height", "girth", "age"]].to_numpy()
    filled = VAE(random_state=0, **_QUICK).fit(numbers).impute(numbers)
    assert isinstance(filled, np.ndarray)
    assert not np.isnan(filled).any()
    assert np.isnan(numbers).any(), "what was given is not changed"
    words = frame[["kind", "girth"]].to_numpy(dtype=object)
    assert set(VAE(random_state=0, **_QUICK).fit(words).impute(words)[:, 0]) == {"oak", "elm", "ash"}


@pytest.mark.situation("pipelines and grid searches", "result right")
def test_it_fits_into_pipelines_and_searches(frame):
    numbers = frame[["height", "girth", "age"]].mask(np.random.default_rng(0).random((120, 3)) < 0.2)
    target = frame["healthy"].to_numpy()
    pipeline = make_pipeline(VAEImputer(random_state=0, **_QUICK), HistGradientBoostingClassifier(max_iter=10))
    assert pipeline.fit(numbers, target).score(numbers, target) > 0.7
    search = GridSearchCV(
        make_pipeline(VAE(random_state=0, **_QUICK), HistGradientBoostingClassifier(max_iter=5)),
        {"vae__latent_dim": [1, 2]},
        cv=2,
    ).fit(numbers, target)
    assert search.best_params_["vae__latent_dim"] in (1, 2)


@pytest.mark.filterwarnings("ignore:.*:UserWarning")
def test_images_are_items_too(digits, small_settings):
    settings = {name: value for name, value in small_settings.items() if name not in ("accelerator", "epochs")}
    estimator = VAE(latent_dim=2, epochs=1, settings=settings, accelerator="cpu", random_state=0).fit(
        digits[:60, ..., 0]
    )
    assert estimator.transform(digits[:5]).shape == (5, 2)
    assert estimator.denoise(digits[:5]).shape == estimator.explain(digits[:5]).shape == (5, 28, 28, 1)
    assert estimator.sample(2).shape == (2, 28, 28, 1)
    assert estimator.score_samples(digits[:5]).shape == (5,)
    holes = digits[:3].astype(np.float32)
    holes[:, 5:9] = np.nan
    assert not np.isnan(estimator.impute(holes)).any()


@pytest.mark.filterwarnings("ignore:detection compares with:UserWarning", "ignore:series. from step:UserWarning")
def test_series(waves, series_settings, tmp_path):
    settings = {
        name: value for name, value in series_settings.items() if name not in ("epochs", "accelerator", "latent_dim")
    }
    vae = VAE(kind="series", epochs=1, accelerator="cpu", latent_dim=4, settings=settings, random_state=0).fit(waves)
    holey = waves.copy()
    holey[0, 50:60] = np.nan
    whole = vae.impute(holey)
    assert whole.shape == waves.shape
    assert np.array_equal(whole[~np.isnan(holey)], waves[~np.isnan(holey)])
    assert [draw.shape for draw in vae.impute(holey, n_draws=2)] == [waves.shape] * 2
    low, high = vae.impute_interval(holey)
    assert (low <= high).all()
    for found in (
        vae.score_samples(waves),
        vae.predict(waves),
        vae.p_values(waves),
        vae.denoise(waves),
        vae.explain(waves),
    ):
        assert found.shape == waves.shape
    spike = waves.copy()
    spike[0, 300] += 50
    assert (vae.predict(spike) == -1).any()
    np.testing.assert_array_equal(vae.decision_function(spike) <= 0, vae.predict(spike) == -1)
    assert vae.transform(waves).shape[1] == 4
    assert vae.inverse_transform(np.zeros((2, 4))).shape == vae.sample(2).shape == (2, 32, 1)
    again = pickle.loads(pickle.dumps(vae))
    assert np.array_equal(again.score_samples(waves), vae.score_samples(waves))
    parts = [waves[0], waves[0, :200]]
    assert [part.shape for part in vae.predict(parts)] == [(600,), (200,)]
    with pytest.raises(
        ValueError, match="`kind` must be one of images, tables, series, pictures, parts; got 'sequence'"
    ):
        VAE(kind="sequence").fit(waves)
