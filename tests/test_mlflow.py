"""Models in MLflow's registry: `make test-engines`, since importing it and making its tables takes half a minute.

And the same numbers through everything that takes a model.
"""

from __future__ import annotations

import os

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import fivefold
from fivefold.errors import UsageError

pytestmark = [
    pytest.mark.skipif("FIVEFOLD_ENGINES" not in os.environ, reason="takes half a minute: make test-engines"),
    pytest.mark.filterwarnings("ignore"),  # MLflow's own
]
RATE = 0.05


@pytest.fixture(scope="module")
def registered(table_model, tmp_path_factory):
    """MLflow with the model of trees as `models:/trees/1`, in SQLite."""
    mlflow = pytest.importorskip("mlflow")
    pytest.importorskip("sqlalchemy")
    from fivefold.mlflow import log_model

    folder = tmp_path_factory.mktemp("mlflow")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        mlflow.set_tracking_uri(f"sqlite:///{folder}/store.db")
        with mlflow.start_run():
            info = log_model(table_model, "trees", registered_model_name="trees")
        yield mlflow, info


def test_a_registered_model_does_its_jobs(registered, table_model, trees):
    mlflow, info = registered
    served = mlflow.pyfunc.load_model("models:/trees/1")
    known = fivefold.detect(table_model, trees, false_alarm_rate=RATE)
    found = served.predict(trees, params={"false_alarm_rate": RATE})
    assert np.array_equal(found["p_value"], known.p_value)
    assert np.array_equal(found["anomaly"], known.anomaly)
    filled = served.predict(trees, params={"job": "impute"})
    pd.testing.assert_frame_equal(filled, fivefold.impute(table_model, trees).data[list(filled)])
    with pytest.raises(UsageError, match="`job` must be one of"):
        served.predict(trees, params={"job": "compress"})
    assert len(served.predict(served.input_example)) == 3
    metrics = mlflow.get_run(info.run_id).data.metrics
    assert {"validation_negative_elbo", "reconstruction"} <= set(metrics)


def test_it_comes_back(registered, table_model, trees):
    from fivefold.mlflow import load_model

    again = load_model("models:/trees/1", "cpu")
    assert again.schema == table_model.schema
    assert np.array_equal(fivefold.encode(again, trees)[0], fivefold.encode(table_model, trees)[0])


def test_one_file_has_the_same_numbers_everywhere(registered, table_model, trees, tmp_path, monkeypatch, capsys):
    """Python, the command line, record batches, DuckDB, MLflow and ONNX Runtime: scores and p-values to 1e-5."""
    import sys

    import duckdb
    import onnxruntime

    from fivefold.cli import main

    folder, data = tmp_path / "model", tmp_path / "trees.parquet"
    fivefold.save(table_model, folder)
    trees.to_parquet(data, index=False)
    known = fivefold.detect(table_model, data, false_alarm_rate=RATE)
    found = {"python": pd.DataFrame({"score": known.score, "p_value": known.p_value})}
    words = ["detect", str(folder), str(data), "-o", str(tmp_path / "scores.csv"), "--false-alarm-rate", str(RATE)]
    monkeypatch.setattr(sys, "argv", ["fivefold", *words])
    with pytest.raises(SystemExit):
        main()
    found["command line"] = pd.read_csv(tmp_path / "scores.csv")
    detect = fivefold.batch_function(folder, "detect", false_alarm_rate=RATE)
    with duckdb.connect().read_parquet(str(data)).to_arrow_reader(100) as reader:
        found["DuckDB"] = pa.Table.from_batches(map(detect, reader)).to_pandas()
    mlflow, _ = registered
    found["MLflow"] = mlflow.pyfunc.load_model("models:/trees/1").predict(
        pd.read_parquet(data), params={"false_alarm_rate": RATE}
    )
    fivefold.export(table_model, tmp_path / "trees.onnx", check=data)
    session = onnxruntime.InferenceSession(tmp_path / "trees.onnx")
    from fivefold.modality import modality_of

    feeds = modality_of(table_model.schema).graphs.feeds(table_model, "detect", table_model.read(data))
    found["ONNX Runtime"] = pd.DataFrame(dict(zip(("score", "p_value"), session.run(None, feeds), strict=True)))
    for name, scores in found.items():
        np.testing.assert_allclose(scores["score"], known.score, atol=1e-5, rtol=1e-5, err_msg=name)
        np.testing.assert_allclose(scores["p_value"], known.p_value, atol=1e-5, err_msg=name)
