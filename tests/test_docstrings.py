"""All that is public has an example in its docstring, which runs, and prints what it says.

Examples know `np`, `pd` and `fivefold`; and of each modality data and a model of them, the golden ones: `images` and
`image_model`, `trees` and `tree_model`, `loads` and `load_model`; `new_load_model`, fitted anew; and `rows`, three columns of
`trees`, with `vae`, an estimator fitted to them. They run in a folder that has the models as `image-model`, `tree-model` and
`load-model`, and the data as `images.npy`, `trees.csv` and `loads.csv`.
"""

from __future__ import annotations

import doctest
import shutil
from pathlib import Path
from typing import Any

import make
import numpy as np
import pandas as pd
import pytest

import fivefold
from fivefold.archive.write import ArchiveOptions
from fivefold.evaluation.contest import Section
from fivefold.findings import Check, Doubt
from fivefold.jobs.denoise import Denoised
from fivefold.jobs.detect import Detection
from fivefold.jobs.drift import Drift
from fivefold.jobs.impute import Imputed
from fivefold.model.verdicts import Verdict
from fivefold.series.results import Events

ROOT = Path(__file__).parents[1]
GOLDEN = ROOT / "tests" / "golden"
NAMED = {name: getattr(fivefold, name) for name in fivefold.__all__}
BESIDES = (ArchiveOptions, Check, Denoised, Detection, Doubt, Drift, Events, Imputed, Section, Verdict)
OWNERS = [owner for kind in (*NAMED.values(), *BESIDES) if isinstance(kind, type) for owner in kind.__mro__]
PUBLIC = NAMED | {owner.__name__: owner for owner in OWNERS if owner.__module__.startswith("fivefold.")}


@pytest.fixture(scope="module")
def names() -> dict[str, Any]:
    """What examples take for granted."""
    data = {"images": make.items(), "trees": make.rows(), "loads": make.steps()}
    folders = {"image_model": "images", "tree_model": "tables", "load_model": "series"}
    models = {name: fivefold.load(GOLDEN / folder / "model", "cpu") for name, folder in folders.items()}
    rows = data["trees"][["kind", "height", "girth"]]
    vae = fivefold.VAE(latent_dim=2, epochs=1, random_state=0, settings={"shortest_epoch": 8}).fit(rows)
    small = {
        "window": 24,
        "hidden": 16,
        "first_channels": 8,
        "context_width": 8,
        "shortest_epoch": 8,
        "longest_epoch": 8,
    }
    fitted = fivefold.fit(data["loads"], time="hour", ids="site", epochs=1, accelerator="cpu", **small)
    models["new_load_model"] = fitted
    return {"np": np, "pd": pd, "fivefold": fivefold, "rows": rows, "vae": vae, **data, **models}


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
@pytest.mark.parametrize("name", PUBLIC)
def test_examples_run(name, names, folder, capsys):
    """Of functions, and of classes with all their public methods and properties."""
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    for test in doctest.DocTestFinder(exclude_empty=False).find(PUBLIC[name], name, module=False, globs=names):
        assert test.examples or test.name.rpartition(".")[2].startswith("_"), f"{test.name} has no example"
        runner.run(test)
    assert not runner.summarize(verbose=False).failed, capsys.readouterr().out


def test_no_other_examples_are_left_out():
    files = [path for path in (ROOT / "src").rglob("*.py") if ">>> " in path.read_text(encoding="utf-8")]
    homes = {ROOT / "src" / f"{kind.__module__.replace('.', '/')}.py" for kind in PUBLIC.values()}
    assert set(files) <= homes
