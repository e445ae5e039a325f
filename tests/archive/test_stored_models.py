"""Archives are read with stored models, where there is no torch; damaged ones are told by their name."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from forged import rewritten

import fivefold
from fivefold.errors import DamagedArchiveError, ModelError
from fivefold.storage import fingerprint, read

GOLDEN = Path(__file__).parents[1] / "golden"
NO_TORCH = "import sys; sys.modules['torch'] = None; "
DECOMPRESS = NO_TORCH + "import fivefold; print(fivefold.decompress(sys.stdin.buffer.read()).shape)"
COMMANDS = (
    NO_TORCH
    + """
from fivefold.cli import main
for command in sys.argv[1:]:
    sys.argv = ["fivefold", *command.split("|")]
    try:
        main()
    except SystemExit as end:
        assert not end.code, command
"""
)


@pytest.mark.parametrize("name", ["images", "tables", "series"])
def test_a_model_beside_the_archive(name, tmp_path):
    output = tmp_path / ("back.npy" if name == "images" else "back.csv")
    archive, model, again = GOLDEN / name / "archive.ff", GOLDEN / name / "model", tmp_path / "again.ff"
    commands = [("decompress", archive, "--model", model, "-o", output, "--workers", "1"), ("info", archive)]
    if name != "images":  # whose codes the networks find
        commands.append(("compress", model, output, "-o", again, "--workers", "1"))
    words = ["|".join(map(str, command)) for command in commands]
    subprocess.run([sys.executable, "-c", COMMANDS, *words], check=True)
    assert output.is_file()
    assert again.is_file() == (name != "images")


@pytest.mark.parametrize("name", ["images", "tables", "series"])
def test_a_model_inside_the_archive(name):
    model = fivefold.load(GOLDEN / name / "model", "cpu")
    data = fivefold.decompress((GOLDEN / name / "archive.ff").read_bytes(), model)
    packed = fivefold.compress(model, data, embed_model=True)
    done = subprocess.run([sys.executable, "-c", DECOMPRESS], input=packed, capture_output=True, check=True)
    assert done.stdout.decode().strip() == str(data.shape)


@pytest.mark.parametrize("change", ["lost", "cut"])
@pytest.mark.parametrize("name", ["images", "tables", "series"])
def test_a_model_with_other_weights_than_its_configuration_says(name, change, tmp_path):
    """Behind right checksums, as a malicious writer may embed it."""
    folder, archive = GOLDEN / name / "model", (GOLDEN / name / "archive.ff").read_bytes()
    config = json.loads((folder / "config.json").read_text())
    arrays = safetensors.numpy.load((folder / "model.safetensors").read_bytes())
    weights = sorted(array for array in arrays if array.startswith("context.") and array.endswith("weight"))
    changed = {each: arrays.pop(each) for each in weights}
    if change == "cut":
        arrays |= {each: np.ascontiguousarray(array[..., :-1]) for each, array in changed.items()}
    content = safetensors.numpy.save(arrays | {"context.other": np.zeros(1, np.float32)})
    config["weights_sha256"] = hashlib.sha256(content).hexdigest()
    files = {"config.json": json.dumps(config).encode(), "model.safetensors": content}
    for file, data in files.items():
        (tmp_path / file).write_bytes(data)
    packed = rewritten(archive, {"model": fingerprint(read(tmp_path))}, files)
    with pytest.raises((ModelError, DamagedArchiveError), match="damaged"):
        fivefold.decompress(packed)
