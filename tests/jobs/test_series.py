"""The jobs on series, from reading to stitching."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from fivefold.errors import DataError, ModelError, UsageError
from fivefold.jobs.codes import decode, encode
from fivefold.jobs.generate import generate, morph
from fivefold.model.conditioning import Conditioning
from fivefold.series.dataset import read_series
from fivefold.series.jobs import (
    continue_series,
    denoise_series,
    detect_series,
    impute_series,
    surprise_series,
)
from fivefold.storage import load, save
from fivefold.training.fit import fit


def _same(a, b, **tolerance):
    assert np.allclose(a, b, equal_nan=True, **tolerance)


def test_missing_steps_are_filled_in(series_model, waves):
    holey = waves.copy()
    holey[0, 50:60] = holey[0, 200] = np.nan
    found = impute_series(series_model, holey, n_draws=2, interval=0.9)
    hidden = np.isnan(holey).reshape(-1, 1)
    true = waves.reshape(-1, 1)
    assert np.array_equal(found.values[~hidden], true[~hidden])
    assert np.abs(found.values - true)[hidden].mean() < 0.2
    assert np.isfinite(found.draws).all()
    assert (np.abs(found.draws[0] - found.draws[1])[hidden] > 0).any()
    assert found.lower is not None
    assert found.upper is not None
    assert (found.lower <= found.upper)[hidden].all()
    again = impute_series(series_model, holey, n_draws=2, interval=0.9)
    assert np.array_equal(found.draws, again.draws)


def test_noise_is_removed(series_model, waves):
    noisy = waves + 0.3 * np.random.default_rng(0).normal(size=waves.shape)
    noisy[0, 10] = np.nan
    found = denoise_series(series_model, noisy)
    known = ~np.isnan(noisy.reshape(-1))
    before, after = (
        np.sqrt(np.mean((each.reshape(-1) - waves.reshape(-1))[known] ** 2)) for each in (noisy, found.values)
    )
    assert after < 0.7 * before
    assert np.isnan(found.values[10, 0])
    assert (found.std[known] > 0).all()


def test_strange_steps_are_found_where_they_are(series_model, waves):
    strange = waves.copy()
    strange[0, 300] += 4.0
    found = detect_series(series_model, strange)
    clean = detect_series(series_model, waves)
    assert np.nanargmin(found.score) == 300
    assert found.p_value[300] == np.nanmin(found.p_value)
    assert found.anomaly[300]
    events = found.events
    worst = int(np.argmin(events.score))
    assert events.start[worst] <= 300 <= events.end[worst]
    assert events.peak[worst] == 300
    assert clean.anomaly.mean() < 0.15
    assert np.array_equal(found.score[:200], clean.score[:200])
    windows = read_series(strange, series_model.schema).windows
    assert windows.starts[np.argmin(found.window_score)] <= 300 < windows.starts[np.argmin(found.window_score)] + 32


def test_a_wrong_value_does_not_mislead_what_follows(series_model, waves):
    strange = waves.copy()
    strange[0, 300] += 4.0
    score = detect_series(series_model, strange).score
    assert score[300] < 3 * score[310:330].min()


def test_what_is_missing_has_no_score(series_model, waves):
    holey = waves.copy()
    holey[0, 100:110] = np.nan
    found = detect_series(series_model, holey, fdr=0.1)
    assert np.isnan(found.score[100:110]).all()
    assert not found.anomaly[100:110].any()
    assert np.isfinite(np.delete(found.score, np.s_[100:110])).all()


def test_bits_per_value(series_model, waves):
    bits = surprise_series(series_model, waves)
    strange = waves.copy()
    strange[0, 300] += 4.0
    assert surprise_series(series_model, strange)[300, 0] > bits[300, 0] + 10


def test_series_go_on(series_model, waves):
    paths = continue_series(series_model, waves[:, :500], 40, n=8, seed=1)
    assert paths.shape == (8, 1, 40, 1)
    assert np.isfinite(paths).all()
    error = np.abs(np.median(paths, axis=0)[0, :8, 0] - waves[0, 500:508]).mean()
    assert error < np.abs(waves[0, 500:508] - waves.mean()).mean()
    assert len(np.unique(paths[:, 0, 5, 0])) > 1
    assert np.array_equal(paths, continue_series(series_model, waves[:, :500], 40, n=8, seed=1))
    for numbers in ((0, 1), (5, 0)):
        with pytest.raises(UsageError):
            continue_series(series_model, waves, *numbers)


def test_new_windows_and_codes(series_model, waves):
    new = generate(series_model, 5, prior="fitted", sharp=True)
    assert new.shape == (5, 32, 1, 1)
    assert np.isfinite(new).all()
    codes, _ = encode(series_model, waves)
    assert len(codes) == len(read_series(waves, series_model.schema).windows)
    assert decode(series_model, codes[:2]).shape == (2, 32, 1, 1)
    assert morph(series_model, codes[0], codes[1], 4).shape == (4, 32, 1, 1)


def test_results_do_not_depend_on_the_batch(series_model, waves, monkeypatch):
    from fivefold.series import jobs as series

    holey = waves.copy()
    holey[0, 50:60] = np.nan
    whole = impute_series(series_model, holey).values, detect_series(series_model, waves).score
    monkeypatch.setattr(series, "_BLOCK", 7)
    parts = impute_series(series_model, holey).values, detect_series(series_model, waves).score
    _same(whole[1], parts[1], rtol=1e-3, atol=1e-3)
    assert np.array_equal(whole[0][:40], parts[0][:40])


def test_a_saved_model_gives_the_same(series_model, waves, tmp_path):
    save(series_model, tmp_path / "m")
    again = load(tmp_path / "m")
    assert again.schema == series_model.schema
    _same(detect_series(again, waves).score, detect_series(series_model, waves).score)
    assert "fivefold generate MODEL --after" in (tmp_path / "m" / "README.md").read_text(encoding="utf-8")


def test_levels_that_wander_are_followed(waves):
    rng = np.random.default_rng(0)
    trend = np.cumsum(rng.normal(size=1200)) * 0.2 + np.sin(np.arange(1200) / 4)
    schema = read_series(trend, window=32).schema
    assert schema.wander[0] > 0
    assert read_series(waves, window=32).schema.wander == (0.0,)


@pytest.mark.filterwarnings("ignore:with .* held-out")
@pytest.mark.parametrize("settings", [{"series_network": "lstm"}, {"window": 0}])
def test_other_networks(settings, series_settings, waves):
    model = fit(waves[:, :200], kind="series", **{**series_settings, "epochs": 1, **settings})
    holey = waves[:, :200].copy()
    holey[0, 50:55] = np.nan
    assert np.isfinite(impute_series(model, holey).values).all()
    assert np.isfinite(detect_series(model, waves[:, :200]).score).all()
    assert np.isfinite(denoise_series(model, waves[:, :200]).values).all()
    if not settings.get("window", 1):
        assert not model.has_learnt(Conditioning.CAUSAL)
        with pytest.raises(DataError, match="context decoder"):
            continue_series(model, waves[:, :200], 5)


@pytest.mark.filterwarnings("ignore:with .* held-out")
def test_many_channels_and_unequal_lengths(series_settings):
    rng = np.random.default_rng(0)
    parts = [np.stack((np.sin(np.arange(n) / 3), rng.integers(0, 5, n), np.full(n, 2.0)), axis=1) for n in (90, 60, 40)]
    model = fit(parts, kind="series", **{**series_settings, "epochs": 1})
    parts[1][10:20, :2] = np.nan
    filled = impute_series(model, parts, n_draws=1)
    assert np.isfinite(filled.values).all()
    assert np.array_equal(filled.draws[0][:, 1], np.rint(filled.draws[0][:, 1]))
    assert len(detect_series(model, parts).score) == 190


def test_frames_come_back_as_frames(series_model_of_table):
    model, frame = series_model_of_table
    holey = frame.with_columns(load=pl.when(pl.int_range(pl.len()).is_between(20, 25)).then(None).otherwise("load"))
    found = impute_series(model, holey)
    assert np.isfinite(found.values).all()
    with pytest.raises(DataError, match="must have column 'load'"):
        impute_series(model, frame.drop("load"))


def test_wrong_models_say_so(series_model, model, waves):
    from fivefold.jobs.denoise import denoise
    from fivefold.jobs.detect import detect
    from fivefold.tables.generate import generate_rows

    with pytest.raises(ModelError, match="that takes a model of series, this one is of"):
        impute_series(model, waves)
    with pytest.raises(ModelError, match="that takes a model of images, this one is of windows of 32 steps"):
        denoise(series_model, waves)
    with pytest.raises(ModelError, match="that takes a model of images"):
        detect(series_model, waves)
    with pytest.raises(ModelError, match="that takes a model of a table"):
        generate_rows(series_model, 3)
    with pytest.raises(UsageError, match="--fdr must be between 0 and 1"):
        detect_series(series_model, waves, fdr=2.0)


def test_too_short_to_fit():
    with pytest.raises(DataError, match="too short to hold out 15% for validation"):
        fit(np.sin(np.arange(20.0)), kind="series")
    with pytest.raises(DataError, match="must have at least 2 steps"):
        fit(np.zeros((1, 1)), kind="series")
    with pytest.raises(UsageError, match='go with kind="series"'):
        fit(np.zeros((5, 8, 8)), time="t")
