"""Commands are killed, and what they leave is looked at; `make fuzz` does it for longer."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

TOOL = Path(__file__).parents[1] / "tools" / "kills.py"


@pytest.mark.skipif(sys.platform == "win32", reason="processes don't fork there")
@pytest.mark.situation(
    "a run killed anywhere, by SIGKILL or SIGTERM", "the old or the new result, whole; the next run tidies up"
)
def test_kills_leave_the_old_or_the_new_result_and_nothing_else():
    done = subprocess.run(
        [sys.executable, TOOL, "2", "compress", "impute"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(": 2 kills") == 4
