"""Archives are read where there is no torch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import fivefold

GOLDEN = Path(__file__).parents[1] / "golden"
NO_TORCH = "import sys; sys.modules['torch'] = sys.modules['lightning'] = None; "
DECOMPRESS = NO_TORCH + "import fivefold; print(fivefold.decompress(sys.stdin.buffer.read()).shape)"
COMMAND = NO_TORCH + "sys.argv[0] = 'fivefold'; from fivefold.cli import main; main()"


@pytest.mark.parametrize("name", ["images", "tables", "series"])
def test_a_model_beside_the_archive(name, tmp_path):
    output = tmp_path / ("back.npy" if name == "images" else "back.csv")
    folder = GOLDEN / name
    given = ("decompress", folder / "archive.ff", "--model", folder / "model", "-o", output, "--workers", "1")
    subprocess.run([sys.executable, "-c", COMMAND, *map(str, given)], check=True)
    assert output.is_file()
    subprocess.run([sys.executable, "-c", COMMAND, "info", str(folder / "archive.ff")], check=True)


@pytest.mark.parametrize("name", ["images", "tables", "series"])
def test_a_model_inside_the_archive(name):
    model = fivefold.load(GOLDEN / name / "model", "cpu")
    data = fivefold.decompress((GOLDEN / name / "archive.ff").read_bytes(), model)
    packed = fivefold.compress(model, data, embed_model=True)
    done = subprocess.run([sys.executable, "-c", DECOMPRESS], input=packed, capture_output=True, check=True)
    assert done.stdout.decode().strip() == str(data.shape)
