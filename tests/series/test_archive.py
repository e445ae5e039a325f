"""Archives of series give back every value bit for bit, whatever the series came as."""

from __future__ import annotations

import io
import wave

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from forged import rewritten
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import fivefold
from fivefold.archive.read import open_archive
from fivefold.codec import rounding
from fivefold.errors import ArchiveError, DamagedArchiveError, DataError, UsageError, WrongModelError
from fivefold.series.coding import codec_of
from fivefold.series.exact import StepChain
from fivefold.storage import as_stored
from fivefold.tables.verbatim import to_bytes
from fivefold.training.fit import fit


def _same(found, values) -> None:
    assert found.dtype == values.dtype
    assert found.shape == values.shape
    assert found.tobytes() == values.tobytes()


@pytest.fixture(scope="module")
def archive(series_model, waves) -> bytes:
    return fivefold.compress(series_model, waves)


@pytest.fixture(scope="module")
def decimals(waves) -> np.ndarray:
    return np.round(waves, 2)


def test_an_array_comes_back_in_its_shape(series_model, waves, archive):
    _same(fivefold.decompress(archive, series_model), waves)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.int16, np.uint8, np.int64, np.uint64, bool])
def test_other_types(series_model, waves, dtype):
    values = (waves * 20 + 40).astype(dtype)
    _same(fivefold.decompress(fivefold.compress(series_model, values), series_model), values)


def test_the_order_of_bytes_is_the_machines(series_model, waves):
    swapped = waves.astype(waves.dtype.newbyteorder())
    for each in (swapped, [swapped[0]]):
        found = fivefold.decompress(fivefold.compress(series_model, each), series_model)
        assert np.array_equal(np.ravel(found), waves[0])
        assert np.array_equal(series_model.read(each).values, series_model.read(waves).values)


def test_nothing_to_write(series_model_of_table):
    model, frame = series_model_of_table
    with pytest.raises(DataError, match="no rows"):
        fivefold.compress(model, frame[:0])


def test_what_is_no_number_comes_back_too(series_model, waves):
    values = waves.copy()
    values[0, :4] = np.array([0x7FF8000000000001, 0xFFF800000000BEEF, 1 << 63, 0], np.uint64).view(float)
    values[0, 100:107] = np.nan, np.inf, -np.inf, 1e300, -1e-300, 5e-324, 1e15
    _same(fivefold.decompress(fivefold.compress(series_model, values), series_model), values)


def test_values_are_coded_by_the_model(series_model, decimals):
    shuffled = np.random.default_rng(0).permuted(decimals, axis=1)
    small, large = (len(fivefold.compress(series_model, each)) for each in (decimals, shuffled))
    assert small < 0.85 * large
    assert small < 0.25 * decimals.nbytes


def test_decimals_take_less_than_all_digits(series_model, waves, decimals):
    fine, coarse = (fivefold.compress(series_model, each) for each in (waves, decimals))
    _same(fivefold.decompress(coarse, series_model), decimals)
    assert len(coarse) < 0.4 * len(fine)


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_both_sides_go_on_from_the_same_values(series_model, decimals, dtype, monkeypatch):
    """Of 0.3 as a decimal and as a float the networks would make differently rounded numbers."""
    values, written, read = decimals.astype(dtype), [], []
    foresee, observe = StepChain.foresee, StepChain.observe

    def noted(chain, scaled):
        written.extend(scaled[..., 0].copy())
        return foresee(chain, scaled)

    def noted_again(chain, channel, scaled):
        read.append(scaled.copy())
        observe(chain, channel, scaled)

    monkeypatch.setattr(StepChain, "foresee", noted)
    monkeypatch.setattr(StepChain, "observe", noted_again)
    archive = fivefold.compress(series_model, values, verify=False)
    _same(fivefold.decompress(archive, series_model), values)
    assert all(np.array_equal(*each) for each in zip(written, read, strict=True))


def test_numbers_as_text_and_as_decimals(series_model_of_table):
    model, frame = series_model_of_table
    rounded = frame.with_columns(load=pl.col("load").round(3))
    for kind in (pl.String, pl.Decimal(10, 3), pl.Categorical):
        given = rounded.with_columns(load=pl.col("load").cast(pl.String).cast(kind))
        assert fivefold.decompress(fivefold.compress(model, given), model).equals(given), kind


def test_the_widest_values(series_model, waves):
    values = waves.copy()
    values[0, ::2], values[0, 1::2] = 1.7e308, -1.7e308
    _same(fivefold.decompress(fivefold.compress(series_model, values), series_model), values)


def test_floats_that_are_narrower_than_their_type_take_less(series_model, waves):
    values = waves.astype(np.float32).astype(np.float64)
    narrow, wide = (fivefold.compress(series_model, each) for each in (values, waves))
    _same(fivefold.decompress(narrow, series_model), values)
    assert len(wide) - len(narrow) > 25 / 8 * waves.size


def test_series_of_unequal_length_come_back_as_a_list(series_model, waves):
    series = [waves[0, :50], waves[0, 50:51], waves[0, 51:400]]
    found = fivefold.decompress(fivefold.compress(series_model, series), series_model)
    assert [len(each) for each in found] == [50, 1, 349]
    for mine, theirs in zip(found, series, strict=True):
        _same(mine[:, 0], theirs)


def test_a_frame_comes_back_with_its_stamps_and_other_columns(series_model_of_table):
    model, frame = series_model_of_table
    load = frame["load"].to_numpy().copy()
    load[5:9] = np.nan
    frame = frame.with_columns(pl.Series("load", load)).with_columns(
        pl.when(pl.int_range(pl.len()) == 20).then(None).otherwise(pl.col("load")).alias("load")
    )
    archive = fivefold.compress(model, frame)
    assert fivefold.decompress(archive, model).equals(frame, null_equal=True)
    assert len(archive) < 12 * len(frame), "the stamps are kept as they are"


def test_series_whose_rows_alternate_are_told_apart(series_settings):
    steps = np.arange(150)
    waves = {"a": 5 + np.sin(steps / 4), "b": -5 + np.cos(steps / 9)}
    long = pd.DataFrame({"id": ["a", "b"] * 150, "load": np.round(np.column_stack([*waves.values()]).ravel(), 3)})
    by_series = long.sort_values("id", kind="stable")
    model = fit(by_series, kind="series", ids="id", **{**series_settings, "epochs": 1})
    mixed, sorted_ = (fivefold.compress(model, each) for each in (long, by_series))
    pd.testing.assert_frame_equal(fivefold.decompress(mixed, model), long, check_exact=True)
    assert len(mixed) == pytest.approx(len(sorted_), rel=0.15)


def test_several_channels_and_whole_windows(series_settings):
    rng = np.random.default_rng(0)
    along = np.arange(24) / 3 + rng.uniform(0, 6, (30, 1))
    windows = np.round(100 * np.stack((np.sin(along), np.cos(along)), axis=2) + rng.normal(size=(30, 24, 2))).astype(
        int
    )
    model = fit(windows, kind="series", **{**series_settings, "window": None, "epochs": 1})
    assert not model.schema.overlaps
    _same(fivefold.decompress(fivefold.compress(model, windows), model), windows)
    longer = windows[:20].reshape(2, -1, 2)
    _same(fivefold.decompress(fivefold.compress(model, longer), model), longer)


def test_only_some_steps_are_read(series_model, waves):
    archive = fivefold.compress(series_model, waves, block_items=100)
    found = fivefold.decompress(archive, series_model, items=slice(150, 320))
    _same(found, waves[0, 150:320, None])


def test_it_does_not_depend_on_the_number_of_processes(series_model, waves):
    one, two = (fivefold.compress(series_model, waves, block_items=200, workers=each) for each in (1, 2))
    assert one == two
    _same(fivefold.decompress(one, series_model, workers=2), waves)


def test_machines_that_differ_in_the_last_bits_read_the_same(series_model, decimals, monkeypatch):
    monkeypatch.setattr(rounding, "GUARD", 2e-3)
    archive = fivefold.compress(series_model, decimals, verify=False)
    rng, distribution = np.random.default_rng(0), StepChain.distribution

    def elsewhere(chain, channel):
        return tuple(part + rng.normal(0, 1e-7, part.shape) for part in distribution(chain, channel))

    monkeypatch.setattr(StepChain, "distribution", elsewhere)
    _same(fivefold.decompress(archive, series_model), decimals)


def test_options_and_models_that_do_not_fit(series_model, table_model, trees, waves, archive):
    with pytest.raises(UsageError, match="goes with images, not with series"):
        fivefold.compress(series_model, waves, lossy=True)
    with pytest.raises(UsageError, match="`block_items` must be from 1 to 65,536"):
        fivefold.compress(series_model, waves, block_items=65_537)
    with pytest.raises(DataError, match=r"must have 1 channel\(s\) as the model was fitted, got 2"):
        fivefold.compress(series_model, np.repeat(waves[..., None], 2, axis=2))
    with pytest.raises(WrongModelError):
        fivefold.decompress(archive, table_model)
    with pytest.raises(UsageError, match="goes with images, not with series"):
        fivefold.decompress(archive, series_model, lossy=True)


def test_the_model_can_be_embedded(series_model, waves):
    archive = fivefold.compress(series_model, waves, embed_model=True)
    _same(fivefold.decompress(archive), waves)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_damage_is_told(series_model, archive, data):
    damaged = bytearray(archive)
    at = data.draw(st.integers(0, len(archive) - 1))
    damaged[at] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(ArchiveError):
        fivefold.decompress(bytes(damaged), series_model)


@pytest.fixture(scope="module")
def encoded(series_model, decimals):
    table = pa.table({series_model.schema.channels.names[0]: decimals[0, :200]})
    codec = codec_of(as_stored(series_model), table.schema)
    return codec, codec.encode(table, verify=True)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_layers_that_no_writer_wrote_end_in_words_or_values(encoded, data):
    codec, (n, method, written, _) = encoded
    layers = list(written)
    which = data.draw(st.integers(0, 1))
    damaged = bytearray(layers[which])
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    layers[which] = bytes(damaged)
    found = codec.decode(n, method, layers)
    assert isinstance(found, str) or found.num_rows == n


@pytest.mark.parametrize(
    "change", [{"ids": "other"}, {"shape": [7, 7]}, {"shape": ["x"]}, {"shape": 5}, {"sound": "x"}]
)
def test_headers_that_no_writer_wrote(series_model, archive, change):
    with pytest.raises(DamagedArchiveError, match="header is damaged"):
        open_archive(io.BytesIO(rewritten(archive, change))).read(series_model)


def test_sound_comes_back(tmp_path, series_settings):
    path = tmp_path / "tone.wav"
    samples = (3000 * np.sin(np.arange(900) / 9) + np.random.default_rng(0).normal(0, 30, 900)).astype("<i2")
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(samples.tobytes())
    model = fit(path, kind="series", **{**series_settings, "epochs": 1})
    archive = fivefold.compress(model, path)
    _same(fivefold.decompress(archive, model), samples.reshape(1, -1, 1))
    assert open_archive(io.BytesIO(archive)).decoding.form["sound"] == [8000, 2]
    assert len(archive) < 0.75 * samples.nbytes


def test_columns_come_back_as_bytes(series_model_of_table):
    model, frame = series_model_of_table
    table = frame.to_arrow()
    found = fivefold.decompress(fivefold.compress(model, table), model)
    for mine, theirs in zip(found.columns, table.columns, strict=True):
        assert to_bytes(mine.combine_chunks()) == to_bytes(theirs.combine_chunks())
