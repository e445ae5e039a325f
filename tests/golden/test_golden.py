"""What was written once is read for ever and written the same, and every job gives what it gave."""

from __future__ import annotations

import hashlib
import io
import json
from pathlib import Path

import make
import numpy as np
import pytest

import fivefold
from fivefold.archive.container import ArchiveReader

HERE = Path(__file__).parent
SHA256 = {
    "images/archive.ff": "5fb9773a7020974934d6ce78b9e4fe51e985f2b3e9471d9dccac0b3c6edf8490",
    "series/archive.ff": "a1dfb5b908f20b1324f62fa9b803b2257047c89c6a0b882cdcdc0fd0d4530961",
    "series/arrays.ff": "13650d0dac1c6536fea788d0d7fd75e59903ba9ce8ddf48a79f611600f6d918b",
    "tables/archive.ff": "2dd651368bf870dde6ff39acfb41b9c19402543b1d15fd61de249f199e2c3d21",
    "images/archive-2.ff": "fc415f0a8a2e6744de565f863e9d98cf3fa90a0c03774a647ee98f421d4b764a",
    "tables/archive-2.ff": "4811aceec00a7c7355dd22c973fbbc45d1c485c11aeda7f00837f1967258f86f",
    "series/archive-2.ff": "2017899539dac7cee9c33b4bb21279ddb23adb1994ff54f9bdf54ed995cbfb2f",
    "series/arrays-2.ff": "ede52861959c38581e5d8cf3c52b0f53cb72dd1970e8160bee7217325a82def2",
}
ITEMS = "27c8e6b6eb0b1cade4c467032680b510f0d9cbe8ce7a650d1c08fc3ece3600ca"


CASES = {case.name: case for case in make.cases()}


@pytest.fixture(scope="module", params=list(CASES))
def case(request):
    return CASES[request.param]


@pytest.fixture(scope="module")
def loaded(case):
    return case.load()


def same(found, given):
    """The arrays, frames or columns are the same, to the bit and the type."""
    if isinstance(given, np.ndarray):
        assert found.dtype == given.dtype
        assert found.tobytes() == given.tobytes()
    else:
        assert found.equals(given)
        assert (found.dtypes == given.dtypes).all()


@pytest.mark.parametrize("version", ["", "-2"])
@pytest.mark.parametrize("workers", [1, 2])
def test_archives_hold_what_was_packed(case, loaded, workers, version):
    for name, given in zip((f"archive{version}.ff", f"arrays{version}.ff"), case.packed, strict=False):
        content = (case.folder / name).read_bytes()
        assert hashlib.sha256(content).hexdigest() == SHA256[f"{case.name}/{name}"]
        same(fivefold.decompress(content, loaded, workers=workers), given)


def test_of_images_two_blocks_are_coded_and_one_is_raw():
    content = (HERE / "images" / "archive.ff").read_bytes()
    reader = ArchiveReader(io.BytesIO(content))
    assert [reader.method(block) for block in reader.blocks] == [1, 1, 0]
    assert hashlib.sha256(make.items().tobytes()).hexdigest() == ITEMS


def test_archives_are_written_the_same(case, loaded):
    for name, content in case.archives(loaded).items():
        assert content == (case.folder / name).read_bytes()


def test_models_are_what_they_were(case, loaded):
    assert case.facts(loaded) == json.loads((case.folder / "facts.json").read_text())


def test_models_are_saved_the_same(case, loaded, tmp_path):
    fivefold.save(loaded, tmp_path / "model")
    for name in ("config.json", "model.safetensors"):
        assert (tmp_path / "model" / name).read_bytes() == (case.folder / "model" / name).read_bytes()


@pytest.mark.filterwarnings("ignore:detection compares with")
def test_jobs_give_what_they_gave(case, loaded):
    found = case.results(loaded)
    with np.load(case.folder / "results.npz") as frozen:
        assert found.keys() == set(frozen.files)
        for name in frozen.files:
            assert found[name].dtype == frozen[name].dtype, name
            scale = max(1.0, float(np.nanmax(np.abs(frozen[name].astype(np.float64)))))
            np.testing.assert_allclose(found[name], frozen[name], rtol=1e-6, atol=1e-6 * scale, err_msg=name)
