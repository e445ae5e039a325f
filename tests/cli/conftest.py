"""Running the command line in this process."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from fivefold.cli import main
from fivefold.storage import save


@dataclass(frozen=True)
class Outcome:
    code: int
    out: str
    err: str


@pytest.fixture
def run(capsys, monkeypatch, tmp_path) -> Callable[..., Outcome]:
    """`run("detect", …)` in an empty folder: its exit code and what it printed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("os.cpu_count", lambda: 1)  # without --workers no processes are started

    def call(*words: object) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["fivefold", *map(str, words)])
        try:
            main()
            code = 0
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
        captured = capsys.readouterr()
        return Outcome(code, captured.out, captured.err)

    return call


@pytest.fixture(scope="session")
def model_folder(model, tmp_path_factory):
    """The small model, saved."""
    folder = tmp_path_factory.mktemp("models") / "model"
    save(model, folder)
    return folder
