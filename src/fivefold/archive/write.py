"""Compress data of any modality into an archive."""

from __future__ import annotations

import dataclasses
import io
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

from fivefold.archive.container import ArchiveReader, ArchiveWriter, Limits
from fivefold.archive.layers import BlockCodec, Coding, EncodedBlock
from fivefold.archive.pool import Pool
from fivefold.config import JobNumbers
from fivefold.errors import UsageError, suggest
from fivefold.modality import modality_taking, options_of
from fivefold.model.verdicts import warn_if_worse
from fivefold.progress import Rate, progress_bar
from fivefold.storage import StoredModel, as_stored, fingerprint

if TYPE_CHECKING:
    from fivefold.model.fitted import FittedModel


@dataclass(frozen=True)
class ArchiveOptions:
    """Options of writing an archive.

    Attributes
    ----------
    lossy : only the codes; of images
    step : of the codes' grid, in mean posterior deviations; 0: no codes. By default the one with the shortest archive
        of a sample of the items; of a lossy one, 1. Of images
    block_items : items that are coded together and can be read without the others; by default 1,024 images, or fewer
        if they are large, 16,384 rows, and 65,536 steps
    verify : decode each block and compare
    embed_model : so that the archive can be read without the model folder
    workers : processes; the archive does not depend on how many
    strict : raise `ModelError` instead of warning where other files of held-out items were shorter

    Raises
    ------
    UsageError : if an option is out of its range

    Examples
    --------
    >>> from fivefold.archive.write import ArchiveOptions
    >>> ArchiveOptions(block_items=100, embed_model=True).verify
    True
    """

    lossy: bool = False
    step: float | None = None
    block_items: int | None = None
    verify: bool = True
    embed_model: bool = False
    workers: int = 1
    strict: bool = False

    def __post_init__(self) -> None:
        JobNumbers(step=self.step, block_items=self.block_items, workers=self.workers)
        if self.lossy and self.step == 0:
            raise UsageError("`lossy` and `step` 0 exclude each other: nothing would be left")

    def items_per_block(self, default: int, most: int) -> int:
        """`block_items`, or the default; raises `UsageError` if it is not from 1 to `most`.

        >>> from fivefold.archive.write import ArchiveOptions
        >>> ArchiveOptions(block_items=100).items_per_block(default=1024, most=65536)
        100
        """
        if self.block_items is None:
            return default
        if not 1 <= self.block_items <= most:
            raise UsageError(f"`block_items` must be from 1 to {most:,}, got {self.block_items}")
        return self.block_items


@dataclass(frozen=True)
class Written:
    """The content of a written archive: the number of items, the elements of an item on average, and the bytes of the data."""

    items: int
    elements: float
    nbytes: int


def compress(model: FittedModel, data: Any, **options: Any) -> bytes:
    """Data of the model's modality as an archive; for `options` see `ArchiveOptions`, and the modality's `open`.

    Raises
    ------
    UsageError : if an option is out of its range, or does not go with the modality
    ModelError : if the model can't do it
    DataError : if the data can't be read, or hold what an archive can't

    Examples
    --------
    >>> archive = fivefold.compress(image_model, images, block_items=4)
    >>> len(archive) < images.nbytes
    True
    """
    file = io.BytesIO()
    known = {field.name for field in dataclasses.fields(ArchiveOptions)}
    if unknown := options.keys() - known - options_of("compress"):
        name = min(unknown)
        raise UsageError(f"`{name}` is no option of compress{suggest(name, sorted(known))}")
    reading = {name: options.pop(name) for name in options.keys() - known}
    write_archive(model, data, file, ArchiveOptions(**options), **reading)
    return file.getvalue()


def coded_size(model: FittedModel, data: Any) -> int:
    """Bytes of the blocks of an archive, without its header, which does not grow with the items."""
    return sum(
        block.end - block.offset for block in ArchiveReader(io.BytesIO(compress(model, data, verify=False))).blocks
    )


def write_archive(
    model: FittedModel | StoredModel,
    data: Any,
    file: IO[bytes],
    options: ArchiveOptions = ArchiveOptions(),
    **reading: Any,
) -> Written:
    """Write an archive, block by block.

    Parameters
    ----------
    model : of a stored one networks are made only where codes are to be found
    data : of the model's modality; `reading` says how to read it

    Raises
    ------
    UsageError : if an option is out of its range, or does not go with the modality
    ModelError : if the model can't do it
    DataError : if the data can't be read, or hold what an archive can't
    """
    modality = modality_taking(model, "compress", lossy=options.lossy, step=options.step, **reading)
    reading = {name: value for name, value in reading.items() if value is not None}
    warn_if_worse(model, "compress", options.strict)
    stored = as_stored(model)
    coding: Coding = modality.room("coding")
    encoding = coding.encoding(model, stored, data, options, **reading)
    pool = Pool(encoding.codec, options.workers, options.workers if encoding.blocks is None else encoding.blocks)
    with pool, progress_bar("compress", encoding.items or 0) as bar:
        facts = encoding.facts(fingerprint(stored))  # while the pool's processes start
        attachments = {**encoding.attachments, **(stored.files if options.embed_model else {})}
        for content in attachments.values():
            Limits().check("attachment_bytes", len(content))
        writer, items, rate = ArchiveWriter(file, facts, attachments), 0, Rate()
        for block in pool.map(_encode, encoding.tasks):
            writer.add(*block)
            items += block.items
            bar.advance(f"compress, {rate.add(sum(map(len, block.layers)))}", block.items)
        writer.close()
    return Written(items, encoding.elements, encoding.nbytes)


def _encode(codec: BlockCodec, *task: Any) -> EncodedBlock:
    return codec.encode(*task)
