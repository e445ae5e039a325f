"""Series that came as arrays or sound to files of such."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fivefold.atomic import atomic_file, check_free
from fivefold.errors import UsageError
from fivefold.series.sound import Sound, write_wave


@dataclass(frozen=True)
class SeriesOutput:
    """A place for series, checked before any work is done; `sound`: its rate and the bytes of a sample, or None."""

    path: Path
    sound: tuple[int, int] | None

    @classmethod
    def at(cls, path: Path, sound: tuple[int, int] | None, force: bool = False) -> SeriesOutput:
        """Raises `UsageError` if `path` exists (without `force`) or can't be written by its ending."""
        endings = (".npy", ".wav") if sound else (".npy",)
        if path.suffix.lower() not in endings:
            raise UsageError(
                f"--output must be {' or '.join(endings)} or a table (.csv, .parquet, …) for series, got {path}"
            )
        check_free(path, force)
        return cls(path, sound)

    def write(self, values: Any) -> None:
        """An array; raises `UsageError` for a list of arrays of unequal length."""
        if isinstance(values, list):
            raise UsageError(f"--output must be a table for series of unequal length, got {self.path}")
        if self.path.suffix.lower() == ".wav":
            assert self.sound is not None
            write_wave(self.path, Sound(values.reshape(-1, values.shape[-1]), *self.sound))
            return
        with atomic_file(self.path) as temporary, temporary.open("wb") as file:
            np.save(file, values)
