"""Archives of tables and of series: every cell comes back bit for bit, whether the model knows its column or not."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import IO, Any, get_args

import numpy as np
import pyarrow as pa

from fivefold.archive.container import ArchiveReader, ArchiveWriter, Limits
from fivefold.archive.image_archive import NONSENSE, inflate, weights_of
from fivefold.archive.opened import Opened, embedded
from fivefold.archive.pool import Pool
from fivefold.errors import DamagedArchiveError, DataError, ModelError, UsageError
from fivefold.model.fitted import FittedModel
from fivefold.progress import Rate, progress_bar
from fivefold.series.coding import StepCodec, decode_steps, encode_steps
from fivefold.series.exact import ExactSteps
from fivefold.series.rows import SeriesRows
from fivefold.series.schema import SeriesSchema
from fivefold.storage import fingerprint
from fivefold.tables.array_bytes import check_type
from fivefold.tables.coding import RowCodec, decode_rows, encode_rows
from fivefold.tables.exact import ExactRows
from fivefold.tables.frames import TableKind, as_native
from fivefold.tables.schema import TableSchema
from fivefold.tables.table import Table

_COLUMNS = "columns"
_BLOCK_ROWS, _BLOCK_STEPS = 1 << 14, 1 << 16
_EXACT_ONLY = "archives of tables and of series are exact: --lossy and --step are for images"
_Codec = RowCodec | StepCodec


@dataclass(frozen=True)
class RowOptions:
    """How an archive is written.

    Attributes
    ----------
    block_items : rows, or steps, that are coded together; by default 16,384 rows, and 65,536 steps
    verify, embed_model, workers : see `write_archive`
    lossy, step : there are none

    Raises
    ------
    UsageError : if an option is out of its range, or not for tables
    """

    lossy: bool = False
    step: float | None = None
    block_items: int | None = None
    verify: bool = True
    embed_model: bool = False
    workers: int = 1

    def __post_init__(self) -> None:
        most = Limits().block_rows
        if self.lossy or self.step is not None:
            raise UsageError(_EXACT_ONLY)
        if self.block_items is not None and not 1 <= self.block_items <= most:
            raise UsageError(f"--block-items must be from 1 to {most:,}, got {self.block_items}")


def write_row_archive(
    model: FittedModel, parts: Iterable[Table], file: IO[bytes], *, rows: int | None = None, **options: Any
) -> int:
    """Write an archive of a table, given part by part; returns how many rows there were.

    Parameters
    ----------
    rows : how many there will be, if that is known
    options : see `RowOptions`

    Raises
    ------
    UsageError : if an option is out of its range, or not for tables
    ModelError : if the model has no context decoder
    DataError : if there are no rows, a column is of a type that archives can't hold, or the parts are not of one type
    """
    chosen = RowOptions(**options)
    exact = (part.exact(model.table_schema) for part in parts if len(part))
    return _write(model, exact, file, {"kind": "table"}, rows, chosen.block_items or _BLOCK_ROWS, chosen)


def write_series_archive(model: FittedModel, source: Any, file: IO[bytes], **options: Any) -> tuple[int, int]:
    """Write an archive of series; returns how many steps there were, and how many bytes `source` has.

    See `SeriesRows.of` for sources, and `write_row_archive` for the rest.
    """
    chosen = RowOptions(**options)
    steps = chosen.block_items or _BLOCK_STEPS
    series = SeriesRows.of(source, model.series_schema, steps)
    facts = {"kind": "series", "ids": series.ids, **series.form}
    return _write(model, series.parts, file, facts, series.rows, steps, chosen), series.bytes


def _write(
    model: FittedModel,
    parts: Iterable[tuple[TableKind, pa.Table]],
    file: IO[bytes],
    facts: dict[str, Any],
    rows: int | None,
    block_rows: int,
    options: RowOptions,
) -> int:
    exact = iter(parts)
    if (start := next(exact, None)) is None:
        raise DataError("the table has no rows")
    kind, first = start
    for column in first.schema:
        check_type(column.type, column.name, "table")
    attached = {_COLUMNS: zlib.compress(first.schema.serialize().to_pybytes(), 9)}
    attached |= embedded(model) if options.embed_model else {}
    codec = codec_of(model, first.schema, facts.get("ids"))
    writer = ArchiveWriter(file, {**facts, "frame": kind, "model": fingerprint(model)}, attached)
    tasks = options.workers if rows is None else -(-rows // block_rows)
    done, rate = 0, Rate()
    with Pool(codec, options.workers, tasks) as pool, progress_bar("compress", rows or 0) as bar:
        blocks = _blocks(chain([first], (part for _, part in exact)), first.schema, block_rows)
        for count, method, layers in pool.map(_encoder(codec), ((block, options.verify) for block in blocks)):
            writer.add(count, method, layers)
            done += count
            bar.advance(f"compress, {rate.add(sum(map(len, layers)))}", count)
        writer.close()
    return done


def _encoder(codec: _Codec) -> Callable[..., Any]:
    return encode_steps if isinstance(codec, StepCodec) else encode_rows


def _decoder(codec: _Codec) -> Callable[..., Any]:
    return decode_steps if isinstance(codec, StepCodec) else decode_rows


def _blocks(tables: Iterable[pa.Table], columns: pa.Schema, rows: int) -> Iterator[pa.Table]:
    for table in tables:
        if not table.schema.equals(columns):
            raise DataError("all rows of a table must be of the same types")
        yield from (table.slice(start, rows) for start in range(0, len(table), rows))


@dataclass
class RowArchive(Opened):
    """An open archive of a table, or of series.

    Attributes
    ----------
    reader : of its blocks
    limits : what may be read
    columns : the table's
    kind : of what was compressed: `pandas`, `polars`, `arrow` or `numpy`
    ids : of series the column that says of which a row is, or None
    """

    columns: pa.Schema
    kind: TableKind
    ids: str | None = None

    @classmethod
    def of(cls, reader: ArchiveReader, limits: Limits) -> RowArchive:
        """Raises `ArchiveError`."""
        try:
            content = inflate(reader.attachment(_COLUMNS), limits.header_bytes, "columns")
            columns = pa.ipc.read_schema(pa.py_buffer(content))
            for column in columns:
                check_type(column.type, column.name, "the archive")
            kind = reader.facts["frame"]
            sane = isinstance(reader.facts["model"], str) and kind in get_args(TableKind) and reader.items > 0
            sane = sane and len(set(columns.names)) == len(columns) > 0
            ids = reader.facts.get("ids")
            sane = sane and (ids is None or ids in columns.names) and _is_sane_form(reader, len(columns))
        except (*NONSENSE, DataError, OSError, pa.ArrowException) as error:
            raise DamagedArchiveError(f"the archive's header is damaged: {error}") from None
        if not sane:
            raise DamagedArchiveError("the archive's header is damaged")
        for block in reader.blocks:
            limits.check("block_rows", block.items)
        return cls(reader, limits, columns, kind, ids)

    def parts(
        self,
        model: FittedModel | None = None,
        *,
        lossy: bool = False,
        items: slice = slice(None),
        workers: int = 1,
    ) -> Generator[pa.Table, None, None]:
        """The rows, block by block, of the blocks that they are in only; parameters as of `Archive.parts`.

        Raises
        ------
        ArchiveError : of the kind that says what is wrong
        UsageError : if `items` has another step than 1, or `lossy` is asked for
        """
        if lossy:
            raise UsageError(_EXACT_ONLY)
        rows, model = self.rows(items), self.model(model)
        about = model.schema.channels if isinstance(model.schema, SeriesSchema) else model.schema
        names = about.names if isinstance(about, TableSchema) else ("a table",)
        if lacking := [name for name in names if name not in self.columns.names]:
            raise DamagedArchiveError(f"the archive's header is damaged: it lacks {lacking[0]}")
        codec = codec_of(model, self.columns, self.ids, self.limits)
        wanted = list(self.blocks(rows))
        tasks = (
            (block.items, self.reader.method(block), [self.reader.layer(block, number) for number in (0, 1)])
            for block, _ in wanted
        )
        pool = Pool(codec, workers, len(wanted))
        with progress_bar("decompress", len(rows)) as bar, pool:
            rate = Rate()
            for (block, where), table in zip(wanted, pool.map(_decoder(codec), tasks), strict=True):
                if isinstance(table, str):
                    raise DamagedArchiveError(f"the block of rows from {block.first} on is damaged: {table}")
                part = table.slice(where.start, min(where.stop, block.items) - where.start)
                bar.advance(f"decompress, {rate.add(part.nbytes)}", len(part))
                yield part

    @property
    def is_of_arrays(self) -> bool:
        """Whether series came as arrays, or as sound."""
        return "shape" in self.reader.facts

    @property
    def sound(self) -> tuple[int, int] | None:
        """Of series that came as sound its rate and the bytes of a sample."""
        sound = self.reader.facts.get("sound")
        return sound and (sound[0], sound[1])

    def read(self, model: FittedModel | None = None, *, items: slice = slice(None), **options: Any) -> Any:
        """All of `parts` as what was compressed: a table of the kind, with its index; of series an array or a list of arrays.

        Of some of the rows an index that only counts them starts anew, and of arrays those steps are one, `(steps, channels)`.
        """
        parts = self.parts(model, items=items, **options)
        return self.as_arrays(parts) if self.is_of_arrays else as_native(self._joined(parts), self.kind)

    def _joined(self, parts: Iterable[pa.Table]) -> pa.Table:
        found, size = [self.columns.empty_table()], 0
        for part in parts:
            size += part.nbytes
            self.limits.check("bytes", size)
            found.append(part)
        return pa.concat_tables(found).unify_dictionaries()

    def as_arrays(self, parts: Iterable[pa.Table]) -> Any:
        """Parts of series that came as arrays as such: see `read`."""
        assert self.ids is not None
        table = self._joined(parts)
        values, shape = as_native(table.drop_columns(self.ids), "numpy"), self.reader.facts["shape"]
        if len(table) < len(self):
            return values
        if shape is not None:
            return values.reshape(shape)
        return np.split(values, np.flatnonzero(np.diff(table.column(self.ids).to_numpy())) + 1)


def _is_sane_form(reader: ArchiveReader, columns: int) -> bool:
    """Whether series that came as arrays can become such again."""
    facts = reader.facts
    if "shape" not in facts:
        return True
    shape, sound = facts["shape"], facts["sound"]
    values = reader.items * (columns - 1)
    return (
        facts["ids"] is not None
        and (shape is None or (all(type(each) is int and each > 0 for each in shape) and math.prod(shape) == values))
        and (sound is None or (len(sound) == 2 and all(type(each) is int and each > 0 for each in sound)))
    )


def codec_of(
    model: FittedModel,
    columns: pa.Schema,
    ids: str | None = None,
    limits: Limits = Limits(),  # noqa: B008  (frozen)
) -> _Codec:
    """What codes blocks of a table, or of series, under a model.

    Raises `ModelError` if it has no context decoder, or its weights are not all numbers.
    """
    if model.context is None:
        raise ModelError("these archives need a model with a context decoder, this one was fitted with --window 0")
    weights = weights_of(model)
    if isinstance(model.schema, SeriesSchema):
        return StepCodec(ExactSteps(weights, model.schema, model.config), columns, ids, limits.block_bytes)
    return RowCodec(ExactRows(weights, model.table_schema, model.config), columns, limits.block_bytes)
