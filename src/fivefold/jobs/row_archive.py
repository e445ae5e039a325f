"""Archives of tables: every cell comes back bit for bit, whether the model knows its column or not."""

from __future__ import annotations

import zlib
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import IO, Any, get_args

import pyarrow as pa

from fivefold.codec.archive import ArchiveReader, ArchiveWriter, Limits
from fivefold.data.array_bytes import check_type
from fivefold.data.tables import Table, TableKind, as_native
from fivefold.errors import DamagedArchiveError, DataError, ModelError, UsageError
from fivefold.jobs.image_archive import NONSENSE, inflate, weights_of
from fivefold.jobs.opened import Opened, embedded
from fivefold.jobs.pool import Pool
from fivefold.jobs.row_blocks import RowCodec, decode_rows, encode_rows
from fivefold.model.exact_rows import ExactRows
from fivefold.model.fitted import FittedModel
from fivefold.progress import Rate, progress_bar
from fivefold.storage import fingerprint

_COLUMNS = "columns"
_BLOCK_ROWS = 1 << 14
_EXACT_ONLY = "archives of tables are exact: --lossy and --step are for images"


def write_row_archive(
    model: FittedModel,
    parts: Iterable[Table],
    file: IO[bytes],
    *,
    rows: int | None = None,
    lossy: bool = False,
    step: float | None = None,
    block_items: int | None = None,
    verify: bool = True,
    embed_model: bool = False,
    workers: int = 1,
) -> int:
    """Write an archive of a table, given part by part; returns how many rows there were.

    Parameters
    ----------
    rows : how many there will be, if that is known
    block_items, verify, embed_model, workers : see `write_archive`; blocks have 16,384 rows by default
    lossy, step : there are none for tables

    Raises
    ------
    UsageError : if an option is out of its range, or not for tables
    ModelError : if the model has no context decoder
    DataError : if there are no rows, a column is of a type that archives can't hold, or the parts are not of one type
    """
    block_rows, most = _BLOCK_ROWS if block_items is None else block_items, Limits().block_rows
    if lossy or step is not None:
        raise UsageError(_EXACT_ONLY)
    if not 1 <= block_rows <= most:
        raise UsageError(f"--block-items must be from 1 to {most:,}, got {block_rows}")
    exact = (part.exact(model.table_schema) for part in parts if len(part))
    if (start := next(exact, None)) is None:
        raise DataError("the table has no rows")
    kind, first = start
    for column in first.schema:
        check_type(column.type, column.name, "table")
    facts = {"kind": "table", "frame": kind, "model": fingerprint(model)}
    attached = {_COLUMNS: zlib.compress(first.schema.serialize().to_pybytes(), 9)}
    attached |= embedded(model) if embed_model else {}
    writer = ArchiveWriter(file, facts, attached)
    tasks = workers if rows is None else -(-rows // block_rows)
    done, rate = 0, Rate()
    with Pool(codec_of(model, first.schema), workers, tasks) as pool, progress_bar("compress", rows or 0) as bar:
        blocks = _blocks(chain([first], (part for _, part in exact)), first.schema, block_rows)
        for count, method, layers in pool.map(encode_rows, ((block, verify) for block in blocks)):
            writer.add(count, method, layers)
            done += count
            bar.advance(f"compress, {rate.add(sum(map(len, layers)))}", count)
        writer.close()
    return done


def _blocks(tables: Iterable[pa.Table], columns: pa.Schema, rows: int) -> Iterator[pa.Table]:
    for table in tables:
        if not table.schema.equals(columns):
            raise DataError("all rows of a table must be of the same types")
        yield from (table.slice(start, rows) for start in range(0, len(table), rows))


@dataclass
class RowArchive(Opened):
    """An open archive of a table.

    Attributes
    ----------
    reader : of its blocks
    limits : what may be read
    columns : the table's
    kind : of what was compressed: `pandas`, `polars`, `arrow` or `numpy`
    """

    columns: pa.Schema
    kind: TableKind

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
        except (*NONSENSE, DataError, OSError, pa.ArrowException) as error:
            raise DamagedArchiveError(f"the archive's header is damaged: {error}") from None
        if not sane:
            raise DamagedArchiveError("the archive's header is damaged")
        for block in reader.blocks:
            limits.check("block_rows", block.items)
        return cls(reader, limits, columns, kind)

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
        try:
            lacking = [name for name in model.table_schema.names if name not in self.columns.names]
        except ModelError:
            lacking = ["a table"]
        if lacking:
            raise DamagedArchiveError(f"the archive's header is damaged: it lacks {lacking[0]}")
        wanted = list(self.blocks(rows))
        tasks = (
            (block.items, self.reader.method(block), [self.reader.layer(block, number) for number in (0, 1)])
            for block, _ in wanted
        )
        pool = Pool(codec_of(model, self.columns, self.limits), workers, len(wanted))
        with progress_bar("decompress", len(rows)) as bar, pool:
            rate = Rate()
            for (block, where), table in zip(wanted, pool.map(decode_rows, tasks), strict=True):
                if isinstance(table, str):
                    raise DamagedArchiveError(f"the block of rows from {block.first} on is damaged: {table}")
                part = table.slice(where.start, min(where.stop, block.items) - where.start)
                bar.advance(f"decompress, {rate.add(part.nbytes)}", len(part))
                yield part

    def read(self, model: FittedModel | None = None, **options: Any) -> Any:
        """All of `parts` as one table, of the kind that was compressed, with its index.

        Of some of the rows an index that only counts them starts anew.
        """
        found, size = [self.columns.empty_table()], 0
        for part in self.parts(model, **options):
            size += part.nbytes
            self.limits.check("bytes", size)
            found.append(part)
        return as_native(pa.concat_tables(found).unify_dictionaries(), self.kind)


def codec_of(model: FittedModel, columns: pa.Schema, limits: Limits = Limits()) -> RowCodec:  # noqa: B008  (frozen)
    """What codes blocks of a table under a model.

    Raises `ModelError` if it has no context decoder, or its weights are not all numbers.
    """
    if model.context is None:
        raise ModelError("archives of tables need a model with a context decoder, this one was fitted with --window 0")
    return RowCodec(ExactRows(weights_of(model), model.table_schema, model.config), columns, limits.block_bytes)
