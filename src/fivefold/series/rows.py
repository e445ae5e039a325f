"""Series as rows of tables, part by part, as archives hold them; and arrays of series to files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from fivefold.atomic import atomic_file, check_free
from fivefold.errors import DataError, UsageError
from fivefold.series.dataset import flattened, is_tabular
from fivefold.series.schema import SeriesSchema
from fivefold.series.sound import Sound, write_wave
from fivefold.tables.coding import ExactTables
from fivefold.tables.table import TableKind

_NUMBER = "series"  # column that says of which series a row of an array is


@dataclass(frozen=True)
class SeriesRows:
    """Series as rows of tables.

    Attributes
    ----------
    tables : the rows
    ids : column that says of which series a row is, or None
    form : what the rows are to become again, in plain JSON values; empty for tables. `shape` of an array, or None for a list
        of arrays; `sound`: its rate and width
    """

    tables: ExactTables
    ids: str | None
    form: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, source: Any, schema: SeriesSchema, rows: int) -> SeriesRows:
        """See `read_series` for sources; `rows` of a part.

        Raises `DataError` if they can't be read, or have other channels.
        """
        channels = schema.channels
        if is_tabular(source):
            tables = ExactTables.of(source, channels, rows)
            return cls(tables, schema.ids if schema.ids in tables.names else None)
        series = flattened(source)
        if series.flat.shape[1] != channels.size:
            raise DataError(
                f"{series.source}: must have {channels.size} channel(s) as the model was fitted, got {series.flat.shape[1]}"
            )
        name = _free(_NUMBER, channels.names)
        parts = _numbered(series.flat, series.lengths, name, schema, rows)
        tables = ExactTables(parts, len(series.flat), series.flat.nbytes, (name, *channels.names))
        return cls(tables, name, {"shape": series.shape, "sound": series.sound})


def _numbered(
    flat: np.ndarray, lengths: np.ndarray, name: str, schema: SeriesSchema, rows: int
) -> Iterator[tuple[TableKind, pa.Table]]:
    ends = np.cumsum(lengths)
    for first in range(0, len(flat), rows):
        part = flat[first : first + rows]
        number = np.searchsorted(ends, np.arange(first, first + len(part)), side="right").astype(np.uint32)
        columns = dict(zip(schema.channels.names, map(pa.array, np.ascontiguousarray(part.T)), strict=True))
        yield "numpy", pa.table({name: pa.array(number), **columns})


def _free(name: str, taken: Iterable[str]) -> str:
    while name in taken:
        name += "_"
    return name


@dataclass(frozen=True)
class SeriesOutput:
    """A place for series that came as arrays or sound, checked before any work is done.

    Attributes
    ----------
    sound : rate and bytes of a sample, or None
    """

    path: Path
    sound: Sequence[int] | None

    @classmethod
    def at(cls, path: Path, sound: Sequence[int] | None, force: bool = False) -> SeriesOutput:
        """Raises `UsageError` if `path` exists (without `force`) or can't be written by its ending."""
        endings = (".npy", ".wav") if sound else (".npy",)
        if path.suffix.lower() not in endings:
            raise UsageError(
                f"`output` must be {' or '.join(endings)} or a table (.csv, .parquet, …) for series, got {path}"
            )
        check_free(path, force)
        return cls(path, sound)

    def write(self, values: Any) -> None:
        """An array; raises `UsageError` for a list of arrays of unequal length."""
        if isinstance(values, list):
            raise UsageError(f"`output` must be a table for series of unequal length, got {self.path}")
        if self.path.suffix.lower() == ".wav":
            assert self.sound is not None
            write_wave(self.path, Sound(values.reshape(-1, values.shape[-1]), *self.sound))
            return
        with atomic_file(self.path) as temporary, temporary.open("wb") as file:
            np.save(file, values)
