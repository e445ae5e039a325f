"""Archives of pictures of any size: exact, each picture by itself, in Python and on the command line."""

from __future__ import annotations

import dataclasses
import hashlib
import subprocess
import sys
import zlib

import imagecodecs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import fivefold
from fivefold.archive.layers import DamagedLayerError
from fivefold.archive.read import _decode
from fivefold.cli import main
from fivefold.errors import ArchiveError, DataError, ModelError, UsageError
from fivefold.pictures import networks
from fivefold.pictures.coder import OUTPUTS, PixelCoder, count_features, count_taps
from fivefold.pictures.coding import PictureCodec
from fivefold.storage import as_stored, fingerprint

SMALL = {"kind": "pictures", "epochs": 1, "latent_dim": 4, "context_width": 8, "batch_size": 8}


def _coder(channels: int, seed: int = 0, hidden: int = 8) -> PixelCoder:
    """With weights that no fit made, the same on every machine."""
    rng = np.random.default_rng(seed)

    def draw(*shape: int) -> np.ndarray:
        return (rng.integers(-99, 100, (channels, *shape)) / 256).astype(np.float32)

    taps, features = count_taps(channels), count_features(channels)
    layers = (draw(features, hidden), draw(hidden), draw(hidden, hidden), draw(hidden), draw(hidden, OUTPUTS))
    return PixelCoder(np.abs(draw(2)) * 100, draw(taps), *layers, draw(OUTPUTS))


def _picture(height: int, width: int, channels: int, levels: int, seed: int = 0) -> np.ndarray:
    """Slopes up and down, with a little noise, int64."""
    rows, columns, shift = np.mgrid[:height, :width, :channels]
    slopes = np.abs((rows * 3 + columns * 2 + shift * 7) % 90 - 45) * levels // 50
    return (slopes + np.random.default_rng(seed).integers(-2, 3, slopes.shape)).clip(0, levels - 1)


@pytest.fixture(scope="module")
def pictures() -> list[np.ndarray]:
    sizes = ((40, 50), (48, 36), (33, 64))
    return [_picture(*size, 1, 256, number)[..., 0].astype(np.uint8) for number, size in enumerate(sizes)]


@pytest.fixture(scope="module")
def colours() -> list[np.ndarray]:
    """16 bits of 12."""
    return [_picture(*size, 3, 4096).astype(np.uint16) for size in ((24, 30), (40, 17))]


@pytest.fixture(scope="module")
def models(pictures, colours):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(networks, "STEPS", 2)
        patch.setattr(networks, "CODER_STEPS", 40)
        return [fivefold.fit(data, verdicts=False, **SMALL) for data in (pictures, colours)]


@settings(max_examples=25, deadline=None)
@given(
    st.tuples(st.integers(1, 20), st.integers(1, 20), st.sampled_from([1, 2, 3, 4])),
    st.sampled_from([2, 3, 256, 65536]),
    st.integers(0, 2**32 - 1),
)
def test_any_levels_come_back(shape, levels, seed):
    rng = np.random.default_rng(seed)
    picture = rng.integers(0, levels, shape) if seed % 2 else _picture(*shape, levels, seed)
    coder = _coder(shape[2], seed % 3)
    assert np.array_equal(coder.decode(coder.encode(picture, levels), shape, levels), picture)


def test_bytes_stay_the_same():
    layers = [_coder(c).encode(_picture(30, 40, c, levels), levels) for c, levels in ((1, 256), (3, 256), (1, 65536))]
    assert (
        hashlib.sha256(b"".join(layers)).hexdigest()
        == "90f5ffe53baba21ac0eb5e4232985c2c6ebee8ab1a62eb33bd30bba50acde3ba"
    )


def test_pictures_come_back_in_their_form(models, pictures, colours):
    for model, data in zip(models, (pictures, colours), strict=True):
        back = fivefold.decompress(fivefold.compress(model, data), model)
        assert [(one.dtype, one.shape) for one in back] == [(one.dtype, one.shape) for one in data]
        assert all(np.array_equal(*pair) for pair in zip(back, data, strict=True))
    one = pictures[0]
    for same in (one, np.stack((one, one)), np.stack((one, one))[..., None]):
        back = fivefold.decompress(fivefold.compress(models[0], same), models[0])
        assert back.shape == same.shape
        assert np.array_equal(back, same)


def test_a_few_are_read_without_the_others(models, pictures):
    archive = fivefold.compress(models[0], pictures)
    (back,) = fivefold.decompress(archive, models[0], items=slice(1, 2))
    assert np.array_equal(back, pictures[1])
    assert fivefold.decompress(archive, models[0], items=slice(0, 0)) == []


def test_archives_are_read_without_torch(models, pictures, tmp_path):
    (tmp_path / "x.fivefold").write_bytes(fivefold.compress(models[0], pictures[2], embed_model=True))
    script = (
        "import sys; from pathlib import Path; from fivefold.archive.read import decompress; import numpy as np; "
        "np.save('back.npy', decompress(Path('x.fivefold').read_bytes())); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True, cwd=tmp_path)
    assert np.array_equal(np.load(tmp_path / "back.npy"), pictures[2])


@pytest.mark.parametrize("dtype", [np.uint8, np.int16])
def test_what_the_model_does_not_know_is_deflated(models, dtype):
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:64, :64]
    for drawn in (rng.integers(0, 2, (64, 64)) * 90, (rows * columns) % 7 * 11, (rows // 2 + columns // 3) - 30):
        picture = drawn.astype(dtype)
        archive = fivefold.compress(models[0], picture)
        assert len(archive) < len(zlib.compress(picture.tobytes(), 9)) + 450
        assert np.array_equal(fivefold.decompress(archive, models[0]), picture)


def test_archives_are_shorter_than_pngs(models, pictures):
    archive = fivefold.compress(models[0], pictures, verify=False)
    assert len(archive) < sum(len(imagecodecs.png_encode(picture, level=9)) for picture in pictures)


def test_other_types_and_ranges_than_those_of_the_fit(models):
    for picture in (
        _picture(20, 20, 1, 65536)[..., 0].astype(np.uint16),
        (_picture(20, 20, 1, 256)[..., 0] - 128).astype(np.int8),
        np.zeros((16, 16), np.uint8),
    ):
        back = fivefold.decompress(fivefold.compress(models[0], picture), models[0])
        assert back.dtype == picture.dtype
        assert np.array_equal(back, picture)


def test_what_an_archive_can_not_hold_is_refused_in_one_line(models, pictures, monkeypatch):
    with pytest.raises(DataError, match="picture 0: must be of whole numbers up to 16 bits, got float64"):
        fivefold.compress(models[0], pictures[0] + 0.5)
    with pytest.raises(DataError, match="picture 0: has missing pixels"):
        fivefold.compress(models[0], np.where(pictures[0] == 100, np.nan, pictures[0]))
    with pytest.raises(UsageError, match="`block_items` must be 1 of pictures"):
        fivefold.compress(models[0], pictures, block_items=2)
    with pytest.raises(UsageError, match="`lossy` goes with images, not with pictures"):
        fivefold.compress(models[0], pictures, lossy=True)
    without = dataclasses.replace(models[0], calibrations={})
    with pytest.raises(
        ModelError, match="the model has no coder of pictures: fit another, to pictures of whole numbers"
    ):
        fivefold.compress(without, pictures)


@pytest.mark.parametrize(("alpha", "said"), [(128, "half transparent"), (0, "has missing pixels")])
def test_transparent_pixels_are_refused(models, pictures, tmp_path, alpha, said):
    picture = np.stack((pictures[0], np.full_like(pictures[0], 255)), axis=2)
    picture[3, 4, 1] = alpha
    Image.fromarray(picture).save(tmp_path / "a.png")
    with pytest.raises(DataError, match=said):
        fivefold.compress(models[0], tmp_path)


def test_fits_to_real_numbers_have_no_coder(pictures, monkeypatch):
    monkeypatch.setattr(networks, "STEPS", 2)
    model = fivefold.fit([picture / 256 for picture in pictures], verdicts=False, **SMALL)
    assert "coder" not in model.calibrations


def test_the_coder_is_part_of_what_a_model_is(models, pictures, tmp_path):
    model = models[0]
    fivefold.save(model, tmp_path / "model")
    archive = fivefold.compress(model, pictures)
    stored = fivefold.load(tmp_path / "model", device="cpu")
    assert fivefold.compress(stored, pictures) == archive
    coder = dataclasses.replace(model.calibrations["coder"], start=model.calibrations["coder"].start + 1)
    other = dataclasses.replace(model, calibrations={"coder": coder})
    assert fingerprint(other) != fingerprint(model)
    with pytest.raises(ArchiveError, match="written with another model"):
        fivefold.decompress(archive, other)


@pytest.mark.parametrize("share", [0.3, 0.5, 0.7, 0.9])
def test_damage_is_found_and_said_in_one_line(models, pictures, share):
    archive = bytearray(fivefold.compress(models[0], pictures))
    archive[int(share * len(archive))] ^= 0x40
    with pytest.raises(ArchiveError) as error:
        fivefold.decompress(bytes(archive), models[0])
    assert "\n" not in str(error.value)
    with pytest.raises(ArchiveError):
        fivefold.decompress(bytes(archive[: int(share * len(archive))]), models[0])


@pytest.mark.parametrize(
    ("head", "said"),
    [
        (b"", "it does not say what it holds"),
        (b"\x10\0\0\0\x10\0\0\0\0\0\0\0\0\1\0\0float32", "it does not say what it holds"),
        (b"\xff\xff\xff\xff\x10\0\0\0\0\0\0\0\0\1\0\0uint8", "its picture is of 4294967295×16 pixels"),
        (b"\x10\0\0\0\x10\0\0\0\0\0\0\0\1\1\0\0uint8", "its levels from 0 to 256 are no uint8"),
        (b"\x10\0\0\0\x10\0\0\0\0\0\0\0\0\1\0\0uint8", "its parts do not fit into it"),
    ],
)
def test_layers_of_no_writer_are_refused(models, pictures, head, said):
    codec = PictureCodec.of(as_stored(models[0]), 1 << 20)
    layer = codec.coder.encode(_picture(17, 16, 1, 256), 256)[:61]
    assert said in codec.decode(1, 1, [head, layer], False)


@pytest.mark.parametrize(
    "content", [b"", b"\2" + zlib.compress(bytes(256)), b"\0" + zlib.compress(bytes(257)), b"\0nonsense"]
)
def test_deflated_layers_of_no_writer_are_refused(models, content):
    head = b"\x10\0\0\0\x10\0\0\0\0\0\0\0\0\1\0\0uint8"
    assert isinstance(_decode(PictureCodec.of(as_stored(models[0]), 1 << 20), None, 1, 0, [head, content], False), str)


def test_a_coder_of_other_shapes_is_refused(models):
    coder = _coder(1)
    with pytest.raises(ValueError, match="its second is"):
        dataclasses.replace(coder, second=coder.second[:, :3])
    with pytest.raises(ModelError, match="it is of 1 channels, not 3"):
        PictureCodec.of(dataclasses.replace(as_stored(models[1]), calibrations={"coder": vars(coder)}), 1 << 20)
    with pytest.raises(DamagedLayerError, match="more than one head"):
        coder.decode(b"\2\0\0\0\0\0" + b"\0\0\0\0\1\0\0\0" * 2, (2, 2, 1), 256)


def test_folders_of_mixed_sizes_from_the_command_line(models, colours, pictures, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    fivefold.save(models[0], "model")
    (tmp_path / "in" / "deep").mkdir(parents=True)
    names = ["a.png", "b.png", "deep/c.png"]
    for name, picture in zip(names, pictures, strict=True):
        Image.fromarray(picture).save(tmp_path / "in" / name)
    for command in (
        ["compress", "model", "in", "-o", "x.fivefold", "--embed-model", "--workers", "1"],
        ["decompress", "x.fivefold", "-o", "out", "--workers", "1"],
        ["decompress", "x.fivefold", "-o", "few", "--items", "1:3", "--workers", "1"],
        ["decompress", "x.fivefold", "-o", "one.png", "--items", "2:3", "--workers", "1"],
        ["info", "x.fivefold"],
    ):
        assert _run(command, monkeypatch) == 0
    for folder, first in (("out", 0), ("few", 1)):
        for name, picture in zip(names[first:], pictures[first:], strict=True):
            assert np.array_equal(np.asarray(Image.open(tmp_path / folder / name)), picture)
    assert not (tmp_path / "few" / "a.png").exists()
    assert np.array_equal(np.asarray(Image.open("one.png")), pictures[2])
    assert _run(["decompress", "x.fivefold", "-o", "all.npy", "--workers", "1"], monkeypatch) == 2
    assert not (tmp_path / "all.npy").exists()


def _run(command: list[str], monkeypatch) -> int:
    monkeypatch.setattr("sys.argv", ["fivefold", *command])
    with pytest.raises(SystemExit) as end:
        main()
    return end.value.code
