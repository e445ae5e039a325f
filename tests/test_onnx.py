"""Jobs as ONNX files: the same numbers from another runtime. Those that take half a minute are in `make test-engines`."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

import fivefold
from fivefold.errors import ModelError, UsageError
from fivefold.modality import modality_of

ROOT = Path(__file__).parents[1]
NODE, PACKAGES = shutil.which("node"), ROOT / "out" / "node" / "node_modules"
slow = pytest.mark.skipif("FIVEFOLD_ENGINES" not in os.environ, reason="takes half a minute: make test-engines")


@pytest.fixture(scope="module")
def of_trees(table_model, tmp_path_factory):
    """Files by job."""
    folder = tmp_path_factory.mktemp("onnx")
    for job in ("detect", "impute"):
        fivefold.export(table_model, folder / f"{job}.onnx", job, free=job == "impute")
    return folder


def run(path: Path, feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    session = onnxruntime.InferenceSession(path)
    return dict(zip([output.name for output in session.get_outputs()], session.run(None, feeds), strict=True))


def columns(model, rows) -> dict[str, np.ndarray]:
    """As a user gives them."""
    found = {}
    for column in model.schema.columns:
        cells = rows[column.name]
        if column.kind == "category" and isinstance(column.categories[0], str):
            found[column.name] = cells.fillna("").to_numpy(object)
        elif column.kind == "datetime":
            counts = cells.to_numpy(f"M8[{column.unit}]")
            found[column.name] = np.where(np.isnat(counts), np.nan, counts.astype(np.int64))
        else:
            found[column.name] = cells.to_numpy(np.float64, na_value=np.nan)
    return found


@slow
@pytest.mark.parametrize("count", [1, 7, 100])
def test_scores_and_p_values_of_rows(of_trees, table_model, trees, count):
    rows = trees[300 : 300 + count]
    found, known = (
        run(of_trees / "detect.onnx", columns(table_model, rows)),
        fivefold.detect(table_model, rows, false_alarm_rate=0.05),
    )
    np.testing.assert_allclose(found["score"], known.score, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(found["p_value"], known.p_value, atol=1e-5)


@slow
@pytest.mark.filterwarnings("ignore:table. cells of categories")
def test_rows_with_unknown_texts_far_numbers_and_nothing(of_trees, table_model, trees):
    rows = trees[:4].copy()
    rows.loc[0, "kind"], rows.loc[1, "height"] = "palm", 1e9
    rows.loc[2, ["kind", "height", "girth"]] = None
    found, known = (
        run(of_trees / "detect.onnx", columns(table_model, rows)),
        fivefold.detect(table_model, rows, false_alarm_rate=0.05),
    )
    np.testing.assert_allclose(found["score"], known.score, rtol=1e-5)


@slow
def test_cells_are_filled_in(of_trees, table_model, trees):
    rows = trees[300:]
    found = run(of_trees / "impute.onnx", columns(table_model, rows))
    known = columns(table_model, fivefold.impute(table_model, rows, free=True).data)
    for column in table_model.schema.columns:
        one, other = found[f"{column.name}.imputed"], known[column.name]
        if one.dtype == object:
            assert list(one) == list(other)
        else:
            np.testing.assert_allclose(one, other, rtol=1e-5)


@slow
@pytest.mark.skipif(NODE is None, reason="it needs Node.js: apt-get install nodejs npm")
@pytest.mark.skipif(not PACKAGES.exists(), reason="it needs a package of Node.js: make test-engines")
def test_the_example_in_javascript(of_trees, table_model, trees, tmp_path):
    page = (ROOT / "docs" / "plug-in.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```js\n(.*?)```", page, re.DOTALL)
    rows = trees[list(table_model.schema.names)][300:303].copy()
    rows["planted"] = columns(table_model, rows)["planted"]
    (tmp_path / "trees.json").write_text(rows.to_json(orient="records"), encoding="utf-8")
    (tmp_path / "example.js").write_text(example, encoding="utf-8")
    (tmp_path / "trees.onnx").symlink_to(of_trees / "detect.onnx")
    (tmp_path / "node_modules").symlink_to(PACKAGES)
    said = subprocess.run([NODE, "example.js"], cwd=tmp_path, capture_output=True, text=True, check=True)
    known = fivefold.detect(table_model, trees[300:303], false_alarm_rate=0.05)
    np.testing.assert_allclose(json.loads(said.stdout), known.p_value, atol=1e-5)


def test_codes_and_back(table_model, trees, tmp_path):
    for job in ("encode", "decode"):
        fivefold.export(table_model, tmp_path / f"{job}.onnx", job, check=trees)
    mean, std = fivefold.encode(table_model, trees)
    found = run(tmp_path / "encode.onnx", columns(table_model, trees))
    np.testing.assert_allclose(found["mean"], mean, atol=1e-6)
    np.testing.assert_allclose(found["std"], std, atol=1e-6)
    decoded = fivefold.decode(table_model, mean)
    assert list(run(tmp_path / "decode.onnx", {"z": mean})["kind"]) == list(decoded["kind"])


def test_images(model, digits, tmp_path):
    for job in ("encode", "decode"):
        fivefold.export(model, tmp_path / f"{job}.onnx", job)
    mean, _ = fivefold.encode(model, digits[:9])
    found = run(tmp_path / "encode.onnx", {"image": digits[:9].astype(np.float32)})
    np.testing.assert_allclose(found["mean"], mean, atol=1e-5)
    image = run(tmp_path / "decode.onnx", {"z": mean})["image"]
    assert image.dtype == np.uint8
    assert np.abs(image.astype(int) - fivefold.decode(model, mean)).max() <= 1


def test_what_differs_is_not_written(table_model, tmp_path, monkeypatch):
    room = modality_of(table_model.schema).graphs
    known = room.results
    monkeypatch.setattr(room, "results", lambda *given: {n: v + 1e-4 for n, v in known(*given).items()})
    with pytest.raises(ModelError, match="encode by ONNX Runtime gives another mean"):
        fivefold.export(table_model, tmp_path / "trees.onnx", "encode")
    assert not list(tmp_path.iterdir())


def test_what_graphs_do_not_hold_is_refused(table_model, model, series_model, tmp_path):
    path = tmp_path / "model.onnx"
    with pytest.raises(
        UsageError, match="denoise of tables can't be exported: cells are asked for one after the other"
    ):
        fivefold.export(table_model, path, "denoise")
    with pytest.raises(UsageError, match=r"denoise of images by this model can't be exported: .* drawn at random"):
        fivefold.export(model, path, "denoise")
    with pytest.raises(UsageError, match=r"detect of images by this model can't be exported: .* in a loop"):
        fivefold.export(model, path, "detect")
    with pytest.raises(UsageError, match="models of series can't be exported"):
        fivefold.export(series_model, path)
    with pytest.raises(UsageError, match="`job` must be one of"):
        fivefold.export(model, path, "compress")
    with pytest.raises(UsageError, match="`free` goes with"):
        fivefold.export(model, path, "encode", free=True)


def test_the_extra_is_named(table_model, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(UsageError, match=r"pip install fivefold\[onnx\]"):
        fivefold.export(table_model, tmp_path / "model.onnx")
