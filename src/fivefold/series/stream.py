"""Series that come piece by piece: scores, p-values and events as of the whole, from a state of bounded size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow as pa
import torch

from fivefold.config import JobNumbers
from fivefold.errors import DataError, ModelError, UsageError
from fivefold.jobs.detect import USUAL_RATE, calibrated, flag
from fivefold.jobs.drift import NOTHING_REMEMBERED
from fivefold.modality import modality_taking
from fivefold.model.fitted import FittedModel
from fivefold.progress import silenced
from fivefold.series.alarms import Bar, above_bar, score_in_context
from fivefold.series.causes import Stretches, causes
from fivefold.series.dataset import SeriesSet, read_series
from fivefold.series.grid import Asked, Grid, arrange
from fivefold.series.jobs import evidence_against
from fivefold.series.patches import PatchScore, tail_nats
from fivefold.series.results import JOINED, Events, StepIndex, event_table, find_events, stamps_of
from fivefold.series.schema import SeriesSchema
from fivefold.storage import fingerprint
from fivefold.tables.table import Table
from fivefold.training.state import read_state, write_state

_SERIES = "series"  # the column that numbers the series of arrays


@dataclass(frozen=True)
class Decided:
    """What is decided of a stream's steps, those of earlier pieces among them.

    Attributes
    ----------
    steps : an Arrow table with a row per step: which it is, its score, its p-value, and whether it is flagged
    events : an Arrow table of those that have ended, as `detect` writes them
    delayed : how many steps wait for those to come
    """

    steps: pa.Table
    events: pa.Table
    delayed: int


@dataclass(frozen=True)
class _State:
    """Of one series; steps are counted from its start.

    Attributes
    ----------
    begin : of the first row that is kept
    first : at which windows begin
    decided : how many steps have their results
    judged, bar : where alarms are gone on with, and how high the bar is there
    flagged : steps of an event that may go on, with their scores and p-values
    """

    begin: int = 0
    first: int = 0
    decided: int = 0
    judged: int = 0
    bar: Bar = Bar()
    flagged: Sequence[tuple[int, float, float]] = ()


@dataclass(frozen=True)
class _Part:
    """What is found of one series; arrays `(k,)` of the steps from the first on that was not `decided`."""

    state: _State
    score: np.ndarray
    p_value: np.ndarray
    events: Events


@dataclass
class Stream:
    """Detection in series of which there is always more, with results as if all pieces were one.

    A step has its results once all is there that they depend on: the windows in whose middle it is, and one window of steps whose
    own evidence is known, which scores are averaged over, and among which an alarm looks for the strangest; about two windows
    after it. Changes for good are not looked for: they show as alarms where they begin.

    Parameters
    ----------
    model : of series
    false_alarm_rate : share of normal steps that may be flagged, in (0, 1); by default 0.01

    Raises
    ------
    UsageError : for a rate outside (0, 1), or a model of other data
    ModelError : if the model was fitted without held-out steps, or is of an older version

    Examples
    --------
    >>> stream = fivefold.Stream(new_load_model, 0.05)
    >>> stream.detect(loads[:300]).delayed, stream.false_alarm_rate
    (78, 0.05)
    """

    model: FittedModel
    false_alarm_rate: float = USUAL_RATE
    _labels: pa.Table | None = field(default=None, init=False, repr=False)
    _cells: np.ndarray = field(default_factory=lambda: np.empty((0, 0)), init=False, repr=False)
    _states: list[_State] = field(default_factory=list, init=False, repr=False)

    def __post_init__(self) -> None:
        modality_taking(self.model, "detect", state=True)
        JobNumbers(false_alarm_rate=self.false_alarm_rate)
        calibrated(self.model)
        if self.model.calibrations.get("patches") is None:
            raise ModelError(NOTHING_REMEMBERED)

    @property
    def _schema(self) -> SeriesSchema:
        return cast(SeriesSchema, self.model.schema)

    def detect(self, data: Any, **reading: Any) -> Decided:
        """Take the next piece, and give what is decided now; raises `DataError` if it does not follow.

        Of arrays each piece must have as many series; of tables there may be new ones. See `fivefold.detect` for the rest.

        >>> found = fivefold.Stream(new_load_model).detect(loads)
        >>> found.steps.column_names
        ['site', 'hour', 'score', 'p_value', 'anomaly']
        """
        labels, cells = self._rows(read_series(data, self._schema, **reading))
        old = 0 if self._labels is None else len(self._labels)
        if self._labels is not None:
            labels = pa.concat_tables([self._labels, _cast(labels, self._labels.schema)])
            cells = np.concatenate((self._cells, cells))
        grid = self._arranged(labels)
        self._check_order(grid, old)
        values = np.full((grid.total, cells.shape[1]), np.nan)
        values[grid.places] = cells
        ends = np.cumsum(grid.lengths)
        states = self._states + [_State()] * (len(ends) - len(self._states))
        with silenced(on=True):
            parts = [
                self._part(values[end - length : end], state)
                for end, length, state in zip(ends.tolist(), grid.lengths.tolist(), states, strict=True)
            ]
        found = self._tables(grid, labels, states, parts)
        self._keep(grid, labels, cells, [part.state for part in parts])
        return found

    def save(self, path: str | Path) -> None:
        """Write the state, from which `load` goes on: the last steps, and what was decided. Nothing is pickled.

        >>> stream = fivefold.Stream(new_load_model)
        >>> before = stream.detect(loads[:150])
        >>> stream.save("loads.state")
        >>> after = fivefold.Stream.load(new_load_model, "loads.state").detect(loads[150:])
        >>> len(before.steps) > 0, len(after.steps) > 0
        (True, True)
        """
        assert self._labels is not None
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, self._labels.schema) as writer:
            writer.write_table(self._labels)
        state = {
            "model": fingerprint(self.model),
            "false_alarm_rate": self.false_alarm_rate,
            "labels": torch.from_numpy(np.frombuffer(sink.getvalue(), np.uint8).copy()),
            "cells": torch.from_numpy(self._cells),
            "series": [asdict(state) for state in self._states],
        }
        write_state(Path(path), state)

    @classmethod
    def load(cls, model: FittedModel, path: str | Path, false_alarm_rate: float | None = None) -> Stream:
        """Go on from a state; raises `ModelError` if it is damaged, `UsageError` if it is of another model or rate.

        >>> fivefold.Stream.load(new_load_model, "loads.csv")
        Traceback (most recent call last):
            ...
        fivefold.errors.ModelError: loads.csv: is no state of a stream, or damaged; start anew without it
        """
        stream = cls(model)
        try:
            state = read_state(Path(path))
            stream.false_alarm_rate = state["false_alarm_rate"]
            with pa.ipc.open_stream(state["labels"].numpy().tobytes()) as reader:
                stream._labels = reader.read_all()
            stream._cells = state["cells"].numpy()
            stream._states = [_State(**{**one, "bar": Bar(**one["bar"])}) for one in state["series"]]
        except (ModelError, LookupError, TypeError, ValueError, pa.ArrowException) as error:
            raise ModelError(f"{path}: is no state of a stream, or damaged; start anew without it") from error
        if state["model"] != fingerprint(model):
            raise UsageError(f"{path} is the state of a stream of another model")
        if false_alarm_rate not in (None, stream.false_alarm_rate):
            raise UsageError(f"{path} was begun with a `false_alarm_rate` of {stream.false_alarm_rate:g}")
        return stream

    def _rows(self, data: SeriesSet) -> tuple[pa.Table, np.ndarray]:
        """Columns that say which step each row is, and encoded values of the rows, `(r, c)`."""
        if data.table is None or data.grid is None:
            number = np.repeat(np.arange(len(data.lengths)), data.lengths)
            if self._states and len(self._states) != len(data.lengths):
                raise DataError(
                    f"{data.source}: must have {len(self._states)} series as before, got {len(data.lengths)}"
                )
            return pa.table({_SERIES: number}), data.values
        names = [name for name in (data.schema.ids, data.schema.time) if name is not None]
        return data.table.arrow.select(names), data.values[data.grid.places]

    def _arranged(self, labels: pa.Table) -> Grid:
        schema = self._schema
        asked = Asked(schema.interval, schema.unit, schema.tolerance, schema.time_zone)
        of_arrays = labels.column_names == [_SERIES]
        return arrange(Table.of(labels, "stream"), schema.time, _SERIES if of_arrays else schema.ids, asked)

    def _check_order(self, grid: Grid, old: int) -> None:
        """Raise `DataError` unless all rows come after the `old` ones of their series."""
        series = np.searchsorted(np.cumsum(grid.lengths), grid.places, side="right")
        last = np.full(len(grid.lengths), -1)
        np.maximum.at(last, series[:old], grid.places[:old])
        if (grid.places[old:] <= last[series[old:]]).any():
            raise DataError("a piece must begin after the last one ended; got steps that are not after those before")

    def _part(self, values: np.ndarray, state: _State) -> _Part:
        """What is decided of one series, whose kept `values` `(t, c)` begin at `state.begin`."""
        schema, rate = self._schema, self.false_alarm_rate
        steps, stride, reach = schema.steps, schema.stride, (schema.stride + schema.steps) // 2 + 1
        values = _cut(values, state.first - state.begin)
        windows = (len(values) - steps) // stride + 1
        final = ((2 * windows - 3) * stride + steps) // 2  # steps whose own evidence no window to come changes
        until = final - steps
        if windows < 2 or state.first + until <= state.decided:
            nothing = np.empty(0)
            return _Part(state, nothing, nothing, find_events(np.array([0]), nothing, nothing, nothing.astype(bool)))
        usable = (windows - 1) * stride + steps
        data = SeriesSet(values[:usable], np.array([usable]), schema, "stream", encoded=True)
        patches = cast(PatchScore, self.model.calibrations["patches"])
        own, evidence = evidence_against(self.model, patches, data, flag(self.model, data, rate).score)
        own, evidence = own[:final], evidence[:final]
        score = score_in_context(evidence, own, np.array([final]), steps)
        judged = state.judged - state.first
        nats = tail_nats(evidence, patches.evidence)[judged:]
        left, resume, bar = above_bar(nats, steps, rate, state.bar, until - judged)
        ready = slice(state.decided - state.first, until)
        p_value = np.minimum(np.exp(-left), 1.0)[ready.start - judged : until - judged]
        events, flagged = self._events(data, state, score[ready], p_value)
        end = state.first + until
        kept = min([end - steps, *(step - steps // 2 for step, _, _ in flagged[:1])]) - reach
        new = _State(state.begin, max(kept // stride * stride, 0), end, state.judged + resume, bar, flagged)
        return _Part(new, score[ready], p_value, events)

    def _events(
        self, data: SeriesSet, state: _State, score: np.ndarray, p_value: np.ndarray
    ) -> tuple[Events, list[tuple[int, float, float]]]:
        """Events that have ended, and the flagged steps of one that may go on."""
        end, steps = state.decided + len(score), np.flatnonzero(p_value <= self.false_alarm_rate)
        new = zip((state.decided + steps).tolist(), score[steps].tolist(), p_value[steps].tolist(), strict=True)
        flagged = [*state.flagged, *new]
        first = flagged[0][0] if flagged else end
        dense = np.full((2, end - first), np.nan)
        at = [step - first for step, _, _ in flagged]
        dense[:, at] = np.array([(low, p) for _, low, p in flagged]).reshape(-1, 2).T
        found = find_events(np.array([end - first]), dense[0], dense[1], ~np.isnan(dense[0]))
        ended = end - (first + found.end) > JOINED + 1
        going_on = int(found.start[~ended][0]) + first if (~ended).any() else end
        found = _chosen(found, ended)
        offset = first - state.first
        stretches = Stretches(found.start + offset, found.end + offset, found.peak + offset)
        because = causes(self.model, data, stretches)
        because["farthest"] = because["farthest"] + state.first
        places = {name: getattr(found, name) + first for name in ("start", "end", "peak")}
        return replace(found, **places, **because), [step for step in flagged if step[0] >= going_on]

    def _tables(self, grid: Grid, labels: pa.Table, states: list[_State], parts: list[_Part]) -> Decided:
        """Tables of what is decided of all series."""
        begins = np.array([state.begin for state in states])
        schema, of_time = self._schema, self._schema.time is not None
        index = StepIndex(
            grid.lengths,
            stamps_of(labels, grid, self._schema.time),
            grid.names if len(grid.lengths) > 1 or schema.ids else None,
            schema.time,
            schema.ids,
            None if of_time else begins,
        )
        series = np.repeat(np.arange(len(parts)), [len(part.score) for part in parts])
        step = [state.decided + np.arange(len(part.score)) for state, part in zip(states, parts, strict=True)]
        scores = {name: np.concatenate([getattr(part, name) for part in parts]) for name in ("score", "p_value")}
        anomaly = scores["p_value"] <= self.false_alarm_rate
        where = index.columns(series, np.concatenate(step) - begins[series])
        steps = pa.table(
            {**where, **{name: pa.array(part, from_pandas=True) for name, part in scores.items()}, "anomaly": anomaly}
        )
        events = [
            _placed(part.events, number, int(begin))
            for number, (part, begin) in enumerate(zip(parts, begins, strict=True))
        ]
        ends = begins + grid.lengths
        delayed = int(sum(end - part.state.decided for end, part in zip(ends, parts, strict=True)))
        return Decided(steps, pa.concat_tables([event_table(index, each) for each in events]), delayed)

    def _keep(self, grid: Grid, labels: pa.Table, cells: np.ndarray, states: list[_State]) -> None:
        """Only rows that steps to come depend on, and the last one that is decided, from which time goes on."""
        order = np.argsort(grid.places, kind="stable")
        places, ends = grid.places[order], np.cumsum(grid.lengths)
        series = np.searchsorted(ends, places, side="right")
        step = places - (ends - grid.lengths)[series] + np.array([state.begin for state in states])[series]
        kept = np.zeros(len(order), bool)
        self._states = []
        for number, state in enumerate(states):
            own = np.flatnonzero(series == number)
            before = own[step[own] < state.decided]
            first = min(state.first, int(step[before[-1]])) if len(before) else int(step[own[0]])
            kept[own] = step[own] >= first
            self._states.append(replace(state, begin=int(step[own][step[own] >= first][0])))
        self._labels, self._cells = labels.take(pa.array(order[kept])), cells[order[kept]]


def _cut(values: np.ndarray, first: int) -> np.ndarray:
    """Values `(t, c)` from step `first` on, missing before 0."""
    return values[first:] if first >= 0 else np.concatenate((np.full((-first, values.shape[1]), np.nan), values))


def _cast(labels: pa.Table, schema: pa.Schema) -> pa.Table:
    """Labels of one type with those before; raises `DataError` if they can't be."""
    try:
        return labels.select(schema.names).cast(schema)
    except (pa.ArrowException, LookupError, ValueError) as error:
        raise DataError(f"a piece must have columns as those before ({str(error).splitlines()[0]})") from None


def _chosen(events: Events, which: np.ndarray) -> Events:
    names = ("series", "start", "end", "peak", "score", "p_value", "change")
    return Events(*(getattr(events, name)[which] for name in names))


def _placed(events: Events, series: int, begin: int) -> Events:
    """Of series numbered so, steps counted from the first that is kept."""
    places = {name: getattr(events, name) - begin for name in ("start", "end", "peak", "farthest")}
    return replace(events, series=np.full(len(events.start), series), **places)
