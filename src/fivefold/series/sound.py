"""Sound as samples: WAV files of whole numbers (PCM)."""

from __future__ import annotations

import wave
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fivefold.atomic import atomic_file
from fivefold.errors import DataError

_TYPES = {1: "u1", 2: "<i2", 3: "<i4", 4: "<i4"}  # by bytes of a sample


@dataclass(frozen=True)
class Sound:
    """Samples `(t, channels)`, uint8, int16 or int32; 24 bits as int32.

    Attributes
    ----------
    rate : samples per second
    width : bytes of a sample in a file
    """

    samples: np.ndarray
    rate: int
    width: int


def read_wave(path: Path) -> Sound:
    """Raises `DataError`."""
    try:
        with wave.open(str(path)) as file:
            width, channels, rate = file.getsampwidth(), file.getnchannels(), file.getframerate()
            content = file.readframes(file.getnframes())
    except (wave.Error, EOFError, OSError) as error:
        raise DataError(f"{path}: can't be read as PCM sound ({error})") from None
    if width == 3:
        wide = np.zeros((len(content) // 3, 4), np.uint8)
        wide[:, 1:] = np.frombuffer(content, np.uint8).reshape(-1, 3)
        samples = wide.view("<i4")[:, 0] >> 8
    else:
        samples = np.frombuffer(content, _TYPES[width])
    return Sound(samples.reshape(-1, channels), rate, width)


def write_wave(path: Path, sound: Sound) -> None:
    """All or nothing."""
    samples = np.ascontiguousarray(sound.samples, _TYPES[sound.width])
    content = samples.view(np.uint8).reshape(-1, samples.itemsize)[:, : sound.width].tobytes()
    with atomic_file(path) as temporary, wave.open(str(temporary), "wb") as file:
        file.setnchannels(samples.shape[1])
        file.setsampwidth(sound.width)
        file.setframerate(sound.rate)
        file.writeframes(content)
