"""Tables in memory, of whatever library: seen as Arrow columns, turned to encoded cells, and back to one of the same kind."""

from __future__ import annotations

import base64
import warnings
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import narwhals as nw
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import types as pt

from fivefold.errors import DataError, ModelError
from fivefold.items import Items
from fivefold.tables.cells import (
    FITTED,
    arrow_type,
    can_hold,
    decode_column,
    encode_column,
    is_text,
    object_types,
    objects,
    plain,
)
from fivefold.tables.csv import CsvFile, CsvText
from fivefold.tables.records import Added
from fivefold.tables.schema import Column, TableSchema
from fivefold.tables.sheets import Changes, Sheet

TableKind = Literal["pandas", "polars", "arrow", "numpy"]
_LAYOUT_ROWS, _MOST_LAYOUT = 100, 1 << 28


@dataclass(frozen=True)
class Table:
    """What the user gave, seen as columns; never changed.

    Attributes
    ----------
    native : the table as it was given
    arrow : its columns
    kind : `pandas`, `polars`, `arrow` or `numpy`
    source : what to call it in messages
    first : number of its first row, from 0
    text : what it was read from, if that is text
    how : how its file was read, in words
    doubts : what in that may be meant otherwise, and the parameter that settles it
    asked : what is asked of columns, by name, as in a user's `schema.json`
    file : whose rows they are, if it numbers them in a way of its own
    """

    native: Any
    arrow: pa.Table
    kind: TableKind
    source: str = "table"
    first: int = 0
    text: CsvText | None = None
    how: str = ""
    doubts: tuple[tuple[str, str], ...] = ()
    asked: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    file: CsvFile | Sheet | None = None

    @classmethod
    def of(cls, data: Any, source: str = "table", first: int = 0, text: CsvText | None = None) -> Table:
        """A pandas or polars DataFrame, a pyarrow Table, or a 2-D NumPy array, whose columns are called x0, x1, ….

        Raises `DataError` for anything else, for columns of mixed types, and for columns of one name.
        """
        kind = _kind_of(data, source)
        return cls(data, _to_arrow(data, kind, source), kind, source, first, text)

    def __len__(self) -> int:
        return int(self.arrow.num_rows)

    @property
    def names(self) -> tuple[str, ...]:
        """Of all columns."""
        return tuple(self.arrow.column_names)

    def row_name(self, row: int) -> str:
        """What to call a row, of which the first has number 0, in messages: its line in a text, or its number in a sheet, as
        editors show them; else its number from 0."""
        number = int(self.first + row)
        return f"row {number}" if self.file is None else self.file.row_name(number)

    def part(self, start: int, rows: int) -> Table:
        """At most so many rows from number `start` on; a view."""
        if self.kind == "arrow":
            native = self.native.slice(start, rows)
        else:
            native = (self.native.iloc if self.kind == "pandas" else self.native)[start : start + rows]
        return replace(self, native=native, arrow=self.arrow.slice(start, rows), first=self.first + start)

    def cells(self, schema: TableSchema) -> np.ndarray:
        """The schema's columns as encoded cells `(n, d)`, float64; NaN is missing.

        Columns go by their names, those of NumPy arrays by their places. Others are ignored. Categories that were not
        met in the fit get their code, with a warning.

        Raises `DataError` if a column lacks, can't be converted, or has infinite values.
        """
        cells = np.empty((len(self), schema.size))
        unseen = []
        for number, (column, at) in enumerate(zip(schema.columns, self.places(schema), strict=True)):
            values = self.arrow.column(at)
            cells[:, number] = self.cells_of(column, at)
            if column.kind == "category" and len(new := np.flatnonzero(cells[:, number] == len(column.categories))):
                example = values[int(new[0])].as_py()
                unseen.append(f"column {column.name!r} has {len(new)} (such as {str(example)[:80]!r})")
        if unseen:
            warnings.warn(
                f"{self.source}: cells of categories that the model has not met: {', '.join(unseen)}", stacklevel=2
            )
        return cells

    def cells_of(self, column: Column, at: int) -> np.ndarray:
        """One column's encoded cells `(n,)`."""
        return encode_column(self.arrow.column(at), column, self.source, self.row_name)

    def replace(self, schema: TableSchema, cells: np.ndarray, where: np.ndarray) -> Any:
        """A table of the same kind, columns, types and index that has the encoded `cells` `(n, d)` at `where`.

        All other cells stay as they are, to the bit; also those whose new value is missing or of no known category.
        """
        native, types = self.native, self.arrow.schema.types
        for column, at in zip(schema.columns, self.places(schema), strict=True):
            if 0 < len(self) == self.arrow.column(at).null_count and not can_hold(types[at], column):
                types[at] = arrow_type(column.dtype)
                native = _cast(native, self.kind, at, types[at])
        return _put(native, self.kind, self.replacements(schema, cells, where, types))

    def extended(self, rows: np.ndarray, new: Mapping[int, tuple[np.ndarray, pa.Array]]) -> Any:
        """A table of the same kind of the rows numbered `rows` `(n,)`, of −1 a new one, with other cells by column: in which of
        them, `(n,)` bool, and as many values. Cells of new rows that get none are missing."""
        if self.kind == "numpy":
            raise DataError(f"{self.source}: must be a frame for new rows")
        native = _taken(self.native, self.kind, rows)
        found = _put(native, self.kind, new)
        return _as_narrow(found, self.native.dtypes) if self.kind == "pandas" else found

    def spliced(self, schema: TableSchema, cells: np.ndarray, where: np.ndarray, added: Added | None = None) -> bytes:
        """Like `replace`, as the text that it was read from, UTF-8: new cells are written as their column's are."""
        assert self.text is not None
        assert self.text.block is not None
        new = self.replacements(self.spelled(schema), cells, where, [pa.large_string()] * len(self.names))
        return self.text.block.replaced(new, self.text.file.dialect.separator, added)

    def written(
        self, schema: TableSchema, cells: np.ndarray, where: np.ndarray, added: Added | None = None
    ) -> pa.Table:
        """Like `spliced`, as a table of texts, for another dialect."""
        new = self.replacements(self.spelled(schema), cells, where, [pa.large_string()] * len(self.names))
        columns = [self.texts(at) for at in range(len(self.names))]
        for at, (rows, texts) in new.items():
            columns[at] = pc.replace_with_mask(columns[at], pa.array(rows), texts)
        if added is not None:
            order = np.argsort(np.concatenate((added.before - 0.5, np.arange(len(self)))), kind="stable")
            pairs = zip(added.columns, columns, strict=True)
            columns = [pa.concat_arrays(pair).take(pa.array(order)) for pair in pairs]
        return pa.table(columns, list(self.names))

    def revised(self, schema: TableSchema, cells: np.ndarray, where: np.ndarray) -> Changes:
        """Like `replace`, as the new cells alone; numbers also where columns are text for what else is among them."""
        types = self.arrow.schema.types
        for column, at in zip(schema.columns, self.places(schema), strict=True):
            plain_number = column.kind in ("real", "integer") and not column.spelling
            if pt.is_null(types[at]) or (is_text(types[at]) and plain_number):
                types[at] = arrow_type(column.dtype)
        new = self.replacements(schema, cells, where, types)
        return {at: (np.flatnonzero(rows) + self.first, values) for at, (rows, values) in new.items()}

    def spelled(self, schema: TableSchema) -> TableSchema:
        """The schema with columns spelled as they are in this table's text."""
        spellings = self.text.spellings if self.text else {}
        columns = (replace(column, spelling=spellings.get(column.name, column.spelling)) for column in schema.columns)
        return replace(schema, columns=tuple(columns))

    def texts(self, at: int) -> pa.Array:
        """A column's cells as they are written, `large_string`."""
        if self.text and self.text.block:
            return self.text.block.column(at)
        return plain(self.arrow.column(at)).cast(pa.large_string()).combine_chunks()

    def replacements(
        self, schema: TableSchema, cells: np.ndarray, where: np.ndarray, types: Sequence[pa.DataType]
    ) -> dict[int, tuple[np.ndarray, pa.Array]]:
        """New cells of the table's columns, of these types, by their place: in which rows, and their values."""
        new = {}
        for number, (column, at) in enumerate(zip(schema.columns, self.places(schema), strict=True)):
            known = ~np.isnan(cells[:, number])
            if column.kind == "category":
                known &= cells[:, number] < len(column.categories)
            rows = where[:, number] & known
            if rows.any():
                new[at] = rows, decode_column(column, cells[rows, number], types[at])
        return new

    def exact(self, schema: TableSchema) -> tuple[TableKind, pa.Table]:
        """Its kind, and all that it holds: NaN as they are, the index of pandas; the schema's columns by their names."""
        arrow = self.arrow
        for name, kind in zip(self.names, arrow.schema.types, strict=True):
            if types := object_types(kind):
                raise DataError(f"{self.source}: column {name!r} can't be archived: its cells are {types}")
        if self.kind == "pandas":
            arrow = _exact_pandas(self.native)
        elif self.kind == "numpy":
            arrow = pa.table([pa.array(column) for column in self.native.T], arrow.column_names)
        names = arrow.column_names
        for column, at in zip(schema.columns, self.places(schema), strict=True):
            names[at] = column.name
        return self.kind, arrow.rename_columns(names).replace_schema_metadata(arrow.schema.metadata)

    def beside(self, schema: TableSchema, numbers: np.ndarray, where: np.ndarray) -> Any:
        """A table of the same kind and index of `numbers` `(n, d)` of the modelled cells, float64; NaN where not `where`."""
        columns = np.where(where, numbers, np.nan).astype(np.float64).T
        new = as_native(pa.table(list(columns), list(schema.names)), self.kind)
        return new.set_index(self.native.index) if self.kind == "pandas" else new

    def layout(self, schema: TableSchema) -> str | None:
        """The schema's columns without rows, as text: Arrow's stream of one with its metadata; see `laid_out`."""
        if self.kind == "numpy":
            return None
        head = self.native[:_LAYOUT_ROWS]
        if self.kind == "pandas":
            head = _exact_pandas(head.reset_index(drop=True))
        elif self.kind == "polars":
            head = head.to_arrow()
        head = head.select(list(schema.names))
        columns = [_nothing(column) for column in head.columns]
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, head.schema) as stream:
            stream.write_table(pa.table(columns, schema=head.schema))
        return base64.b64encode(zlib.compress(sink.getvalue().to_pybytes(), 9)).decode()

    def places(self, schema: TableSchema) -> list[int]:
        """Where the schema's columns are; raises `DataError` if any lacks."""
        if self.kind == "numpy":
            return self._places_by_number(schema)
        places = {name: at for at, name in enumerate(self.names)}
        if lacking := [name for name in schema.names if name not in places]:
            nameless = self.text is not None and not self.text.file.dialect.header
            hint = "; its first line was taken for a row: put names above, or give `header` first" if nameless else ""
            raise DataError(
                f"{self.source}: must have {_list(lacking)} {FITTED}, got {_list(self.names) if places else 'no column'}{hint}"
            )
        return [places[name] for name in schema.names]

    def _places_by_number(self, schema: TableSchema) -> list[int]:
        fitted = [*schema.names, *(name for name, _ in schema.carried)]
        width = len(self.names)
        if set(fitted) == {f"x{at}" for at in range(len(fitted))}:
            places, asked = [int(name[1:]) for name in schema.names], len(fitted)
        else:
            places, asked = list(range(schema.size)), schema.size
        if width != asked:
            raise DataError(f"{self.source}: must have {asked} column{'s' * (asked > 1)} {FITTED}, got {width}")
        return places


def decode_rows(schema: TableSchema, cells: np.ndarray, *, spelled: bool = False) -> pa.Table:
    """Encoded cells `(n, d)` as new rows, of the Arrow types that were fitted, or as they were `spelled` there."""
    columns = [
        decode_column(column, cells[:, at], pa.string() if spelled and column.spelling else arrow_type(column.dtype))
        for at, column in enumerate(schema.columns)
    ]
    return pa.table(columns, list(schema.names))


def laid_out(table: pa.Table, layout: str) -> pa.Table:
    """A table of new rows with the types of `Table.layout`; raises `ModelError` if it is damaged."""
    try:
        content = zlib.decompressobj().decompress(base64.b64decode(layout, validate=True), _MOST_LAYOUT)
        empty = pa.ipc.open_stream(content).read_all()
        empty.validate(full=True)
        columns = [_as_in(table[field.name], field, empty[field.name]) for field in empty.schema]
        fields = [field.with_type(column.type) for field, column in zip(empty.schema, columns, strict=True)]
        return pa.table(columns, schema=pa.schema(fields, empty.schema.metadata))
    except (ValueError, KeyError, zlib.error, pa.ArrowException) as error:
        raise ModelError(f"the model's layout of the table is damaged: {_line(error)}") from None


def _nothing(column: pa.ChunkedArray) -> pa.Array:
    """A null that carries the column's dictionary, if it has one."""
    if not pt.is_dictionary(column.type):
        return pa.nulls(1, column.type)
    dictionary = (
        column.unify_dictionaries().chunk(0).dictionary if column.num_chunks else pa.array([], column.type.value_type)
    )
    none = pa.nulls(1, column.type.index_type)
    return pa.DictionaryArray.from_arrays(none, dictionary, ordered=column.type.ordered)


def _as_in(column: pa.ChunkedArray, field: pa.Field, empty: pa.ChunkedArray) -> pa.ChunkedArray:
    if pt.is_null(field.type):
        return column
    if not pt.is_dictionary(field.type):
        return column.cast(field.type, safe=False)
    dictionary = empty.chunk(0).dictionary
    indices = (
        pc.index_in(column.cast(dictionary.type), value_set=dictionary).cast(field.type.index_type).combine_chunks()
    )
    chunks = indices.chunks if isinstance(indices, pa.ChunkedArray) else [indices]
    parts = [pa.DictionaryArray.from_arrays(chunk, dictionary, ordered=field.type.ordered) for chunk in chunks]
    return pa.chunked_array(parts, field.type)


def as_items(cells: np.ndarray, schema: TableSchema, source: str) -> Items:
    """Encoded cells `(n, d)` as items `(n, 1, d, 1)`."""
    return Items(cells[:, None, :, None], schema, source)


def _list(names: list[str] | tuple[str, ...], most: int = 12) -> str:
    shown = ", ".join(map(repr, names[:most]))
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"column{'s' if len(names) > 1 else ''} {shown}{more}"


def _kind_of(data: Any, source: str) -> TableKind:
    """Which kind of table this is; raises `DataError` for anything else."""
    if nw.dependencies.is_pandas_dataframe(data):
        return "pandas"
    if nw.dependencies.is_polars_dataframe(data):
        return "polars"
    if isinstance(data, pa.Table):
        return "arrow"
    if isinstance(data, np.ndarray) and data.ndim == 2 and data.dtype.kind in "buifO":
        return "numpy"
    got = f"an array {data.shape} of {data.dtype}" if isinstance(data, np.ndarray) else type(data).__name__
    raise DataError(
        f"{source}: must be a pandas or polars DataFrame, a pyarrow Table or a 2-D NumPy array of numbers or objects, "
        f"got {got}"
    )


def _to_arrow(data: Any, kind: TableKind, source: str) -> pa.Table:
    """The table as Arrow's, its columns named by text; NaN of pandas and NumPy become null.

    Raises `DataError` for columns of one name.
    """
    if kind == "numpy":
        names = [f"x{at}" for at in range(data.shape[1])]
    else:
        names = [str(name) for name in (data.column_names if kind == "arrow" else data.columns)]
    if twice := [(name, times) for name, times in Counter(names).items() if times > 1]:
        raise DataError(f"{source}: columns must have names of their own, got {twice[0][0]!r} {twice[0][1]} times")
    if kind == "polars":
        try:
            data = data.to_arrow()
        except pa.ArrowException as error:
            raise DataError(f"{source}: can't be turned into Arrow columns: {_line(error)}") from None
    if kind in ("arrow", "polars"):
        return data.cast(pa.schema([_computable(field) for field in data.schema], data.schema.metadata))
    columns = [data.iloc[:, at] if kind == "pandas" else data[:, at] for at in range(len(names))]
    arrays = [_array(column) for column in columns]
    if not names:
        return pa.table({"": pa.nulls(len(data))}).select([])
    return pa.table(arrays, names)


def _exact_pandas(data: Any) -> pa.Table:
    """With the index, and floats whose NaN are NaN, not null."""
    data = data.copy(deep=False)
    for at in range(data.shape[1]):
        if _is_sparse(data.iloc[:, at]):
            data.isetitem(at, data.iloc[:, at].sparse.to_dense())
    table = pa.Table.from_pandas(data)
    for at, dtype in enumerate(data.dtypes):
        if getattr(dtype, "kind", "") == "f" and not hasattr(dtype, "construct_array_type"):
            field = table.schema.field(at)
            table = table.set_column(at, field, pa.array(data.iloc[:, at].to_numpy(), field.type))
    return table


def _put(data: Any, kind: TableKind, columns: Mapping[int, tuple[np.ndarray, pa.Array]]) -> Any:
    """A copy in which the columns by place have new values: `(n,)` bool where, and as many values, none of them null."""
    if kind == "numpy":
        copy = data.copy()
        for at, (where, values) in columns.items():
            copy[where, at] = values.to_pylist() if data.dtype == object else values.to_numpy(zero_copy_only=False)
        return copy
    if kind == "pandas":
        return _put_pandas(data, columns)
    if kind == "polars":
        return _put_polars(data, columns)
    for at, (where, values) in columns.items():
        data = data.set_column(at, data.schema.field(at), _put_arrow(data.column(at), where, values))
    return data


def as_native(arrow: pa.Table, kind: str) -> Any:
    """An Arrow table as one of the given kind: `pandas`, `polars`, `arrow` or `numpy`.

    A NumPy array is of objects if not all columns are numbers or all are booleans.
    """
    if kind == "pandas":
        return arrow.to_pandas()
    if kind == "polars":
        import polars as pl

        return pl.from_arrow(arrow)
    if kind == "numpy":
        columns = [column.to_numpy() for column in arrow.columns]
        kinds = {column.dtype.kind for column in columns}
        objects = not (kinds <= set("iuf") or kinds == {"b"})
        return np.column_stack([column.astype(object) if objects else column for column in columns])
    return arrow


def _array(column: Any) -> pa.Array | pa.ChunkedArray:
    try:
        return pa.array(column.sparse.to_dense() if _is_sparse(column) else column, from_pandas=True)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, OverflowError):
        return objects(column)


def _is_sparse(column: Any) -> bool:
    return _is_sparse_type(column.dtype)


def _is_sparse_type(dtype: Any) -> bool:
    return str(dtype).startswith("Sparse[")


def _line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def _cast(data: Any, kind: TableKind, at: int, target: pa.DataType) -> Any:
    """With a column of nothing but nulls as one of a type that can hold values."""
    empty = pa.nulls(len(data), target)
    if kind == "arrow":
        return data.set_column(at, data.schema.field(at).with_type(target), empty)
    if kind == "polars":
        return data.with_columns(as_native(pa.table([empty], [data.columns[at]]), kind).to_series())
    if kind == "numpy":
        return data.astype(object)
    if data.dtypes.iloc[at] not in ("object", "category"):
        data = data.copy(deep=False)
        data.isetitem(at, empty.to_pandas().set_axis(data.index))
    return data


def _taken(data: Any, kind: TableKind, rows: np.ndarray) -> Any:
    """The rows of a frame numbered `rows`, of −1 one of nothing but missing cells."""
    lacking = rows < 0
    if kind == "polars":
        import polars as pl

        return data.select(pl.all().gather(pl.Series(pl.from_arrow(pa.array(rows, mask=lacking)))))
    if kind == "arrow":
        found = data.take(pa.array(rows, mask=lacking))
        fields = [field.with_nullable(field.nullable or bool(lacking.any())) for field in data.schema]
        return found.cast(pa.schema(fields, data.schema.metadata)) if lacking.any() else found
    frame = data.iloc[np.where(lacking, 0, rows)].reset_index(drop=True)
    for at, dtype in enumerate(data.dtypes):
        column = frame.iloc[:, at]
        if _is_sparse(column):
            column = column.sparse.to_dense()
        elif dtype.kind in "iub" and isinstance(dtype, np.dtype):  # which have no missing cells
            name = str(dtype).replace("int", "Int").replace("uI", "UI")
            column = column.astype("boolean" if dtype.kind == "b" else name)
        frame.isetitem(at, column.mask(lacking))
    return frame


def _as_narrow(frame: Any, dtypes: Any) -> Any:
    """A frame whose whole numbers and truth values are of types without missing cells again, where none are missing."""
    for at, dtype in enumerate(dtypes):
        column = frame.iloc[:, at]
        if column.dtype != dtype and (_is_sparse_type(dtype) or not column.isna().any()):
            frame.isetitem(at, column.astype(dtype))
    return frame


def _put_pandas(data: Any, columns: Mapping[int, tuple[np.ndarray, pa.Array]]) -> Any:
    frame = data.copy(deep=False)
    for at, (where, values) in columns.items():
        series = data.iloc[:, at].copy()
        new = values.to_pandas().array
        if _is_sparse(series):
            series = series.sparse.to_dense()
        if series.dtype == "category":
            have = series.cat.categories
            series = series.cat.add_categories([level for level in dict.fromkeys(new) if level not in have])
        series.iloc[np.flatnonzero(where)] = list(new) if series.dtype in (object, "category") else new
        frame.isetitem(at, series.astype(data.dtypes.iloc[at]) if _is_sparse(data.iloc[:, at]) else series)
    return frame


def _put_polars(data: Any, columns: Mapping[int, tuple[np.ndarray, pa.Array]]) -> Any:
    import polars as pl

    for at, (where, values) in columns.items():
        old = data.to_series(at)
        place = np.zeros(len(where), np.uint32)
        place[where] = np.arange(len(values))
        new = pl.Series(pl.from_arrow(values)).cast(old.dtype).gather(place)
        data = data.with_columns(new.zip_with(pl.Series(where), old).alias(old.name))
    return data


def _put_arrow(old: pa.ChunkedArray, where: np.ndarray, values: pa.Array) -> pa.ChunkedArray:
    """By taking from the old and the new values in a row, which works for any type."""
    rows = np.arange(len(old))
    rows[where] = len(old) + np.arange(len(values))
    joined = pa.chunked_array([*old.chunks, values.cast(old.type)], old.type)
    if pt.is_dictionary(old.type):
        joined = joined.unify_dictionaries()
    elif pt.is_string_view(old.type):
        joined = joined.cast(pa.large_string())
    return joined.take(pa.array(rows)).cast(old.type)


def _computable(field: pa.Field) -> pa.Field:
    """Arrow can't compute with `string_view` yet."""
    return field.with_type(pa.large_string()) if pt.is_string_view(field.type) else field
