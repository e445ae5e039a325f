"""Series as datasets, from arrays, tables or sound; their windows are the items."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from fivefold.dataset import ItemSet
from fivefold.errors import DataError, FivefoldWarning, UsageError
from fivefold.findings import Check
from fivefold.items import Block, Items
from fivefold.progress import progress_bar
from fivefold.series.changes import Change, explanation, find_stretches, kind_of, longest
from fivefold.series.filling import Filling
from fivefold.series.grid import Asked, Grid, arrange
from fivefold.series.readers import flattened
from fivefold.series.results import (
    Events,
    SeriesCollector,
    SeriesPlace,
    StepIndex,
    StepScores,
    find_events,
    report,
    stamps_of,
)
from fivefold.series.schema import SeriesSchema, as_channel, as_state
from fivefold.series.sound import SoundFormat
from fivefold.series.windows import Windows, choose_steps
from fivefold.tables.files import TABLE_ENDINGS, TableReader, check_text, is_table_path
from fivefold.tables.inference import as_asked, as_texts, find_doubts, infer_table_schema, merge_overrides
from fivefold.tables.schema import Column, TableSchema
from fivefold.tables.table import Table, as_native

_FEWEST_MEANS = 4  # windows after others, to say whether the level wanders
_EXAMPLES = 1500  # windows that a fit learns from, at least
_BLOCK = 256  # windows at once
_MOST_CHANGES = 8  # of a series that are adapted to, and stretches that are tried
_MOST_STATES = 33  # of a column of categories, one for what was not met among them
TEST_SETS: dict[str, str] = {}
TRAINING_SETS: dict[str, str] = {}
SHARDS: tuple[str, ...] = (*TABLE_ENDINGS, ".npy", ".wav")


@dataclass(frozen=True)
class IndexName:
    """What a frame's index of times is called: as a column, and in the frame."""

    column: str
    label: Any


@dataclass(frozen=True)
class SeriesSet:
    """Series one after the other.

    Attributes
    ----------
    values : `(total, channels)` float64, encoded; NaN is missing
    lengths : `(s,)` steps of each series
    schema : of their windows
    source : what to call them in messages
    labels : `(s,)` class of each series, or None
    table, grid : the table that they are from, and where its rows are; or None
    index_name : of the time, if it was the frame's index; or None
    shape : of the array that they are from; or None
    encoded : whether results are to be encoded values `(total, channels)`, whatever the series are from
    adapt : whether detection is to go on from another level or amplitude
    sound : the format of the sound that they are from, or None
    changes : of those, that values are adapted to
    places : where results go; if nowhere, they stay in memory
    """

    values: np.ndarray
    lengths: np.ndarray
    schema: SeriesSchema
    source: str = "series"
    labels: np.ndarray | None = None
    table: Table | None = None
    grid: Grid | None = None
    index_name: IndexName | None = None
    shape: tuple[int, ...] | None = None
    encoded: bool = False
    adapt: bool = False
    sound: SoundFormat | None = None
    changes: tuple[Change, ...] = ()
    places: Mapping[str, SeriesPlace] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.values)

    @property
    def elements(self) -> int:
        """See `Dataset`."""
        return self.values.size

    @cached_property
    def windows(self) -> Windows:
        """The windows from which results are stitched."""
        return Windows.of(self.lengths, self.schema.steps, self.schema.stride)

    @cached_property
    def index(self) -> StepIndex:
        """When each step is, as the table says it, or by the steps around where that has no row; and of which series."""
        table, grid, schema, stamps, names = self.table, self.grid, self.schema, None, None
        if table is not None and grid is not None:
            names, stamps = grid.names, stamps_of(table.arrow, grid, schema.time)
        return StepIndex(self.lengths, stamps, names, schema.time, schema.ids)

    @property
    def visible(self) -> np.ndarray:
        """What is there, bool `(total, channels)`."""
        visible: np.ndarray = ~np.isnan(self.values)
        return visible

    def items(self, windows: Windows | None = None, rows: slice | np.ndarray = slice(None)) -> Items:
        """Windows as items `(b, steps, channels, 1)`."""
        chosen = self.windows if windows is None else windows
        labels = None if self.labels is None else self.labels[chosen.series[rows]]
        values = chosen.cut(self.values, rows)[..., None]
        return Items(values, self.schema, self.source, labels=labels, origin=chosen.select(rows))

    def examples(self) -> Items:
        """What a fit learns from: as many windows as are worth it, those without a value left out."""
        steps, stride = self.schema.steps, self.schema.stride
        if self.schema.overlaps:
            starts = int(np.maximum(self.lengths - steps, 0).sum()) + len(self.lengths)
            stride = int(np.clip(starts // _EXAMPLES, 1, stride))
        windows = Windows.of(self.lengths, steps, stride)
        places, inside = windows.places()
        known = np.asarray(self.visible.any(axis=1))
        seen = (known[places] & inside).sum(axis=1) >= min(2, steps)
        if not seen.any():
            raise DataError(f"{self.source}: must have values, all are missing")
        return self.items(windows.select(np.flatnonzero(seen)))

    @property
    def summary(self) -> str:
        """See `Dataset`."""
        return f"{self.source}: {self.schema.describe()}, from one to the next {self.schema.stride}"

    def check(self) -> Check:
        """See `Dataset`."""
        doubts = [] if self.grid is None else self.grid.doubts
        columns = self.schema.columns
        doubts = [*doubts, *(columns.doubts() if self.table is None else find_doubts(self.table, columns))]
        return Check(self.summary, columns.findings(), doubts)

    def blocks(self, doing: str) -> Iterator[Block]:
        """256 windows at a time."""
        with progress_bar(doing, len(self.windows)) as bar:
            for number, rows in enumerate(self.windows.batches(_BLOCK)):
                yield Block(self.items(rows=rows), rows, number)
                bar.advance(steps=rows.stop - rows.start)

    def all_items(self) -> Items:
        """All windows."""
        return self.items()

    def collector(self, role: str = "", *, replace: bool = True) -> SeriesCollector | None:
        """See `Dataset`."""
        if self.places and role not in self.places:
            return None
        values = self.values.copy() if replace else np.full(self.values.shape, np.nan)
        finish = partial(self._write, self.places[role]) if self.places else self.in_own_form
        return SeriesCollector(self.windows, values, partial(finish, replace=replace))

    def scores(self) -> StepScores:
        """See `Dataset`."""
        return StepScores(self.windows, self.schema.central)

    def in_form(self, scores: np.ndarray) -> Any:
        """One number per step, `(total,)`, as the series came: of a table one per row, of an array `(n, t)`, else a list."""
        if self.encoded:
            return scores
        if self.grid is not None:
            return scores[self.grid.places]
        if self.shape is None:
            return np.split(scores, np.cumsum(self.lengths)[:-1])
        return scores.reshape(self.shape[:2])

    def in_own_form(self, values: np.ndarray, replace: bool) -> Any:
        """Encoded `values` `(total, channels)` as the series came: a table, an array, or a list of arrays.

        Without `replace`, those of a table are numbers beside the labels of their steps.
        """
        if self.encoded:
            return values
        if self.table is not None:
            return (
                self._completed(values)
                if replace
                else as_native(pa.concat_tables(self._beside(values)), self.table.kind)
            )
        return np.split(values, np.cumsum(self.lengths)[:-1]) if self.shape is None else values.reshape(self.shape)

    def adapted(self, anomaly: np.ndarray, p_values: Callable[[SeriesSet], np.ndarray]) -> SeriesSet | None:
        """See `Dataset`: from a change on, values are brought to the level and the amplitude before.

        It is the first change of each series that explains what is strange.
        """
        if not self.adapt or len(self.changes) >= _MOST_CHANGES * len(self.lengths):
            return None
        excess, values, changes = partial(self._excess, p_values), self.values, list[Change]()
        stretches = find_stretches(self.values, self.lengths, anomaly, self.schema.steps)
        for own in longest(stretches, _MOST_CHANGES):
            found = (explanation(self.values, stretch, self.schema, excess) for stretch in own)
            change = next((change for change in found if change is not None), None)
            if change is not None:
                values = change.undone(values)
                changes.append(change)
        return replace(self, values=values, changes=(*self.changes, *changes)) if changes else None

    def _excess(self, p_values: Callable[[SeriesSet], np.ndarray], versions: list[np.ndarray]) -> np.ndarray:
        """By how much series `(n, c)` are more surprising, in sum, than normal ones."""
        lengths = np.full(len(versions), len(versions[0]))
        p_value = p_values(SeriesSet(np.concatenate(versions), lengths, self.schema, self.source, encoded=True))
        beyond = -np.log(p_value.reshape(len(versions), -1)) - 1  # the mean of -log p is 1
        excess: np.ndarray = np.nansum(beyond, axis=1)
        return excess

    def events(self, score: np.ndarray, p_value: np.ndarray, anomaly: np.ndarray, alone: np.ndarray) -> Events:
        """What the flagged steps make up; a change for good is one event, of the step where it begins if it is adapted to.

        It is found by which steps are strange `alone`, whatever alarms there were before.
        """
        left = find_stretches(self.values, self.lengths, alone, self.schema.steps)
        flagged, kinds = anomaly.copy(), dict[int, str]()
        for stretch in left:
            flagged[stretch.first : stretch.last] = True
            kinds[stretch.first] = "pattern" if self.adapt else kind_of(self.values, stretch, self.schema)
        for change in self.changes:
            flagged[change.first] = True
        if left and not self.adapt:
            warnings.warn(
                f"{self.source}: from step {left[0].first} on, the {kinds[left[0].first]} is not as it was fitted, and steps are "
                "flagged for that; `adapt`, or fit again",
                FivefoldWarning,
                stacklevel=5,
            )
        kinds |= {change.first: change.kind for change in self.changes}
        return find_events(self.lengths, score, p_value, flagged, kinds)

    def report(
        self, scores: Mapping[str, np.ndarray], windows: Any = None, events: Any = None
    ) -> dict[str, Iterable[pa.Table]]:
        """See `results.report`."""
        return report(self.index, self.windows, scores, windows, events)

    def named(self, numbers: np.ndarray) -> dict[str, Any]:
        """Of steps their times or numbers, and which series they are of."""
        return self.index.columns(*self.steps(numbers))

    def steps(self, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Of steps numbered along all series: of which series each is, and its number from that series' start."""
        ends = np.cumsum(self.lengths)
        series = np.searchsorted(ends, numbers, side="right")
        return series, numbers - (ends - self.lengths)[series]

    def apart(self, score: np.ndarray, top: int) -> np.ndarray:
        """The numbers of so many of the steps that score `(total,)` lowest, the lowest first, a window apart within a series."""
        free, found = ~np.isnan(score), list[int]()
        ends = np.cumsum(self.lengths)
        for number in np.argsort(score, kind="stable").tolist():
            if len(found) == top:
                break
            if free[number]:
                found.append(number)
                at = np.searchsorted(ends, number, side="right")
                first = max(number - self.schema.steps + 1, int(ends[at] - self.lengths[at]))
                free[first : min(number + self.schema.steps, int(ends[at]))] = False
        return np.array(found, np.int64)

    def to(self, places: Mapping[str, Any]) -> SeriesSet:
        """See `Dataset`; raises `UsageError` for places that can't hold them."""
        for place in places.values():
            if place.table is None and self.shape is None:
                raise UsageError(
                    f"{place.path}: must be a table (.csv, .parquet, …) for series from a table or of unequal length"
                )
            if place.table is None and place.sounds and self.sound is None:
                raise UsageError(
                    f"{place.path}: must be .npy or a table (.csv, .parquet, …) for series that are no sound"
                )
        return replace(self, places=places)

    def _write(self, place: SeriesPlace, values: np.ndarray, replace: bool) -> Path:
        if place.table is None:
            assert self.shape is not None
            place.save(values.reshape(self.shape), self.sound, self.schema.is_real)
        elif self.table is not None and replace:
            self._filling(values).write(place.table)
        else:
            place.table.write(self._beside(values))
        return place.path

    def _beside(self, values: np.ndarray) -> Iterator[pa.Table]:
        """Numbers `(total, channels)`, with a row per step that says which it is."""
        return self.index.tables(dict(zip(self.schema.channels.names, values.T, strict=True)))

    def _filling(self, values: np.ndarray) -> Filling:
        """The table that the series are from, with encoded `values` `(total, channels)`; categories that were not met stay."""
        assert self.table is not None
        assert self.grid is not None
        states = np.array([column.classes > 0 for column in self.schema.columns.columns])
        values = np.where(states, np.rint(values), values)
        changed = self.values != values  # NaN are not equal to anything
        return Filling(self.table, self.grid, self.schema, values, changed, self.index.stamps)

    def _completed(self, values: np.ndarray) -> Any:
        """See `Filling.native`; with the index that the frame had, if that is the time."""
        found = self._filling(values).native()
        if self.index_name is None:
            return found
        return found.set_index(self.index_name.column).rename_axis(index=self.index_name.label)


def recognises(source: Any) -> bool:
    """Whether it is sound, or said to be series already; arrays and tables are series only if the user says so."""
    return isinstance(source, SeriesSet) or (isinstance(source, str | Path) and str(source).lower().endswith(".wav"))


def open(source: Any, schema: SeriesSchema | None = None, **reading: Any) -> SeriesSet | ItemSet:
    """See `read_series`."""
    if isinstance(source, Items | ItemSet):
        raise DataError(f"{source.source}: must be series, got {source.schema.describe()}")
    return read_series(source, schema, **reading)


def place(path: Path, force: bool, role: str = "") -> SeriesPlace:
    """Where series go; see `SeriesPlace.at`. Numbers of other roles are no sound."""
    return SeriesPlace.at(path, force, role or "output", sounding=not role)


def new(schema: SeriesSchema, values: np.ndarray, record: Mapping[str, Any] | None = None) -> np.ndarray:
    """New windows `(n, t, c, 1)` as an array `(n, t, c)`."""
    return values[..., 0]


def read_series(
    source: Any,
    schema: SeriesSchema | None = None,
    *,
    time: str | None = None,
    ids: str | None = None,
    tolerance: float | None = None,
    time_zone: str | None = None,
    adapt: bool = False,
    window: int | None = None,
    stride: int | None = None,
    overrides: Mapping[str, Any] | None = None,
    missing: Mapping[str, Sequence[Any]] | None = None,
    **dialect: Any,
) -> SeriesSet:
    """Read and check series.

    Parameters
    ----------
    source : an array `(n, t)` or `(n, t, channels)` of n series, or `(t,)` of one; a list of arrays `(t,)` or `(t, channels)`,
        if lengths differ; a `.npy` or `.npz` file; a `.wav` file; a frame, or the file of a table
    schema : that of a fitted model, which the series must fit; without, it is inferred
    time, ids : columns of a table that say when a step is, and of which series; by default as in the fit. A frame's index of
        times is the time by default.
    tolerance : of a step, that time stamps may be off an even grid, to which they are snapped; by default 0.5
    time_zone : of time stamps that are local times, such as `Europe/Berlin`; hours that clocks show twice are told apart by it
    adapt : whether detection is to go on, after the level or the amplitude has changed for good, from what it then is
    window, stride : steps of a window, and from one to the next; by default chosen from the data
    overrides : what a user's `schema.json` holds; see `infer_table_schema`
    missing, dialect : see `tables.dataset.open`

    Raises
    ------
    DataError : if it can't be read or doesn't fit; the message names the file, the column or the row
    UsageError : if `window` or `stride` don't go with the data, for a `dialect` of what is no text
    """
    if isinstance(source, SeriesSet):
        return replace(source, schema=schema or source.schema, adapt=adapt or source.adapt)
    if schema is not None:
        time, ids = time or schema.time, ids or schema.ids
        tolerance, time_zone = schema.tolerance if tolerance is None else tolerance, time_zone or schema.time_zone
    tolerance = 0.5 if tolerance is None else tolerance
    if not 0 <= tolerance <= 0.5:
        raise UsageError(f"`tolerance` must be from 0 to 0.5 of a step, got {tolerance:g}")
    if is_tabular(source):
        interval, unit = (schema.interval, schema.unit) if schema else (0.0, Asked.unit)
        asked = Asked(interval, unit, tolerance, time_zone)
        found = _of_table(source, schema, time, ids, asked, merge_overrides(overrides, missing), dialect)
    else:
        check_text(source, dialect)
        if schema is None and (time is not None or ids is not None):
            raise UsageError(f"`{'time' if time is not None else 'ids'}` goes with tables, whose columns have names")
        found = _of_arrays(source, schema, merge_overrides(overrides, missing))
    if schema is not None:
        steps = stride if stride is not None else schema.stride
        if not 1 <= steps <= schema.steps:
            raise UsageError(f"`stride` must be from 1 to the window's {schema.steps} steps, got {steps}")
        return replace(found, schema=replace(found.schema, stride=steps), adapt=adapt)
    return _windowed(found, window, stride)


def _windowed(series: SeriesSet, window: int | None, stride: int | None) -> SeriesSet:
    """Series with windows of as many steps as are asked for, or as suit them."""
    longest = int(series.lengths.max())
    if longest < 2:
        raise DataError(f"{series.source}: must have at least 2 steps in a series, got {longest}")
    steps, stride = choose_steps(series.lengths, series.schema.channels.size, window, stride)
    series = replace(series, schema=replace(series.schema, steps=steps, stride=stride))
    return replace(series, schema=replace(series.schema, wander=_wander(series)))


def is_tabular(source: Any) -> bool:
    """Whether it is a frame, or names a file of one."""
    if isinstance(source, str | Path):
        return is_table_path(source)
    framed = hasattr(source, "columns") or hasattr(source, "column_names")
    return framed or not (isinstance(source, Sequence) or hasattr(source, "__array__"))


def _table(source: Any, schema: TableSchema | None, texts: frozenset[str], dialect: Mapping[str, Any]) -> Table:
    """A frame, or a file of one; of text, columns that are `texts` stay such."""
    if isinstance(source, Mapping):
        source = pa.table(dict(source))
    if isinstance(source, str | Path):
        return TableReader(source, schema, texts=texts, **dialect).read()
    check_text(source, dialect)
    return Table.of(source)


def _wander(series: SeriesSet) -> tuple[float, ...]:
    """See `SeriesSchema`: twice the deviation of windows' means, where each mean is near the next window's; else 0."""
    if not series.schema.overlaps:
        return (0.0,) * series.schema.channels.size
    windows = Windows.of(series.lengths, series.schema.steps, series.schema.steps)
    unit = series.schema.to_unit(windows.cut(series.values)[..., None])[..., 0].astype(np.float64)
    known: np.ndarray = ~np.isnan(unit)
    means = np.where(known, unit, 0).sum(axis=1) / np.maximum(known.sum(axis=1), 1)
    follows = np.flatnonzero((np.diff(windows.series) == 0) & np.asarray(known.any(axis=(1, 2)))[1:])
    if len(follows) < _FEWEST_MEANS:
        return (0.0,) * series.schema.channels.size
    before, after = (part - part.mean(axis=0) for part in (means[follows], means[follows + 1]))
    scale = np.sqrt((before**2).sum(axis=0) * (after**2).sum(axis=0))
    near = (before * after).sum(axis=0) > 0.5 * scale
    return tuple(np.where(near, 2 * means.std(axis=0), 0.0).tolist())


def _of_table(
    source: Any,
    schema: SeriesSchema | None,
    time: str | None,
    ids: str | None,
    asked: Asked,
    overrides: Mapping[str, Any] | None,
    dialect: Mapping[str, Any],
) -> SeriesSet:
    source, index = _with_index(source, time)
    time = index.column if index else time
    labels = {name for name in (time, ids) if name is not None}
    table = _table(source, None if schema is None else schema.columns, as_texts(overrides) | labels, dialect)
    if len(table) == 0:
        raise DataError(f"{table.source}: must have rows, got none")
    grid = arrange(table, time, ids, asked)
    if schema is None:
        others = [name for name in table.names if name not in (time, ids)]
        if not others:
            raise DataError(f"{table.source}: must have a column of numbers besides {' and '.join(table.names)}")
        columns = replace(Table.of(table.arrow.select(others), table.source), file=table.file)
        channels, states = _channels(columns, overrides)
        schema = SeriesSchema(
            channels, 1, 1, time, ids, grid.interval, grid.unit, (), asked.tolerance, asked.zone, states
        )
    schema = replace(schema, time=time, ids=ids, tolerance=asked.tolerance, time_zone=asked.zone)
    values = np.full((grid.total, schema.channels.size), np.nan)
    cells = table.cells(schema.columns)
    unmet = [column.classes - 1 if column.kind == "category" else np.inf for column in schema.columns.columns]
    values[grid.places] = np.where(cells >= unmet, np.nan, cells)
    table = as_asked(table, overrides)
    return SeriesSet(values, grid.lengths, schema, table.source, table=table, grid=grid, index_name=index)


def _with_index(source: Any, time: str | None) -> tuple[Any, IndexName | None]:
    """A frame whose index of times is a column if no other is the time, and what that is called; else None."""
    index = getattr(source, "index", None)
    if not str(getattr(index, "dtype", "")).startswith("datetime64") or time in getattr(source, "columns", ()):
        return source, None
    name = IndexName(time or str(source.index.name or "time"), source.index.name)
    return source.rename_axis(index=name.column).reset_index(), name


def _of_arrays(source: Any, schema: SeriesSchema | None, overrides: Mapping[str, Any] | None) -> SeriesSet:
    found = flattened(source)
    table = Table.of(found.flat, found.source)
    if schema is None:
        channels, states = _channels(table, overrides)
        sound = (found.sound.rate, found.sound.width) if found.sound else None
        schema = SeriesSchema(channels, 1, 1, states=states, sound=sound)
    elif schema.sound and found.sound and schema.sound != (found.sound.rate, found.sound.width):
        raise DataError(
            f"{found.source}: must have {schema.sound[0]:,} samples of {8 * schema.sound[1]} bits a second as the model was "
            f"fitted, got {found.sound.rate:,} of {8 * found.sound.width} bits: convert it"
        )
    cells = table.cells(schema.columns)
    return SeriesSet(cells, found.lengths, schema, found.source, found.labels, shape=found.shape, sound=found.sound)


def _channels(table: Table, overrides: Mapping[str, Any] | None) -> tuple[TableSchema, tuple[Column, ...]]:
    """Channels of the numbers among the columns, and of the codes of those that are states; others are carried along."""
    found = infer_table_schema(table, overrides)
    kept = [
        c for c in found.columns if c.kind in ("real", "integer") or (0 < c.classes <= _MOST_STATES and c.low < c.high)
    ]
    others = tuple(
        (c.name, f"{c.kind}: a channel must be of numbers, or of 2 to {_MOST_STATES - 1} states")
        for c in found.columns
        if c not in kept
    )
    if not kept:
        names = ", ".join(repr(name) for name, _ in (*others, *found.carried)[:6])
        raise DataError(f"{table.source}: must have a column of numbers, got {names}")
    cells = table.cells(TableSchema(tuple(kept)))
    with np.errstate(over="ignore"):
        deviations, medians = np.nan_to_num(np.nanstd(cells, axis=0), posinf=0).tolist(), np.nanmedian(cells, axis=0)
    channels = tuple(
        as_state(column, float(median), deviation) if column.classes else as_channel(column, deviation)
        for column, median, deviation in zip(kept, medians, deviations, strict=True)
    )
    return TableSchema(channels, found.carried + others), tuple(column for column in kept if column.classes)
