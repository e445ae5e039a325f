"""Arrays of series, and files of them: NumPy's, and sound."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from fivefold.arrays import read_npy, read_npz
from fivefold.errors import DataError
from fivefold.series.sound import SoundFormat, read_wave


@dataclass(frozen=True)
class Flat:
    """Arrays of series, one after the other: `(total, channels)`, as they came, in the machine's byte order.

    Attributes
    ----------
    shape : of the array that they are from, or None
    sound : the format of the sound that they are from, or None
    """

    flat: np.ndarray
    lengths: np.ndarray
    source: str
    labels: np.ndarray | None = None
    shape: tuple[int, ...] | None = None
    sound: SoundFormat | None = None


def flattened(source: Any) -> Flat:
    """Arrays, or files of arrays; see `read_series`. Raises `DataError`."""
    name, labels, sound = "series", None, None
    if isinstance(source, str | Path):
        name = str(source)
        source, labels, sound = _read_file(Path(source))
    if hasattr(source, "__array__"):
        source = np.asarray(source)
        shape = source.shape
        source = source[None] if source.ndim == 1 else source
        if source.ndim not in (2, 3) or source.dtype.kind not in "buif":
            raise DataError(
                f"{name}: must be numbers of shape (series, steps) or (series, steps, channels), got {source.dtype} {shape}"
            )
        if labels is not None and len(labels) != len(source):
            raise DataError(f"{name}: there must be a label per series, got {len(labels)} for {len(source)}")
        flat = source.reshape(-1, source.shape[2] if source.ndim == 3 else 1)
        found = Flat(flat, np.full(len(source), source.shape[1]), name, labels, shape, sound)
    else:
        found = Flat(*_concatenated(source, name), name)
    if len(found.flat) == 0 or found.flat.shape[1] == 0:
        raise DataError(f"{name}: there is nothing in it (shape {found.shape or found.flat.shape})")
    return replace(found, flat=found.flat.astype(found.flat.dtype.newbyteorder("="), copy=False))


def _concatenated(source: Sequence[Any], name: str) -> tuple[np.ndarray, np.ndarray]:
    """A list of series as one array `(total, c)`, and their lengths."""
    if len(source) == 0:
        raise DataError(f"{name}: must be some, got none")
    parts = [np.asarray(part) for part in source]
    parts = [part[:, None] if part.ndim == 1 else part for part in parts]
    for number, part in enumerate(parts):
        if part.ndim != 2 or part.dtype.kind not in "buif" or part.shape[1] != parts[0].shape[1] or len(part) == 0:
            raise DataError(
                f"{name}: each must be numbers (steps, channels) with as many channels as the first, "
                f"got {part.dtype} {part.shape} for number {number}"
            )
    return np.concatenate(parts), np.array([len(part) for part in parts])


def _read_file(path: Path) -> tuple[np.ndarray, np.ndarray | None, SoundFormat | None]:
    """Values, labels, and of sound its format."""
    if not path.is_file():
        raise DataError(f"{path}: {'is a folder' if path.is_dir() else 'no such file'}")
    ending = path.suffix.lower()
    if ending == ".npy":
        return read_npy(path), None, None
    if ending == ".npz":
        return *read_npz(path), None
    if ending == ".wav":
        sound = read_wave(path)
        return sound.samples[None], None, sound.format
    raise DataError(f"{path}: must be a table (.csv, .parquet, …), .npy, .npz or .wav for series")
