"""Of which modality data are, and what options go with it."""

from __future__ import annotations

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch
from scipy.sparse import csr_array

from fivefold.dataset import ItemSet, open_data
from fivefold.errors import DataError, ModelError, UsageError
from fivefold.images.dataset import make_items
from fivefold.modality import MODALITIES, modality_for, modality_of, options_of, schema_from_json
from fivefold.series.dataset import read_series
from fivefold.tables import dataset as tables

FRAME = pd.DataFrame({"a": [1.0, 2.0], "b": ["x", "y"]})
PIXELS = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
SOURCES = {
    "images": [
        PIXELS,
        PIXELS[..., None],
        torch.zeros((2, 4, 3)),
        make_items(PIXELS),
        ItemSet(make_items(PIXELS)),
        "mnist",
        "letters",
        "photos",
        "a.png",
        "pixels.npy",
        "a.npz",
    ],
    "tables": [
        FRAME,
        pl.from_pandas(FRAME),
        pa.Table.from_pandas(FRAME),
        np.eye(3),
        np.array([["a", 1.0]], object),
        torch.eye(3),
        csr_array(np.eye(3)),
        {"a": [1.0, 2.0]},
        [[1.0, 2.0], [3.0, 4.0]],
        [("oak", 2.0)],
        [np.array([1.0, 2.0])],
        tables.open(FRAME),
        "a.csv",
        "a.tsv.gz",
        "a.PARQUET",
        "cells.npy",
    ],
    "series": [read_series(np.sin(np.arange(60.0))), "a.wav", "A.WAV"],
}


@pytest.mark.parametrize(
    ("name", "place"), [(name, at) for name, sources in SOURCES.items() for at in range(len(sources))]
)
def test_data_are_of_the_modality_that_they_look_like(tmp_path, monkeypatch, name, place):
    monkeypatch.chdir(tmp_path)
    np.save("pixels.npy", PIXELS)
    np.save("cells.npy", np.eye(3))
    source = SOURCES[name][place]
    assert modality_for(source).name == name
    assert {kind for kind in SOURCES if modality_for(source, kind).name == kind} == SOURCES.keys()


@pytest.mark.parametrize("source", [None, 3, np.zeros(5), np.float64(1), [], [1.0, 2.0], [PIXELS[0], PIXELS[1]]])
def test_what_looks_like_nothing_must_be_named(source):
    with pytest.raises(DataError, match=r"data must be a table \(.*`kind` series .*; got "):
        modality_for(source)
    assert modality_for(source, "series").name == "series"


@pytest.mark.parametrize("option", ["time", "ids"])
def test_some_options_say_that_data_are_series(option):
    assert modality_for(FRAME, None, {option: "a"}).name == "series"
    assert modality_for(FRAME, None, {option: None}).name == "tables"
    assert modality_for(FRAME, "tables", {option: "a"}).name == "tables"


@pytest.mark.parametrize("kind", ["image", "table", "sequence", ""])
def test_other_kinds_are_refused(kind):
    with pytest.raises(UsageError, match="`kind` must be one of images, tables, series, pictures, parts; got"):
        modality_for(FRAME, kind)


def test_options_of_others_are_refused():
    images, table, series, *_ = MODALITIES.values()
    images.refuse("impute", mask=np.eye(3), n_samples=3)
    table.refuse("impute", mask=None, resize=None)
    table.refuse("generate", sharp=False, given={"a": 1})
    for modality, verb, options, message in (
        (table, "impute", {"mask": np.eye(3)}, "`mask` goes with images, not with tables"),
        (series, "denoise", {"threshold": 0.5}, "`threshold` goes with tables, not with series"),
        (images, "fit", {"schema": {}}, "`schema` goes with tables and series, not with images"),
        (images, "impute", {"nonsense": 0}, "`nonsense` is no option of impute"),
    ):
        with pytest.raises(UsageError, match=f"^{message}$"):
            modality.refuse(verb, **options)
    assert {"mask", "schema", "time"} < options_of("fit")


def test_data_that_are_open_stay_as_they_are():
    for data in (ItemSet(make_items(PIXELS)), tables.open(FRAME), read_series(np.sin(np.arange(60.0)))):
        assert open_data(data, data.schema) is data
        assert modality_of(data.schema).name in SOURCES
        assert schema_from_json(data.schema.to_json()) == data.schema


@pytest.mark.parametrize("fields", [None, [], {}, {"kind": "sound"}, {"kind": ["image"]}])
def test_schemas_of_no_modality_are_refused(fields):
    with pytest.raises(ModelError, match="its kind must be one of image, table, series"):
        schema_from_json(fields)
