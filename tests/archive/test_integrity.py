"""Behind right checksums, what comes out is what went in, or the archive is refused."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from forged import mended
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import fivefold
from fivefold.archive.read import open_archive
from fivefold.errors import ArchiveError, DamagedArchiveError

GOLDEN = Path(__file__).parents[1] / "golden"
NAMES = ["images/archive-2.ff", "tables/archive-2.ff", "series/archive-2.ff"]


@pytest.fixture(scope="module")
def models():
    return {name: fivefold.load(GOLDEN / name / "model", "cpu") for name in ("images", "tables", "series")}


@pytest.fixture(scope="module", params=NAMES)
def packed(request, models):
    """An archive, its model, and what is in it as bytes."""
    archive, model = (GOLDEN / request.param).read_bytes(), models[request.param.partition("/")[0]]
    return archive, model, content(fivefold.decompress(archive, model))


def content(values) -> bytes:
    """As bytes that tell any two tables or arrays apart."""
    if isinstance(values, np.ndarray):
        return values.tobytes()
    return values.to_csv(index=False).encode()


def test_all_is_right_at_first(packed):
    archive, model, values = packed
    count = len(open_archive(io.BytesIO(archive)).reader.blocks)
    assert mended(archive, range(count)) == archive
    assert content(fivefold.decompress(archive, model)) == values


@pytest.mark.situation("an archive whose blocks are repeated, swapped or left out", "refused in one line")
@pytest.mark.parametrize("order", [(0, 0), (1, 0), (1,), (1, 1), (0, 1, 1)])
def test_blocks_have_their_place(packed, order):
    archive, model, _ = packed
    with pytest.raises(DamagedArchiveError):
        fivefold.decompress(mended(archive, order), model)


def test_the_index_has_a_digest_too(packed):
    archive, model, _ = packed
    shorter = mended(archive, (0,))
    with pytest.raises(DamagedArchiveError, match="index is damaged"):
        fivefold.decompress(shorter[:-36] + archive[-36:], model)


@pytest.mark.situation("an archive that was changed behind right checksums", "refused in one line, or the same values")
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(layer=st.integers(0, 1), place=st.floats(0, 0.999), value=st.integers(0, 255))
def test_values_are_those_that_were_written(packed, layer, place, value):
    archive, model, values = packed

    def damage(layers):
        changed = bytearray(layers[layer])
        if changed:
            changed[int(place * len(changed))] = value
        return [bytes(changed) if number == layer else content for number, content in enumerate(layers)]

    blocks = range(len(open_archive(io.BytesIO(archive)).reader.blocks))
    try:
        found = fivefold.decompress(mended(archive, blocks, damage), model)
    except ArchiveError:
        return
    assert content(found) == values


def test_parts_are_checked_too(packed):
    archive, model, _ = packed
    count = len(open_archive(io.BytesIO(archive)).reader.blocks)
    with pytest.raises(DamagedArchiveError, match="SHA-256 is another"):
        fivefold.decompress(mended(archive, [0] * count), model, items=slice(-1, None))


def test_the_digest_is_told(packed):
    archive, _, _ = packed
    assert len(open_archive(io.BytesIO(archive)).describe()["digest"]) == 64
    old = GOLDEN / "images" / "archive.ff"
    assert open_archive(io.BytesIO(old.read_bytes())).describe()["digest"] == "none"
