"""Tables that series are from, with new values: cells that get none stay as they are, in files of text byte for byte."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa

from fivefold.errors import DataError
from fivefold.series.grid import Grid
from fivefold.series.schema import SeriesSchema
from fivefold.tables.cells import decode_column
from fivefold.tables.csv import CsvFile, CsvText
from fivefold.tables.files import TableOutput
from fivefold.tables.records import Added
from fivefold.tables.table import Table


@dataclass(frozen=True)
class Filling:
    """New values for the steps of series, in the table that these are from.

    Steps without a row that get a value get a row, with time stamp and series, among the others.

    Attributes
    ----------
    table, grid : what the series are from, and where its rows are
    schema
    values, changed : `(total, channels)` encoded, and which of them are new
    stamps : `(total,)` when each step is; None without time stamps
    """

    table: Table
    grid: Grid
    schema: SeriesSchema
    values: np.ndarray
    changed: np.ndarray
    stamps: pa.Array | pa.ChunkedArray | None

    @cached_property
    def _new(self) -> tuple[np.ndarray, np.ndarray]:
        """See `Grid.order`."""
        lacking = np.ones(self.grid.total, bool)
        lacking[self.grid.places] = False
        return self.grid.order(lacking & (self.changed & ~np.isnan(self.values)).any(axis=1))

    def native(self) -> Any:
        """A table of the same kind and types."""
        steps, before = self._new
        table, places, columns = self.table, self.grid.places, self.schema.columns
        if not len(steps):
            return table.replace(columns, self.values[places], self.changed[places])
        order = np.argsort(np.concatenate((before - 0.5, np.arange(len(places)))), kind="stable")
        rows = np.concatenate((np.full(len(steps), -1), np.arange(len(places))))[order]
        steps = np.concatenate((steps, places))[order]
        new = table.replacements(columns, self.values[steps], self.changed[steps], table.arrow.schema.types)
        new |= {at: (rows < 0, column) for at, column in self._labels(steps[rows < 0]).items()}
        return table.extended(rows, new)

    def _labels(self, steps: np.ndarray) -> dict[int, pa.Array]:
        """When steps are, and of which series, by column."""
        at, grid = self.table.names.index, self.grid
        found = {}
        if self.schema.time is not None and self.stamps is not None:
            found[at(self.schema.time)] = _whole(self.stamps.take(pa.array(steps)))
        if self.schema.ids is not None and grid.names is not None:
            series = np.searchsorted(np.cumsum(grid.lengths), steps, side="right")
            found[at(self.schema.ids)] = grid.names.take(pa.array(series))
        return found

    def write(self, output: TableOutput) -> None:
        """To a file; if both are text, with all other cells as they stand there."""
        text = self.table.text.file if self.table.text else None
        if text is None or not output.is_text:
            found = self.native()
            output.write([found if isinstance(found, pa.Table) else Table.of(found).arrow])
        elif output.continues(text):
            with output.writer(text) as write:
                for part, cells, where, added in self._parts(text):
                    write(part.spliced(self.schema.columns, cells, where, added))
        else:
            output.write(
                part.written(self.schema.columns, cells, where, added)
                for part, cells, where, added in self._parts(text)
            )

    def _parts(self, text: CsvFile) -> Iterator[tuple[Table, np.ndarray, np.ndarray, Added]]:
        """Rows as they stand in the file, their values, which of them are new, and new rows."""
        steps, before = self._new
        first, total = 0, len(self.grid.places)
        spellings = self.table.text.spellings if self.table.text else {}
        for block in text.records():
            if first + len(block) > total:
                break
            places = self.grid.places[first : first + len(block)]
            part = replace(self.table.part(first, len(block)), text=CsvText(text, spellings, block))
            here = (before >= first) & (before < first + len(block))
            added = Added(before[here] - first, self._cells(part, steps[here]))
            yield part, self.values[places], self.changed[places], added
            first += len(block)
        if first != total:
            raise DataError(f"{self.table.source}: has changed while it was read")

    def _cells(self, table: Table, steps: np.ndarray) -> list[pa.Array]:
        """New rows' cells as text, by column."""
        kind, columns = pa.large_string(), table.spelled(self.schema.columns)
        found = [pa.array([""] * len(steps), kind)] * len(table.names)
        for at, labels in self._labels(steps).items():
            found[at] = labels.cast(kind)
        for number, (column, at) in enumerate(zip(columns.columns, table.places(columns), strict=True)):
            found[at] = decode_column(column, self.values[steps, number], kind).fill_null("")
        return found


def _whole(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
