"""Compress items into an archive, and back: exactly, or as their codes alone say."""

from __future__ import annotations

import io
import json
import tempfile
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import IO, Any

import numpy as np

from fivefold.codec.archive import ArchiveReader, ArchiveWriter, Limits
from fivefold.data import Items
from fivefold.data.source import Source
from fivefold.errors import DamagedArchiveError, DataError, ModelError, UsageError, WrongModelError
from fivefold.jobs.blocks import BlockCodec, DamagedLayerError
from fivefold.model.code_length import STEPS, code_length
from fivefold.model.exact import ExactDecoder
from fivefold.model.fitted import FittedModel
from fivefold.model.latent_code import LatentGrid
from fivefold.model.scoring import encode_items
from fivefold.progress import progress_bar
from fivefold.schema import ImageSchema
from fivefold.storage import fingerprint, load, save

_RAW, _CODED = 0, 1
_BLOCK_ITEMS, _BLOCK_ELEMENTS = 1024, 1 << 22
_SAMPLE = 256  # items that the grid's step is chosen on
_LOSSY_STEP = 1.0  # posterior deviations
_NAMES = "names"
_MODEL_FILES = ("config.json", "model.safetensors")


def compress(model: FittedModel, data: Source, **options: Any) -> bytes:
    """Items as an archive; `options` as for `write_archive`."""
    file = io.BytesIO()
    write_archive(model, model.read(data), file, **options)
    return file.getvalue()


def write_archive(
    model: FittedModel,
    items: Items,
    file: IO[bytes],
    *,
    lossy: bool = False,
    step: float | None = None,
    block_items: int | None = None,
    verify: bool = True,
    embed_model: bool = False,
    workers: int = 1,
) -> None:
    """Write an archive of items, block by block.

    Parameters
    ----------
    lossy : only the codes
    step : of the codes' grid, in mean posterior deviations; 0: no codes. By default the one with the shortest
        archive of some of the items; of a lossy one, 1
    block_items : items that are coded together and can be read without the others; by default 1,024, or fewer if
        they are large
    verify : decode each block and compare
    embed_model : so that the archive can be read without the model folder
    workers : processes; the archive does not depend on how many

    Raises
    ------
    UsageError : if an option is out of its range, or the model can't do it
    DataError : if items have missing elements
    """
    if block_items is None:
        block_items = min(_BLOCK_ITEMS, max(1, _BLOCK_ELEMENTS // model.schema.size))
    most = max(1, Limits().block_elements // model.schema.size)
    if not 1 <= block_items <= most:
        raise UsageError(f"--block-items must be from 1 to {most:,}, got {block_items}")
    if step is not None and not 0 <= step < float("inf"):
        raise UsageError(f"--step must be at least 0, got {step:g}")
    if lossy and step == 0:
        raise UsageError("--lossy and --step 0 exclude each other: nothing would be left")
    if not lossy and (model.context is None or model.schema.levels is None):
        raise ModelError(
            "exact archives need a model of integers with a context decoder; this one has none: give --lossy"
        )
    for rows in items.batches(model.batch_size):
        if not items.visible(rows).all():
            raise DataError(f"{items.source}: elements are missing, which an archive can't hold; impute them first")
    grid = _choose_grid(model, items, _LOSSY_STEP if lossy and step is None else step)
    codec = _codec(model, grid)
    facts = {
        "schema": model.schema.to_json(),
        "dtype": items.values.dtype.name,
        "model": fingerprint(model),
        "items": len(items),
        "lossy": lossy,
        "steps": None if grid is None else grid.steps.tolist(),
    }
    writer = ArchiveWriter(file, facts, _attachments(model, items, embed_model))

    def tasks() -> Iterator[tuple[Any, ...]]:
        for rows in items.batches(block_items):
            values = np.ascontiguousarray(items.values[rows])
            mu = None if grid is None else encode_items(model, items.select(rows))[0]
            yield values, mu, lossy, verify

    with progress_bar("compress", len(items)) as bar, _Pool(codec, workers) as pool:
        for count, method, layers in pool.map(_encode_block, tasks()):
            writer.add(count, method, layers)
            bar.advance(steps=count)
    writer.close()


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
            sane = type(lossy) is bool and isinstance(model, str) and reader.facts["items"] == reader.items
            if steps is not None:
                LatentGrid(np.array(steps, np.float64))
            names = None
            if _NAMES in reader.attachments:
                names = tuple(json.loads(_inflate(reader.attachment(_NAMES), limits)))
                sane = sane and len(names) == reader.items and all(isinstance(name, str) for name in names)
        except (KeyError, TypeError, ValueError, ModelError, zlib.error) as error:
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
        if not set(_MODEL_FILES) <= self.reader.attachments:
            raise UsageError("the archive has no model embedded; name it with --model")
        with tempfile.TemporaryDirectory() as folder:
            for name in _MODEL_FILES:
                (Path(folder) / name).write_bytes(self.reader.attachment(name))
            return load(folder)

    def read(
        self,
        model: FittedModel | None = None,
        *,
        lossy: bool = False,
        items: slice = slice(None),
        out: np.ndarray | None = None,
        workers: int = 1,
    ) -> np.ndarray:
        """Items `(m, h, w, c)`, of the blocks that they are in only.

        Parameters
        ----------
        model : the one that wrote the archive; default: the embedded one
        lossy : what the codes alone say
        out : where to put them
        workers : processes

        Raises
        ------
        ArchiveError : of the kind that says what is wrong
        UsageError : if `items` has another step than 1, or the archive has no codes, or no exact layer
        """
        first, last, stride = items.indices(len(self))
        if stride != 1:
            raise UsageError("--items must be consecutive")
        facts = self.reader.facts
        if facts["lossy"] and not lossy:
            raise UsageError("the archive is lossy: it holds no exact items; give --lossy")
        model = self.model() if model is None else model
        if fingerprint(model) != facts["model"] or model.schema != self.schema:
            raise WrongModelError("the archive was written with another model")
        if facts["steps"] is not None and len(facts["steps"]) != model.latent_dim:
            raise DamagedArchiveError("the archive's header is damaged: its codes are not the model's")
        self.limits.check("bytes", max(0, last - first) * self.schema.size * self.dtype.itemsize)
        grid = None if facts["steps"] is None else LatentGrid(np.array(facts["steps"], np.float64))
        wanted = [block for block in self.reader.blocks if block.first < last and block.first + block.items > first]
        if lossy and grid is None:
            raise UsageError("the archive has no codes: only its exact items can be read")
        found = np.empty((max(0, last - first), *self.schema.shape), self.dtype) if out is None else out

        def tasks() -> Iterator[tuple[Any, ...]]:
            for block in wanted:
                method = self.reader.method(block)
                layers = [
                    self.reader.layer(block, 0),
                    b"" if lossy and method == _CODED else self.reader.layer(block, 1),
                ]
                yield block.items, method, layers, lossy, self.dtype.name

        with progress_bar("decompress", len(found)) as bar, _Pool(_codec(model, grid), workers) as pool:
            for block, values in zip(wanted, pool.map(_decode_block, tasks()), strict=True):
                if isinstance(values, str):
                    raise DamagedArchiveError(f"the block of items from {block.first} on is damaged: {values}")
                start, end = max(first, block.first), min(last, block.first + block.items)
                found[start - first : end - first] = values[start - block.first : end - block.first]
                bar.advance(steps=end - start)
        return found


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


def _choose_grid(model: FittedModel, items: Items, step: float | None) -> LatentGrid | None:
    """Steps of the codes' grid: the given one, or the one with which some of the items are shortest."""
    if step == 0:
        return None
    some = items.select(slice(0, _SAMPLE))
    if step is None:
        candidates = (None, *STEPS)
        step = min(candidates, key=lambda each: code_length(model, some, each).total)
        if step is None:
            return None
    deviations = encode_items(model, some)[1].astype(np.float64).mean(axis=0)
    return LatentGrid(np.round(np.clip(step * deviations, 1e-3, 16.0), 3))  # which is the same on all machines


def _codec(model: FittedModel, grid: LatentGrid | None) -> BlockCodec:
    weights = {name: weight.cpu().numpy() for name, weight in model.networks.state_dict().items()}
    return BlockCodec(ExactDecoder(weights, model.schema, model.config), model.prior, grid)


def _attachments(model: FittedModel, items: Items, embed_model: bool) -> dict[str, bytes]:
    attached = {}
    if items.names is not None:
        attached[_NAMES] = zlib.compress(json.dumps(items.names).encode())
    if embed_model:
        with tempfile.TemporaryDirectory() as folder:
            save(model, Path(folder) / "model")
            attached |= {name: (Path(folder) / "model" / name).read_bytes() for name in _MODEL_FILES}
    return attached


def _inflate(content: bytes, limits: Limits) -> bytes:
    """What was deflated, if it is not too much."""
    inflated = zlib.decompressobj().decompress(content, limits.attachment_bytes + 1)
    limits.check("attachment_bytes", len(inflated))
    return inflated


def _encode_block(
    codec: BlockCodec, values: np.ndarray, mu: np.ndarray | None, lossy: bool, verify: bool
) -> tuple[int, int, list[bytes]]:
    """Number of items, method, layers."""
    symbols = None if mu is None or codec.grid is None else codec.grid.nearest(mu.astype(np.float64))
    codes = b"" if symbols is None else codec.encode_codes(symbols)
    if lossy:
        return len(values), _CODED, [codes, b""]
    raw = values.astype(values.dtype.newbyteorder("<")).tobytes()
    levels = _levels(values, codec.decoder.schema)
    if levels is not None:
        layers = [codes, codec.encode_elements(levels, symbols)]
        if len(layers[0]) + len(layers[1]) < len(raw):
            if verify:
                _compare(values, _decode_block(codec, len(values), _CODED, layers, False, values.dtype.name))
            return len(values), _CODED, layers
    return len(values), _RAW, [b"", raw]


def _compare(values: np.ndarray, decoded: Any) -> None:
    if isinstance(decoded, str) or decoded.tobytes() != values.tobytes():
        raise RuntimeError("a block did not come back as it was written; that is a defect of the program")


def _levels(values: np.ndarray, schema: ImageSchema) -> np.ndarray | None:
    """The values counted from the lowest; None if they are not whole numbers within the model's range, bit for bit."""
    assert schema.levels is not None
    with np.errstate(invalid="ignore"):
        levels = np.nan_to_num(values.astype(np.float64) - schema.low, nan=-1).astype(np.int64)
    inside = 0 <= levels.min() and levels.max() < schema.levels
    return levels if inside and _values(levels, schema, values.dtype).tobytes() == values.tobytes() else None


def _values(levels: np.ndarray, schema: ImageSchema, dtype: np.dtype) -> np.ndarray:
    return (levels + schema.low).astype(dtype)


def _decode_block(codec: BlockCodec, items: int, method: int, layers: list[bytes], lossy: bool, dtype: str) -> Any:
    """Values `(items, h, w, c)`, or what is wrong."""
    schema, kind = codec.decoder.schema, np.dtype(dtype)
    if method == _RAW:
        size = items * schema.size * kind.itemsize
        if len(layers[1]) != size:
            return f"it should have {size} bytes, got {len(layers[1])}"
        return np.frombuffer(layers[1], kind.newbyteorder("<")).astype(kind).reshape(items, *schema.shape)
    if method != _CODED:
        return f"its method is {method}"
    try:
        symbols = None if codec.grid is None else codec.decode_codes(layers[0], items)
        if lossy:
            assert symbols is not None
            return schema.from_unit(codec.expected(symbols), kind)
        return _values(codec.decode_elements(layers[1], items, symbols), schema, kind)
    except DamagedLayerError as error:
        return str(error)


_codec_here: BlockCodec | None = None


def _remember(codec: BlockCodec) -> None:
    """In a worker: the codec for all its blocks, on one thread."""
    from threadpoolctl import threadpool_limits

    global _codec_here
    _codec_here = codec
    threadpool_limits(1)


def _call(work: Callable[..., Any], task: tuple[Any, ...]) -> Any:
    return work(_codec_here, *task)


class _Pool:
    """Work on blocks, in this process or in several, with results in order and few blocks in memory."""

    def __init__(self, codec: BlockCodec, workers: int) -> None:
        if workers < 1:
            raise UsageError(f"--workers must be at least 1, got {workers}")
        self._codec, self._workers = codec, workers
        self._executor: Executor | None = None

    def __enter__(self) -> _Pool:
        if self._workers > 1:
            self._executor = ProcessPoolExecutor(
                self._workers, mp_context=get_context("spawn"), initializer=_remember, initargs=(self._codec,)
            )
        return self

    def __exit__(self, *_: object) -> None:
        if self._executor is not None:
            self._executor.shutdown(cancel_futures=True)

    def map(self, work: Callable[..., Any], tasks: Iterator[tuple[Any, ...]]) -> Iterator[Any]:
        """`work(codec, *task)` for each task."""
        if self._executor is None:
            yield from (work(self._codec, *task) for task in tasks)
            return
        waiting: list[Future[Any]] = []
        for task in tasks:
            waiting.append(self._executor.submit(_call, work, task))
            if len(waiting) > 2 * self._workers:
                yield waiting.pop(0).result()
        for future in waiting:
            yield future.result()
