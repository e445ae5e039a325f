"""Archives of tables: columns' cells under their conditional distributions, and the rest stored verbatim. No torch here."""

from __future__ import annotations

import hashlib
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
import pyarrow as pa
from pyarrow import types as pt

from fivefold.archive.container import ArchiveReader, Limits
from fivefold.archive.layers import (
    CODED,
    BlockCodec,
    DamagedLayerError,
    EncodedBlock,
    Encoding,
    check_empty,
    inflate,
    pack,
    pop,
    unpack,
)
from fivefold.codec import PRECISION
from fivefold.codec.alphabets import Classes, to_classes
from fivefold.codec.mixtures import LOCATION_STEPS, Mixtures, to_mixtures, without_ends
from fivefold.codec.numbers import LARGEST_DIGIT, UNIT, NumberBins
from fivefold.codec.rans import EmptyCoderError, Intervals
from fivefold.codec.rounding import HintedRounder, HintingRounder, Rounder
from fivefold.errors import DamagedArchiveError, DataError, ModelError
from fivefold.tables import verbatim
from fivefold.tables.cells import decode_column
from fivefold.tables.dataset import listed, open_rows
from fivefold.tables.exact import ExactRows, RowChain
from fivefold.tables.files import TableOutput, TableReader
from fivefold.tables.schema import Column, TableSchema
from fivefold.tables.table import TableKind, as_native

if TYPE_CHECKING:
    from fivefold.archive.write import ArchiveOptions
    from fivefold.storage import StoredModel

_LANES, _CELLS_PER_LANE = 32, 512  # a lane takes 8 bytes
_BLOCK_ROWS = 1 << 14
_COLUMNS = "columns"


@dataclass
class CodedColumn:
    """A modelled column on its way into a block.

    Attributes
    ----------
    where : the cells that can be coded so that they come back bit for bit, bool `(n,)`
    intervals, rounder : of those cells
    """

    where: np.ndarray
    intervals: list[Intervals] = field(default_factory=list)
    rounder: HintingRounder = field(default_factory=HintingRounder)

    def shorten(self, parts: list[bytes], at: int, array: pa.Array) -> bool:
        """Whether part `at`, the whole column, is longer than what is coded and its other cells: it is then these alone."""
        part = verbatim.verbatim_part(array, self.where)
        frequencies = np.concatenate([counts for _, counts in self.intervals] or [np.ones(0)])
        coded = float((PRECISION - np.log2(frequencies)).sum()) / 8
        shorter = coded + len(verbatim.deflate(part)) < len(verbatim.deflate(parts[at]))
        if shorter:
            parts[at] = part
        return shorter


@dataclass(frozen=True)
class ColumnCodec(ABC):
    """Blocks of a table's rows: cells of modelled columns coded where that is shorter, all others verbatim.

    Attributes
    ----------
    columns : the table's, in its order
    schema : of the modelled ones
    most : bytes of a block's verbatim layer
    """

    columns: pa.Schema
    schema: TableSchema
    most: int

    @cached_property
    def modelled(self) -> list[tuple[int, Column, pa.DataType]]:
        """The schema's columns with their places in a table, and their types, dictionaries aside."""
        places = [self.columns.get_field_index(name) for name in self.schema.names]
        kinds = [self.columns.types[at] for at in places]
        kinds = [kind.value_type if pt.is_dictionary(kind) else kind for kind in kinds]
        return list(zip(places, self.schema.columns, kinds, strict=True))

    @abstractmethod
    def _code(self, arrays: list[pa.Array], cells: np.ndarray, parts: list[bytes]) -> bytes:
        """The layer of all coded cells; of columns that have some, the verbatim `parts` are changed to the others.

        `cells` `(n, modelled)` are encoded.
        """

    @abstractmethod
    def _fill(self, layer: bytes, arrays: list[pa.Array], cells: np.ndarray, where: np.ndarray) -> None:
        """Decode the coded `cells`, bool `where`, both `(n, modelled)`; the others are there."""

    def encode(self, table: pa.Table, verify: bool) -> EncodedBlock:
        """Rows as a block; raises `DataError` if the verbatim layer is too large."""
        arrays = [verbatim.whole_column(column) for column in table.columns]
        parts = [verbatim.verbatim_part(array, None) for array in arrays]
        cells = np.stack([verbatim.cells_of(arrays[at], column) for at, column, _ in self.modelled], axis=1)
        coded = self._code(arrays, cells, parts)
        layers = [verbatim.pack_verbatim(parts, self.most), coded]
        if verify:
            verbatim.compare(self.decode(len(table), CODED, layers), arrays)
        return EncodedBlock(len(table), CODED, layers, self.digest(table))

    def digest(self, values: pa.Table) -> bytes:
        """Of the columns one after the other, of each the length and the bytes as those of verbatim arrays."""
        whole = hashlib.sha256()
        for column in values.columns:
            content = verbatim.to_bytes(verbatim.whole_column(column))
            whole.update(len(content).to_bytes(8, "little") + content)
        return whole.digest()

    def decode(self, items: int, method: int, layers: list[bytes], lossy: bool = False) -> Any:
        """The rows, a `pyarrow.Table`; or what is wrong, as text."""
        if method != CODED:
            return f"its method is {method}"
        try:
            return self._decode(items, layers)
        except (EmptyCoderError, DamagedLayerError, DataError, pa.ArrowException) as error:
            return str(error).splitlines()[0]

    def _decode(self, n: int, layers: list[bytes]) -> pa.Table:
        places = {at for at, _, _ in self.modelled}
        coded, arrays = verbatim.unpack_verbatim(layers[0], self.columns, places, n, self.most)
        where = np.stack([coded[at] for at, _, _ in self.modelled], axis=1)
        cells = np.full(where.shape, np.nan)
        for number, (at, column, _) in enumerate(self.modelled):
            if not where[:, number].all():
                cells[~where[:, number], number] = verbatim.cells_of(arrays[at], column)
        self._fill(layers[1], arrays, cells, where)
        for number, (at, column, kind) in enumerate(self.modelled):
            if (here := where[:, number]).any():
                arrays[at] = verbatim.merge(arrays[at], decode_column(column, cells[here, number], kind), here)
        return pa.table([verbatim.whole_column(array) for array in arrays], self.columns)


@dataclass(frozen=True)
class RowCodec(ColumnCodec):
    """Blocks of rows of one table under one model, whose networks `rows` evaluates."""

    rows: ExactRows

    @cached_property
    def bins(self) -> list[NumberBins | None]:
        """The quantisation bins of a modelled column's numbers; None for classes."""
        return [None if column.classes else verbatim.number_bins(column, kind) for _, column, kind in self.modelled]

    def distributions(self, number: int, parameters: tuple[np.ndarray, ...], rounder: Rounder) -> Mixtures | Classes:
        """Those of a modelled column's cells, from the parameters of `RowChain`."""
        bins = self.bins[number]
        if bins is None:
            return to_classes(parameters[0], rounder)
        log_weights, locations, log_scales = parameters
        edges = rounder(bins.edges * LOCATION_STEPS)
        log_scales = log_scales - np.log(UNIT)
        return to_mixtures(without_ends(log_weights), locations / UNIT, log_scales, edges, "logistic", rounder)

    def _code(self, arrays: list[pa.Array], cells: np.ndarray, parts: list[bytes]) -> bytes:
        rows, intervals, hints, count = RowChain(self.rows, len(cells)), list[Intervals](), [np.empty(0, np.int64)], 0
        for number, (at, _, _) in enumerate(self.modelled):
            coded, decoded = self._code_column(number, rows, arrays[at], cells[:, number])
            shorter = coded.where.any() and coded.shorten(parts, at, arrays[at])
            if shorter:
                intervals += coded.intervals
                hints.append(coded.rounder.hints + 2 * count)
                count += coded.rounder.count
            rows.observe(number, decoded if shorter else cells[:, number])
        return pack_cells(intervals, np.concatenate(hints))

    def _code_column(
        self, number: int, rows: RowChain, array: pa.Array, cells: np.ndarray
    ) -> tuple[CodedColumn, np.ndarray]:
        """What can be coded of a column, and its cells `(n,)` as a reader then knows them."""
        (_, column, kind), bins = self.modelled[number], self.bins[number]
        known = ~np.isnan(cells)
        decoded = np.where(known, cells, column.low)
        if bins is None:
            whole = places = np.clip(decoded, 0, column.classes - 1).astype(np.int64)
        else:
            whole = bins.whole(decoded)
            places, decoded = bins.locate(whole), bins.values(whole)
            known &= places >= 0
        known &= verbatim.same_cells(array, decode_column(column, np.where(known, decoded, np.nan), kind))
        coded = CodedColumn(known)
        if known.any():
            parameters = tuple(part[known] for part in rows.distribution(number))
            places, whole = places[known], whole[known]
            coded.intervals.append(self.distributions(number, parameters, coded.rounder).interval(places))
            if bins is not None:
                rest = whole - bins.starts[places]
                digits = bins.digits(places)
                coded.intervals += [digit.interval(rest >> shift & LARGEST_DIGIT) for shift, digit in digits]
        return coded, np.where(known, decoded, cells)

    def _fill(self, layer: bytes, arrays: list[pa.Array], cells: np.ndarray, where: np.ndarray) -> None:
        edges = sum(len(bins.starts) for bins in self.bins if bins is not None)
        coder, hints = unpack(layer, cells.size * self.rows.parameters + edges)
        rounder, rows = HintedRounder(hints), RowChain(self.rows, len(cells))
        for number, bins in enumerate(self.bins):
            if (here := where[:, number]).any():
                parameters = tuple(part[here] for part in rows.distribution(number))
                places = whole = pop(coder, self.distributions(number, parameters, rounder))
                if bins is not None:
                    whole = bins.starts[places]
                    for shift, digits in bins.digits(places):
                        whole = whole + (pop(coder, digits) << shift)
                cells[here, number] = whole if bins is None else bins.values(whole)
            rows.observe(number, cells[:, number])
        check_empty(coder)


def pack_cells(intervals: list[Intervals], hints: np.ndarray) -> bytes:
    """A layer of cells by their intervals; the more, the more lanes its coder has."""
    lanes = min(_LANES, 1 + sum(len(starts) for starts, _ in intervals) // _CELLS_PER_LANE)
    return pack(intervals, hints, lanes)


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
    def of(cls, source: Any, schema: TableSchema, rows: int | None = None, **dialect: Any) -> ExactTables:
        """What `open_rows` takes; a file is read in parts of `rows`. Raises `DataError` if it can't be."""
        table, form = open_rows(source, schema, **dialect)
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
            verbatim.check_type(column.type, column.name, "table")
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


def encoding(model: Any, stored: StoredModel, source: Any, options: ArchiveOptions, **dialect: Any) -> Encoding:
    """Rows of a table on their way into an archive; see `ExactTables.of` for `source`."""
    schema = stored.schema
    assert isinstance(schema, TableSchema)
    rows = options.items_per_block(_BLOCK_ROWS, Limits().block_rows)
    tables = ExactTables.of(source, schema, **dialect)
    return tables.encoding(partial(codec_of, stored), {"kind": "table"}, schema.size, rows, options)


def codec_of(model: StoredModel, columns: pa.Schema, most: int = Limits().block_bytes) -> RowCodec:
    """The codec of a table's blocks under a model; raises `ModelError` if it has no context decoder."""
    check_context(model)
    assert isinstance(model.schema, TableSchema)
    return RowCodec(columns, model.schema, most, ExactRows(model.weights, model.schema, model.config))


def check_context(model: StoredModel) -> None:
    """Raise `ModelError` if a model has no context decoder."""
    if not model.has_context:
        raise ModelError("these archives need a model with a context decoder, this one has none")


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
        """See `archive.layers.Decoding`."""
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
    """The header of an archive of a table; see `archive.layers.Coding`."""
    try:
        columns = pa.ipc.read_schema(pa.py_buffer(inflate(reader.attachment(_COLUMNS), limits.header_bytes, _COLUMNS)))
        for column in columns:
            verbatim.check_type(column.type, column.name, "the archive")
    except pa.ArrowException as error:
        raise DataError(str(error)) from None
    kind = reader.facts["frame"]
    if kind not in get_args(TableKind) or not len(set(columns.names)) == len(columns) > 0:
        raise DamagedArchiveError("the archive's header is damaged")
    for block in reader.blocks:
        limits.check("block_rows", block.items)
    return RowDecoding(columns, kind, limits, reader.facts.get("form"))
