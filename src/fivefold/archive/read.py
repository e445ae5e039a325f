"""Read archives of any modality: all items or a range, exactly or from their codes alone."""

from __future__ import annotations

import hashlib
import io
import zlib
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from fivefold.archive.container import LAYERS, ArchiveReader, Block, Limits, block_digest
from fivefold.archive.layers import CODED, BlockCodec, Coding, Decoding
from fivefold.archive.pool import Pool
from fivefold.atomic import MODEL_FILES
from fivefold.config import JobNumbers
from fivefold.errors import DamagedArchiveError, FivefoldError, ModelError, UsageError, WrongModelError
from fivefold.modality import MODALITIES, Modality
from fivefold.progress import Rate, progress_bar
from fivefold.storage import StoredModel, as_stored, fingerprint, parse

if TYPE_CHECKING:
    from fivefold.model.fitted import FittedModel

_SHOWN = 12  # digits of a fingerprint
_MISFITS = (LookupError, TypeError, ValueError, ArithmeticError)
_NONSENSE = (*_MISFITS, SyntaxError, RecursionError, OSError, zlib.error, ModelError)


@dataclass(frozen=True)
class Archive:
    """An open archive.

    Attributes
    ----------
    reader : of its blocks
    modality : of its items
    decoding : what its header says of them
    """

    reader: ArchiveReader
    modality: Modality
    decoding: Decoding

    def __len__(self) -> int:
        return self.reader.items

    def rows(self, items: slice) -> range:
        """The numbers of items; raises `UsageError` if they are not consecutive."""
        if not isinstance(items, slice):
            raise UsageError(f"`items` must be a slice, such as slice(100, 200); got {items!r}")
        first, last, stride = items.indices(len(self))
        if stride != 1:
            raise UsageError("`items` must be consecutive")
        return range(first, max(first, last))

    def model(self, given: FittedModel | StoredModel | None = None) -> StoredModel:
        """The model given, or the embedded one.

        Raises `UsageError` if there is none, `WrongModelError` if the archive was written with another.
        """
        if given is None and not self.reader.attachments.issuperset(MODEL_FILES):
            raise UsageError("the archive has no model embedded; name it with `model`")
        if given is None:
            given = parse({name: self.reader.attachment(name) for name in MODEL_FILES}, Path("archive"))
        stored = as_stored(given)
        if fingerprint(stored) != self.reader.facts["model"]:
            wanted, got = (text[:_SHOWN] for text in (str(self.reader.facts["model"]), fingerprint(stored)))
            raise WrongModelError(
                f"the archive was written with another model, of fingerprint {wanted}…, got one of {got}…; "
                "give that one: info shows a model's fingerprint"
            )
        return stored

    def blocks(self, rows: range) -> Iterator[tuple[Block, slice]]:
        """The blocks in which these items are, and where in them."""
        for block in self.reader.blocks:
            if block.first < rows.stop and block.first + block.items > rows.start:
                yield block, slice(max(0, rows.start - block.first), rows.stop - block.first)

    def parts(
        self,
        model: FittedModel | StoredModel | None = None,
        *,
        lossy: bool = False,
        items: slice = slice(None),
        workers: int = 1,
    ) -> Generator[Any, None, None]:
        """Items block by block, of the blocks that they are in only: arrays `(m, h, w, c)`, or tables.

        Parameters
        ----------
        model : the one that wrote the archive; default: the embedded one
        lossy : the mean items given the codes alone; of images
        workers : processes

        Raises
        ------
        ArchiveError : of the kind that says what is wrong
        UsageError : if `items` has another step than 1, or the archive has no codes, or no exact layer
        """
        self.modality.refuse("decompress", lossy=lossy)
        rows = self.rows(items)
        codec = self._codec(self.model(model), lossy)
        wanted = list(self.blocks(rows))
        tasks = (self._task(block, lossy) for block, _ in wanted)
        with progress_bar("decompress", len(rows)) as bar, Pool(codec, workers, len(wanted)) as pool:
            rate = Rate()
            for (block, where), values in zip(wanted, pool.map(_decode, tasks), strict=True):
                if isinstance(values, str):
                    raise DamagedArchiveError(f"the block of items from {block.first} on is damaged: {values}")
                part = values[where]
                bar.advance(f"decompress, {rate.add(part.nbytes)}", len(part))
                yield part

    def read(
        self, model: FittedModel | StoredModel | None = None, *, items: slice = slice(None), **options: Any
    ) -> Any:
        """All of `parts`, in the form in which the data came.

        Images are an array `(n, h, w, c)`; a table is one of its kind, with its index; series an array or a list of arrays.
        Of a range of rows an index that only counts them starts anew; a range of an array's steps is `(steps, channels)`.
        """
        return self.decoding.restore(self.parts(model, items=items, **options), self.rows(items))

    def describe(self) -> dict[str, Any]:
        """Its content and sizes per layer, as figures for people; raises `ArchiveError` if a checksum does not hold."""
        layers = range(LAYERS)
        sizes = [sum(len(self.reader.layer(block, layer)) for block in self.reader.blocks) for layer in layers]
        digests = b"".join(block.digest for block in self.reader.blocks)
        for name in self.reader.attachments:
            self.reader.attachment(name)
        return {
            **self.decoding.describe(len(self), sizes),
            "blocks": len(self.reader.blocks),
            "model": self.reader.facts["model"],
            "embedded": ", ".join(sorted(self.reader.attachments)) or "nothing",
            "digest": hashlib.sha256(digests).hexdigest() if digests else "none",
            "integrity": "all checksums hold",
        }

    def _codec(self, model: StoredModel, lossy: bool) -> BlockCodec:
        try:
            return self.decoding.codec(model, lossy)
        except FivefoldError:
            raise
        except _MISFITS as error:
            raise ModelError(f"the model is damaged: its weights are others ({error!r})") from None

    def _task(self, block: Block, lossy: bool) -> tuple[Any, ...]:
        method = self.reader.method(block)
        exact = b"" if lossy and method == CODED else self.reader.layer(block, 1)
        stated = (self.reader.identity, block.first, block.digest) if block.digest and not lossy else None
        return stated, block.items, method, [self.reader.layer(block, 0), exact], lossy


def open_archive(file: IO[bytes], limits: Limits = Limits()) -> Archive:  # noqa: B008  (frozen)
    """An archive in a file that can seek; raises `ArchiveError`."""
    reader = ArchiveReader(file, limits)
    facts = reader.facts
    try:
        modality = MODALITIES[facts["kind"] if "kind" in facts else facts["schema"]["kind"]]
        sane = isinstance(facts["model"], str) and reader.items > 0
        coding: Coding = modality.room("coding")
        decoding = coding.decoding(reader, limits)
    except _NONSENSE as error:
        raise DamagedArchiveError(f"the archive's header is damaged: {error}") from None
    if not sane:
        raise DamagedArchiveError("the archive's header is damaged")
    return Archive(reader, modality, decoding)


def decompress(
    archive: bytes,
    model: FittedModel | StoredModel | None = None,
    *,
    lossy: bool = False,
    items: slice = slice(None),
    limits: Limits = Limits(),  # noqa: B008  (frozen)
    workers: int = 1,
) -> Any:
    """The items of an archive in the form in which they came; see `Archive.read` and `Archive.parts`.

    Raises
    ------
    ArchiveError : of the kind that says what is wrong
    UsageError : if there is no model, or `items` has another step than 1

    Examples
    --------
    >>> archive = fivefold.compress(tree_model, trees, embed_model=True)
    >>> fivefold.decompress(archive).equals(trees)
    True
    >>> fivefold.decompress(archive, items=slice(10, 12))["id"].to_list()
    ['tree-0010', 'tree-0011']
    """
    if not isinstance(archive, bytes | bytearray | memoryview):
        hint = "; read the file's bytes first" if isinstance(archive, str | Path) else ""
        raise UsageError(f"`archive` must be bytes, as compress gives, got {type(archive).__name__}{hint}")
    JobNumbers(workers=workers)
    return open_archive(io.BytesIO(archive), limits).read(model, lossy=lossy, items=items, workers=workers)


def _decode(codec: BlockCodec, stated: tuple[bytes, int, bytes] | None, *task: Any) -> Any:
    """A block's values, or what is wrong, as text; `stated` are identity, number of the first item, and digest."""
    try:
        values = codec.decode(*task)
        if stated is not None and not isinstance(values, str):
            identity, first, digest = stated
            if block_digest(identity, first, codec.digest(values)) != digest:
                return "it is not what was written: its SHA-256 is another"
        return values
    except _MISFITS as error:  # weights of other shapes, which no writer writes
        return f"it can't be decoded ({error!r})"
