"""Tables as datasets: frames, arrays, lists of rows and dicts of columns in memory, or files read part by part."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Self, final

import numpy as np
import pyarrow as pa

from fivefold.arrays import count_axes, read_npy
from fivefold.dataset import IndependentItems, ItemSet
from fivefold.errors import DataError
from fivefold.findings import Check
from fivefold.items import Block, Collector, Items
from fivefold.progress import progress_bar
from fivefold.tables.cells import decode_column
from fivefold.tables.csv import CsvFile
from fivefold.tables.files import (
    TABLE_ENDINGS,
    TableOutput,
    TableReader,
    Write,
    check_text,
    is_foreign,
    is_table_source,
)
from fivefold.tables.inference import as_asked, as_texts, check_width, find_doubts, infer_table_schema, merge_overrides
from fivefold.tables.schema import TableSchema
from fivefold.tables.sheets import Sheet
from fivefold.tables.table import Table, as_items, as_native, decode_rows, laid_out

TEST_SETS: dict[str, str] = {}
TRAINING_SETS: dict[str, str] = {}
SHARDS: tuple[str, ...] = (*TABLE_ENDINGS, ".npy")
Form = Literal["pandas", "polars", "arrow", "numpy", "rows", "columns"]
_BLOCK_ROWS = 1 << 16


def recognises(source: Any) -> bool:
    """Whether it is a frame, a 2-D array, a list of rows or a dict of columns, or a file of one."""
    if isinstance(source, str | Path):
        return (
            is_table_source(source)
            or is_foreign(source)
            or (str(source).lower().endswith(".npy") and _axes(Path(source)) == 2)
        )
    if isinstance(source, TableSet | Mapping) or hasattr(source, "columns") or hasattr(source, "column_names"):
        return True
    if (axes := count_axes(source)) is not None:
        return axes == 2
    if not isinstance(source, Sequence) or len(source) == 0:
        return False
    return isinstance(source[0], Sequence | np.ndarray) and getattr(source[0], "ndim", 1) == 1


def open(
    source: Any,
    schema: TableSchema | None = None,
    *,
    overrides: Mapping[str, Any] | None = None,
    missing: Mapping[str, Sequence[Any]] | None = None,
    **dialect: Any,
) -> TableSet:
    """Rows of a table; without a `schema` it is inferred.

    Parameters
    ----------
    source : a pandas or polars DataFrame, a pyarrow Table, an array `(n, d)` of numbers or objects, a list of rows, a dict of
        columns; a `.csv`, `.tsv`, `.txt` (compressed or not), `.parquet`, `.arrow`, `.feather`, `.xlsx` or `.xls` file, or a
        `.npy` file of an array `(n, d)`
    overrides : see `infer_table_schema`
    missing : by column, values that stand for missing
    dialect : `separator`, `decimal`, `encoding`, `header` (first, none) of files of text, `sheet` and `header` of workbooks; by
        default found

    Raises
    ------
    DataError : if they can't be read, or don't fit the schema
    UsageError : for parameters that can't be
    """
    if isinstance(source, TableSet):
        source = source.rows
    if isinstance(source, Items | ItemSet):
        raise DataError(
            f"{source.source}: must be {'a table' if schema is None else schema.describe()}, got {source.schema.describe()}"
        )
    asked = merge_overrides(overrides, missing)
    rows, form = open_rows(source, schema, texts=as_texts(asked), **dialect)
    if schema is None:
        check_width(rows.names, rows.source)
        whole = rows if isinstance(rows, Table) else rows.read()
        return TableSet(infer_table_schema(whole, asked), as_asked(whole, asked), form)
    if isinstance(rows, Table):
        rows.places(schema)
    return TableSet(schema, rows, form)


def place(path: Path, force: bool, role: str = "") -> TableOutput:
    """Where tables go; see `TableOutput.at`."""
    return TableOutput.at(path, force, role or "output")


def new(schema: TableSchema, values: np.ndarray, record: Mapping[str, Any] | None = None) -> Any:
    """New rows `(n, 1, d, 1)`, encoded, as a table of the `form` and `layout` of the fit's, by default Arrow's."""
    record = record or {}
    table = decode_rows(schema, schema.rounded(values[:, 0, :, 0]), spelled="layout" in record)
    return _in_form(laid_out(table, record["layout"]) if "layout" in record else table, record.get("form"))


@dataclass(frozen=True)
class TableSet(IndependentItems):
    """Rows of one table.

    Attributes
    ----------
    schema : of its modelled columns
    rows : in memory, or a file's, read part by part
    form : in which they came
    places : where results go; if nowhere, they stay in memory
    """

    schema: TableSchema
    rows: Table | TableReader
    form: Form
    places: Mapping[str, TableOutput] = field(default_factory=dict)

    @property
    def source(self) -> str:
        """What to call the table in messages."""
        return self.rows.source

    def __len__(self) -> int:
        if isinstance(self.rows, TableReader) and self.rows.rows is None:
            return sum(len(part) for part in self.rows)
        return len(self.rows) if isinstance(self.rows, Table) else self.rows.rows or 0

    @property
    def elements(self) -> int:
        """See `Dataset`."""
        return len(self) * self.schema.size

    @property
    def layout(self) -> str | None:
        """See `Table.layout`; None of files."""
        return self.rows.layout(self.schema) if isinstance(self.rows, Table) else None

    @property
    def summary(self) -> str:
        """See `Dataset`."""
        return f"{self.source}: {self.schema.describe()}"

    def check(self) -> Check:
        """See `Dataset`."""
        rows = self.rows if isinstance(self.rows, Table) else next(iter(self.rows))
        summary = self.summary + (f"; {rows.how}" if rows.how else "")
        return Check(summary, self.schema.findings(), find_doubts(rows, self.schema))

    def blocks(self, doing: str) -> Iterator[Block]:
        """65,536 rows at a time."""
        total = len(self.rows) if isinstance(self.rows, Table) else self.rows.rows or 0
        with progress_bar(doing, total) as bar:
            for number, part in enumerate(self._parts()):
                yield Block(self._items(part), part, number or None)
                bar.advance(steps=len(part))

    def all_items(self) -> Items:
        """See `Dataset`."""
        return self._items(self.rows if isinstance(self.rows, Table) else self.rows.read())

    def examples(self) -> Items:
        """All rows; raises `DataError` if there is only one."""
        items = self.all_items()
        if len(items) < 2:
            raise DataError(f"{self.source}: must have at least 2 rows to fit to, got {len(items)}")
        return items

    def collector(self, role: str = "", *, replace: bool = True) -> Collector | None:
        """See `Dataset`; in the role `changes`, a row per element that was replaced."""
        if self.places and role not in self.places:
            return None
        convert = _changes if role == "changes" else Table.replace if replace else Table.beside
        if self.places:
            output, origin = self.places[role], self.rows.origin if isinstance(self.rows, TableReader) else None
            if origin and convert is Table.replace:
                if output.continues(origin):
                    changed = Table.revised if isinstance(origin, Sheet) else Table.spliced
                    return _PartCollector(self.schema, changed, output, origin=origin)
                if isinstance(origin, CsvFile) and output.is_text:
                    convert = Table.written
            return _PartCollector(self.schema, convert, output)
        if isinstance(self.rows, TableReader) or role == "changes":
            return _PartCollector(self.schema, convert, None, self.form)
        return _CellCollector(self.schema, convert, self.rows, self.form)

    def report(
        self, scores: Mapping[str, np.ndarray], windows: Any = None, events: Any = None
    ) -> dict[str, Iterable[pa.Table]]:
        """A row per row, by its number."""
        return {"": [pa.table({**self.named(np.arange(len(scores["score"]))), **scores})]}

    def named(self, numbers: np.ndarray) -> dict[str, Any]:
        """Of rows their numbers."""
        return {"row": numbers}

    def to(self, places: Mapping[str, Any]) -> TableSet:
        """See `Dataset`."""
        return dataclasses.replace(self, places=places)

    def _parts(self) -> Iterator[Table]:
        if isinstance(self.rows, TableReader):
            yield from self.rows
        else:
            starts = range(0, len(self.rows) or 1, _BLOCK_ROWS)
            yield from (self.rows.part(at, _BLOCK_ROWS) for at in starts)

    def _items(self, part: Table) -> Items:
        return as_items(part.cells(self.schema), self.schema, self.source)


@final
class _CellCollector(Collector):
    """For tables in memory: all cells, which are put into a copy of the whole table at the end."""

    def __init__(self, schema: TableSchema, convert: Callable[..., Any], table: Table, form: Form) -> None:
        self._schema, self._convert, self._table, self._form = schema, convert, table, form
        self._cells: list[np.ndarray] = []
        self._where: list[np.ndarray] = []

    def _put(self, block: Block, values: np.ndarray, where: np.ndarray) -> int:
        self._cells.append(values[:, 0, :, 0])
        self._where.append(where[:, 0, :, 0])
        return int(where.sum())

    def result(self) -> Any:
        cells, where = np.concatenate(self._cells), np.concatenate(self._where)
        return listed(self._convert(self._table, self._schema, cells, where), self._form)


@final
class _PartCollector(Collector):
    """For tables read part by part: parts go to a file, or are joined in the end."""

    def __init__(
        self,
        schema: TableSchema,
        convert: Callable[..., Any],
        output: TableOutput | None,
        form: Form = "arrow",
        origin: CsvFile | Sheet | None = None,
    ) -> None:
        self._schema, self._convert, self._output, self._form, self._origin = schema, convert, output, form, origin
        self._tables: list[pa.Table] = []
        self._write: Write = self._tables.append
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        if self._output is not None:
            self._write = self._stack.enter_context(self._output.writer(self._origin))
        return self

    def __exit__(self, *error: Any) -> None:
        self._stack.__exit__(*error)

    def _put(self, block: Block, values: np.ndarray, where: np.ndarray) -> int:
        cells = values[:, 0] if values.shape[3] > 1 else values[:, 0, :, 0]
        table = self._convert(block.place, self._schema, cells, where[:, 0, :, 0])
        self._write(table if isinstance(table, pa.Table | bytes | dict) else Table.of(table).arrow)
        return int(where.sum())

    def result(self) -> Any:
        if self._output is not None:
            return self._output.path
        return _in_form(pa.concat_tables(self._tables).unify_dictionaries(), self._form)


def _changes(table: Table, schema: TableSchema, cells: np.ndarray, where: np.ndarray) -> pa.Table:
    """A row per replaced cell, from `(n, d, 2)`: where it is, what it was and became, and how probably it was wrong."""
    parts = []
    for number, (column, at) in enumerate(zip(table.spelled(schema).columns, table.places(schema), strict=True)):
        rows = np.flatnonzero(where[:, number])
        parts.append(
            pa.table(
                {
                    "row": pa.array(rows + table.first),
                    "column": pa.array([column.name] * len(rows), pa.string()),
                    "was": table.texts(at).take(pa.array(rows)),
                    "is": decode_column(column, cells[rows, number, 0], pa.large_string()),
                    "probability": pa.array(cells[rows, number, 1]),
                }
            )
        )
    return pa.concat_tables(parts).sort_by("row")


def open_rows(
    source: Any, schema: TableSchema | None, texts: frozenset[str] = frozenset(), **dialect: Any
) -> tuple[Table | TableReader, Form]:
    """What the user gave as a table, or the reader of its file; and in which form it came. For the rest see `CsvFile`.

    Raises `UsageError` for a `dialect` of what is no file of text.
    """
    check_text(source, dialect)
    if isinstance(source, str | Path):
        if Path(source).suffix.lower() == ".npy":
            return Table.of(read_npy(Path(source)), str(source)), "numpy"
        return TableReader(source, schema, _BLOCK_ROWS, texts=texts, **dialect), "arrow"
    if isinstance(source, Table | TableReader):
        return source, source.kind if isinstance(source, Table) else "arrow"
    if isinstance(source, Mapping):
        return Table.of(_columns(source)), "columns"
    if isinstance(source, Sequence):
        return Table.of(_array(source)), "rows"
    framed = hasattr(source, "columns") or hasattr(source, "column_names")
    table = Table.of(source if framed or not hasattr(source, "__array__") else np.asarray(source))
    return table, table.kind


def _columns(source: Mapping[str, Any]) -> pa.Table:
    try:
        return pa.table({str(name): pa.array(column, from_pandas=True) for name, column in source.items()})
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise DataError(
            f"table: columns must be lists of one length and type each ({str(error).splitlines()[0]})"
        ) from None


def _array(source: Sequence[Any]) -> np.ndarray:
    """A list of rows as an array of numbers, or of objects where some cells are none."""
    try:
        array = np.array(source)
    except ValueError:
        raise DataError("table: rows must be lists of one length each") from None
    return array if array.dtype.kind in "buif" else np.array(source, object)


def _in_form(table: pa.Table, form: str | None) -> Any:
    """An Arrow table in the form in which the user's came."""
    return listed(as_native(table, {"rows": "numpy", "columns": "arrow"}.get(form or "arrow", form or "arrow")), form)


def listed(native: Any, form: str | None) -> Any:
    """Lists of rows and dicts of columns again, where that is the form."""
    if form == "rows":
        return native.tolist()
    return native.to_pydict() if form == "columns" else native


def _axes(path: Path) -> int:
    return read_npy(path).ndim if path.is_file() else 0
