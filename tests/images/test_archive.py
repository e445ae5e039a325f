"""Archives give back what went in, whatever it is; damage is told by its name."""

from __future__ import annotations

import dataclasses
import io
import json
import zlib

import numpy as np
import pytest
from forged import rewritten
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fivefold.archive.container import ArchiveReader, Limits
from fivefold.archive.read import decompress, open_archive
from fivefold.archive.write import compress, write_archive
from fivefold.errors import (
    ArchiveError,
    ArchiveLimitError,
    DamagedArchiveError,
    DataError,
    ModelError,
    UsageError,
    WrongModelError,
)
from fivefold.images.dataset import make_items
from fivefold.jobs.codes import decode, encode


def gradients(n: int, seed: int) -> np.ndarray:
    """`(n, 8, 6, 3)`: slopes and flat parts, which even a small model expects."""
    start, slope = np.random.default_rng(seed).integers(0, 30, (2, n, 1, 1))
    y, x = np.mgrid[:8, :6]
    return np.stack([start + slope // 4 * y, 4 * x + 0 * start, 100 + 0 * x + 0 * start], axis=-1).astype(np.uint8)


@pytest.fixture(scope="module")
def colour() -> np.ndarray:
    return gradients(10, 1)


@pytest.fixture(scope="module")
def gradient_model():
    """A model that knows gradients well enough to shrink them."""
    from fivefold.training.fit import fit

    settings = {"latent_dim": 3, "hidden": 16, "first_channels": 4, "field": 5, "context_width": 16, "positions": 64}
    return fit(gradients(200, 0), **settings, epochs=8, batch_size=16, context_learning_rate=4e-2, accelerator="cpu")


@pytest.fixture(scope="module")
def archive(gradient_model, colour) -> bytes:
    packed = compress(gradient_model, colour, step=1, block_items=4)
    reader = ArchiveReader(io.BytesIO(packed))
    assert [reader.method(block) for block in reader.blocks] == [1, 1, 1], "blocks are stored raw"
    return packed


def test_digits_come_back_from_less(model, digits):
    packed = compress(model, digits[600:610])
    assert len(packed) < digits[600:610].size / 3
    np.testing.assert_array_equal(decompress(packed, model), digits[600:610])


@pytest.mark.parametrize("block_items", [1, 3, 10, 1000])
@pytest.mark.parametrize("step", [None, 0, 0.5, 1000])
def test_round_trip(gradient_model, colour, block_items, step):
    packed = compress(gradient_model, colour, block_items=block_items, step=step)
    assert np.array_equal(decompress(packed, gradient_model), colour)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int64, np.uint64, np.float32, np.float64, ">u2", ">f4"])
def test_the_type_comes_back(gradient_model, colour, dtype):
    found = decompress(compress(gradient_model, colour.astype(dtype)), gradient_model)
    assert found.dtype == np.dtype(dtype).newbyteorder("=")
    np.testing.assert_array_equal(found, colour)


ODD = {
    "out of range": lambda values: values.astype(np.int32) * 300,
    "fractions": lambda values: values.astype(np.float32) + 0.25,
    "minus zero": lambda values: np.where(values == 0, -0.0, values),
    "noise": lambda values: np.random.default_rng(0).integers(0, 256, values.shape, np.uint8),
}


@pytest.mark.filterwarnings("ignore:.*are clipped")
@pytest.mark.parametrize("make", ODD.values(), ids=ODD.keys())
def test_what_the_model_does_not_expect_is_kept_raw(gradient_model, colour, make):
    values = make(colour)
    packed = compress(gradient_model, values, block_items=5)
    assert decompress(packed, gradient_model).tobytes() == values.tobytes()
    assert len(packed) < values.nbytes + 1500  # the header's facts, and some 40 bytes a block


def test_the_same_by_several_processes(gradient_model, colour, archive):
    assert compress(gradient_model, colour, step=1, block_items=4, workers=2) == archive
    np.testing.assert_array_equal(decompress(archive, gradient_model, workers=2), colour)


def test_some_items_are_read_from_their_blocks_alone(gradient_model, colour, archive, monkeypatch):
    read, layer = [], ArchiveReader.layer

    def noting(self, block, number):
        read.append(block.first)
        return layer(self, block, number)

    monkeypatch.setattr(ArchiveReader, "layer", noting)
    np.testing.assert_array_equal(decompress(archive, gradient_model, items=slice(5, 7)), colour[5:7])
    assert set(read) == {4}
    assert decompress(archive, gradient_model, items=slice(3, 3)).shape == (0, 8, 6, 3)
    np.testing.assert_array_equal(decompress(archive, gradient_model, items=slice(-3, None)), colour[7:])
    with pytest.raises(UsageError, match="consecutive"):
        decompress(archive, gradient_model, items=slice(0, 5, 2))


def test_lossy_is_what_the_codes_say(gradient_model, colour, archive):
    found = decompress(archive, gradient_model, lossy=True)
    mu, std = encode(gradient_model, colour)
    step = std.mean(0)
    expected = decode(gradient_model, np.rint(mu / step) * step)
    assert np.abs(found.astype(int) - expected).max() <= 1


def test_a_lossy_archive_is_smaller_and_says_so(gradient_model, colour, archive):
    packed = compress(gradient_model, colour, lossy=True)
    assert len(packed) < len(archive)
    assert decompress(packed, gradient_model, lossy=True).shape == colour.shape
    with pytest.raises(UsageError, match="lossy"):
        decompress(packed, gradient_model)
    fine = compress(gradient_model, colour, lossy=True, step=0.01)
    assert len(fine) > len(packed)


def test_without_codes_there_is_no_preview(gradient_model, colour):
    with pytest.raises(UsageError, match="no codes"):
        decompress(compress(gradient_model, colour, step=0), gradient_model, lossy=True)


def test_an_embedded_model(model, digits):
    packed = compress(model, digits[600:603], embed_model=True)
    np.testing.assert_array_equal(decompress(packed), digits[600:603])


def test_without_any_model(archive):
    with pytest.raises(UsageError, match="`model`"):
        decompress(archive)


def test_another_model(model, archive):
    with pytest.raises(WrongModelError):
        decompress(archive, model)


def test_names_come_back(gradient_model, colour):
    file = io.BytesIO()
    write_archive(
        gradient_model, make_items(colour, gradient_model.schema, names=tuple(f"b/{i}.png" for i in range(10))), file
    )
    assert open_archive(file).decoding.names == tuple(f"b/{i}.png" for i in range(10))


def test_missing_elements_are_refused(gradient_model, colour):
    hidden = np.zeros((1, 8, 6, 1), bool)
    hidden[0, 2, 2] = True
    with pytest.raises(DataError, match="missing"):
        compress(gradient_model, dataclasses.replace(make_items(colour, gradient_model.schema), hidden=hidden))


def test_models_that_can_not(gradient_model, colour, linear_gaussian):
    import torch

    alone = dataclasses.replace(gradient_model, context=None)
    with pytest.raises(ModelError, match="`lossy`"):
        compress(alone, colour)
    reals = linear_gaussian(torch.tensor([[0.1], [0.1], [0.05]]), torch.full((3,), 0.5), 0.05).fitted()
    with pytest.raises(ModelError, match="`lossy`"):
        compress(reals, np.full((2, 1, 3, 1), 0.5, np.float32))


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"block_items": 0}, "`block_items`"),
        ({"block_items": 1 << 25}, "`block_items`"),
        ({"step": -1}, "`step`"),
        ({"step": float("nan")}, "`step`"),
        ({"lossy": True, "step": 0}, "exclude"),
        ({"workers": 0}, "`workers`"),
    ],
)
def test_bad_options(gradient_model, colour, options, match):
    with pytest.raises(UsageError, match=match):
        compress(gradient_model, colour, **options)


def test_limits(gradient_model, archive):
    with pytest.raises(ArchiveLimitError, match="items"):
        decompress(archive, gradient_model, limits=Limits(items=9))
    with pytest.raises(ArchiveLimitError, match="block elements"):
        decompress(archive, gradient_model, limits=Limits(block_elements=4 * 144 - 1))
    with pytest.raises(ArchiveLimitError, match="bytes"):
        decompress(archive, gradient_model, limits=Limits(bytes=10 * 144 - 1))
    decompress(archive, gradient_model, limits=Limits(bytes=10 * 144 - 1), items=slice(0, 9))


def test_names_that_inflate_without_end(gradient_model, colour):
    file = io.BytesIO()
    names = tuple("0" * 100_000 for _ in range(10))
    write_archive(gradient_model, make_items(colour, gradient_model.schema, names=names), file)
    assert len(file.getvalue()) < 20_000
    with pytest.raises(ArchiveLimitError, match="names"):
        open_archive(file)


def test_a_block_that_does_not_come_back_is_found_out(gradient_model, colour, monkeypatch):
    monkeypatch.setattr(
        "fivefold.images.coding.ImageCodec.decode_elements", lambda *_: np.zeros((10, 8, 6, 3), np.int64)
    )
    with pytest.raises(RuntimeError, match="defect"):
        compress(gradient_model, colour)
    compress(gradient_model, colour, verify=False)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
@given(st.data())
def test_damage_ends_in_an_error_of_its_own_or_in_the_right_items(gradient_model, colour, archive, data):
    damaged = bytearray(archive)
    for _ in range(data.draw(st.integers(1, 3))):
        kind = data.draw(st.sampled_from(["flip", "cut", "splice"]))
        place = data.draw(st.integers(0, max(0, len(damaged) - 1)))
        if kind == "flip" and damaged:
            damaged[place] ^= data.draw(st.integers(1, 255))
        elif kind == "cut":
            del damaged[place:]
        else:
            start = data.draw(st.integers(0, len(archive) - 1))
            damaged[place:place] = archive[start : start + data.draw(st.integers(1, 100))]
    try:
        found = decompress(bytes(damaged), gradient_model)
    except ArchiveError:
        return
    np.testing.assert_array_equal(found, colour)


def test_a_block_damaged_behind_its_checksum(gradient_model, colour, archive, monkeypatch):
    """What an archive of a malicious writer may hold: sound checksums of nonsense."""
    monkeypatch.setattr("fivefold.archive.container.crc32c", lambda _: 0)
    packed = bytearray(compress(gradient_model, colour, step=1, block_items=4))
    rng = np.random.default_rng(0)
    for _ in range(50):
        place = rng.integers(300, len(packed) - 100)
        damaged = packed.copy()
        damaged[place] ^= 1 << rng.integers(0, 8)
        try:
            found = decompress(bytes(damaged), gradient_model)
        except ArchiveError:
            continue
        assert found.shape == colour.shape


HEADERS = [
    {"dtype": None},
    {"dtype": ">u2"},
    {"dtype": "(,,)f4"},
    {"dtype": "object"},
    {"steps": [1e400]},
    {"steps": [10**400]},
    {"steps": [[1.0]]},
    {"schema": {}},
    {"lossy": 0},
    {"model": 3},
    {"items": 11},
]


@pytest.mark.parametrize("facts", HEADERS, ids=str)
def test_headers_that_no_writer_writes(archive, facts):
    with pytest.raises(DamagedArchiveError):
        open_archive(io.BytesIO(rewritten(archive, facts)))


@pytest.mark.parametrize("names", [b"{}", b"[" * 5000, b"[1]", json.dumps([""] * 9).encode()])
def test_names_that_no_writer_writes(archive, names):
    with pytest.raises(DamagedArchiveError):
        open_archive(io.BytesIO(rewritten(archive, attachments={"names": zlib.compress(names)})))


def test_no_items(archive):
    with pytest.raises(DamagedArchiveError):
        open_archive(io.BytesIO(rewritten(archive, {"items": 0}, blocks=slice(0))))


def test_more_levels_than_can_be_coded_are_kept_raw():
    from fivefold.training.fit import fit

    values = np.arange(6 * 64, dtype=np.int32).reshape(6, 8, 8) * 1_000
    settings = {"latent_dim": 2, "hidden": 4, "first_channels": 2, "field": 3, "context_width": 4, "positions": 4}
    model = fit(values, **settings, epochs=1, accelerator="cpu", validation=0)
    packed = compress(model, values)
    reader = ArchiveReader(io.BytesIO(packed))
    assert [reader.method(block) for block in reader.blocks] == [0]
    np.testing.assert_array_equal(decompress(packed, model)[..., 0], values)


def test_items_too_large_for_a_block(gradient_model, colour, monkeypatch):
    monkeypatch.setattr("fivefold.images.coding.Limits", lambda: Limits(block_elements=143))
    with pytest.raises(DataError, match="too large"):
        compress(gradient_model, colour)


def test_a_foreign_header(gradient_model, archive):
    with pytest.raises(DamagedArchiveError):
        decompress(archive.replace(b'"items":10', b'"items":11'), gradient_model)
