"""Jobs as functions of record batches, in engines that have the data already."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import fivefold
from fivefold import batches
from fivefold.errors import DataError, FivefoldError, ModelError, UsageError

pytestmark = pytest.mark.filterwarnings("ignore:detection compares with")
KEY = pa.schema([("id", pa.string())])


@pytest.fixture(scope="module")
def folder(table_model, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("models") / "trees"
    fivefold.save(table_model, path)
    return path


@pytest.fixture(scope="module")
def image_folder(model, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("models") / "digits"
    fivefold.save(model, path)
    return path


@pytest.fixture(scope="module")
def rows(trees) -> pa.Table:
    return pa.Table.from_pandas(trees, preserve_index=False)


def in_batches(function, table: pa.Table, size: int = 33) -> pa.Table:
    return pa.Table.from_batches(map(function, table.to_batches(max_chunksize=size)), function.schema)


def as_images(values: np.ndarray, mask: np.ndarray | None = None) -> pa.Table:
    flat = values.reshape(len(values), -1)
    elements = pa.array(flat.reshape(-1), mask=None if mask is None else mask.reshape(-1))
    return pa.table({"image": pa.FixedSizeListArray.from_arrays(elements, flat.shape[1])})


def as_numbers(column: pa.ChunkedArray) -> np.ndarray:
    """Lists as rows of an array, dates as counts, classes as they are."""
    values = np.array(column.to_pylist())
    return (
        values.astype("M8[us]").astype(float)
        if values.dtype.kind in "OM" and column.type == pa.timestamp("us")
        else values
    )


@pytest.mark.parametrize("job", ["denoise", "encode", "impute", "surprise"])
def test_batches_of_rows_give_what_one_call_gives(job, folder, rows):
    function = fivefold.batch_function(folder, job, device="cpu")
    found, known = in_batches(function, rows), in_batches(function, rows, len(rows))
    for name in function.schema.names:
        one, other = as_numbers(found[name]), as_numbers(known[name])
        if one.dtype.kind == "f":
            np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
        else:
            np.testing.assert_array_equal(one, other)


def test_scores_are_those_of_python(folder, table_model, trees, rows):
    found = in_batches(fivefold.batch_function(folder, "detect", keep=KEY, false_alarm_rate=0.05), rows)
    known = fivefold.detect(table_model, trees, false_alarm_rate=0.05)
    np.testing.assert_array_equal(found["p_value"], known.p_value)
    np.testing.assert_allclose(found["score"], known.score, rtol=1e-12)
    np.testing.assert_array_equal(found["anomaly"], known.anomaly)
    assert found["id"].to_pylist() == trees["id"].tolist()


def test_kept_columns_are_completed_in_their_own_types(folder, table_model, rows):
    narrow = rows.set_column(2, "height", rows["height"].cast(pa.float32()))
    found = in_batches(fivefold.batch_function(folder, "impute", keep=narrow.schema), narrow)
    assert found.schema.names == rows.schema.names
    assert found.schema.field("height").type == pa.float32()
    assert found["height"].null_count == 0
    known = fivefold.impute(table_model, narrow).data
    assert found.select(["kind", "id"]).equals(known.select(["kind", "id"]))
    np.testing.assert_allclose(found["height"], known["height"], rtol=1e-5)


def test_functions_travel_without_weights(folder, rows):
    function = fivefold.batch_function(folder, "impute")
    sent = pickle.dumps(function)
    assert len(sent) < 4096
    assert in_batches(pickle.loads(sent), rows).equals(in_batches(function, rows))


def test_making_a_function_takes_no_torch(folder):
    code = f"import sys, fivefold; fivefold.batch_function({str(folder)!r}, 'detect'); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_a_process_loads_a_model_once(folder, rows, monkeypatch):
    loads, build = [], batches.build
    batches.loaded.cache_clear()
    monkeypatch.setattr(batches, "build", lambda *words: loads.append(words) or build(*words))
    for job in ("detect", "encode"):
        in_batches(fivefold.batch_function(folder, job), rows)
    assert len(loads) == 1


def test_a_model_that_has_changed_is_refused(folder, image_folder, rows, tmp_path):
    place = tmp_path / "model"
    fivefold.save(fivefold.load(folder), place)
    function = fivefold.batch_function(place, "detect")
    fivefold.save(fivefold.load(image_folder), place, force=True)
    with pytest.raises(ModelError, match="has changed since"):
        function(rows.to_batches()[0])


def test_images_are_lists(image_folder, model, digits):
    shown = digits[600:640]
    found = in_batches(fivefold.batch_function(image_folder, "detect"), as_images(shown), 7)
    np.testing.assert_allclose(found["p_value"], fivefold.detect(model, shown).p_value, atol=1e-5)
    codes = in_batches(fivefold.batch_function(image_folder, "encode"), as_images(shown), 7)
    mean = np.array(codes["mean"].to_pylist(), np.float32)
    np.testing.assert_allclose(mean, fivefold.encode(model, shown)[0], atol=1e-5)


def test_null_pixels_are_filled_in(image_folder, model, digits):
    shown, mask = digits[600:604], np.zeros((4, 28, 28, 1), bool)
    mask[:, 10:14] = True
    function = fivefold.batch_function(image_folder, "impute")
    found = in_batches(function, as_images(shown, mask), 4)
    known = fivefold.impute(model, shown, mask=mask).data
    np.testing.assert_array_equal(np.array(found["image"].to_pylist()).reshape(known.shape), known)
    assert function.schema.field("image").type == pa.list_(pa.uint8(), 784)


def test_no_rows_give_no_rows(folder, rows):
    function = fivefold.batch_function(folder, "encode", keep=KEY)
    empty = function(pa.RecordBatch.from_pylist([], rows.schema))
    assert (empty.num_rows, empty.schema) == (0, function.schema)


@pytest.mark.parametrize(
    ("job", "options", "says"),
    [
        ("detct", {}, "`job` must be one of detect"),
        ("detect", {"fdr": 0.1}, "`fdr` is no option of detect by batches"),
        ("detect", {"false_alarm_rate": 2.0}, "false_alarm_rate"),
        ("impute", {"sed": 1}, "did you mean seed"),
        ("denoise", {"n_samples": 3}, "goes with images"),
        ("surprise", {"keep": pa.schema([("height", pa.float64())])}, "'height', which the results have"),
    ],
)
def test_what_can_not_be_asked_is_refused_at_once(folder, job, options, says):
    with pytest.raises(UsageError, match=says):
        fivefold.batch_function(folder, job, **options)


def test_series_are_refused(series_model, tmp_path):
    fivefold.save(series_model, tmp_path / "series")
    with pytest.raises(UsageError, match="series can't be cut into batches"):
        fivefold.batch_function(tmp_path / "series", "detect")


@pytest.mark.parametrize(
    ("batch", "says"),
    [
        ({"kind": ["oak"]}, "must have the column 'id'|must have column"),
        ({"id": [1.5]}, "must have columns 'kind'"),
    ],
)
def test_rows_that_do_not_fit_are_refused(folder, batch, says):
    function = fivefold.batch_function(folder, "detect", keep=KEY)
    with pytest.raises(DataError, match=says):
        function(pa.RecordBatch.from_pydict(batch))


@pytest.mark.parametrize("column", [[[1, 2]], [None], ["text"]])
def test_images_of_another_size_are_refused(image_folder, column):
    function = fivefold.batch_function(image_folder, "encode")
    with pytest.raises(FivefoldError, match="column 'image' of lists of 784 numbers"):
        function(pa.RecordBatch.from_pydict({"image": column}))


def test_duckdb(folder, table_model, trees, rows):
    duckdb = pytest.importorskip("duckdb")
    detect = fivefold.batch_function(folder, "detect", keep=KEY)
    with duckdb.connect() as database, database.from_arrow(rows).to_arrow_reader(64) as reader:
        scores = pa.RecordBatchReader.from_batches(detect.schema, map(detect, reader))
        found = database.cursor().from_arrow(scores).order("id").project("id, p_value").fetchall()
    assert found == list(zip(trees["id"], fivefold.detect(table_model, trees).p_value, strict=True))


def test_dask(folder, table_model, trees):
    frames = pytest.importorskip("dask.dataframe")
    impute = fivefold.batch_function(folder, "impute")

    def complete(frame: pd.DataFrame) -> pd.DataFrame:
        return impute(pa.RecordBatch.from_pandas(frame, preserve_index=False)).to_pandas()

    parts = frames.from_pandas(trees, npartitions=3)
    found = parts.map_partitions(complete, meta=impute.schema.empty_table().to_pandas()).compute(scheduler="threads")
    known = fivefold.impute(table_model, trees).data
    np.testing.assert_allclose(found["height"], known["height"], rtol=1e-5)
    assert found["kind"].tolist() == known["kind"].tolist()
