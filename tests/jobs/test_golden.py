"""Archives written once are read for ever, and written the same."""

from __future__ import annotations

import hashlib
import importlib.util
import io
from pathlib import Path

import numpy as np
import pytest

from fivefold.codec.archive import ArchiveReader
from fivefold.jobs.decompress import decompress
from fivefold.storage import load

GOLDEN = Path(__file__).parents[1] / "golden"
ARCHIVE = "5fb9773a7020974934d6ce78b9e4fe51e985f2b3e9471d9dccac0b3c6edf8490"
ITEMS = "27c8e6b6eb0b1cade4c467032680b510f0d9cbe8ce7a650d1c08fc3ece3600ca"


@pytest.fixture(scope="module")
def make():
    """golden/make.py."""
    spec = importlib.util.spec_from_file_location("make", GOLDEN / "make.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def golden_model():
    return load(GOLDEN / "model", "cpu")


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize("workers", [1, 2])
def test_decodes_to_what_it_was(make, golden_model, workers):
    content = (GOLDEN / "items.ff").read_bytes()
    assert sha256(content) == ARCHIVE
    found = decompress(content, golden_model, workers=workers)
    assert sha256(found.tobytes()) == ITEMS
    np.testing.assert_array_equal(found, make.items())
    reader = ArchiveReader(io.BytesIO(content))
    assert [reader.method(block) for block in reader.blocks] == [1, 1, 0]


def test_written_anew_it_is_the_same(make, golden_model):
    assert make.pack(golden_model) == (GOLDEN / "items.ff").read_bytes()
