"""Models in MLflow's registry: `make test-engines`, since importing it and making its tables takes half a minute."""

from __future__ import annotations

import os

import numpy as np
import pandas as pd
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
