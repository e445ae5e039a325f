"""Sound: samples of any width, there and back."""

from __future__ import annotations

import wave

import numpy as np
import pytest

from fivefold.errors import DataError
from fivefold.series.readers import Sound, read_wave, write_wave


@pytest.mark.situation("WAV of 8, 16, 24 or 32 bit", "result right")
@pytest.mark.parametrize(
    ("width", "dtype", "low", "high"),
    [
        (1, "u1", 0, 255),
        (2, "<i2", -(2**15), 2**15 - 1),
        (3, "<i4", -(2**23), 2**23 - 1),
        (4, "<i4", -(2**31), 2**31 - 1),
    ],
)
def test_samples_come_back(tmp_path, width, dtype, low, high):
    samples = np.random.default_rng(0).integers(low, high, (50, 2), endpoint=True).astype(dtype)
    samples[0] = low, high
    write_wave(tmp_path / "a.wav", Sound(samples, 16000, width))
    found = read_wave(tmp_path / "a.wav")
    assert (found.rate, found.width) == (16000, width)
    np.testing.assert_array_equal(found.samples, samples)
    with wave.open(str(tmp_path / "a.wav")) as file:
        assert (file.getnchannels(), file.getnframes()) == (2, 50)


@pytest.mark.situation("a .wav file of other content", "refused in one line")
def test_what_is_no_sound(tmp_path):
    (tmp_path / "a.wav").write_bytes(b"RIFF no")
    with pytest.raises(DataError, match=r"a\.wav: can't be read as PCM sound"):
        read_wave(tmp_path / "a.wav")
