"""The Open Inference Protocol: the same results as by the routes of the jobs, as tensors."""

from __future__ import annotations

import hashlib

import make
import numpy as np
import pytest

from fivefold.serve.inference import JOBS

TREES = {"kind": ("BYTES", ["oak", "elm"]), "height": ("FP64", [21.4, None]), "age": ("INT64", [40, 50])}


def _columns(columns):
    return [
        {"name": name, "datatype": datatype, "shape": [len(cells)], "data": cells}
        for name, (datatype, cells) in columns.items()
    ]


def _array(values, datatype, name="data"):
    values = np.asarray(values)
    return [{"name": name, "datatype": datatype, "shape": list(values.shape), "data": values.ravel().tolist()}]


def _infer(client, model, status=200, **asked):
    answer = client.post(f"/v2/models/{model}/infer", json=asked)
    assert answer.status_code == status, answer.text
    return answer.json()


def _by_name(answer):
    for tensor in answer["outputs"]:
        assert np.prod(tensor["shape"]) == len(tensor["data"])
    return {tensor["name"]: tensor for tensor in answer["outputs"]}


def test_the_server_says_what_it_is(client):
    assert client.get("/v2").json()["name"] == "fivefold"
    assert client.get("/v2/health/live").json() == {"live": True}
    assert client.get("/v2/health/ready").json() == {"ready": True}
    assert client.get("/v2/models/tables/ready").json() == {"name": "tables", "ready": True}
    inputs = {tensor["name"]: tensor["datatype"] for tensor in client.get("/v2/models/tables").json()["inputs"]}
    assert inputs == {
        "kind": "BYTES",
        "height": "FP64",
        "girth": "FP64",
        "age": "INT64",
        "planted": "BYTES",
        "healthy": "BOOL",
    }
    assert client.get("/v2/models/images").json()["inputs"] == [
        {"name": "data", "datatype": "UINT8", "shape": [-1, 8, 6, 3]}
    ]
    assert client.get("/v2/models/none").status_code == 404


def test_health_needs_no_key_but_inference_does(serving):
    with serving(keys=(hashlib.sha256(b"k" * 20).digest(),)) as client:
        assert client.get("/v2/health/ready").status_code == 200
        assert client.get("/v2/models/tables").status_code == 401
        _infer(client, "tables", 401, inputs=_columns(TREES))


def test_rows_are_tensors_by_column(client):
    rows = [dict(zip(TREES, cells, strict=True)) for cells in zip(*(cells for _, cells in TREES.values()), strict=True)]
    answer = _infer(client, "tables", id="7", inputs=_columns(TREES))
    expected = client.post("/v1/models/tables/detect", json={"rows": rows}).json()
    assert (answer["id"], answer["model_name"], answer["parameters"]["rows"]) == ("7", "tables", 2)
    assert answer["parameters"]["warnings"] == "; ".join(expected["warnings"])
    found = _by_name(answer)
    assert {name: tensor["datatype"] for name, tensor in found.items()} == {
        "row": "INT64",
        "score": "FP64",
        "p_value": "FP64",
        "anomaly": "BOOL",
    }
    for name, tensor in found.items():
        assert tensor["data"] == [row[name] for row in expected["rows"]]

    options = {"job": "impute", "interval": 0.9, "draws": 1, "seed": 3}
    found = _by_name(_infer(client, "tables", parameters=options, inputs=_columns(TREES)))
    url = "/v1/models/tables/impute?interval=0.9&draws=1&seed=3"
    expected = client.post(url, json={"rows": rows}).json()
    assert found["height"]["data"] == [row["height"] for row in expected["rows"]]
    assert found["lower.height"]["data"] == [row["height"] for row in expected["lower"]["rows"]]
    assert found["draw1.kind"] == {"name": "draw1.kind", "datatype": "BYTES", "shape": [2], "data": ["oak", "elm"]}


@pytest.mark.parametrize("job", ["denoise", "surprise", "detect", "encode", "impute", "morph"])
def test_images_are_one_tensor(job, client):
    items, options = make.items()[:3], {"from": 0, "to": 1, "steps": 3} if job == "morph" else {}
    found = _by_name(_infer(client, "images", parameters={"job": job, **options}, inputs=_array(items, "UINT8")))
    expected = client.post(f"/v1/models/images/{job}", params=options, json={"values": items.tolist()}).json()
    if job == "detect":
        assert found["score"]["data"] == [row["score"] for row in expected["rows"]]
        return
    name, part = ("mean", expected["mean"]) if job == "encode" else ("data", expected)
    assert found[name]["shape"] == part["shape"]
    assert found[name]["data"] == np.ravel(part["values"]).tolist()
    assert found[name]["datatype"] == ("UINT8" if part["dtype"] == "uint8" else "FP32")


def test_codes_and_new_items(client):
    codes = [[0.5, -1.0, 0.0], [0.0, 0.0, 0.0]]
    nested = [{"name": "data", "datatype": "FP32", "shape": [2, 3], "data": codes}]
    found = _by_name(_infer(client, "images", parameters={"job": "decode"}, inputs=nested))
    expected = client.post("/v1/models/images/decode", json={"values": codes}).json()
    assert found["data"]["data"] == np.ravel(expected["values"]).tolist()
    found = _by_name(_infer(client, "tables", parameters={"job": "generate", "n": 4, "given": ["kind=oak"]}))
    assert found["kind"]["data"] == ["oak"] * 4


def test_series_are_one_tensor_or_columns(client):
    steps = np.random.default_rng(0).normal(size=(2, 30, 2))
    found = _by_name(_infer(client, "series", inputs=_array(steps, "FP64")))
    expected = client.post("/v1/models/series/detect", json={"values": steps.tolist()}).json()
    assert found["score"]["data"] == [row["score"] for row in expected["rows"]]
    rows = make.steps()[["site", "hour", "load", "heat"]]
    sites, hours = (rows[name].astype(str).tolist() for name in ("site", "hour"))
    numbers = {
        name: ("FP64", rows[name].astype(object).where(rows[name].notna(), None).tolist()) for name in ("load", "heat")
    }
    columns = _columns({"site": ("BYTES", sites), "hour": ("BYTES", hours), **numbers})
    found = _by_name(_infer(client, "series", inputs=columns, outputs=[{"name": "p_value"}, {"name": "score"}]))
    assert list(found) == ["p_value", "score"]
    records = [
        dict(zip(("site", "hour", "load", "heat"), row, strict=True))
        for row in zip(*(c["data"] for c in columns), strict=True)
    ]
    expected = client.post("/v1/models/series/detect", json={"rows": records}).json()
    assert found["score"]["data"] == [row["score"] for row in expected["rows"]]


HEIGHT = {"name": "height", "datatype": "FP64", "shape": [1], "data": [2.0]}


@pytest.mark.parametrize(
    ("asked", "status", "said"),
    [
        ([], 422, "JSON must be"),
        ({"id": 7}, 422, "JSON must be"),
        ({"inputs": {}}, 422, "JSON must be"),
        ({}, 422, "`inputs` of detect must have tensors"),
        ({"inputs": [HEIGHT], "parameters": {"job": "generate", "n": 1}}, 422, "it takes no data"),
        ({"inputs": [HEIGHT], "parameters": {"job": "compress"}}, 422, "`job` must be one of"),
        ({"inputs": [HEIGHT], "parameters": {"job": []}}, 422, "`job` must be one of"),
        ({"inputs": [HEIGHT], "parameters": {"false_alarm_rat": 1}}, 422, "did you mean false_alarm_rate"),
        ({"inputs": [HEIGHT], "parameters": {"false_alarm_rate": 3}}, 422, "`false_alarm_rate` must be"),
        ({"inputs": [7]}, 422, "objects with a `name`"),
        ({"inputs": [HEIGHT | {"shape": [2]}]}, 422, "as many values as its `shape` says"),
        ({"inputs": [HEIGHT | {"shape": [1] * 100}]}, 422, "`shape` must be a list of 1 to 8"),
        ({"inputs": [HEIGHT | {"shape": [True]}]}, 422, "`shape` must be"),
        ({"inputs": [HEIGHT | {"datatype": "FP65"}]}, 422, "`datatype` must be one of BOOL"),
        ({"inputs": [HEIGHT | {"data": ["tall"]}]}, 422, "must be of its `datatype` FP64"),
        ({"inputs": [HEIGHT | {"data": [True]}]}, 422, "must be of its `datatype` FP64"),
        ({"inputs": [HEIGHT | {"data": [[1], 2]}]}, 422, "as many values"),
        ({"inputs": [HEIGHT, HEIGHT]}, 422, "names of their own"),
        ({"inputs": [HEIGHT, HEIGHT | {"name": "girth", "shape": [2], "data": [1, 2]}]}, 422, "of one length"),
        ({"inputs": [HEIGHT | {"name": "heigth"}]}, 422, "did you mean height"),
        ({"inputs": [HEIGHT], "outputs": [{"name": "scor"}]}, 422, "did you mean score"),
    ],
)
def test_what_can_not_be(asked, status, said, client):
    answer = client.post("/v2/models/tables/infer", json=asked)
    assert answer.status_code == status, answer.text
    assert said in answer.json()["error"]


def test_jobs_are_all_but_those_of_archives():
    assert set(JOBS) == {"encode", "decode", "generate", "morph", "denoise", "detect", "impute", "surprise"}
