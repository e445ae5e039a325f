"""What jobs give for series: stitched from windows, as tables that say which step each is, as events, and as files."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fivefold.arrays import write_npy
from fivefold.atomic import atomic_file, check_free
from fivefold.errors import UsageError
from fivefold.items import Block, Collector
from fivefold.series.grid import Grid
from fivefold.series.schema import SeriesSchema
from fivefold.series.sound import Sound, SoundFormat, as_samples, write_wave
from fivefold.series.windows import Windows
from fivefold.tables.files import TableOutput, is_table_path
from fivefold.tables.table import decode_rows

_ROWS = 1 << 18
JOINED = 4  # steps that may lie between flagged ones of one event


@final
class SeriesCollector(Collector):
    """Values `(total, c)` of windows, each step from the window in whose middle it is most; where no window has any, `values`.

    `finish` makes the result of them.
    """

    def __init__(self, windows: Windows, values: np.ndarray, finish: Callable[[np.ndarray], Any]) -> None:
        self._windows, self._values, self._finish = windows, values, finish

    def _put(self, block: Block, values: np.ndarray, where: np.ndarray) -> int:
        answers = self._windows.answers(block.place)
        places, chosen = self._windows.places(block.place)[0][answers], where[..., 0][answers]
        self._values[places] = np.where(chosen, values[..., 0][answers], self._values[places])
        return int(chosen.sum())

    def result(self) -> Any:
        return self._finish(self._values)


class StepScores:
    """Collects one number per step, and the lowest among the `central` steps of each window."""

    def __init__(self, windows: Windows, central: slice) -> None:
        self._windows, self._central = windows, central
        self._scores, self._worst = np.full(windows.lengths.sum(), np.nan), np.full(len(windows), np.nan)

    def add(self, block: Block, scores: np.ndarray) -> None:
        """Of a block's windows, `(b, t)`; NaN where nothing was visible."""
        self._windows.stitch(self._scores, block.place, scores)
        middle = scores[:, self._central]
        self._worst[block.place] = np.where(np.isnan(middle), np.inf, middle).min(axis=1)

    def result(self) -> tuple[np.ndarray, np.ndarray]:
        """`(total,)`, and of the windows `(w,)`."""
        return self._scores, self._worst


@dataclass(frozen=True)
class Events:
    """Runs of strange steps, which are most likely one thing each; all `(e,)`.

    Attributes
    ----------
    series : in which series, by number
    start, end, peak : first and last step, and the strangest, counted from the series' start
    score, p_value : of the strangest step
    change : `level`, `amplitude` or `pattern` where that changes for good, else empty
    channels : the channels that are farthest from what is expected there by what is around, the first first, separated by
        commas
    farthest : at which step the first is farthest
    found, expected : that channel there, float64, of states their code

    Examples
    --------
    >>> events = fivefold.detect(load_model, loads, false_alarm_rate=0.05).events
    >>> bool((events.start <= events.peak).all()), bool((events.peak <= events.end).all())
    (True, True)
    """

    series: np.ndarray
    start: np.ndarray
    end: np.ndarray
    peak: np.ndarray
    score: np.ndarray
    p_value: np.ndarray
    change: np.ndarray
    channels: np.ndarray = field(default_factory=lambda: np.empty(0, object))
    farthest: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))
    found: np.ndarray = field(default_factory=lambda: np.empty(0))
    expected: np.ndarray = field(default_factory=lambda: np.empty(0))

    def __len__(self) -> int:
        return len(self.start)


CAUSES: dict[str, Any] = {"channels": object, "farthest": np.int64, "found": np.float64, "expected": np.float64}
"""Fields of events that say what is strange, with their types."""


def find_events(
    lengths: np.ndarray,
    score: np.ndarray,
    p_value: np.ndarray,
    anomaly: np.ndarray,
    changes: Mapping[int, str] | None = None,
) -> Events:
    """Flagged steps `(total,)` of series of `lengths` `(s,)` as events: those at most 4 steps apart belong together.

    `changes` are the kinds of changes for good, by the steps at which they begin.
    """
    flagged = np.flatnonzero(anomaly)
    firsts = np.concatenate(([0], np.cumsum(lengths)[:-1]))
    series = np.searchsorted(firsts, flagged, side="right") - 1
    new = (np.diff(flagged, prepend=-np.inf) > JOINED + 1) | (np.diff(series, prepend=-1) != 0)
    begins = np.flatnonzero(new)
    run = np.cumsum(new) - 1
    peaks = flagged[np.lexsort((score[flagged], run))[begins]]  # the lowest of each run comes first
    start, end = flagged[begins], flagged[np.append(begins, len(flagged))[1:] - 1]
    owner = series[begins]
    first = firsts[owner]
    change = np.full(len(begins), "", "<U9")
    for step, kind in (changes or {}).items():
        change[np.searchsorted(start, step, side="right") - 1] = kind
    return Events(owner, start - first, end - first, peaks - first, score[peaks], p_value[peaks], change)


@dataclass(frozen=True)
class StepIndex:
    """Which series and which of its steps a row is about, as columns of tables.

    Attributes
    ----------
    lengths : `(s,)` steps of each series
    stamps : `(total,)` when each step is; None without time stamps
    names : `(s,)` what series are called, or None
    time, ids : what the columns are called
    begins : `(s,)`, the number of each series' first step; by default 0
    """

    lengths: np.ndarray
    stamps: pa.Array | pa.ChunkedArray | None
    names: pa.Array | None
    time: str | None
    ids: str | None
    begins: np.ndarray | None = None

    def columns(self, series: np.ndarray, steps: np.ndarray, name: str | None = None) -> dict[str, pa.Array]:
        """Of steps `(n,)` of series `(n,)`: the time stamp, if there are any, else the number; it is called `name`, if given."""
        columns: dict[str, Any] = {}
        if self.names is not None:
            columns[self.ids or "series"] = self.names.take(pa.array(series))
        elif len(self.lengths) > 1:
            columns["series"] = pa.array(series)
        if self.stamps is None:
            columns[name or "step"] = pa.array(steps if self.begins is None else steps + self.begins[series])
        else:
            firsts = np.cumsum(self.lengths) - self.lengths
            columns[name or self.time or "time"] = self.stamps.take(pa.array(firsts[series] + steps))
        return columns

    def tables(self, columns: Mapping[str, np.ndarray]) -> Iterator[pa.Table]:
        """Columns `(total,)` with a row per step, so many at once that tables need little memory beside them."""
        ends, total = np.cumsum(self.lengths), int(self.lengths.sum())
        for first in range(0, total, _ROWS):
            rows = np.arange(first, min(first + _ROWS, total))
            series = np.searchsorted(ends, rows, side="right")
            steps = self.columns(series, rows - (ends - self.lengths)[series])
            yield _joined(steps, {name: column[rows] for name, column in columns.items()})


def stamps_of(table: pa.Table, grid: Grid, time: str | None) -> pa.ChunkedArray | pa.Array | None:
    """When each step is, as a table of the rows says it, or by the steps around where that has no row; None without `time`."""
    return None if time is None else pc.coalesce(table.column(time).take(grid.rows), grid.stamps)


def report(
    index: StepIndex, cut: Windows, scores: Mapping[str, np.ndarray], windows: Mapping[str, np.ndarray], events: Events
) -> dict[str, Iterable[pa.Table]]:
    """Tables of the steps, of the windows, and of what the flagged steps make up."""
    last = np.minimum(cut.starts + cut.steps, cut.lengths[cut.series]) - 1
    spans = {**index.columns(cut.series, cut.starts, "start"), **index.columns(cut.series, last, "end")}
    return {"": index.tables(scores), "windows": [_joined(spans, windows)], "events": [event_table(index, events)]}


def event_table(index: StepIndex, events: Events) -> pa.Table:
    """A row per event."""
    places: dict[str, pa.Array] = {}
    for name in ("start", "end", "peak"):
        places |= index.columns(events.series, getattr(events, name), name)
    strength = {"steps": events.end - events.start + 1, "score": events.score, "p_value": events.p_value}
    strength |= {"change": events.change}
    because = caused(index, events.series, {name: getattr(events, name) for name in CAUSES})
    return pa.table({**places, **strength, **because})


def caused(index: StepIndex, series: np.ndarray, causes: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Causes `(e,)` of what is strange in series `(e,)`, as columns."""
    at = index.columns(series, causes["farthest"], "farthest")["farthest"]
    return {**causes, "channels": pa.array(causes["channels"], pa.string()), "farthest": at}


def _joined(index: Mapping[str, Any], columns: Mapping[str, np.ndarray]) -> pa.Table:
    return pa.table({**index, **{name: pa.array(column, from_pandas=True) for name, column in columns.items()}})


@dataclass(frozen=True)
class SeriesPlace:
    """Where series go, checked before any work is done: a table, an array, or sound.

    Attributes
    ----------
    table : if it is one
    """

    path: Path
    table: TableOutput | None

    @classmethod
    def at(cls, path: Path, force: bool = False, flag: str = "output", sounding: bool = True) -> SeriesPlace:
        """Raises `UsageError`, which names `flag`, if `path` exists (without `force`) or can't be written by its ending; only
        what is `sounding` can be sound."""
        if is_table_path(path):
            return cls(path, TableOutput.at(path, force, flag))
        if path.suffix.lower() not in (".npy", ".wav")[: 1 + sounding]:
            besides = ", or .wav for sound" if sounding else ""
            raise UsageError(f"`{flag}` must be .npy or a table (.csv, .parquet, …) for series{besides}, got {path}")
        check_free(path, force)
        return cls(path, None)

    @property
    def sounds(self) -> bool:
        """Whether it is a file of sound."""
        return self.path.suffix.lower() == ".wav"

    def save(self, values: Any, sound: SoundFormat | None = None, real: bool | None = None) -> None:
        """An array `(n, t, c)`, to a file of one or of `sound`, whose samples are `real` numbers if the values are, by default.

        Raises `UsageError` for a list of arrays of unequal length, and for what is no sound.
        """
        if isinstance(values, list):
            raise UsageError(f"`output` must be a table for series of unequal length, got {self.path}")
        if not self.sounds:
            with atomic_file(self.path) as temporary, temporary.open("wb") as file:
                write_npy(file, [values], values.shape, values.dtype)
            return
        if sound is None:
            raise UsageError(
                f"`output` must be .npy or a table (.csv, .parquet, …) for series that are no sound, got {self.path}"
            )
        real = values.dtype.kind == "f" if real is None else real
        write_wave(self.path, Sound(as_samples(values.reshape(-1, values.shape[-1]), sound.width, real), sound))

    def write_new(
        self, schema: SeriesSchema, values: np.ndarray, labels: Mapping[str, Any], record: Mapping[str, Any]
    ) -> None:
        """New windows `(n, t, c, 1)`; in a table with a row per step, the `labels` `(n,)` of each window, and the step's number,
        or in its place the time stamps `(n * t,)` among the labels, as an Arrow array; of sound one after the other."""
        n, steps, c, _ = values.shape
        if self.table is None:
            self.save(values[..., 0], schema.sound and SoundFormat(*schema.sound), schema.is_real)
            return
        columns = {
            name: label if isinstance(label, pa.Array) else pa.array(np.repeat(label, steps))
            for name, label in labels.items()
        }
        rows = decode_rows(schema.columns, values.reshape(-1, c))
        if not any(isinstance(label, pa.Array) for label in labels.values()):
            columns |= {"step": pa.array(np.tile(np.arange(steps), n))}
        self.table.write([pa.table({**columns, **dict(zip(rows.column_names, rows.columns, strict=True))})])
