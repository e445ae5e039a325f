"""Read archives of images: all items or some, exactly or as their codes alone say."""

from __future__ import annotations

import json
import zlib
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from fivefold.archive.container import ArchiveReader, Limits
from fivefold.archive.opened import Opened
from fivefold.archive.pool import Pool
from fivefold.errors import ArchiveLimitError, DamagedArchiveError, ModelError, UsageError
from fivefold.images.block_values import CODED, decode_block
from fivefold.images.coding import BlockCodec
from fivefold.images.exact import ExactDecoder
from fivefold.images.latent import LatentGrid
from fivefold.images.schema import ImageSchema
from fivefold.model.fitted import FittedModel
from fivefold.progress import Rate, progress_bar

NAMES = "names"
NONSENSE = (LookupError, TypeError, ValueError, ArithmeticError, SyntaxError, RecursionError, zlib.error)
_NAME_BYTES = 4096  # on average, of a name and what is around it


@dataclass
class Archive(Opened):
    """An open archive of images.

    Attributes
    ----------
    reader : of its blocks
    limits : what may be read
    schema, dtype : of its items
    names : a name per item, or None
    """

    schema: ImageSchema
    dtype: np.dtype
    names: tuple[str, ...] | None

    @classmethod
    def of(cls, reader: ArchiveReader, limits: Limits) -> Archive:
        """Raises `ArchiveError`."""
        try:
            schema, dtype = ImageSchema.from_json(reader.facts["schema"]), np.dtype(reader.facts["dtype"])
            lossy, steps, model = (reader.facts[name] for name in ("lossy", "steps", "model"))
            sane = type(lossy) is bool and isinstance(model, str) and dtype.name == reader.facts["dtype"]
            sane = sane and reader.facts["items"] == reader.items > 0
            if steps is not None:
                LatentGrid(np.array(steps, np.float64))
            names = None
            if NAMES in reader.attachments:
                names = tuple(json.loads(inflate(reader.attachment(NAMES), 2 + _NAME_BYTES * reader.items, "names")))
                sane = sane and len(names) == reader.items and all(isinstance(name, str) for name in names)
        except (*NONSENSE, ModelError) as error:
            raise DamagedArchiveError(f"the archive's header is damaged: {error}") from None
        if not sane or dtype.kind not in "buif":
            raise DamagedArchiveError("the archive's header is damaged")
        for block in reader.blocks:
            limits.check("block_elements", block.items * schema.size)
        return cls(reader, limits, schema, dtype, names)

    def parts(
        self,
        model: FittedModel | None = None,
        *,
        lossy: bool = False,
        items: slice = slice(None),
        workers: int = 1,
    ) -> Generator[np.ndarray, None, None]:
        """Items `(m, h, w, c)`, block by block, of the blocks that they are in only.

        Parameters
        ----------
        model : the one that wrote the archive; default: the embedded one
        lossy : what the codes alone say
        workers : processes

        Raises
        ------
        ArchiveError : of the kind that says what is wrong
        UsageError : if `items` has another step than 1, or the archive has no codes, or no exact layer
        """
        rows, facts = self.rows(items), self.reader.facts
        if facts["lossy"] and not lossy:
            raise UsageError("the archive is lossy: it holds no exact items; give --lossy")
        if lossy and facts["steps"] is None:
            raise UsageError("the archive has no codes: only its exact items can be read")
        model = self.model(model)
        if model.schema != self.schema:
            raise DamagedArchiveError("the archive's header is damaged: its schema is not the model's")
        if facts["steps"] is not None and len(facts["steps"]) != model.latent_dim:
            raise DamagedArchiveError("the archive's header is damaged: its codes are not the model's")
        if not lossy and (model.context is None or self.schema.levels is None):
            raise DamagedArchiveError("the archive's header is damaged: its model can't hold exact items")
        grid = None if facts["steps"] is None else LatentGrid(np.array(facts["steps"], np.float64))
        wanted = list(self.blocks(rows))

        def tasks() -> Iterator[tuple[Any, ...]]:
            for block, _ in wanted:
                method = self.reader.method(block)
                elements = b"" if lossy and method == CODED else self.reader.layer(block, 1)
                yield block.items, method, [self.reader.layer(block, 0), elements], lossy, self.dtype.name

        pool = Pool(codec_of(model, grid), workers, tasks=len(wanted))
        with progress_bar("decompress", len(rows)) as bar, pool:
            rate = Rate()
            for (block, where), values in zip(wanted, pool.map(decode_block, tasks()), strict=True):
                if isinstance(values, str):
                    raise DamagedArchiveError(f"the block of items from {block.first} on is damaged: {values}")
                part = values[where]
                bar.advance(f"decompress, {rate.add(part.nbytes)}", len(part))
                yield part

    def read(self, model: FittedModel | None = None, *, items: slice = slice(None), **options: Any) -> np.ndarray:
        """All of `parts` as one array."""
        rows = self.rows(items)
        self.limits.check("bytes", len(rows) * self.schema.size * self.dtype.itemsize)
        parts = self.parts(model, items=items, **options)
        found, done = None, 0
        for part in parts:  # the first of which comes after all that is to be checked
            if found is None:
                found = np.empty((len(rows), *self.schema.shape), self.dtype)
            found[done : done + len(part)] = part
            done += len(part)
        return np.empty((0, *self.schema.shape), self.dtype) if found is None else found


def codec_of(model: FittedModel, grid: LatentGrid | None = None) -> BlockCodec:
    """What codes blocks under a model; raises `ModelError` if its weights are not all numbers."""
    return BlockCodec(ExactDecoder(weights_of(model), model.image_schema, model.config), model.prior, grid)


def weights_of(model: FittedModel) -> dict[str, np.ndarray]:
    """Its networks' weights by name; raises `ModelError` if they are not all numbers."""
    weights = {name: weight.cpu().numpy() for name, weight in model.networks.state_dict().items()}
    for name, weight in weights.items():
        if not np.isfinite(weight).all():
            raise ModelError(f"the model is damaged: {name} is not all finite numbers")
    return weights


def inflate(content: bytes, most: int, what: str) -> bytes:
    """What was deflated (zlib); raises `ArchiveLimitError` if it is more than `most` bytes."""
    inflated = zlib.decompressobj().decompress(content, most + 1)
    if len(inflated) > most:
        raise ArchiveLimitError(f"the archive's {what} are more than {most:,} bytes")
    return inflated
