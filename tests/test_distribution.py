"""The wheel and the sdist hold the whole package: what is installed from them runs."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

import fivefold

ROOT = Path(__file__).parents[1]


def call(*words: object, **environment: str) -> str:
    command = [sys.executable, "-m", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    """The folder of the wheel and the sdist."""
    folder = tmp_path_factory.mktemp("built")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-d", folder], cwd=ROOT, check=True, capture_output=True
    )
    return folder


@pytest.fixture(scope="module")
def installed(built) -> Path:
    """A folder with what the wheel installs, and nothing else of the project."""
    folder = built / "site"
    call("pip", "install", "--quiet", "--no-deps", "--no-index", "--target", folder, next(built.glob("*.whl")))
    return folder


def test_the_wheel_has_data_templates_and_types(built):
    with zipfile.ZipFile(next(built.glob("*.whl"))) as wheel:
        names = wheel.namelist()
    assert "fivefold/py.typed" in names
    assert sum(name.startswith("fivefold/images/mnist/") for name in names) == 4
    assert "fivefold/evaluation/templates/report.html.j2" in names
    assert not any(name.startswith(("tests", "benchmarks")) for name in names)
    sources = {path.relative_to(ROOT / "src").as_posix() for path in (ROOT / "src").rglob("*.py")}
    assert sources <= set(names)


def test_the_sdist_can_be_built_from(built):
    with tarfile.open(next(built.glob("*.tar.gz"))) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"pyproject.toml", "README.md", "LICENSE", "NOTICE", "src/fivefold/__main__.py"} <= names


def test_what_is_installed_runs(installed, tmp_path):
    place = str(installed)
    assert call("fivefold", "--version", PYTHONPATH=place) == f"fivefold {fivefold.__version__}\n"
    rows = np.random.default_rng(0).normal(size=(50, 2))
    table = tmp_path / "rows.csv"
    table.write_text("\n".join(["a,b", *(f"{a},{b}" for a, b in rows)]))
    model = tmp_path / "model"
    call("fivefold", "fit", table, "-o", model, "--epochs", 1, "--accelerator", "cpu", PYTHONPATH=place)
    assert "2 columns (2 real)" in call("fivefold", "info", model, PYTHONPATH=place)
    code = "import fivefold; print(fivefold.__file__)"
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=os.environ | {"PYTHONPATH": place}
    )
    assert Path(found.stdout.strip()).is_relative_to(installed)
