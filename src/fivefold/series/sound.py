"""Sound in WAV files: samples of whole or real numbers, and everything else that is in such a file."""

from __future__ import annotations

import struct
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from fivefold.atomic import atomic_file
from fivefold.errors import DataError, FivefoldWarning, UsageError
from fivefold.inputs import open_input

_WHOLE = {1: "u1", 2: "<i2", 3: "<i4", 4: "<i4"}  # by bytes of a sample
_REAL = {4: "<f4", 8: "<f8"}
_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE
_MOST = (1 << 32) - 1  # bytes of a file
_STREAMED = (1 << 31) - 1  # or more stands there where the length was not known when writing began


@dataclass(frozen=True)
class SoundFormat:
    """What a WAV file is besides its samples.

    Attributes
    ----------
    rate : samples per second
    width : bytes of a sample in a file
    head, tail : chunks before and after the samples, such as titles, as they stand there; new ones if the head is empty
    """

    rate: int
    width: int
    head: bytes = field(default=b"", repr=False)
    tail: bytes = field(default=b"", repr=False)


@dataclass(frozen=True)
class Sound:
    """Samples `(t, channels)`, uint8, int16, int32 (also of 24 bits), float32 or float64, of a file of that format."""

    samples: np.ndarray
    format: SoundFormat


def read_wave(path: Path) -> Sound:
    """Sound as far as the file goes, with a `FivefoldWarning` if that is not to its end; raises `DataError`."""
    try:
        with open_input(path) as file:
            content = file.read()
        sound = _parsed(content)
    except (struct.error, OSError, ValueError) as error:
        raise DataError(f"{path}: can't be read as PCM sound ({error})") from None
    promised = int.from_bytes(content[4:8], "little") + 8
    if len(content) < promised < _STREAMED:
        text = f"{path}: is cut off: {len(content):,} of {promised:,} bytes, {len(sound.samples):,} samples"
        warnings.warn(text, FivefoldWarning, stacklevel=2)
    return sound


def _parsed(content: bytes) -> Sound:
    """Raises `ValueError` for what is no WAV file, `struct.error` for a damaged one."""
    if content[:4] != b"RIFF" or content[8:12] != b"WAVE":
        raise ValueError("it does not start as a WAV file")
    head, form, data, tail = b"", b"", None, b""
    for name, chunk, whole in _chunks(content):
        form = chunk if name == b"fmt " else form
        if name == b"data" and data is None:
            data = chunk
        elif data is None:
            head += whole
        else:
            tail += whole
    if not form or data is None:
        raise ValueError("it has no samples")
    code, channels, rate, _, frame, _ = struct.unpack_from("<HHIIHH", form)
    if code == _EXTENSIBLE:
        (code,) = struct.unpack_from("<H", form, 24)
    width, rest = divmod(frame, channels or 1)
    kinds = {_PCM: _WHOLE, _FLOAT: _REAL}.get(code)
    if kinds is None:
        raise ValueError(f"its samples are of the format {code:#x}, not plain numbers; save it as PCM")
    if rest or not channels or not rate or width not in kinds:
        raise ValueError(f"{channels} channel(s) of {8 * width} bits, {rate} a second")
    data = data[: len(data) // frame * frame]  # the last may be cut
    samples = _widened(data) if width == 3 else np.frombuffer(data, kinds[width])
    return Sound(samples.reshape(-1, channels), SoundFormat(rate, width, head, tail))


def _chunks(content: bytes) -> Iterator[tuple[bytes, bytes, bytes]]:
    """Name, content, and all bytes of each chunk; the last may be cut."""
    at = 12
    while at + 8 <= len(content):
        size = int.from_bytes(content[at + 4 : at + 8], "little")
        end = min(at + 8 + size, len(content))
        yield content[at : at + 4], content[at + 8 : end], content[at : end + size % 2]
        at = end + size % 2


def _widened(data: bytes) -> np.ndarray:
    """Samples of three bytes as int32."""
    wide = np.zeros((len(data) // 3, 4), np.uint8)
    wide[:, 1:] = np.frombuffer(data, np.uint8).reshape(-1, 3)
    samples: np.ndarray = wide.view("<i4")[:, 0] >> 8
    return samples


def as_samples(values: np.ndarray, width: int, real: bool) -> np.ndarray:
    """Numbers `(t, channels)` as samples of so many bytes; whole ones are rounded, and clipped to what there is."""
    if real:
        return values.astype(_REAL[width])
    low, high = (0, 255) if width == 1 else (-(1 << 8 * width - 1), (1 << 8 * width - 1) - 1)
    samples: np.ndarray = np.clip(np.rint(values), low, high).astype(_WHOLE[width])
    return samples


def write_wave(path: Path, sound: Sound) -> None:
    """All or nothing; raises `UsageError` if there are more samples than a WAV file holds."""
    form, samples = sound.format, sound.samples
    real = samples.dtype.kind == "f"
    kind = (_REAL if real else _WHOLE)[form.width]
    content = np.ascontiguousarray(samples, kind).view(np.uint8).reshape(-1, np.dtype(kind).itemsize)[:, : form.width]
    data = content.tobytes()
    channels, frame = samples.shape[1], samples.shape[1] * form.width
    code, rate = _FLOAT if real else _PCM, form.rate
    fmt = struct.pack("<4sIHHIIHH", b"fmt ", 16, code, channels, rate, rate * frame, frame, 8 * form.width)
    head, padding = form.head or fmt, b"\0" * (len(data) % 2)
    size = 4 + len(head) + 8 + len(data) + len(padding) + len(form.tail)
    if size > _MOST:
        raise UsageError(f"`output` must be .npy for more than 4 GB of sound, got {path}")
    with atomic_file(path) as temporary, temporary.open("wb") as file:
        file.write(struct.pack("<4sI4s", b"RIFF", size, b"WAVE") + head)
        file.write(struct.pack("<4sI", b"data", len(data)) + data + padding + form.tail)
