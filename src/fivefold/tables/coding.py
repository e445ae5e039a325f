"""Archives of tables: columns' cells under their conditional distributions, and the rest stored verbatim. No torch here."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
import pyarrow as pa

from fivefold.archive.container import ArchiveReader, Limits
from fivefold.archive.layers import CODED, DamagedLayerError, check_empty, inflate, pack, pop, unpack
from fivefold.archive.models import has_context
from fivefold.codec import PRECISION
from fivefold.codec.alphabets import Classes, to_classes
from fivefold.codec.mixtures import LOCATION_STEPS, Mixtures, to_mixtures, without_ends
from fivefold.codec.numbers import LARGEST_DIGIT, UNIT, NumberBins
from fivefold.codec.rans import Distributions, Rans
from fivefold.codec.rounding import HintedRounder, HintingRounder, Rounder
from fivefold.errors import DamagedArchiveError, DataError, ModelError
from fivefold.modality import BlockCodec, Encoding
from fivefold.tables.cells import decode_column
from fivefold.tables.columns import Column
from fivefold.tables.dataset import listed, open_rows
from fivefold.tables.exact import ExactRows, RowChain
from fivefold.tables.files import TableReader
from fivefold.tables.frames import TableKind, as_native
from fivefold.tables.output import TableOutput
from fivefold.tables.schema import TableSchema
from fivefold.tables.verbatim import (
    cells_of,
    check_type,
    compare,
    deflate,
    merge,
    modelled_columns,
    number_bins,
    pack_verbatim,
    same_cells,
    unpack_verbatim,
    verbatim_part,
    whole_column,
)

if TYPE_CHECKING:
    from fivefold.archive.write import ArchiveOptions
    from fivefold.storage import StoredModel

_LANES, _CELLS_PER_LANE = 32, 512  # a lane takes 8 bytes
_BLOCK_ROWS = 1 << 14
_COLUMNS = "columns"


@dataclass(frozen=True)
class RowCodec:
    """Blocks of rows of one table under one model.

    Attributes
    ----------
    rows : evaluates the networks
    columns : the table's, in its order
    most : bytes of a block's verbatim layer
    """

    rows: ExactRows
    columns: pa.Schema
    most: int

    @cached_property
    def modelled(self) -> list[tuple[int, Column, pa.DataType]]:
        """See `modelled_columns`."""
        return modelled_columns(self.columns, self.rows.schema)

    @cached_property
    def bins(self) -> list[NumberBins | None]:
        """The quantisation bins of a modelled column's numbers; None for classes."""
        return [None if column.classes else number_bins(column, kind) for _, column, kind in self.modelled]

    def distributions(self, number: int, parameters: tuple[np.ndarray, ...], rounder: Rounder) -> Mixtures | Classes:
        """Those of a modelled column's cells, from the parameters of `RowChain`."""
        bins = self.bins[number]
        if bins is None:
            return to_classes(parameters[0], rounder)
        log_weights, locations, log_scales = parameters
        edges = rounder(bins.edges * LOCATION_STEPS)
        log_scales = log_scales - np.log(UNIT)
        return to_mixtures(without_ends(log_weights), locations / UNIT, log_scales, edges, "logistic", rounder)

    def encode(self, table: pa.Table, verify: bool) -> tuple[int, int, list[bytes]]:
        """Number of rows, method, layers; raises `DataError` if the verbatim layer is too large."""
        n, arrays = len(table), [whole_column(column) for column in table.columns]
        verbatim = [verbatim_part(array, None) for array in arrays]
        rows, intervals, hints, count = RowChain(self.rows, n), [], [], 0
        for number, (at, column, kind) in enumerate(self.modelled):
            cells = cells_of(arrays[at], column)
            coded = _code(self, number, rows, arrays[at], kind, cells)
            if coded.where.any():
                part = verbatim_part(arrays[at], coded.where)
                if coded.bytes + len(deflate(part)) < len(deflate(verbatim[at])):
                    verbatim[at], cells = part, coded.cells
                    intervals += coded.intervals
                    hints.append(coded.rounder.hints + 2 * count)
                    count += coded.rounder.count
            rows.observe(number, cells)
        hint = np.concatenate(hints) if hints else np.empty(0, np.int64)
        layers = [pack_verbatim(verbatim, self.most), pack_cells(intervals, hint)]
        if verify:
            compare(self.decode(n, CODED, layers), arrays)
        return n, CODED, layers

    def decode(self, items: int, method: int, layers: list[bytes], lossy: bool = False) -> Any:
        """The rows, a `pyarrow.Table`; or what is wrong, as text."""
        if method != CODED:
            return f"its method is {method}"
        try:
            return self._decode(items, layers)
        except (DamagedLayerError, DataError, pa.ArrowException) as error:
            return str(error).splitlines()[0]

    def _decode(self, n: int, layers: list[bytes]) -> pa.Table:
        verbatim = unpack_verbatim(layers[0], self.columns, {at for at, _, _ in self.modelled}, n, self.most)
        most_edges = sum(len(bins.starts) for bins in self.bins if bins is not None)
        coder, hints = unpack(layers[1], n * len(self.modelled) * self.rows.parameters + most_edges)
        rounder, rows = HintedRounder(hints), RowChain(self.rows, n)
        arrays: list[Any] = [array for _, array in verbatim]
        for number, (at, column, kind) in enumerate(self.modelled):
            where = verbatim[at][0]
            cells = np.full(n, np.nan)
            if (~where).any():
                cells[~where] = cells_of(arrays[at], column)
            if where.any():
                parameters = tuple(part[where] for part in rows.distribution(number))
                cells[where] = self._pop_cells(number, self.distributions(number, parameters, rounder), coder)
                arrays[at] = merge(arrays[at], decode_column(column, cells[where], kind), where)
            rows.observe(number, cells)
        check_empty(coder)
        return pa.table([whole_column(array) for array in arrays], self.columns)

    def _pop_cells(self, number: int, distributions: Distributions, coder: Rans) -> np.ndarray:
        """Encoded cells."""
        places, bins = pop(coder, distributions), self.bins[number]
        if bins is None:
            return places.astype(np.float64)
        whole = bins.starts[places]
        for shift, digits in bins.digits(places):
            whole = whole + (pop(coder, digits) << shift)
        return bins.values(whole)


def pack_cells(intervals: list[tuple[np.ndarray, np.ndarray]], hints: np.ndarray) -> bytes:
    """A layer of cells by their intervals; the more, the more lanes its coder has."""
    lanes = min(_LANES, 1 + sum(len(starts) for starts, _ in intervals) // _CELLS_PER_LANE)
    return pack(intervals, hints, lanes)


@dataclass
class _Coded:
    """A modelled column on its way into a block.

    Attributes
    ----------
    where : the cells that can be coded, bool `(n,)`
    cells : as a reader then knows them
    intervals, rounder : of the cells that can
    """

    where: np.ndarray
    cells: np.ndarray
    intervals: list[tuple[np.ndarray, np.ndarray]] = field(default_factory=list)
    rounder: HintingRounder = field(default_factory=HintingRounder)

    @property
    def bytes(self) -> float:
        """The code length."""
        return sum(float((PRECISION - np.log2(frequencies)).sum()) for _, frequencies in self.intervals) / 8


def _code(
    codec: RowCodec, number: int, rows: RowChain, array: pa.Array, kind: pa.DataType, cells: np.ndarray
) -> _Coded:
    """The cells that can be coded so that they come back bit for bit."""
    column, bins, n = codec.modelled[number][1], codec.bins[number], len(cells)
    known, places = ~np.isnan(cells), np.zeros(n, np.int64)
    decoded = np.where(known, cells, column.low)
    whole = np.zeros(n, np.int64)
    if bins is None:
        places = np.clip(decoded, 0, column.classes - 1).astype(np.int64)
    else:
        whole = bins.whole(decoded)
        places, decoded = bins.locate(whole), bins.values(whole)
        known &= places >= 0
    same = same_cells(array, decode_column(column, np.where(known, decoded, np.nan), kind))
    coded = _Coded(known & same, np.where(known & same, decoded, cells))
    if coded.where.any():
        parameters = tuple(part[coded.where] for part in rows.distribution(number))
        distributions = codec.distributions(number, parameters, coded.rounder)
        places = places[coded.where]
        coded.intervals.append(distributions.interval(places))
        if bins is not None:
            rest = whole[coded.where] - bins.starts[places]
            for shift, digits in bins.digits(places):
                coded.intervals.append(digits.interval(rest >> shift & LARGEST_DIGIT))
    return coded


@dataclass(frozen=True)
class ExactTables:
    """Rows as they came, part by part.

    Attributes
    ----------
    parts : the rows, with the kind of table they are from
    rows : how many there are; None if that is not known
    nbytes : of what they are from
    names : of the columns
    form : in which they came, if that does not follow from the kind of table
    """

    parts: Iterable[tuple[TableKind, pa.Table]]
    rows: int | None
    nbytes: int
    names: tuple[str, ...]
    form: str | None = None

    @classmethod
    def of(cls, source: Any, schema: TableSchema, rows: int | None = None) -> ExactTables:
        """What `open_rows` takes; a file is read in parts of `rows`. Raises `DataError` if it can't be."""
        table, form = open_rows(source, schema)
        if isinstance(table, TableReader):
            table.batch_rows = rows or table.batch_rows
            size = table.path.stat().st_size
            return cls((part.exact(schema) for part in table if len(part)), table.rows, size, table.names)
        exact = (part.exact(schema) for part in (table,) if len(part))
        return cls(exact, len(table), table.arrow.nbytes, table.names, form if form != table.kind else None)

    def encoding(
        self,
        codec: Callable[[pa.Schema], BlockCodec],
        facts: dict[str, Any],
        elements: int,
        block_rows: int,
        options: ArchiveOptions,
    ) -> Encoding:
        """The rows in blocks; `codec` is called with their columns.

        Raises `DataError` if there are no rows, or a column is of a type that archives can't hold.
        """
        exact = iter(self.parts)
        if (start := next(exact, None)) is None:
            raise DataError("the table has no rows")
        kind, first = start
        for column in first.schema:
            check_type(column.type, column.name, "table")
        form = {} if self.form is None else {"form": self.form}
        blocks = row_blocks(chain([first], (part for _, part in exact)), first.schema, block_rows)
        return Encoding(
            codec=codec(first.schema),
            tasks=((block, options.verify) for block in blocks),
            facts=lambda fingerprint: {**facts, **form, "frame": kind, "model": fingerprint},
            elements=elements,
            nbytes=self.nbytes,
            items=self.rows,
            blocks=None if self.rows is None else -(-self.rows // block_rows),
            attachments={_COLUMNS: zlib.compress(first.schema.serialize().to_pybytes(), 9)},
        )


def row_blocks(tables: Iterable[pa.Table], columns: pa.Schema, rows: int) -> Iterator[pa.Table]:
    """Tables cut into blocks of at most `rows`; raises `DataError` if one has other columns."""
    for table in tables:
        if not table.schema.equals(columns):
            raise DataError("all rows of a table must be of the same types")
        yield from (table.slice(start, rows) for start in range(0, len(table), rows))


def encoding(model: Any, stored: StoredModel, source: Any, options: ArchiveOptions) -> Encoding:
    """Rows of a table on their way into an archive; see `ExactTables.of` for `source`."""
    schema = stored.schema
    assert isinstance(schema, TableSchema)
    rows = options.items_per_block(_BLOCK_ROWS, Limits().block_rows)
    tables = ExactTables.of(source, schema)
    return tables.encoding(lambda columns: codec_of(stored, columns), {"kind": "table"}, schema.size, rows, options)


def codec_of(model: StoredModel, columns: pa.Schema, most: int = Limits().block_bytes) -> RowCodec:
    """The codec of a table's blocks under a model; raises `ModelError` if it has no context decoder."""
    check_context(model)
    assert isinstance(model.schema, TableSchema)
    return RowCodec(ExactRows(model.weights, model.schema, model.config), columns, most)


def check_context(model: StoredModel) -> None:
    """Raise `ModelError` if a model has no context decoder."""
    if not has_context(model):
        raise ModelError("these archives need a model with a context decoder, this one was fitted with `window` 0")


@dataclass(frozen=True)
class RowDecoding:
    """The header of an open archive of a table.

    Attributes
    ----------
    columns : the table's
    kind : of what was compressed: `pandas`, `polars`, `arrow` or `numpy`
    limits : what may be read
    form : in which it came, if that does not follow from the kind
    """

    columns: pa.Schema
    kind: TableKind
    limits: Limits
    form: str | None = None

    def codec(self, model: StoredModel, lossy: bool) -> RowCodec:
        """See `modality.Decoding`."""
        assert isinstance(model.schema, TableSchema)
        self.check_columns(model.schema)
        return codec_of(model, self.columns, self.limits.block_bytes)

    def check_columns(self, schema: TableSchema) -> None:
        """Raise `DamagedArchiveError` if a modelled column lacks."""
        if lacking := [name for name in schema.names if name not in self.columns.names]:
            raise DamagedArchiveError(f"the archive's header is damaged: it lacks {lacking[0]}")

    def joined(self, parts: Iterable[pa.Table]) -> pa.Table:
        """Parts one below the other; raises `ArchiveLimitError` if they are too large."""
        tables, size = [self.columns.empty_table()], 0
        for part in parts:
            size += part.nbytes
            self.limits.check("bytes", size)
            tables.append(part)
        return pa.concat_tables(tables).unify_dictionaries()

    def restore(self, parts: Iterator[pa.Table], rows: range) -> Any:
        """A table of its kind, with its index; of a range of rows an index that only counts them starts anew."""
        return listed(as_native(self.joined(parts), self.kind), self.form)

    def output(self, path: Path, force: bool) -> Callable[[Iterator[pa.Table], range], None]:
        """A table's file; see `TableOutput`."""
        place = TableOutput.at(path, force)
        return lambda parts, rows: place.write(parts)

    def describe(self, items: int, sizes: Sequence[int], name: str = "rows") -> dict[str, str]:
        """The columns, and the sizes of the verbatim layers and of those that the model codes."""
        return {
            name: f"{items:,} of {len(self.columns)} columns",
            "columns": ", ".join(f"{column.name} ({column.type})" for column in self.columns),
            "verbatim": f"{sizes[0]:,} bytes",
            "by the model": f"{sizes[1]:,} bytes",
        }


def decoding(reader: ArchiveReader, limits: Limits) -> RowDecoding:
    """The header of an archive of a table; see `modality.Coding`."""
    try:
        columns = pa.ipc.read_schema(pa.py_buffer(inflate(reader.attachment(_COLUMNS), limits.header_bytes, _COLUMNS)))
        for column in columns:
            check_type(column.type, column.name, "the archive")
    except pa.ArrowException as error:
        raise DataError(str(error)) from None
    kind = reader.facts["frame"]
    if kind not in get_args(TableKind) or not len(set(columns.names)) == len(columns) > 0:
        raise DamagedArchiveError("the archive's header is damaged")
    for block in reader.blocks:
        limits.check("block_rows", block.items)
    return RowDecoding(columns, kind, limits, reader.facts.get("form"))
