"""The five jobs on tables in figures, alone and beside their rivals; and their report."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from fivefold.errors import UsageError
from fivefold.evaluation import rivals
from fivefold.evaluation.contest import OURS
from fivefold.evaluation.report import check_rivals, evaluate, make_report
from fivefold.evaluation.rivals.detectors import TABLE_DETECTORS, score_rows
from fivefold.evaluation.rivals.imputers import TABLE_IMPUTERS, impute_matrix
from fivefold.evaluation.tables import COMPARISONS, Material
from fivefold.evaluation.tables.comparisons import column_shapes
from fivefold.evaluation.tables.material import Matrices

pytestmark = pytest.mark.filterwarnings("ignore:detection compares with:UserWarning")


@pytest.fixture(scope="module")
def material(table_model, trees) -> Material:
    test, train = (table_model.read(trees[rows]) for rows in (slice(300, None), slice(0, 300)))
    return Material(table_model, test, train, Path(), seed=3)


@pytest.mark.usefixtures("_light_reports")
def test_figures_are_json_of_every_job(table_model, trees):
    test, train = (table_model.read(trees[rows]) for rows in (slice(300, 400), slice(0, 300)))
    figures, sections = evaluate(table_model, test, train=train, seed=2)
    assert json.loads(json.dumps(figures, allow_nan=False)) == figures
    assert list(figures) == [*COMPARISONS, "fit_minutes", "environment"]
    assert [section.key for section in sections] == list(COMPARISONS)
    assert figures["environment"]["items"] == 100
    only, _ = evaluate(table_model, test, ["impute"])
    assert list(only) == ["impute", "fit_minutes", "environment"]


def test_files_are_read_as_asked_for(table_model, trees, tmp_path):
    trees[300:].to_csv(path := tmp_path / "trees.csv", sep=";", decimal=",", index=False)
    read, _ = evaluate(table_model, path, ["compress"], separator=";", decimal=",")
    known, _ = evaluate(table_model, trees[300:], ["compress"])
    assert read["compress"]["sizes"]["Fivefold"] == known["compress"]["sizes"]["Fivefold"]
    with pytest.raises(UsageError, match="tolerance"):
        evaluate(table_model, path, tolerance=1)


def test_swapped_cells_are_other_rows(material):
    cells, where = material.swapped(0.3, "test")
    assert 0.15 < where.mean() < 0.3
    assert (cells[where] != material.cells[where]).all()
    np.testing.assert_array_equal(cells[~where], material.cells[~where])
    for column, original in zip(cells.T, material.cells.T, strict=True):
        assert set(column[~np.isnan(column)]) <= set(original)


def test_errors_are_what_they_say(material):
    everywhere = ~np.isnan(material.cells)
    assert material.errors(material.cells, everywhere) == {"rmse": 0.0, "wrong": 0.0}
    off = material.cells + np.where(material.numbers, material.spread, 1.0)
    assert material.errors(off, everywhere) == {"rmse": pytest.approx(1.0), "wrong": 1.0}
    assert material.errors(off, everywhere & False) == {"rmse": None, "wrong": None}


def test_shapes_are_by_hand(material):
    assert column_shapes(material, material.cells) == 1.0
    healthy = material.schema.names.index("healthy")
    other = material.cells.copy()
    other[:, healthy] = 1 - other[:, healthy]
    share = material.cells[:, healthy].mean()
    assert column_shapes(material, other) == pytest.approx(1 - abs(2 * share - 1) / material.schema.size)


def test_jobs_do_what_they_are_for(material):
    figures = {job: compare(material).figures for job, compare in COMPARISONS.items()}
    assert figures["compress"]["bits"][OURS] < figures["compress"]["bits"]["Parquet, zstd -19"]
    assert figures["generate"]["told"][OURS] < figures["generate"]["told"]["columns alone"]
    assert figures["generate"]["copies"] < 0.05
    assert figures["denoise"]["auroc"] > 0.65
    assert figures["denoise"]["right"] > 0.5
    assert figures["detect"]["auroc"][OURS] > 0.7
    errors = figures["impute"]["0.3"]["errors"]
    assert errors[OURS]["rmse"] < 0.8 * errors["mean/mode"]["rmse"]
    assert 0.75 < figures["impute"]["0.3"]["coverage"] < 0.99


def test_beside_rivals(material, table_model):
    against = Material(table_model, material.items, material.train, Path(), against=True)
    imputed = COMPARISONS["impute"](against)
    assert list(imputed.figures["0.3"]["errors"]) == [OURS, *TABLE_IMPUTERS]
    assert len(imputed.tables) == 2
    detected = COMPARISONS["detect"](against)
    assert list(detected.figures["auroc"]) == [OURS, *(f"PyOD {name}" for name in TABLE_DETECTORS)]
    assert all(0 <= value <= 1 for value in detected.figures["auroc"].values())
    assert len(COMPARISONS["denoise"](against).figures["errors"]) == 3


def test_matrices_come_back(material):
    matrices = Matrices(material.schema, material.cells)
    matrix = matrices.encode(material.cells)
    assert np.nanstd(matrix, axis=0).max() == pytest.approx(1)
    assert set(np.unique(matrix[:, -2:])) >= {0.0, 1.0}
    whole = ~np.isnan(material.cells)
    np.testing.assert_allclose(matrices.decode(matrix)[whole], material.cells[whole], rtol=1e-9)
    filled = impute_matrix(TABLE_IMPUTERS["mean/mode"](), matrix, matrix)
    assert not np.isnan(filled).any()


def test_peers_find_what_is_far():
    rows = np.random.default_rng(0).normal(size=(200, 3))
    far = np.concatenate((rows, [[9.0, -9.0, 9.0]]))
    for name in ("IForest", "KNN", "ECOD"):
        assert score_rows(name, rows, far, seed=1).argmax() == 200


def test_what_is_not_installed_is_named(monkeypatch, table_model):
    def missing(module):
        raise ModuleNotFoundError(module)

    monkeypatch.setattr(rivals, "import_module", missing)
    with pytest.raises(UsageError, match=r"pyod .* fivefold.bench"):
        check_rivals(["detect"], table_model.schema)
    check_rivals(["impute", "denoise"], table_model.schema)


def test_a_report(table_model, trees, tmp_path):
    figures, summary = make_report(table_model, table_model.read(trees[300:380]), tmp_path / "report")
    page = (tmp_path / "report" / "report.html").read_text(encoding="utf-8")
    assert json.loads((tmp_path / "report" / "report.json").read_text(encoding="utf-8")) == figures
    for title in ("The model", "What the codes tell", "Compression", "New rows", "Strange rows", "Missing cells"):
        assert title in page
    for picture in ("codes", "generate", "detect", "impute", "training"):
        assert (tmp_path / "report" / f"{picture}.png").read_bytes()[:4] == b"\x89PNG"
    assert [name for name, _ in summary][-5:] == ["compress", "generate", "denoise", "detect", "impute"]
