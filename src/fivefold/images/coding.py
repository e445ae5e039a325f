"""Archives of images: codes on a grid, and the elements exactly under the causal context decoder; or, where shorter, verbatim.

No torch here, but for what chooses the codes.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fivefold.archive.container import ArchiveReader, Limits
from fivefold.archive.layers import (
    CODED,
    RAW,
    DamagedLayerError,
    EncodedBlock,
    Encoding,
    check_empty,
    check_same,
    pack,
    pack_names,
    pop,
    unpack,
    unpack_names,
)
from fivefold.codec.mixtures import MOST_SYMBOLS, Mixtures, even_edges, to_mixtures
from fivefold.codec.rounding import HintedRounder, HintingRounder, Rounder
from fivefold.errors import DamagedArchiveError, DataError, ModelError, UsageError
from fivefold.images.dataset import read_items
from fivefold.images.exact import CausalFields, ExactDecoder, LatentDistributions, LatentGrid, mixture_parameters
from fivefold.images.files import Output
from fivefold.images.schema import ImageSchema
from fivefold.items import Items
from fivefold.model.calibrations import FittedPrior
from fivefold.storage import StoredModel, build

if TYPE_CHECKING:
    from fivefold.archive.write import ArchiveOptions
    from fivefold.model.fitted import FittedModel

_LANES = 32  # of a whole block's elements; the codes have one
_BLOCK_ITEMS, _BLOCK_ELEMENTS = 1024, 1 << 21


@dataclass(frozen=True)
class ImageCodec:
    """Both layers of blocks of images of one model.

    Without a `grid` there are no codes, and the elements do without; `prior` None is the standard normal. `dtype` names the
    images' type.
    """

    decoder: ExactDecoder
    prior: FittedPrior | None
    grid: LatentGrid | None
    dtype: str

    @classmethod
    def of(cls, model: StoredModel, grid: LatentGrid | None, dtype: str) -> ImageCodec:
        """That of a model; raises `ModelError` if its prior is damaged."""
        assert isinstance(model.schema, ImageSchema)
        prior = model.calibrations.get("prior")
        decoder = ExactDecoder(model.weights, model.schema, model.config)
        return cls(decoder, None if prior is None else FittedPrior(**prior), grid, dtype)

    def encode(
        self, grid: LatentGrid | None, values: np.ndarray, symbols: np.ndarray | None, lossy: bool, verify: bool
    ) -> EncodedBlock:
        """Values `(n, h, w, c)` and the `symbols` `(n, latent_dim)` of their codes as a block.

        The `grid`, chosen after the codec was shared with the processes, takes the place of its own.
        """
        codec = dataclasses.replace(self, grid=grid)
        codes = b"" if symbols is None else codec.encode_codes(symbols)
        if lossy:
            return EncodedBlock(len(values), CODED, [codes, b""], b"")
        raw = values.astype(values.dtype.newbyteorder("<")).tobytes()
        levels = _levels(values, self.decoder.schema)
        if levels is not None:
            layers = [codes, codec.encode_elements(levels, symbols)]
            if len(layers[0]) + len(layers[1]) < len(raw):
                if verify:
                    decoded = codec.decode(len(values), CODED, layers, False)
                    check_same(not isinstance(decoded, str) and decoded.tobytes() == values.tobytes())
                return EncodedBlock(len(values), CODED, layers, self.digest(values))
        return EncodedBlock(len(values), RAW, [b"", raw], self.digest(values))

    def digest(self, values: np.ndarray) -> bytes:
        """Of the values in C order, little-endian."""
        return hashlib.sha256(np.ascontiguousarray(values, values.dtype.newbyteorder("<")).tobytes()).digest()

    def decode(self, items: int, method: int, layers: list[bytes], lossy: bool) -> Any:
        """Values `(items, h, w, c)`, or what is wrong, as text."""
        schema, dtype = self.decoder.schema, np.dtype(self.dtype)
        if method == RAW:
            size = items * schema.size * dtype.itemsize
            if len(layers[1]) != size:
                return f"it should have {size} bytes, got {len(layers[1])}"
            return np.frombuffer(layers[1], dtype.newbyteorder("<")).astype(dtype).reshape(items, *schema.shape)
        if method != CODED:
            return f"its method is {method}"
        try:
            symbols = None if self.grid is None else self.decode_codes(layers[0], items)
            if lossy:
                assert symbols is not None
                return schema.from_unit(self.expected(symbols), dtype)
            return _values(self.decode_elements(layers[1], items, symbols), schema, dtype)
        except DamagedLayerError as error:
            return str(error)

    def encode_codes(self, symbols: np.ndarray) -> bytes:
        """`(n, latent_dim)` symbols of the grid."""
        rounder, distributions = HintingRounder(), self._latent(len(symbols))
        intervals = []
        for number, column in enumerate(symbols.T):
            intervals.append(distributions.distribution(number, rounder).interval(np.ascontiguousarray(column)))
            distributions.observe(number, column)
        return pack(intervals, rounder.hints, 1)

    def decode_codes(self, layer: bytes, n: int) -> np.ndarray:
        """The inverse; raises `DamagedLayerError`."""
        assert self.grid is not None
        distributions, symbols = self._latent(n), np.empty((n, len(self.grid.steps)), np.int64)
        coder, hints = unpack(layer, symbols.size * distributions.parameters)
        rounder = HintedRounder(hints)
        for number in range(symbols.shape[1]):
            symbols[:, number] = pop(coder, distributions.distribution(number, rounder))
            distributions.observe(number, symbols[:, number])
        check_empty(coder)
        return symbols

    def encode_elements(self, levels: np.ndarray, symbols: np.ndarray | None) -> bytes:
        """Items `(n, h, w, c)` of levels from 0, given the symbols of their codes."""
        rounder, elements = HintingRounder(), levels.reshape(len(levels), -1).T.astype(np.int64)
        fields = self._fields(self._unit(levels), symbols)
        intervals = [
            self._distributions(fields, element, rounder).interval(np.ascontiguousarray(values))
            for element, values in enumerate(elements)
        ]
        return pack(intervals, rounder.hints, min(_LANES, len(levels)))

    def decode_elements(self, layer: bytes, n: int, symbols: np.ndarray | None) -> np.ndarray:
        """The inverse; raises `DamagedLayerError`."""
        levels = np.zeros((n, *self.decoder.schema.shape), np.int64)
        flat = levels.reshape(n, -1)
        coder, hints = unpack(layer, levels.size * self.decoder.parameters)
        rounder, fields = HintedRounder(hints), self._fields(np.zeros(levels.shape), symbols)
        for element in range(flat.shape[1]):
            flat[:, element] = pop(coder, self._distributions(fields, element, rounder))
            fields.observe(element, self._unit(flat[:, element]))
        check_empty(coder)
        return levels

    def expected(self, symbols: np.ndarray) -> np.ndarray:
        """Mean images `(n, h, w, c)` in [0, 1] given the codes alone."""
        assert self.grid is not None
        return self.decoder.code_features(self.grid.codes(symbols)).mean

    def _latent(self, n: int) -> LatentDistributions:
        assert self.grid is not None
        d = len(self.grid.steps)
        prior = self.prior or FittedPrior(np.ones(1), np.zeros((1, d)), np.eye(d)[None])
        return LatentDistributions(self.grid, prior.weights, prior.means, prior.roots, n)

    def _unit(self, levels: np.ndarray) -> np.ndarray:
        assert self.decoder.schema.levels is not None
        return levels / (self.decoder.schema.levels - 1)

    def _fields(self, unit: np.ndarray, symbols: np.ndarray | None) -> CausalFields:
        if symbols is None or self.grid is None:
            return CausalFields(unit, None, self.decoder)
        return CausalFields(unit, self.decoder.code_features(self.grid.codes(symbols)), self.decoder)

    def _distributions(self, fields: CausalFields, element: int, rounder: Rounder) -> Mixtures:
        levels = self.decoder.schema.levels
        assert levels is not None
        parameters = mixture_parameters(self.decoder.context(fields.first_layer(element)), levels)
        return to_mixtures(*parameters, even_edges(levels), "logistic", rounder)


def _levels(values: np.ndarray, schema: ImageSchema) -> np.ndarray | None:
    """The values counted from the lowest; None if they are not whole numbers in range, bit for bit, or have too many levels."""
    assert schema.levels is not None
    if schema.levels > MOST_SYMBOLS:
        return None
    with np.errstate(invalid="ignore"):
        levels = np.nan_to_num(values.astype(np.float64) - schema.low, nan=-1).astype(np.int64)
    inside = 0 <= levels.min() and levels.max() < schema.levels
    return levels if inside and _values(levels, schema, values.dtype).tobytes() == values.tobytes() else None


def _values(levels: np.ndarray, schema: ImageSchema, dtype: np.dtype) -> np.ndarray:
    return (levels + schema.low).astype(dtype)


def encoding(
    model: FittedModel | StoredModel, stored: StoredModel, source: Any, options: ArchiveOptions, **reading: Any
) -> Encoding:
    """Images on their way into an archive; see `read_items` for `source` and `reading`, and `archive.layers.Coding`."""
    schema = stored.schema
    assert isinstance(schema, ImageSchema)
    items = read_items(source, schema, **reading)
    if (most := Limits().block_elements // schema.size) == 0:
        raise DataError(f"{items.source}: items of {schema.size:,} elements are too large for an archive")
    if not options.lossy and (not stored.has_context or schema.levels is None):
        raise ModelError(
            "exact archives need a model of integers with a context decoder; this one has none: give `lossy`"
        )
    size = options.items_per_block(min(_BLOCK_ITEMS, max(1, _BLOCK_ELEMENTS // schema.size)), most)
    for rows in items.batches(size):
        if not items.visible(rows).all():
            raise DataError(f"{items.source}: elements are missing, which an archive can't hold; impute them first")
    dtype = items.values.dtype.name
    networks = cache(lambda: build(stored) if isinstance(model, StoredModel) else model)

    @cache
    def grid() -> LatentGrid | None:
        from fivefold.images.jobs import choose_grid

        return choose_grid(networks(), items, options.step, options.lossy)

    def facts(fingerprint: str) -> dict[str, Any]:
        steps = None if (chosen := grid()) is None else chosen.steps.tolist()
        about = {"schema": schema.to_json(), "dtype": dtype, "model": fingerprint, "items": len(items)}
        return {**about, "lossy": options.lossy, "steps": steps}

    codec, tasks = ImageCodec.of(stored, None, dtype), _tasks(networks, items, size, grid, options)
    n, blocks = len(items), -(-len(items) // size)
    return Encoding(codec, tasks, facts, schema.size, items.values.nbytes, n, blocks, pack_names(items.names))


def _tasks(
    networks: Callable[[], FittedModel],
    items: Items,
    size: int,
    grid: Callable[[], LatentGrid | None],
    options: ArchiveOptions,
) -> Iterator[tuple[Any, ...]]:
    for rows in items.batches(size):
        values = np.ascontiguousarray(items.values[rows], items.values.dtype.newbyteorder("="))
        chosen, symbols = grid(), None
        if chosen is not None:
            from fivefold.model.scoring import encode_items

            symbols = chosen.nearest(encode_items(networks(), items.select(rows))[0])
        yield chosen, values, symbols, options.lossy, options.verify


@dataclass(frozen=True)
class ImageDecoding:
    """The header of an open archive of images; `lossy` ones have codes alone."""

    schema: ImageSchema
    dtype: np.dtype
    grid: LatentGrid | None
    lossy: bool
    names: tuple[str, ...] | None
    limits: Limits

    def codec(self, model: StoredModel, lossy: bool) -> ImageCodec:
        """See `archive.layers.Decoding`."""
        if self.lossy and not lossy:
            raise UsageError("the archive is lossy: it holds no exact items; give `lossy`")
        if lossy and self.grid is None:
            raise UsageError("the archive has no codes: only its exact items can be read")
        if model.schema != self.schema:
            raise DamagedArchiveError("the archive's header is damaged: its schema is not the model's")
        if self.grid is not None and len(self.grid.steps) != model.config.network.latent_dim:
            raise DamagedArchiveError("the archive's header is damaged: its codes are not the model's")
        if not lossy and (not model.has_context or self.schema.levels is None):
            raise DamagedArchiveError("the archive's header is damaged: its model can't hold exact items")
        return ImageCodec.of(model, self.grid, self.dtype.name)

    def restore(self, parts: Iterator[np.ndarray], rows: range) -> np.ndarray:
        """An array `(n, h, w, c)`."""
        self.limits.check("bytes", len(rows) * self.schema.size * self.dtype.itemsize)
        values, done = np.empty((0, *self.schema.shape), self.dtype), 0
        for part in parts:
            if not done:  # all is checked before the first part comes
                values = np.empty((len(rows), *self.schema.shape), self.dtype)
            values[done : done + len(part)] = part
            done += len(part)
        return values

    def output(self, path: Path, force: bool) -> Callable[[Iterator[np.ndarray], range], None]:
        """A folder of PNGs, a sheet, `.npy` or `.npz`; see `Output`."""
        place = Output.at(path, force)

        def write(parts: Iterator[np.ndarray], rows: range) -> None:
            names = None if self.names is None else self.names[rows.start : rows.stop]
            shape = (len(rows), *self.schema.shape)
            place.write(parts, shape, self.dtype, self.schema.low, self.schema.high, names)

        return write

    def describe(self, items: int, sizes: Sequence[int]) -> dict[str, str]:
        """The images, and the sizes of codes and exact layers."""
        bits = 8 / (items * self.schema.size)
        codes, exact = (f"{size:,} bytes, {bits * size:.4f} bits per element" for size in sizes)
        return {"items": f"{items:,} of {self.schema.describe()}", "codes": codes, "exact": exact}


def decoding(reader: ArchiveReader, limits: Limits) -> ImageDecoding:
    """The header of an archive of images; see `archive.layers.Coding`."""
    facts = reader.facts
    schema, dtype = ImageSchema.from_json(facts["schema"]), np.dtype(facts["dtype"])
    grid = None if facts["steps"] is None else LatentGrid(np.array(facts["steps"], np.float64))
    sane = type(facts["lossy"]) is bool and dtype.name == facts["dtype"] and dtype.kind in "buif"
    sane = sane and facts["items"] == reader.items
    if not sane:
        raise DamagedArchiveError("the archive's header is damaged")
    for block in reader.blocks:
        limits.check("block_elements", block.items * schema.size)
    return ImageDecoding(schema, dtype, grid, facts["lossy"], unpack_names(reader), limits)
