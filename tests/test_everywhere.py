"""The same numbers through everything that takes a model: `make test-engines`."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import fivefold

pytestmark = [
    pytest.mark.skipif("FIVEFOLD_ENGINES" not in os.environ, reason="takes half a minute: make test-engines"),
    pytest.mark.filterwarnings("ignore"),  # the engines' own
]
RATE = 0.05
NUMBERS = ["height", "girth", "age"]  # of the trees, with missing cells


@pytest.fixture(scope="module")
def here(table_model, trees, tmp_path_factory):
    """The model, a file, and what they give in Python: scores, and the numbers that are filled in."""
    folder = tmp_path_factory.mktemp("everywhere")
    fivefold.save(table_model, folder / "model")
    (folder / "rows").mkdir()
    trees.to_parquet(folder / "rows/trees.parquet", index=False)
    data = folder / "rows/trees.parquet"
    found = fivefold.detect(table_model, data, false_alarm_rate=RATE)
    scores = pd.DataFrame({"score": found.score, "p_value": found.p_value})
    filled = fivefold.impute(table_model, data).data.to_pandas()[NUMBERS].astype(float)
    assert trees[NUMBERS].isna().any().any()
    return SimpleNamespace(
        folder=folder, path=folder / "model", model=table_model, data=data, scores=scores, filled=filled
    )


def command_line(here, tmp_path, monkeypatch):
    from fivefold.cli import main

    for job, name, options in (
        ("detect", "scores.csv", ["--false-alarm-rate", str(RATE)]),
        ("impute", "whole.csv", []),
    ):
        words = ["fivefold", job, str(here.path), str(here.data), "-o", str(tmp_path / name), *options]
        monkeypatch.setattr(sys, "argv", words)
        with pytest.raises(SystemExit):
            main()
    return pd.read_csv(tmp_path / "scores.csv"), pd.read_csv(tmp_path / "whole.csv")


def http(here, tmp_path, monkeypatch):
    client = pytest.importorskip("starlette.testclient").TestClient
    settings = import_module("fivefold.serve.settings").Settings({"trees": here.path})
    how = {"base_url": "http://127.0.0.1", "headers": {"accept": "application/json"}}
    with client(import_module("fivefold.serve.app").make_app(settings), **how) as server:
        answers = [
            server.post(f"/v1/models/trees/{job}", files={"data": ("trees.parquet", here.data.read_bytes())}).json()
            for job in ("detect", "impute")
        ]
    return tuple(pd.DataFrame(answer["rows"]) for answer in answers)


def duckdb(here, tmp_path, monkeypatch):
    database = pytest.importorskip("duckdb").connect()

    def through(job, **options):
        function = fivefold.batch_function(here.path, job, **options)
        with database.read_parquet(str(here.data)).to_arrow_reader(100) as reader:
            return pa.Table.from_batches(map(function, reader)).to_pandas()

    return through("detect", false_alarm_rate=RATE), through("impute")


def mlflow(here, tmp_path, monkeypatch):
    pyfunc = pytest.importorskip("mlflow").pyfunc
    import_module("fivefold.mlflow").save_model(here.model, tmp_path / "saved")
    served, rows = pyfunc.load_model(str(tmp_path / "saved")), pd.read_parquet(here.data)
    return served.predict(rows, params={"false_alarm_rate": RATE}), served.predict(rows, params={"job": "impute"})


def onnx_runtime(here, tmp_path, monkeypatch):
    onnxruntime = pytest.importorskip("onnxruntime")
    graphs = fivefold.modality.modality_of(here.model.schema).graphs

    def through(job, **options):
        fivefold.export(here.model, tmp_path / f"{job}.onnx", job, check=here.data, **options)
        session = onnxruntime.InferenceSession(tmp_path / f"{job}.onnx")
        feeds = graphs.feeds(here.model, job, here.model.read(here.data))
        names = [output.name.removesuffix(".imputed") for output in session.get_outputs()]
        return pd.DataFrame(dict(zip(names, session.run(None, feeds), strict=True)))

    return through("detect"), through("impute", free=True)


def ray(here, tmp_path, monkeypatch):
    engine = pytest.importorskip("ray")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    how = {"include_dashboard": False, "object_store_memory": 100 << 20, "log_to_driver": False}
    engine.init("local", num_cpus=2, logging_level="error", **how)
    jobs = import_module("fivefold.ray")
    rows = engine.data.read_parquet(str(here.data))
    scores = jobs.map(here.path, rows, "detect", false_alarm_rate=RATE, ordered=True).to_pandas()
    jobs.map(here.path, str(here.data.parent), "impute", output=tmp_path / "whole")
    engine.shutdown()
    return scores, pd.read_parquet(tmp_path / "whole" / here.data.name)


@pytest.mark.parametrize("way", [command_line, http, duckdb, mlflow, onnx_runtime, ray], ids=lambda way: way.__name__)
def test_scores_and_filled_cells_are_the_same(way, here, tmp_path, monkeypatch):
    """To 1e-5 of scores and of the columns' spreads."""
    scores, whole = way(here, Path(tmp_path), monkeypatch)
    np.testing.assert_allclose(scores["score"], here.scores["score"], atol=1e-5, rtol=1e-5)
    np.testing.assert_allclose(scores["p_value"], here.scores["p_value"], atol=1e-5)
    differences = (whole[NUMBERS].astype(float) - here.filled).abs() / here.filled.std()
    assert differences.max(axis=None) <= 1e-5
