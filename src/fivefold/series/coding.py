"""Archives of series: values under their conditional distributions, and the rest stored verbatim.

A block is rows of a table, series by series or mixed; each series' rows follow each other in time. They are cut into
stretches, which are decoded side by side. No torch here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from fivefold.archive.container import ArchiveReader, Limits
from fivefold.archive.layers import DamagedLayerError, Encoding, check_empty, unpack
from fivefold.codec.numbers import NumberBins, ResidualBins
from fivefold.codec.rans import Intervals
from fivefold.codec.rounding import GroupedRounder, HintedRounder, Rounder
from fivefold.errors import DamagedArchiveError, DataError
from fivefold.series.dataset import is_tabular
from fivefold.series.exact import ExactSteps, Parameters, StepChain
from fivefold.series.readers import Flat, flattened
from fivefold.series.results import SeriesPlace
from fivefold.series.schema import SeriesSchema
from fivefold.series.sound import SoundFormat
from fivefold.tables.cells import decode_column
from fivefold.tables.coding import CodedColumn, ColumnCodec, ExactTables, RowDecoding, check_context, pack_cells
from fivefold.tables.coding import decoding as rows_decoding
from fivefold.tables.files import check_text, is_table_path
from fivefold.tables.schema import Column, TableSchema
from fivefold.tables.settings import COMPONENTS
from fivefold.tables.table import TableKind, as_native
from fivefold.tables.verbatim import number_bins, same_cells

if TYPE_CHECKING:
    from fivefold.archive.write import ArchiveOptions
    from fivefold.storage import StoredModel

_LONGEST = 1024  # steps of a stretch; its first steps cost more
_STEPS_AT_ONCE = 1 << 15  # of windows side by side
_NUMBERS = 3 * COMPONENTS + 5  # that are rounded per value
_VERBATIM_BITS = 64  # about, of a value that is not coded
_FINEST = 2.0**-52
_TINY = 1e-300
_FARTHEST = 9.0  # beyond the range met in the fit, in units of it, that networks are shown
_BLOCK_STEPS = 1 << 16
_NUMBER = "series"  # column that says of which series a row of an array is


@dataclass(frozen=True)
class StepCodec(ColumnCodec):
    """Blocks of steps of series under one model, whose networks `steps` evaluates; `schema` is of the columns of channels.

    `ids` is the name of the column that says of which series a row is, or None.
    """

    steps: ExactSteps
    ids: str | None

    @property
    def channels(self) -> tuple[Column, ...]:
        """Of the modelled columns' numbers; of states those of their codes."""
        return self.steps.schema.channels.columns

    @cached_property
    def forms(self) -> list[list[NumberBins]]:
        """The forms that a channel's numbers may have; see `NumberBins.forms`."""
        kinds = (pa.float64() if column.classes else kind for _, column, kind in self.modelled)
        return [number_bins(*pair).forms for pair in zip(self.channels, kinds, strict=True)]

    def values(self, channel: int, numbers: NumberBins, whole: np.ndarray) -> np.ndarray:
        """Whole numbers as they come back in the column's own type, float64: both sides must go on from the same."""
        with np.errstate(over="ignore"):
            return numbers.values(whole).astype(self.forms[channel][0].dtype).astype(np.float64)

    def residuals(
        self, channel: int, numbers: NumberBins, parameters: tuple[np.ndarray, ...], rounder: Rounder
    ) -> ResidualBins:
        """The distributions of a channel's values, from the parameters of `StepChain`."""
        log_weights, locations, log_scales = parameters
        spread = self.channels[channel].spread
        near = np.clip(locations, -20.0, 20.0)
        log_scales = log_scales + np.log(np.cosh(near) * spread)  # about a location the scale is as good as even
        return ResidualBins.around(numbers, log_weights, np.sinh(near) * spread, log_scales, rounder)

    def scaled(self, channel: int, values: np.ndarray) -> np.ndarray:
        """Values as networks are shown them."""
        column = self.channels[channel]
        low, high = column.scaled(column.low), column.scaled(column.high)
        margin = _FARTHEST * (high - low or 1.0)
        return np.clip(np.arcsinh((values - column.centre) / column.spread), low - margin, high + margin)

    def stretches(self, ids: pa.Array | None, n: int) -> Iterator[list[np.ndarray]]:
        """Rows, step by step, of stretches that are decoded side by side; fewer and fewer, the longest first."""
        if ids is None:
            order, sizes = np.arange(n), np.array([n])
        else:
            indices = ids.dictionary_encode().indices.fill_null(-1).to_numpy()
            order, sizes = np.argsort(indices, kind="stable"), np.unique(indices, return_counts=True)[1]
        schema = self.steps.schema
        longest = _LONGEST if schema.overlaps else schema.steps
        counts = -(-sizes // longest)
        begins = (np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)) * longest
        lengths = np.minimum(np.repeat(sizes, counts) - begins, longest)
        firsts = np.repeat(np.cumsum(sizes) - sizes, counts) + begins
        falling = np.argsort(-lengths, kind="stable")
        firsts, lengths = firsts[falling], lengths[falling]
        lanes = max(_STEPS_AT_ONCE // schema.steps, 1)
        for rows in (slice(first, first + lanes) for first in range(0, len(firsts), lanes)):
            first, length = firsts[rows], lengths[rows]
            yield [order[first[length > step] + step] for step in range(int(length[0]))]

    def _code(self, arrays: list[pa.Array], cells: np.ndarray, parts: list[bytes]) -> bytes:
        channels = [
            _channel(self, number, arrays[at], cells[:, number]) for number, (at, _, _) in enumerate(self.modelled)
        ]
        walked = []
        for stretches in self._side_by_side(arrays, len(cells)):
            chain, begin = StepChain(self.steps, len(stretches[0])), 0
            while steps := stretches[begin : begin + chain.left]:
                begin += len(steps)
                known = np.full((len(steps), len(steps[0]), len(channels)), np.nan)
                for number, rows in enumerate(steps):
                    known[number, : len(rows)] = cells[rows]
                for number in range(len(channels)):
                    known[..., number] = self.scaled(number, known[..., number])
                found = [
                    self._intervals(number, channel, steps, parameters)
                    for number, (channel, parameters) in enumerate(zip(channels, chain.foresee(known), strict=True))
                ]
                walked += [(number, pairs) for step in zip(*found, strict=True) for number, pairs in enumerate(step)]
        shorter = [
            channel.shorten(parts, at, arrays[at]) for channel, (at, _, _) in zip(channels, self.modelled, strict=True)
        ]
        intervals = [pair for number, pairs in walked if shorter[number] for pair in pairs]
        hints = [
            _with_channel(channel.rounder.hints, number, len(channels))
            for number, channel in enumerate(channels)
            if shorter[number]
        ]
        hint = np.sort(np.concatenate([*hints, np.empty(0, np.int64)]))
        return bytes(channel.form for channel in channels) + pack_cells(intervals, hint)

    def _intervals(
        self, number: int, channel: _Channel, steps: list[np.ndarray], parameters: Parameters
    ) -> list[list[Intervals]]:
        """Of the values of a channel in rows side by side, step by step, in the order in which they are popped; as `parameters`
        `(steps, lanes, components)` have them."""
        rows = np.concatenate(steps)
        coded = np.arange(len(steps[0])) < np.array([len(step) for step in steps])[:, None]
        coded[coded] = channel.where[rows]
        found = list[list[Intervals]]([] for _ in steps)
        if not coded.any():
            return found
        rounder, ends = GroupedRounder(coded.sum(axis=1)), coded.sum(axis=1).cumsum()
        mixtures = tuple(part[coded] for part in parameters)
        residuals = self.residuals(number, channel.numbers, mixtures, rounder)
        for places, pair in residuals.numbered_intervals(channel.whole[rows[channel.where[rows]]]):
            channel.intervals.append(pair)
            cuts = np.searchsorted(places, ends)[:-1]
            for step, starts, frequencies in zip(found, *(np.split(part, cuts) for part in pair), strict=True):
                if len(starts):
                    step.append((starts, frequencies))
        channel.rounder.add(rounder)
        return found

    def _fill(self, layer: bytes, arrays: list[pa.Array], cells: np.ndarray, where: np.ndarray) -> None:
        count = len(self.modelled)
        numbers = self._chosen_forms(layer[:count])
        coder, hints = unpack(layer[count:], cells.size * _NUMBERS)
        rounders = [HintedRounder(_of_channel(hints, number, count)) for number in range(count)]
        for rows, number, distribution in self._walk(arrays, cells):
            coded = where[rows, number]
            if coded.any():
                parameters = tuple(part[coded] for part in distribution())
                residuals = self.residuals(number, numbers[number], parameters, rounders[number])
                cells[rows[coded], number] = self.values(number, numbers[number], residuals.pop(coder))
        check_empty(coder)

    def _side_by_side(self, arrays: list[pa.Array], n: int) -> Iterator[list[np.ndarray]]:
        """See `stretches`."""
        return self.stretches(None if self.ids is None else arrays[self.columns.get_field_index(self.ids)], n)

    def _walk(
        self, arrays: list[pa.Array], cells: np.ndarray
    ) -> Iterator[tuple[np.ndarray, int, Callable[[], Parameters]]]:
        """The reader's: rows, channel, and what gives the parameters of their values, in the order in which they are coded.

        Values are observed from `cells` once the next are asked for.
        """
        for stretches in self._side_by_side(arrays, len(cells)):
            chain = StepChain(self.steps, len(stretches[0]))
            for rows in stretches:
                chain.advance(len(rows))
                for number in range(len(self.modelled)):
                    yield rows, number, partial(chain.distribution, number)
                    chain.observe(number, self.scaled(number, cells[rows, number]))

    def _chosen_forms(self, chosen: bytes) -> list[NumberBins]:
        if len(chosen) < len(self.forms) or any(at >= len(forms) for at, forms in zip(chosen, self.forms, strict=True)):
            raise DamagedLayerError("its numbers are in a form that there is not")
        return [forms[at] for at, forms in zip(chosen, self.forms, strict=True)]


@dataclass
class _Channel(CodedColumn):
    """A channel on its way into a block: its `numbers`, of the form `form`, and its values as `whole` ones, `(n,)`."""

    form: int = field(kw_only=True)
    numbers: NumberBins = field(kw_only=True)
    whole: np.ndarray = field(kw_only=True)


def _channel(codec: StepCodec, number: int, array: pa.Array, cells: np.ndarray) -> _Channel:
    """The values that can be coded so that they come back bit for bit, in the form in which that takes least."""
    _, column, kind = codec.modelled[number]
    known = ~np.isnan(cells)
    filled = np.where(known, cells, column.centre)
    nothing, whole = np.zeros(len(cells), bool), np.zeros(len(cells), np.int64)
    best, least = _Channel(nothing, form=0, numbers=codec.forms[number][0], whole=whole), math.inf
    with np.errstate(over="ignore"):
        step = np.abs(np.diff(filled, prepend=filled[:1])).mean()
    for form, numbers in enumerate(codec.forms[number]):
        resolution = numbers.resolution(filled)
        if not resolution >= _FINEST * np.abs(filled).max(initial=_TINY):
            continue  # floating-point numbers can't tell them apart
        whole = numbers.whole(filled)
        back = codec.values(number, numbers, whole)
        where = known & (back == cells) & same_cells(array, decode_column(column, np.where(known, back, np.nan), kind))
        cost = np.log2(max(step / resolution, 1.0)) * where.sum() + _VERBATIM_BITS * (known & ~where).sum()
        if cost < least:
            best, least = _Channel(where, form=form, numbers=numbers, whole=whole), cost
    return best


def _with_channel(hints: np.ndarray, channel: int, channels: int) -> np.ndarray:
    """Hints whose places are numbered through all channels."""
    places: np.ndarray = (hints >> 1) * channels + channel
    return places << 1 | (hints & 1)


def _of_channel(hints: np.ndarray, channel: int, channels: int) -> np.ndarray:
    """The inverse."""
    own: np.ndarray = hints[(hints >> 1) % channels == channel]
    return (own >> 1) // channels << 1 | (own & 1)


def encoding(model: Any, stored: StoredModel, source: Any, options: ArchiveOptions, **dialect: Any) -> Encoding:
    """Steps of series on their way into an archive; see `read_series` for `source`.

    Raises `DataError` if they can't be read, or have other channels, `UsageError` for a `dialect` of what is no text.
    """
    schema = stored.schema
    assert isinstance(schema, SeriesSchema)
    steps = options.items_per_block(_BLOCK_STEPS, Limits().block_rows)
    form: dict[str, Any] = {}
    if is_tabular(source):
        tables = ExactTables.of(source, schema.columns, steps, **dialect)
        ids = schema.ids if schema.ids in tables.names else None
    else:
        check_text(source, dialect)
        tables, ids, form = _array_rows(flattened(source), schema.channels, steps)
    facts = {"kind": "series", "ids": ids, **form}
    return tables.encoding(partial(codec_of, stored, ids=ids), facts, schema.channels.size, steps, options)


def _array_rows(series: Flat, channels: TableSchema, rows: int) -> tuple[ExactTables, str, dict[str, Any]]:
    """Rows of tables, `rows` of a part; the column that says of which series each is; and what they are to become again:
    `shape` of an array, or None for a list of arrays; `sound`: its rate and width."""
    if series.flat.shape[1] != channels.size:
        raise DataError(
            f"{series.source}: must have {channels.size} channel(s) as the model was fitted, got {series.flat.shape[1]}"
        )
    name = _NUMBER
    while name in channels.names:
        name += "_"
    parts = _numbered(series.flat, series.lengths, (name, *channels.names), rows)
    tables = ExactTables(parts, len(series.flat), series.flat.nbytes, (name, *channels.names))
    return tables, name, {"shape": series.shape, "sound": series.sound and [series.sound.rate, series.sound.width]}


def _numbered(
    flat: np.ndarray, lengths: np.ndarray, names: Sequence[str], rows: int
) -> Iterator[tuple[TableKind, pa.Table]]:
    ends = np.cumsum(lengths)
    for first in range(0, len(flat), rows):
        part = flat[first : first + rows]
        number = np.searchsorted(ends, np.arange(first, first + len(part)), side="right").astype(np.uint32)
        yield "numpy", pa.table([number, *np.ascontiguousarray(part.T)], list(names))


def codec_of(
    model: StoredModel, columns: pa.Schema, ids: str | None = None, most: int = Limits().block_bytes
) -> StepCodec:
    """The codec of series' blocks under a model; raises `ModelError` if it has no context decoder."""
    check_context(model)
    assert isinstance(model.schema, SeriesSchema)
    steps = ExactSteps(model.weights, model.schema, model.config)
    return StepCodec(columns, model.schema.columns, most, steps, ids)


@dataclass(frozen=True)
class StepDecoding:
    """The header of an open archive of series.

    Attributes
    ----------
    rows : as those of a table
    ids : column that says of which series a row is, or None
    form : of series that came as arrays their `shape`, or None for a list of arrays, and their `sound`: rate and bytes of a
        sample, or None; of tables None
    """

    rows: RowDecoding
    ids: str | None
    form: dict[str, Any] | None
    steps: int

    def codec(self, model: StoredModel, lossy: bool) -> StepCodec:
        """See `archive.layers.Decoding`."""
        assert isinstance(model.schema, SeriesSchema)
        self.rows.check_columns(model.schema.channels)
        return codec_of(model, self.rows.columns, self.ids, self.rows.limits.block_bytes)

    def restore(self, parts: Iterator[pa.Table], rows: range) -> Any:
        """A table; or an array of its shape, or a list of arrays; of a range of steps one array `(steps, channels)`."""
        return self.rows.restore(parts, rows) if self.form is None else self._as_arrays(parts)

    def _as_arrays(self, parts: Iterator[pa.Table]) -> Any:
        assert self.form is not None
        assert self.ids is not None
        table = self.rows.joined(parts)
        values, shape = as_native(table.drop_columns(self.ids), "numpy"), self.form["shape"]
        if len(table) < self.steps:
            return values
        if shape is not None:
            return values.reshape(shape)
        return np.split(values, np.flatnonzero(np.diff(table.column(self.ids).to_numpy())) + 1)

    def output(self, path: Path, force: bool) -> Callable[[Iterator[pa.Table], range], None]:
        """A table's file; of series that came as arrays also `.npy`, of sound also `.wav`."""
        if self.form is None or is_table_path(path):
            return self.rows.output(path, force)
        sound = self.form["sound"] and SoundFormat(*self.form["sound"])
        place = SeriesPlace.at(path, force, sounding=sound is not None)
        return lambda parts, rows: place.save(self._as_arrays(parts), sound)

    def describe(self, items: int, sizes: Sequence[int]) -> dict[str, str]:
        """See `RowDecoding.describe`."""
        return self.rows.describe(items, sizes, "steps")


def decoding(reader: ArchiveReader, limits: Limits) -> StepDecoding:
    """The header of an archive of series; see `archive.layers.Coding`."""
    rows, facts = rows_decoding(reader, limits), reader.facts
    ids = facts.get("ids")
    form = {"shape": facts["shape"], "sound": facts["sound"]} if "shape" in facts else None
    values = reader.items * (len(rows.columns) - 1)
    if not (ids is None or ids in rows.columns.names) or not (form is None or _is_sane(form, ids, values)):
        raise DamagedArchiveError("the archive's header is damaged")
    return StepDecoding(rows, ids, form, reader.items)


def _is_sane(form: dict[str, Any], ids: str | None, values: int) -> bool:
    """Whether so many values that came as arrays can become such again."""
    shape, sound = form["shape"], form["sound"]
    return (
        ids is not None
        and (shape is None or (_are_counts(shape) and math.prod(shape) == values))
        and (sound is None or (len(sound) == 2 and _are_counts(sound)))
    )


def _are_counts(numbers: Sequence[Any]) -> bool:
    return all(type(number) is int and number > 0 for number in numbers)
