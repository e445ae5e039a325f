"""The jobs on series, from reading to stitching."""

from __future__ import annotations

import dataclasses

import numpy as np
import polars as pl
import pytest
import torch

from fivefold.config import Conditioning
from fivefold.errors import DataError, ModelError, UsageError
from fivefold.jobs.codes import decode, encode
from fivefold.jobs.denoise import denoise
from fivefold.jobs.detect import detect, surprise
from fivefold.jobs.generate import generate, morph
from fivefold.jobs.impute import impute
from fivefold.series.dataset import read_series
from fivefold.storage import load, save
from fivefold.training.fit import fit


def _same(a, b, **tolerance):
    assert np.allclose(a, b, equal_nan=True, **tolerance)


def test_missing_steps_are_filled_in(series_model, waves):
    holey = waves.copy()
    holey[0, 50:60] = holey[0, 200] = np.nan
    found = impute(series_model, holey, n_draws=2, interval=0.9)
    hidden = np.isnan(holey)
    assert found.data.shape == found.lower.shape == found.upper.shape == waves.shape
    assert found.missing == hidden.sum()
    for completed in (found.data, *found.draws, found.lower, found.upper):
        assert np.array_equal(completed[~hidden], waves[~hidden])
    assert np.abs(found.data - waves)[hidden].mean() < 0.2
    assert np.isfinite(found.draws).all()
    assert (np.abs(found.draws[0] - found.draws[1])[hidden] > 0).any()
    assert (found.lower <= found.upper)[hidden].all()
    again = impute(series_model, holey, n_draws=2, interval=0.9)
    assert np.array_equal(found.draws, again.draws)


def test_noise_is_removed(series_model, waves):
    noisy = waves + 0.3 * np.random.default_rng(0).normal(size=waves.shape)
    noisy[0, 10] = np.nan
    found = denoise(series_model, noisy)
    assert found.data.shape == found.std.shape == waves.shape
    known = ~np.isnan(noisy)
    before, after = (np.sqrt(np.mean((each - waves)[known] ** 2)) for each in (noisy, found.data))
    assert after < 0.7 * before
    assert np.isnan(found.data[0, 10])
    assert (found.std[known] > 0).all()
    assert np.isnan(found.std[0, 10])
    assert found.changes is None


def test_strange_steps_are_found_where_they_are(series_model, waves):
    strange = waves.copy()
    strange[0, 300] += 4.0
    found = detect(series_model, strange)
    clean = detect(series_model, waves)
    assert found.score.shape == found.p_value.shape == found.anomaly.shape == waves.shape
    assert np.nanargmin(found.score) == 300
    assert found.p_value[0, 300] == np.nanmin(found.p_value)
    assert found.anomaly[0, 300]
    events = found.events
    worst = int(np.argmin(events.score))
    assert events.start[worst] <= 300 <= events.end[worst]
    assert events.peak[worst] == 300
    assert clean.anomaly.mean() < 0.15
    assert np.array_equal(found.score[0, :200], clean.score[0, :200])
    windows = read_series(strange, series_model.schema).windows
    assert windows.starts[np.argmin(found.window_score)] <= 300 < windows.starts[np.argmin(found.window_score)] + 32


def test_a_wrong_value_does_not_mislead_what_follows(series_model, waves):
    strange = waves.copy()
    strange[0, 300] += 4.0
    score = detect(series_model, strange).score[0]
    assert score[300] < 3 * score[310:330].min()


def test_what_is_missing_has_no_score(series_model, waves):
    holey = waves.copy()
    holey[0, 100:110] = np.nan
    found = detect(series_model, holey, fdr=0.1)
    assert np.isnan(found.score[0, 100:110]).all()
    assert not found.anomaly[0, 100:110].any()
    assert np.isfinite(np.delete(found.score[0], np.s_[100:110])).all()


def test_bits_per_value(series_model, waves):
    bits = surprise(series_model, waves)
    assert bits.shape == waves.shape
    strange = waves.copy()
    strange[0, 300] += 4.0
    assert surprise(series_model, strange)[0, 300] > bits[0, 300] + 10


def test_series_go_on(series_model, waves):
    paths = generate(series_model, 8, seed=1, after=waves[:, :500], steps=40)
    assert paths.shape == (8, 1, 40, 1)
    assert np.isfinite(paths).all()
    error = np.abs(np.median(paths, axis=0)[0, :8, 0] - waves[0, 500:508]).mean()
    assert error < np.abs(waves[0, 500:508] - waves.mean()).mean()
    assert len(np.unique(paths[:, 0, 5, 0])) > 1
    assert np.array_equal(paths, generate(series_model, 8, seed=1, after=waves[:, :500], steps=40))
    assert generate(series_model, 2, after=waves).shape == (2, 1, 32, 1)
    for n, steps in ((0, 5), (1, 0)):
        with pytest.raises(UsageError, match="must be at least 1"):
            generate(series_model, n, after=waves, steps=steps)


def test_new_windows_and_codes(series_model, waves):
    new = generate(series_model, 5)
    assert new.shape == (5, 32, 1)
    assert np.isfinite(new).all()
    codes, _ = encode(series_model, waves)
    assert len(codes) == len(read_series(waves, series_model.schema).windows)
    assert decode(series_model, codes[:2]).shape == (2, 32, 1)
    assert morph(series_model, codes[0], codes[1], 4).shape == (4, 32, 1)


def test_results_do_not_depend_on_the_batch(series_model, waves, monkeypatch):
    from fivefold.series import dataset

    holey = waves.copy()
    holey[0, 50:60] = np.nan
    whole = impute(series_model, holey).data, detect(series_model, waves).score
    monkeypatch.setattr(dataset, "_BLOCK", 7)
    parts = impute(series_model, holey).data, detect(series_model, waves).score
    _same(whole[1], parts[1], rtol=1e-3, atol=1e-3)
    assert np.array_equal(whole[0][0, :50], parts[0][0, :50])
    assert np.abs(whole[0] - parts[0]).max() < 0.3, "codes are drawn by block"


def test_a_saved_model_gives_the_same(series_model, waves, tmp_path):
    save(series_model, tmp_path / "m")
    again = load(tmp_path / "m")
    assert again.schema == series_model.schema
    _same(detect(again, waves).score, detect(series_model, waves).score)
    assert "fivefold generate MODEL --after" in (tmp_path / "m" / "README.md").read_text(encoding="utf-8")


def test_levels_that_wander_are_followed(waves):
    rng = np.random.default_rng(0)
    trend = np.cumsum(rng.normal(size=1200)) * 0.2 + np.sin(np.arange(1200) / 4)
    schema = read_series(trend, window=32).schema
    assert schema.wander[0] > 0
    assert read_series(waves, window=32).schema.wander == (0.0,)


@pytest.mark.filterwarnings("ignore:detection compares with")
@pytest.mark.parametrize("settings", [{"series_network": "lstm"}, {"context": False}])
def test_other_networks(settings, series_settings, waves):
    model = fit(waves[:, :200], kind="series", **{**series_settings, "epochs": 1, **settings})
    holey = waves[:, :200].copy()
    holey[0, 50:55] = np.nan
    assert np.isfinite(impute(model, holey).data).all()
    assert np.isfinite(detect(model, waves[:, :200]).score).all()
    assert np.isfinite(denoise(model, waves[:, :200]).data).all()
    if not settings.get("context", True):
        assert not model.has_learnt(Conditioning.CAUSAL)
        with pytest.raises(ModelError, match="context decoder"):
            generate(model, 1, after=waves[:, :200], steps=5)


@pytest.mark.filterwarnings("ignore:detection compares with")
def test_many_channels_and_unequal_lengths(series_settings):
    rng = np.random.default_rng(0)
    parts = [np.stack((np.sin(np.arange(n) / 3), rng.integers(0, 5, n), np.full(n, 2.0)), axis=1) for n in (90, 60, 40)]
    model = fit(parts, kind="series", **{**series_settings, "epochs": 1})
    parts[1][10:20, :2] = np.nan
    filled = impute(model, parts, n_draws=1)
    for completed in (filled.data, filled.draws[0]):
        assert [part.shape for part in completed] == [(90, 3), (60, 3), (40, 3)]
        assert all(np.isfinite(part).all() for part in completed)
    assert all(np.array_equal(part[:, 1], np.rint(part[:, 1])) for part in filled.draws[0])
    assert [len(score) for score in detect(model, parts).score] == [90, 60, 40]
    flat = dataclasses.replace(read_series(parts, model.schema), encoded=True)
    assert np.array_equal(impute(model, flat).data, np.concatenate(filled.data))
    assert detect(model, flat).score.shape == (190,)
    assert generate(model, 2, after=parts, steps=5).shape == (2, 3, 5, 3)


def test_arrays_are_those_of_any_library(series_model, waves):
    assert np.array_equal(detect(series_model, torch.tensor(waves)).score, detect(series_model, waves).score)


def test_frames_come_back_as_frames(series_model_of_table):
    model, frame = series_model_of_table
    holey = frame.with_columns(load=pl.when(pl.int_range(pl.len()).is_between(20, 25)).then(None).otherwise("load"))
    found = impute(model, holey)
    assert isinstance(found.data, pl.DataFrame)
    assert found.data.columns == frame.columns
    assert found.data["load"].null_count() == 0
    assert found.missing == 6
    kept = ~pl.int_range(pl.len()).is_between(20, 25)
    assert found.data.filter(kept).equals(frame.filter(kept))
    bits = surprise(model, holey)
    assert bits.columns == ["hour", "load"]
    assert bits["load"][20:26].is_nan().all()
    assert detect(model, holey).score.shape == (280,)
    assert denoise(model, holey).std.columns == ["hour", "load"]
    with pytest.raises(DataError, match="must have column 'load'"):
        impute(model, frame.drop("load"))


def test_what_is_for_others_is_refused(series_model, model, waves, digits, trees):
    with pytest.raises(UsageError, match="`mask` goes with images, not with series"):
        denoise(series_model, waves, mask=np.zeros((1, 600)))
    with pytest.raises(UsageError, match="`threshold` goes with tables, not with series"):
        denoise(series_model, waves, threshold=0.3)
    with pytest.raises(UsageError, match="`given` goes with tables, not with series"):
        generate(series_model, 3, given={"x0": 1.0})
    with pytest.raises(UsageError, match="`after` goes with series, not with images"):
        generate(model, 3, after=waves)
    with pytest.raises(UsageError, match="`steps` goes with `after`"):
        generate(series_model, 3, steps=5)
    with pytest.raises(DataError, match="array: must be series, got 28×28×1 uint8"):
        detect(series_model, model.read(digits[:3]))
    with pytest.raises(DataError, match="must have 1 column"):
        detect(series_model, digits[:3, ..., 0])
    with pytest.raises(DataError, match="must have column 'x0'"):
        detect(series_model, trees)
    with pytest.raises(UsageError, match="`fdr` must be between 0 and 1"):
        detect(series_model, waves, fdr=2.0)


def test_too_short_to_fit():
    with pytest.raises(DataError, match="too short to hold out 15% for validation"):
        fit(np.sin(np.arange(20.0)), kind="series")
    with pytest.raises(DataError, match="must have at least 2 steps"):
        fit(np.zeros((1, 1)), kind="series")
    with pytest.raises(UsageError, match="`time` goes with series, not with images"):
        fit(np.zeros((5, 8, 8)), kind="images", time="t")
