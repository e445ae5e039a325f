"""Sound: samples of any width, and what else is in their files, there and back."""

from __future__ import annotations

import dataclasses
import struct
import wave

import numpy as np
import pytest

from fivefold.errors import DataError, FivefoldWarning, UsageError
from fivefold.modality import schema_from_json
from fivefold.series.dataset import place, read_series
from fivefold.series.sound import Sound, SoundFormat, as_samples, read_wave, write_wave

INFO = b"LIST" + struct.pack("<I", 26) + b"INFO" + b"INAM" + struct.pack("<I", 14) + b"Night, harbor\0"
CUE = b"bext" + struct.pack("<I", 5) + b"notes" + b"\0"
KINDS = [("u1", 1), ("<i2", 2), ("<i4", 3), ("<i4", 4), ("<f4", 4), ("<f8", 8)]


def sound_file(dtype: str, width: int, extensible: bool = False) -> bytes:
    """A file of two channels with titles before and notes after the samples."""
    rng, real = np.random.default_rng(0), dtype[1] == "f"
    tone = np.sin(np.arange(400) / 9)[:, None] + 0.1 * rng.normal(size=(400, 2))
    full = 1.2 if real else 2.0 ** (8 * width - 1) / 1.5
    values = (tone * full / 1.5 + (128 if width == 1 else 0)).astype(dtype)
    data = values.view(np.uint8).reshape(800, -1)[:, :width].tobytes()
    code, bits = (3 if real else 1), 8 * width
    form = struct.pack("<HHIIHH", 0xFFFE if extensible else code, 2, 44100, 44100 * 2 * width, 2 * width, bits)
    if extensible:
        form += struct.pack("<HHIH14s", 22, bits, 3, code, b"\0\0\0\0\x10\0\x80\0\0\xaa\0\x38\x9b\x71")
    chunks = b"fmt " + struct.pack("<I", len(form)) + form + INFO + b"data" + struct.pack("<I", len(data)) + data + CUE
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WAVE" + chunks


@pytest.mark.situation("WAV of 8, 16, 24 or 32 bit, or of real numbers", "comes back byte for byte, titles and all")
@pytest.mark.parametrize("extensible", [False, True])
@pytest.mark.parametrize(("dtype", "width"), KINDS)
def test_files_come_back(tmp_path, dtype, width, extensible):
    path, again = tmp_path / "a.wav", tmp_path / "b.wav"
    path.write_bytes(sound_file(dtype, width, extensible))
    sound = read_wave(path)
    assert (sound.format.rate, sound.format.width, sound.samples.shape) == (44100, width, (400, 2))
    write_wave(again, sound)
    assert again.read_bytes() == path.read_bytes()
    write_wave(tmp_path / "c.wav", Sound(sound.samples, SoundFormat(44100, width)))
    np.testing.assert_array_equal(read_wave(tmp_path / "c.wav").samples, sound.samples)
    if dtype[1] != "f":
        with wave.open(str(tmp_path / "c.wav")) as file:
            assert (file.getnchannels(), file.getsampwidth(), file.getnframes()) == (2, width, 400)


@pytest.mark.situation("sound whose noise is removed, or that is continued", "WAV of the same rate, samples and titles")
@pytest.mark.parametrize(("dtype", "width"), KINDS)
def test_results_are_sound(tmp_path, dtype, width):
    (tmp_path / "a.wav").write_bytes(sound_file(dtype, width))
    series = read_series(tmp_path / "a.wav", window=32)
    schema = series.schema
    assert schema_from_json(schema.to_json()) == schema
    dataset = series.to({"": place(tmp_path / "b.wav", False)})
    collector = dataset.collector()
    for block in dataset.blocks("denoise"):
        collector.add(block, 0.75 * block.items.values)
    before, after = read_wave(tmp_path / "a.wav"), read_wave(collector.result())
    assert after.format == before.format
    assert after.samples.dtype == before.samples.dtype
    np.testing.assert_allclose(after.samples, 0.75 * before.samples, atol=0.51 if dtype[1] != "f" else 1e-6)
    place(tmp_path / "new.wav", False).write_new(schema, series.items().values[:2], {}, {})
    new = read_wave(tmp_path / "new.wav")
    assert (new.format.rate, new.format.width, new.samples.dtype) == (44100, width, before.samples.dtype)
    np.testing.assert_array_equal(new.samples[:32], before.samples[:32])


def test_whole_samples_are_clipped():
    assert as_samples(np.array([[-5.0, 300.6]]), 1, real=False).tolist() == [[0, 255]]
    assert as_samples(np.array([[1e9, -1e9]]), 3, real=False).tolist() == [[2**23 - 1, -(2**23)]]


@pytest.mark.situation("sound of another rate or sample format than the fit's", "refused in one line")
def test_sound_must_fit(tmp_path):
    (tmp_path / "a.wav").write_bytes(sound_file("<i2", 2))
    schema = read_series(tmp_path / "a.wav", window=32).schema
    for rate, width in ((8000, 2), (44100, 3)):
        write_wave(tmp_path / "b.wav", Sound(np.zeros((50, 2), np.int32), SoundFormat(rate, width)))
        with pytest.raises(
            DataError, match=rf"must have 44,100 samples of 16 bits .*, got {rate:,} of {8 * width} bits"
        ):
            read_series(tmp_path / "b.wav", schema)
    with pytest.raises(UsageError, match="for series that are no sound"):
        read_series(np.zeros((1, 60, 2)), schema).to({"": place(tmp_path / "c.wav", False)})
    with pytest.raises(UsageError, match="for series that are no sound"):
        place(tmp_path / "c.wav", False).write_new(
            dataclasses.replace(schema, sound=None), np.zeros((1, 32, 2, 1)), {}, {}
        )
    with pytest.raises(UsageError, match=r"`std` must be \.npy or a table"):
        place(tmp_path / "c.wav", False, "std")


@pytest.mark.situation("a .wav file of other content", "refused in one line")
@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"RIFF no", "does not start as a WAV file"),
        (sound_file("<i2", 2)[:20], "can't be read as PCM sound"),
        (sound_file("<i2", 2)[:60], "has no samples"),
        (
            sound_file("<i2", 2).replace(struct.pack("<HH", 1, 2), struct.pack("<HH", 6, 2)),
            "of the format 0x6, not plain",
        ),
        (sound_file("<i2", 2).replace(struct.pack("<HH", 1, 2), struct.pack("<HH", 1, 0)), r"0 channel\(s\)"),
    ],
)
def test_what_is_no_sound(tmp_path, content, reason):
    (tmp_path / "a.wav").write_bytes(content)
    with pytest.raises(DataError, match=reason):
        read_wave(tmp_path / "a.wav")


@pytest.mark.situation("a WAV file that is cut off", "read as far as it goes, and said")
def test_sound_that_is_cut_off(tmp_path):
    (tmp_path / "a.wav").write_bytes(sound_file("<i2", 2)[:-301])
    with pytest.warns(FivefoldWarning, match="is cut off: 1,391 of 1,692 bytes, 328 samples"):
        sound = read_wave(tmp_path / "a.wav")
    assert sound.samples.shape == (400 - 72, 2)  # with 14 bytes of notes after them
