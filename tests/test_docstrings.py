"""The examples in docstrings run, and print what they say.

They know `np`, `pd` and `fivefold`; and of each modality data and a model of them, the golden ones: `images` and `image_model`,
`trees` and `tree_model`, `loads` and `load_model`. They run in a folder that has the models as `image-model`, `tree-model` and
`load-model`, and the data as `images.npy`, `trees.csv` and `loads.csv`.
"""

from __future__ import annotations

import doctest
import importlib
import shutil
from pathlib import Path
from typing import Any

import make
import numpy as np
import pandas as pd
import pytest

import fivefold

ROOT = Path(__file__).parents[1]
GOLDEN = ROOT / "tests" / "golden"
SOURCES = ROOT / "src"
MODULES = [
    ".".join(path.relative_to(SOURCES).with_suffix("").parts).removesuffix(".__init__")
    for path in sorted(SOURCES.rglob("*.py"))
    if ">>> " in path.read_text(encoding="utf-8")
]


@pytest.fixture(scope="module")
def names() -> dict[str, Any]:
    """What examples take for granted."""
    data = {"images": make.items(), "trees": make.rows(), "loads": make.steps()}
    folders = {"image_model": "images", "tree_model": "tables", "load_model": "series"}
    models = {name: fivefold.load(GOLDEN / folder / "model", "cpu") for name, folder in folders.items()}
    return {"np": np, "pd": pd, "fivefold": fivefold, **data, **models}


@pytest.fixture
def folder(names, tmp_path, monkeypatch) -> None:
    """The working directory of an example."""
    monkeypatch.chdir(tmp_path)
    for name, golden in (("image-model", "images"), ("tree-model", "tables"), ("load-model", "series")):
        shutil.copytree(GOLDEN / golden / "model", name)
    np.save("images.npy", names["images"])
    for name in ("trees", "loads"):
        names[name].to_csv(f"{name}.csv", index=False)


@pytest.mark.filterwarnings("ignore:detection compares with")
@pytest.mark.parametrize("module", MODULES)
def test_examples_run(module, names, folder, capsys):
    examples = doctest.DocTestFinder(exclude_empty=True).find(importlib.import_module(module))
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    for example in examples:
        example.globs |= {name: value for name, value in names.items() if name not in example.globs}
        runner.run(example)
    assert not runner.summarize(verbose=False).failed, capsys.readouterr().out
