"""Archives of tables give back every cell bit for bit; damage is told by its name."""

from __future__ import annotations

import dataclasses
import io

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from forged import rewritten
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import fivefold
from fivefold.archive.container import Limits
from fivefold.archive.read import open_archive
from fivefold.codec import rounding
from fivefold.errors import (
    ArchiveError,
    ArchiveLimitError,
    DamagedArchiveError,
    DataError,
    UsageError,
    WrongModelError,
)
from fivefold.storage import as_stored
from fivefold.tables.coding import codec_of, row_blocks
from fivefold.tables.exact import RowChain
from fivefold.tables.verbatim import to_bytes


def bits(table: pa.Table) -> list[bytes]:
    return [to_bytes(column.unify_dictionaries().combine_chunks()) for column in table.columns]


@pytest.fixture(scope="module")
def frame(trees) -> pd.DataFrame:
    """With an index, a column that the model does not know, and values that no text can tell apart."""
    frame = trees[300:400].copy()
    frame.index = pd.date_range("2020-01-01", periods=100, name="day")
    frame["note"] = ["", "ö", None, "a longer note"] * 25
    heights = frame["height"].to_numpy(copy=True)
    heights[:4] = np.array([0x7FF8000000000001, 0xFFF800000000BEEF, 1 << 63, 0], np.uint64).view(float)
    heights[4:7] = np.inf, -np.inf, 1e300
    frame["height"] = heights
    return frame


@pytest.fixture(scope="module")
def archive(table_model, frame) -> bytes:
    return fivefold.compress(table_model, frame, block_items=40)


def test_a_frame_comes_back_with_its_index_and_every_bit(table_model, frame, archive):
    found = fivefold.decompress(archive, table_model)
    pd.testing.assert_frame_equal(found, frame, check_exact=True, check_freq=False)
    assert found["height"].to_numpy().view(np.int64).tolist() == frame["height"].to_numpy().view(np.int64).tolist()


def test_cells_are_coded_by_the_model(table_model, trees):
    table = pa.Table.from_pandas(trees[300:], preserve_index=False)
    codec = codec_of(as_stored(table_model), table.schema)
    count, _, layers, _ = codec.encode(table, verify=True)
    assert count == len(table)
    raw = sum(map(len, bits(table)))
    assert len(layers[1]) > 300, "all is kept"
    assert sum(map(len, layers)) < 0.4 * raw


@pytest.mark.parametrize("kind", ["polars", "arrow", "categorical"])
def test_other_kinds_of_frames(table_model, trees, kind):
    frame = trees[300:360]
    if kind == "categorical":
        kinds = [*frame["kind"].dropna().unique(), "unused"]
        frame = frame.assign(kind=pd.Categorical(frame["kind"], kinds[::-1], ordered=True))
        found = fivefold.decompress(fivefold.compress(table_model, frame), table_model)
        pd.testing.assert_frame_equal(found, frame, check_exact=True)
        return
    arrow = pa.Table.from_pandas(frame, preserve_index=False)
    data = pl.from_arrow(arrow) if kind == "polars" else arrow
    found = fivefold.decompress(fivefold.compress(table_model, data), table_model)
    assert type(found) is type(data)
    assert found.equals(data)


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int64])
def test_arrays(dtype):
    rng = np.random.default_rng(0)
    rows = (rng.normal(size=(80, 2)) @ rng.normal(size=(2, 4)) * 100).astype(dtype)
    vae = fivefold.VAE(epochs=1, random_state=0, settings={"shortest_epoch": 2}, accelerator="cpu").fit(rows)
    found = fivefold.decompress(vae.compress(rows), vae.model_)
    assert found.dtype == dtype
    assert found.tobytes() == rows.tobytes()


def test_writer_and_reader_tell_the_other_columns_the_same(monkeypatch):
    """Sorted columns are kept; in float32 the model's view of 0.1 is not what the cells hold."""
    told = []
    observe = RowChain.observe
    monkeypatch.setattr(
        RowChain, "observe", lambda self, column, cells: told.append(cells) or observe(self, column, cells)
    )
    rng = np.random.default_rng(0)
    tenths = np.sort(rng.integers(0, 300, 400)).astype(np.float32) / np.float32(10)
    frame = pd.DataFrame({"sorted": tenths, "other": (tenths + rng.normal(0, 3, 400)).round(1).astype(np.float32)})
    model = fivefold.fit(frame, epochs=1, shortest_epoch=2, accelerator="cpu")
    assert model.schema.columns[0].step > 0
    packed = fivefold.compress(model, frame, verify=False)
    pd.testing.assert_frame_equal(fivefold.decompress(packed, model), frame, check_exact=True)
    assert len(told) == 4
    for written, read in zip(told[:2], told[2:], strict=True):
        assert np.array_equal(written, read)


def test_hints_go_to_the_numbers_that_they_are_of(table_model, frame, monkeypatch):
    monkeypatch.setattr(rounding, "GUARD", 0.2)  # a hint for two numbers of five, which the reader takes
    packed = fivefold.compress(table_model, frame, block_items=40)
    pd.testing.assert_frame_equal(fivefold.decompress(packed, table_model), frame, check_exact=True, check_freq=False)


def test_zeros_keep_their_sign_where_cells_are_coded(table_model, trees):
    frame = trees[300:].copy()
    frame.iloc[::9, frame.columns.get_loc("height")] = -0.0
    frame.iloc[4, frame.columns.get_loc("height")] = 1e9  # a multiple of the step, but beyond the grid
    table = pa.Table.from_pandas(frame, preserve_index=False)
    codec = codec_of(as_stored(table_model), table.schema)
    _, method, layers, _ = codec.encode(table, verify=False)
    assert bits(codec.decode(len(table), method, layers)) == bits(table)


def test_rows_by_number_whatever_the_blocks_and_processes(table_model, frame, archive):
    for items in (slice(0, 0), slice(39, 41), slice(95, None), slice(-3, None)):
        found = fivefold.decompress(archive, table_model, items=items)
        pd.testing.assert_frame_equal(found, frame[items], check_exact=True, check_freq=False)
    assert fivefold.compress(table_model, frame, block_items=40, workers=2) == archive
    again = fivefold.decompress(archive, table_model, workers=2)
    assert again.equals(fivefold.decompress(archive, table_model))


def test_the_model_may_be_inside(table_model, frame):
    packed = fivefold.compress(table_model, frame, embed_model=True)
    assert fivefold.decompress(packed).equals(fivefold.decompress(packed, table_model))


def test_another_model_is_refused(table_model, archive):
    other = dataclasses.replace(table_model.config, training=dataclasses.replace(table_model.config.training, seed=9))
    with pytest.raises(WrongModelError, match="another model"):
        fivefold.decompress(archive, dataclasses.replace(table_model, config=other))
    with pytest.raises(UsageError, match="no model embedded"):
        fivefold.decompress(archive)


def test_what_is_not_for_tables(table_model, frame, archive):
    for options in ({"lossy": True}, {"step": 1.0}):
        with pytest.raises(UsageError, match="goes with images, not with tables"):
            fivefold.compress(table_model, frame, **options)
    with pytest.raises(UsageError, match="goes with images, not with tables"):
        fivefold.decompress(archive, table_model, lossy=True)
    with pytest.raises(UsageError, match="`block_items` must be from 1 to"):
        fivefold.compress(table_model, frame, block_items=1 << 40)
    with pytest.raises(UsageError, match="consecutive"):
        fivefold.decompress(archive, table_model, items=slice(None, None, 2))
    with pytest.raises(DataError, match=r"column 'note' of .*list.* can't go into an archive"):
        fivefold.compress(table_model, pa.Table.from_pandas(frame.assign(note=[[1]] * len(frame))))
    with pytest.raises(DataError, match="no rows"):
        fivefold.compress(table_model, frame[:0])
    with pytest.raises(DataError, match="must have column 'height'"):
        fivefold.compress(table_model, frame.drop(columns="height"))


def test_parts_must_be_of_one_type(trees):
    one = pa.Table.from_pandas(trees[300:320], preserve_index=False)
    other = one.set_column(0, one.column_names[0], one.column(0).cast(pa.binary()))
    with pytest.raises(DataError, match="of the same types"):
        list(row_blocks([one, other], one.schema, 100))
    assert [len(block) for block in row_blocks([one] * 3, one.schema, 15)] == [15, 5] * 3


def test_a_file_is_read_part_by_part(table_model, trees, tmp_path):
    path = tmp_path / "trees.parquet"
    trees[300:].to_parquet(path, row_group_size=20)
    packed = fivefold.compress(table_model, str(path), block_items=15)
    pd.testing.assert_frame_equal(fivefold.decompress(packed, table_model).to_pandas(), trees[300:], check_exact=True)


def test_limits(table_model, frame, archive):
    with pytest.raises(ArchiveLimitError, match="40 block rows, more than the 20 allowed"):
        open_archive(io.BytesIO(archive), Limits(block_rows=20))
    with pytest.raises(DamagedArchiveError, match="more than the 100 allowed"):
        fivefold.decompress(archive, table_model, limits=Limits(block_bytes=100))
    with pytest.raises(ArchiveLimitError, match="bytes"):
        fivefold.decompress(archive, table_model, limits=Limits(bytes=100))


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(number=st.integers(0, 1), place=st.floats(0, 0.999), value=st.integers(0, 255), cut=st.booleans())
def test_damage_behind_right_checksums(table_model, archive, number, place, value, cut):
    """It is told, or other cells come out; nothing else happens."""

    def damage(layers):
        changed = bytearray(layers[number])
        changed[int(place * len(changed))] = value
        layers[number] = bytes(changed[: int(place * len(changed))] if cut else changed)
        return layers

    try:
        found = fivefold.decompress(rewritten(archive, change=damage), table_model)
    except ArchiveError:
        return
    assert len(found) == 100
