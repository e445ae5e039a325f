"""The kinds of tables that users have: to Arrow, and back to one of the same kind."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import narwhals as nw
import numpy as np
import pyarrow as pa
from pyarrow import types as pt

from fivefold.errors import DataError

TableKind = Literal["pandas", "polars", "arrow", "numpy"]


def kind_of(data: Any, source: str) -> TableKind:
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


def to_arrow(data: Any, kind: TableKind, source: str) -> pa.Table:
    """The table as Arrow's, its columns named by text; NaN of pandas and NumPy become null.

    Raises `DataError` for columns of mixed types, and for columns of one name.
    """
    names = _names(data, kind)
    if twice := [name for name in dict.fromkeys(names) if names.count(name) > 1]:
        raise DataError(
            f"{source}: columns must have names of their own, got {twice[0]!r} {names.count(twice[0])} times"
        )
    if kind == "polars":
        try:
            data = data.to_arrow()
        except pa.ArrowException as error:
            raise DataError(f"{source}: can't be turned into Arrow columns: {_line(error)}") from None
    if kind in ("arrow", "polars"):
        return data.cast(pa.schema([_computable(field) for field in data.schema], data.schema.metadata))
    columns = [data.iloc[:, at] if kind == "pandas" else data[:, at] for at in range(len(names))]
    arrays = [_array(column, name, source) for column, name in zip(columns, names, strict=True)]
    if not names:
        return pa.table({"": pa.nulls(len(data))}).select([])
    return pa.table(arrays, names)


def to_exact(data: Any, kind: TableKind, arrow: pa.Table) -> pa.Table:
    """`arrow` with what `to_arrow` leaves out: of pandas the index, and which NaN it was."""
    if kind == "numpy":
        return pa.table([pa.array(column) for column in data.T], arrow.column_names)
    if kind != "pandas":
        return arrow
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


def take(data: Any, kind: TableKind, rows: slice | np.ndarray) -> Any:
    """The rows of a table, by number or by a mask, as one of the same kind."""
    if kind == "pandas":
        return data.iloc[rows]
    if kind == "numpy":
        return data[rows]
    if isinstance(rows, slice):
        start, stop, step = rows.indices(len(data))
        if step == 1:
            return data.slice(start, max(stop - start, 0))
    numbers = np.arange(len(data))[rows]
    if kind == "polars":
        return data[numbers]
    return pa.table([_gather(column, numbers) for column in data.columns], data.schema)


def put(data: Any, kind: TableKind, columns: Mapping[int, tuple[np.ndarray, pa.Array]]) -> Any:
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


def like(data: Any, kind: TableKind, columns: Mapping[str, np.ndarray]) -> Any:
    """A new table of the same kind, and of pandas' index, of other columns; of NumPy a 2-D array of float64."""
    if kind == "pandas":
        import pandas as pd

        return pd.DataFrame(dict(columns), index=data.index)
    if kind == "numpy":
        return np.column_stack([np.asarray(column, np.float64) for column in columns.values()])
    return as_native(pa.table({name: pa.array(column) for name, column in columns.items()}), kind)


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


def _names(data: Any, kind: TableKind) -> list[str]:
    if kind == "arrow":
        return data.column_names
    return [f"x{at}" for at in range(data.shape[1])] if kind == "numpy" else [str(each) for each in data.columns]


def _array(column: Any, name: str, source: str) -> pa.Array | pa.ChunkedArray:
    try:
        return pa.array(column.sparse.to_dense() if _is_sparse(column) else column, from_pandas=True)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, OverflowError) as error:
        types = list(dict.fromkeys(type(each).__name__ for each in column if each is not None and each == each))
        if len(types) > 1:
            raise DataError(f"{source}: column {name!r} must be of one type, got {types[0]} and {types[1]}") from None
        raise DataError(f"{source}: column {name!r} can't be read: {_line(error)}") from None


def _is_sparse(column: Any) -> bool:
    return str(column.dtype).startswith("Sparse[")


def _line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def _put_pandas(data: Any, columns: Mapping[int, tuple[np.ndarray, pa.Array]]) -> Any:
    frame = data.copy(deep=False)
    for at, (where, values) in columns.items():
        series = data.iloc[:, at].copy()
        new = values.to_pandas().array
        if _is_sparse(series):
            series = series.sparse.to_dense()
        if series.dtype == "category":
            have = series.cat.categories
            series = series.cat.add_categories([each for each in dict.fromkeys(new) if each not in have])
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
    return _gather(pa.chunked_array([*old.chunks, values.cast(old.type)], old.type), rows)


def _gather(column: pa.ChunkedArray, rows: np.ndarray) -> pa.ChunkedArray:
    if pt.is_dictionary(column.type):
        column = column.unify_dictionaries()
    whole = column.cast(pa.large_string()) if pt.is_string_view(column.type) else column
    return whole.take(pa.array(rows)).cast(column.type)


def _computable(field: pa.Field) -> pa.Field:
    """Arrow can't compute with `string_view` yet."""
    return field.with_type(pa.large_string()) if pt.is_string_view(field.type) else field
