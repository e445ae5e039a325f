"""Run the notebooks of docs/ anew, results and all: `python tools/notebooks.py [NAME…]`; needs nbclient and ipykernel."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient

NOTEBOOKS = Path(__file__).parents[1] / "docs" / "notebooks"


def executed(path: Path) -> nbformat.NotebookNode:
    """A notebook with the results of its cells, which are run in an empty folder; raises `CellExecutionError`."""
    book = nbformat.read(path, nbformat.NO_CONVERT)
    with tempfile.TemporaryDirectory() as folder:
        NotebookClient(book, timeout=600, resources={"metadata": {"path": folder}}, record_timing=False).execute()
    for output in (output for cell in book.cells for output in cell.get("outputs", [])):
        if "text/html" in output.get("data", {}):
            del output["data"]["text/plain"]  # of a model, its networks
    return book


if __name__ == "__main__":
    for path in sorted(NOTEBOOKS.glob("*.ipynb")):
        if not sys.argv[1:] or path.stem in sys.argv[1:]:
            nbformat.write(executed(path), path)
