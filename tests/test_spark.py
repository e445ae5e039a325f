"""Jobs within Spark, on this machine; `make test-engines` installs what it takes."""

from __future__ import annotations

import shutil
import sys

import numpy as np
import pyarrow as pa
import pytest

import fivefold

pytest.importorskip("pyspark")
if shutil.which("java") is None:
    pytest.skip("Spark needs Java: apt-get install default-jre-headless", allow_module_level=True)
pytestmark = pytest.mark.filterwarnings("ignore")  # Spark's own


@pytest.fixture(scope="module")
def spark():
    from pyspark.sql import SparkSession

    settings = {"spark.ui.enabled": "false", "spark.sql.execution.arrow.maxRecordsPerBatch": "64"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYSPARK_PYTHON", sys.executable)
        session = SparkSession.builder.master("local[1]").config(map=settings).getOrCreate()
        yield session
        session.stop()


def test_map_in_arrow(spark, table_model, trees, tmp_path):
    from pyspark.sql.pandas.types import from_arrow_schema

    fivefold.save(table_model, tmp_path / "model")
    detect = fivefold.batch_function(tmp_path / "model", "detect", keep=pa.schema([("id", pa.string())]))
    rows = spark.createDataFrame(pa.Table.from_pandas(trees, preserve_index=False)).repartition(2)
    found = rows.mapInArrow(lambda batches: map(detect, batches), from_arrow_schema(detect.schema)).toPandas()
    known = fivefold.detect(table_model, trees).p_value
    np.testing.assert_array_equal(found.set_index("id")["p_value"].loc[trees["id"]], known)
