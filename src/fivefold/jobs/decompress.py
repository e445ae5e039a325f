"""Read archives: all items or some, exactly or as their codes alone say."""

from __future__ import annotations

import io
import json
import tempfile
import zlib
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from fivefold.codec.archive import ArchiveReader, Limits
from fivefold.errors import ArchiveLimitError, DamagedArchiveError, ModelError, UsageError, WrongModelError
from fivefold.jobs.block_values import CODED, decode_block
from fivefold.jobs.blocks import BlockCodec
from fivefold.jobs.pool import Pool
from fivefold.model.exact import ExactDecoder
from fivefold.model.fitted import FittedModel
from fivefold.model.latent_code import LatentGrid
from fivefold.progress import Rate, progress_bar
from fivefold.schema import ImageSchema
from fivefold.storage import fingerprint, load

NAMES = "names"
MODEL_FILES = ("config.json", "model.safetensors")
_NONSENSE = (LookupError, TypeError, ValueError, ArithmeticError, SyntaxError, RecursionError, zlib.error)
_NAME_BYTES = 4096  # on average, of a name and what is around it


@dataclass
class Archive:
    """An open archive.

    Attributes
    ----------
    reader : of its blocks
    schema, dtype : of its items
    names : a name per item, or None
    limits : what may be read
    """

    reader: ArchiveReader
    schema: ImageSchema
    dtype: np.dtype
    names: tuple[str, ...] | None
    limits: Limits

    @classmethod
    def open(cls, file: IO[bytes], limits: Limits = Limits()) -> Archive:  # noqa: B008  (frozen)
        """Raises `ArchiveError`."""
        reader = ArchiveReader(file, limits)
        try:
            schema, dtype = ImageSchema.from_json(reader.facts["schema"]), np.dtype(reader.facts["dtype"])
            lossy, steps, model = (reader.facts[name] for name in ("lossy", "steps", "model"))
            sane = type(lossy) is bool and isinstance(model, str) and dtype.name == reader.facts["dtype"]
            sane = sane and reader.facts["items"] == reader.items > 0
            if steps is not None:
                LatentGrid(np.array(steps, np.float64))
            names = None
            if NAMES in reader.attachments:
                names = tuple(json.loads(_inflate(reader.attachment(NAMES), reader.items)))
                sane = sane and len(names) == reader.items and all(isinstance(name, str) for name in names)
        except (*_NONSENSE, ModelError) as error:
            raise DamagedArchiveError(f"the archive's header is damaged: {error}") from None
        if not sane or dtype.kind not in "buif":
            raise DamagedArchiveError("the archive's header is damaged")
        for block in reader.blocks:
            limits.check("block_elements", block.items * schema.size)
        return cls(reader, schema, dtype, names, limits)

    def __len__(self) -> int:
        return self.reader.items

    def model(self) -> FittedModel:
        """The embedded one; raises `UsageError` if there is none."""
        if not set(MODEL_FILES) <= self.reader.attachments:
            raise UsageError("the archive has no model embedded; name it with --model")
        with tempfile.TemporaryDirectory() as folder:
            for name in MODEL_FILES:
                (Path(folder) / name).write_bytes(self.reader.attachment(name))
            return load(folder)

    def rows(self, items: slice) -> range:
        """The numbers of items; raises `UsageError` if they are not consecutive."""
        first, last, stride = items.indices(len(self))
        if stride != 1:
            raise UsageError("--items must be consecutive")
        return range(first, max(first, last))

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
        model = self.model() if model is None else model
        if fingerprint(model) != facts["model"] or model.schema != self.schema:
            raise WrongModelError("the archive was written with another model")
        if facts["steps"] is not None and len(facts["steps"]) != model.latent_dim:
            raise DamagedArchiveError("the archive's header is damaged: its codes are not the model's")
        if not lossy and (model.context is None or self.schema.levels is None):
            raise DamagedArchiveError("the archive's header is damaged: its model can't hold exact items")
        grid = None if facts["steps"] is None else LatentGrid(np.array(facts["steps"], np.float64))
        wanted = [b for b in self.reader.blocks if b.first < rows.stop and b.first + b.items > rows.start]

        def tasks() -> Iterator[tuple[Any, ...]]:
            for block in wanted:
                method = self.reader.method(block)
                elements = b"" if lossy and method == CODED else self.reader.layer(block, 1)
                yield block.items, method, [self.reader.layer(block, 0), elements], lossy, self.dtype.name

        pool = Pool(codec_of(model, grid), workers, tasks=len(wanted))
        with progress_bar("decompress", len(rows)) as bar, pool:
            rate = Rate()
            for block, values in zip(wanted, pool.map(decode_block, tasks()), strict=True):
                if isinstance(values, str):
                    raise DamagedArchiveError(f"the block of items from {block.first} on is damaged: {values}")
                part = values[max(0, rows.start - block.first) : rows.stop - block.first]
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


def decompress(
    archive: bytes,
    model: FittedModel | None = None,
    *,
    lossy: bool = False,
    items: slice = slice(None),
    limits: Limits = Limits(),  # noqa: B008  (frozen)
    workers: int = 1,
) -> np.ndarray:
    """The items of an archive, `(n, h, w, c)`; see `Archive.open` and `Archive.read`."""
    return Archive.open(io.BytesIO(archive), limits).read(model, lossy=lossy, items=items, workers=workers)


def codec_of(model: FittedModel, grid: LatentGrid | None = None) -> BlockCodec:
    """What codes blocks under a model; raises `ModelError` if its weights are not all numbers."""
    weights = {name: weight.cpu().numpy() for name, weight in model.networks.state_dict().items()}
    for name, weight in weights.items():
        if not np.isfinite(weight).all():
            raise ModelError(f"the model is damaged: {name} is not all finite numbers")
    return BlockCodec(ExactDecoder(weights, model.image_schema, model.config), model.prior, grid)


def _inflate(content: bytes, names: int) -> bytes:
    """What was deflated, if it is not too much for so many names."""
    most = 2 + _NAME_BYTES * names
    inflated = zlib.decompressobj().decompress(content, most + 1)
    if len(inflated) > most:
        raise ArchiveLimitError(f"the archive has names of more than {_NAME_BYTES:,} bytes each")
    return inflated
