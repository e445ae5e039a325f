"""What jobs give for series: stitched from windows, and put into the form in which the series came, or into files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import numpy as np
import pyarrow as pa

from fivefold.atomic import atomic_file, check_free
from fivefold.errors import UsageError
from fivefold.items import Block, Collector
from fivefold.series.events import Events
from fivefold.series.schema import SeriesSchema
from fivefold.tables.files import TableOutput, is_table_path
from fivefold.tables.table import decode_rows

if TYPE_CHECKING:
    from fivefold.series.dataset import SeriesSet

_ROWS = 1 << 18


@final
class SeriesCollector(Collector):
    """Values of windows, each step from the window in whose middle it is most.

    Without `replace`, values are not those of the series: what no window has is NaN.
    """

    def __init__(self, series: SeriesSet, replace: bool, place: SeriesPlace | None) -> None:
        self._series, self._replace, self._place = series, replace, place
        self._values = series.values.copy() if replace else np.full(series.values.shape, np.nan)

    def _put(self, block: Block, values: np.ndarray, where: np.ndarray) -> int:
        windows = self._series.windows
        answers = windows.answers(block.place)
        places, chosen = windows.places(block.place)[0][answers], where[..., 0][answers]
        self._values[places] = np.where(chosen, values[..., 0][answers], self._values[places])
        return int(chosen.sum())

    def result(self) -> Any:
        if self._place is None:
            return self._series.in_own_form(self._values, self._replace)
        self._place.write(self._series, self._values, self._replace)
        return self._place.path


class StepScores:
    """Collects one number per step, and the lowest in the middle of each window."""

    def __init__(self, series: SeriesSet) -> None:
        self._series = series
        self._scores = np.full(len(series.values), np.nan)
        self._worst = np.full(len(series.windows), np.nan)

    def add(self, block: Block, scores: np.ndarray) -> None:
        """Of a block's windows, `(b, t)`; NaN where nothing was visible."""
        self._series.windows.stitch(self._scores, block.place, scores)
        middle = scores[:, self._series.schema.central]
        self._worst[block.place] = np.where(np.isnan(middle), np.inf, middle).min(axis=1)

    def result(self) -> tuple[np.ndarray, np.ndarray]:
        """`(total,)`, and of the windows `(w,)`."""
        return self._scores, self._worst


@dataclass(frozen=True)
class SeriesPlace:
    """Where series go, checked before any work is done: a table, or an array."""

    path: Path
    table: TableOutput | None

    @classmethod
    def at(cls, path: Path, force: bool = False, flag: str = "output") -> SeriesPlace:
        """Raises `UsageError`, which names `flag`, if `path` exists (without `force`) or can't be written by its ending."""
        if is_table_path(path):
            return cls(path, TableOutput.at(path, force, flag))
        if path.suffix.lower() != ".npy":
            raise UsageError(f"`{flag}` must be .npy or a table (.csv, .parquet, …) for series, got {path}")
        check_free(path, force)
        return cls(path, None)

    def write(self, series: SeriesSet, values: np.ndarray, replace: bool) -> None:
        """Values `(total, c)` as the series came; without `replace`, in a table of their own."""
        if self.table is None:
            if series.shape is None:
                raise UsageError(f"`output` must be a table for series from a table, got {self.path}")
            self._save(values.reshape(series.shape))
        elif series.table is not None and replace:
            self.table.write([series.as_table(values)])
        else:
            self.table.write([channel_table(series, values)])

    def write_new(self, schema: SeriesSchema, values: np.ndarray, labels: Mapping[str, np.ndarray]) -> None:
        """New windows `(n, t, c, 1)`; in a table with a row per step, and the `labels` `(n,)` of each window."""
        n, steps, c, _ = values.shape
        if self.table is None:
            self._save(values[..., 0])
            return
        columns = {name: pa.array(np.repeat(label, steps)) for name, label in labels.items()}
        rows = decode_rows(schema.channels, values.reshape(-1, c))
        columns |= {"step": pa.array(np.tile(np.arange(steps), n))}
        self.table.write([pa.table({**columns, **dict(zip(rows.column_names, rows.columns, strict=True))})])

    def _save(self, values: np.ndarray) -> None:
        with atomic_file(self.path) as temporary, temporary.open("wb") as file:
            np.save(file, values)


def channel_table(series: SeriesSet, values: np.ndarray) -> pa.Table:
    """Numbers `(total, c)` of the channels, with a row per step that says which it is."""
    channels = dict(zip(series.schema.channels.names, map(pa.array, values.T), strict=True))
    return pa.table({**_labels(series, series.numbers, series.steps), **channels})


def report(
    series: SeriesSet, scores: Mapping[str, np.ndarray], windows: Mapping[str, np.ndarray], events: Events
) -> dict[str, Iterable[pa.Table]]:
    """Tables of the steps, of the windows, and of what the flagged steps make up."""
    cut = series.windows
    last = np.minimum(cut.starts + cut.steps, series.lengths[cut.series]) - 1
    spans = {**_labels(series, cut.series, cut.starts, "start"), **_labels(series, cut.series, last, "end")}
    ends = [_labels(series, events.series, getattr(events, name), name) for name in ("start", "end", "peak")]
    places = {name: column for labels in ends for name, column in labels.items()}
    strength = {"steps": events.end - events.start + 1, "score": events.score, "p_value": events.p_value}
    return {
        "": _step_by_step(series, scores),
        "windows": [_joined(spans, windows)],
        "events": [_joined(places, strength)],
    }


def _labels(series: SeriesSet, number: np.ndarray, steps: np.ndarray, name: str | None = None) -> dict[str, pa.Array]:
    """Columns that say which series and which of its steps: the time stamp, if there are some, else a number."""
    grid, schema, columns = series.grid, series.schema, dict[str, Any]()
    if grid is not None and grid.names is not None:
        columns[schema.ids or "series"] = grid.names.take(pa.array(number))
    elif len(series.lengths) > 1:
        columns["series"] = pa.array(number)
    stamps = series.stamps()
    if stamps is None:
        columns[name or "step"] = pa.array(steps)
    else:
        firsts = np.concatenate(([0], np.cumsum(series.lengths)[:-1]))
        columns[name or schema.time or "time"] = stamps.take(pa.array(firsts[number] + steps))
    return columns


def _step_by_step(series: SeriesSet, columns: Mapping[str, np.ndarray]) -> Iterator[pa.Table]:
    """A row per step, so many at once that tables need little memory beside the columns."""
    ends = np.cumsum(series.lengths)
    for first in range(0, len(series.values), _ROWS):
        rows = np.arange(first, min(first + _ROWS, len(series.values)))
        number = np.searchsorted(ends, rows, side="right")
        labels = _labels(series, number, rows - (ends - series.lengths)[number])
        yield _joined(labels, {name: column[rows] for name, column in columns.items()})


def _joined(labels: Mapping[str, Any], columns: Mapping[str, np.ndarray]) -> pa.Table:
    return pa.table({**labels, **{name: pa.array(column, from_pandas=True) for name, column in columns.items()}})
