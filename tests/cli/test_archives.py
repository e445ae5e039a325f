"""`compress`, `decompress` and what `info` says of an archive, as a user types them."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fivefold.archive.read import decompress
from fivefold.storage import load


@pytest.fixture
def packed(run, model_folder, digits, tmp_path):
    """`digits.ff` of six digits, in the working folder."""
    np.save(tmp_path / "digits.npy", digits[600:606])
    outcome = run("compress", model_folder, "digits.npy", "-o", "digits.ff", "--json")
    assert outcome.code == 0, outcome.err
    return json.loads(outcome.out)


def test_there_and_back(run, packed, model_folder, digits):
    size = Path("digits.ff").stat().st_size
    assert packed["bytes"] == size < digits[600:606].size / 2
    assert packed["bits_per_element"] == pytest.approx(8 * size / digits[600:606].size)
    assert run("decompress", "digits.ff", "--model", model_folder, "-o", "back.npy").code == 0
    np.testing.assert_array_equal(np.load("back.npy"), digits[600:606])


def test_some_items(run, packed, model_folder, digits):
    some = ("decompress", "digits.ff", "--model", model_folder)
    assert run(*some, "--items", "2:4", "-o", "some.npy").code == 0
    np.testing.assert_array_equal(np.load("some.npy"), digits[602:604])


def test_lossy(run, model_folder, digits):
    np.save("digits.npy", digits[600:606])
    assert run("compress", model_folder, "digits.npy", "-o", "codes.ff", "--lossy").code == 0
    read = ("decompress", "codes.ff", "--model", model_folder)
    assert run(*read, "-o", "preview", "--lossy").code == 0
    with Image.open("preview/3.png") as image:
        assert image.size == (28, 28)
    refused = run(*read, "-o", "exact.npy")
    assert refused.code == 2
    assert "--lossy" in refused.err


def test_names_come_back(run, model_folder, digits):
    Path("photos").mkdir()
    for name, image in zip("ab", digits[600:602], strict=True):
        Image.fromarray(image[..., 0]).save(f"photos/{name}.png")
    assert run("compress", model_folder, "photos", "-o", "photos.ff", "--embed-model").code == 0
    assert run("decompress", "photos.ff", "-o", "back", "--items", "1:").code == 0
    assert [path.name for path in Path("back").iterdir()] == ["b.png"]


def test_through_pipes(run, model_folder, digits, monkeypatch):
    np.save("digits.npy", digits[600:603])
    out = io.TextIOWrapper(io.BytesIO())
    monkeypatch.setattr(sys, "stdout", out)
    assert run("compress", model_folder, "digits.npy", "-o", "-").code == 0
    content = out.buffer.getvalue()
    np.testing.assert_array_equal(decompress(content, load(model_folder)), digits[600:603])
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
    assert run("decompress", "-", "--model", model_folder, "-o", "back.npy").code == 0
    np.testing.assert_array_equal(np.load("back.npy"), digits[600:603])


def test_info(run, packed):
    said = run("info", "digits.ff")
    assert said.code == 0
    for part in ("6 of 28×28×1", "codes", "exact", "bits per element", "all checksums hold"):
        assert part in said.out
    content = bytearray(Path("digits.ff").read_bytes())
    content[-200] ^= 1
    Path("digits.ff").write_bytes(content)
    damaged = run("info", "digits.ff")
    assert damaged.code == 1
    assert "damaged" in damaged.err


BAD = [
    (("decompress", "no.ff", "-o", "x.npy"), 1, "no such file"),
    (("decompress", "digits.npy", "-o", "x.npy"), 1, "not an archive"),
    (("decompress", "digits.ff", "-o", "x.npy"), 2, "--model"),
    (("decompress", "digits.ff", "-o", "x.npy", "--items", "3"), 2, "FROM:TO"),
    (("decompress", "digits.ff", "-o", "x.npy", "--items", "9:", "--model", "MODEL"), 2, "6 items"),
    (("decompress", "digits.ff", "-o", "x.csv"), 2, "--output"),
    (("compress", "MODEL", "digits.npy", "-o", "digits.ff"), 2, "--force"),
    (("compress", "MODEL", "digits.npy", "-o", "x.ff", "--block-items", "0"), 2, "--block-items"),
    (("compress", "MODEL", "digits.npy", "-o", "x.ff", "--workers", "0"), 2, "--workers"),
    (("info", "digits.npy"), 1, "not an archive"),
]


@pytest.mark.parametrize(("words", "code", "said"), BAD)
@pytest.mark.usefixtures("packed")
def test_bad_input(run, model_folder, words, code, said):
    outcome = run(*(model_folder if word == "MODEL" else word for word in words))
    assert outcome.code == code
    assert said in outcome.err
    assert len(outcome.err.strip().splitlines()) == 1
    assert not list(Path().glob("x.*")), "something was left behind"


def test_a_truncated_archive(run, packed, model_folder):
    content = Path("digits.ff").read_bytes()
    Path("digits.ff").write_bytes(content[: len(content) // 2])
    outcome = run("decompress", "digits.ff", "--model", model_folder, "-o", "back.npy")
    assert outcome.code == 1
    assert "ends too early" in outcome.err
    assert not Path("back.npy").exists()
