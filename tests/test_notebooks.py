"""The notebooks of docs/ run: `make test-engines`, as that takes a minute. What is in them is always looked at."""

from __future__ import annotations

import json
import os
import runpy
from pathlib import Path

import pytest

from fivefold.modality import MODALITIES

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "docs/notebooks").glob("*.ipynb"))


def test_there_is_one_of_each_modality_that_does_all_jobs():
    names = {modality.name for modality in MODALITIES.values() if not modality.settings.REFUSED.keys() - {"export"}}
    assert {path.stem for path in NOTEBOOKS} == names


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_results_are_in_it_without_mishap(path):
    assert path.stat().st_size < 100_000
    cells = [cell for cell in json.loads(path.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == "code"]
    outputs = [output for cell in cells for output in cell["outputs"]]
    assert sum("data" in output for output in outputs) >= 5
    assert {output["output_type"] for output in outputs} <= {"display_data", "execute_result"}


@pytest.mark.skipif("FIVEFOLD_ENGINES" not in os.environ, reason="takes a minute: make test-engines")
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_runs(path):
    pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    book = runpy.run_path(str(ROOT / "tools/notebooks.py"))["executed"](path)
    assert "the same: True" in book.cells[-1]["outputs"][0]["data"]["text/plain"]
