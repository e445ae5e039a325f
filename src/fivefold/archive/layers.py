"""How modalities code an archive's blocks; and blocks' layers: hints, then the state of an entropy coder. No torch here."""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from fivefold.archive.container import ArchiveReader, Limits
from fivefold.codec.rans import Distributions, EmptyCoderError, Rans
from fivefold.codec.rounding import pack_hints, unpack_hints
from fivefold.errors import ArchiveLimitError, DamagedArchiveError
from fivefold.storage import StoredModel

RAW, CODED = 0, 1  # a block's method: values verbatim in the exact layer, or coded by the model
_NAMES = "names"
_NAME_BYTES = 4096  # on average, of a name and what is around it
_HINT_BYTES = 10  # of one, at most
_HEAD = struct.Struct("<HI")  # lanes, bytes of hints


class EncodedBlock(NamedTuple):
    """A block's number of items, method (`RAW` or `CODED`), two layers (codes, and exact), and the digest of its values.

    The digest is empty where values are not exact.
    """

    items: int
    method: int
    layers: list[bytes]
    digest: bytes


class BlockCodec(Protocol):
    """Encodes and decodes an archive's blocks under one model; goes to each worker process once, so without torch."""

    def encode(self, *task: Any) -> EncodedBlock: ...

    def decode(self, items: int, method: int, layers: list[bytes], lossy: bool) -> Any:
        """Values with a length, `nbytes` and slices, such as an array `(items, …)`; or what is wrong with it, as text."""

    def digest(self, values: Any) -> bytes:
        """SHA-256 of a block's values as they are, whatever the machine."""


@dataclass(frozen=True)
class Encoding:
    """Data on their way into an archive.

    Attributes
    ----------
    codec
    tasks : arguments of `codec.encode`, block by block
    facts : from the model's fingerprint to the facts of the header, plain JSON values. It has `model`, the fingerprint, and
        `kind` or `schema`; it is called, and tasks are taken, when the worker processes have been started
    elements : of an item, on average
    nbytes : of the data
    items, blocks : how many there will be; None if that is not known
    attachments : by name
    """

    codec: BlockCodec
    tasks: Iterator[tuple[Any, ...]]
    facts: Callable[[str], dict[str, Any]]
    elements: float
    nbytes: int
    items: int | None = None
    blocks: int | None = None
    attachments: Mapping[str, bytes] = field(default_factory=dict)


class Decoding(Protocol):
    """What the header of an open archive says of its items."""

    def codec(self, model: StoredModel, lossy: bool) -> BlockCodec:
        """For the archive's blocks; raises `ArchiveError` if the header does not fit the model, `UsageError` for `lossy`."""

    def restore(self, parts: Iterator[Any], rows: range) -> Any:
        """Decoded values, block by block, as one in the form in which the data came; `rows` are the items' numbers."""

    def output(self, path: Path, force: bool) -> Callable[[Iterator[Any], range], None]:
        """Writes what `restore` takes to a file; raises `UsageError` if `path` exists (without `force`) or is of another kind."""

    def describe(self, items: int, sizes: Sequence[int]) -> dict[str, str]:
        """For people; `sizes` are the layers' bytes."""


class Coding(Protocol):
    """`coding.py`: from data to an archive's blocks, and back; without torch but for what chooses codes."""

    @property
    def encoding(self) -> Callable[..., Encoding]:
        """`encoding(model, stored, source, options, **reading)` of a model, fitted if that is at hand, and as stored, and of
        `ArchiveOptions`.

        Raises `DataError` if `source` can't be read or held, `ModelError` if the model can't do it.
        """

    def decoding(self, reader: ArchiveReader, limits: Limits) -> Decoding:
        """Raises what a damaged header leads to: `ArchiveError`, or errors of values, types and look-ups."""


class DamagedLayerError(ValueError):
    """A layer's bytes are not what an encoder writes."""


def pack(intervals: list[tuple[np.ndarray, np.ndarray]], hints: np.ndarray, lanes: int) -> bytes:
    """A layer of batches of symbols, by their intervals, in the order in which they are popped."""
    coder, packed = Rans(lanes), pack_hints(hints)
    for starts, frequencies in reversed(intervals):
        coder.push_intervals(starts, frequencies)
    heads, words = coder.heads.astype("<u8").tobytes(), coder.words.astype("<u4").tobytes()
    return _HEAD.pack(lanes, len(packed)) + packed + heads + words


def unpack(layer: bytes, numbers: int) -> tuple[Rans, np.ndarray]:
    """The coder, and the hints for at most so many rounded `numbers`; raises `DamagedLayerError`."""
    if len(layer) < _HEAD.size:
        raise DamagedLayerError("it is too short")
    lanes, size = _HEAD.unpack_from(layer)
    if size > _HINT_BYTES * numbers:
        raise DamagedLayerError("it has more hints than numbers")
    heads, words = _HEAD.size + size, _HEAD.size + size + 8 * lanes
    if lanes == 0 or len(layer) < words or (len(layer) - words) % 4:
        raise DamagedLayerError("its parts do not fit into it")
    try:
        hints = unpack_hints(layer[_HEAD.size : heads])
        coder = Rans.resume(np.frombuffer(layer[heads:words], "<u8"), np.frombuffer(layer[words:], "<u4"))
    except ValueError as error:
        raise DamagedLayerError(str(error)) from None
    return coder, hints


def pop(coder: Rans, distributions: Distributions) -> np.ndarray:
    """A batch of symbols; raises `DamagedLayerError` if there are not as many."""
    try:
        return coder.pop(distributions)
    except EmptyCoderError as error:
        raise DamagedLayerError(str(error)) from None


def check_empty(coder: Rans) -> None:
    """Raise `DamagedLayerError` if not all has been popped."""
    if not coder.is_empty:
        raise DamagedLayerError("something is left over")


def check_same(same: bool) -> None:
    """Raise `RuntimeError` if a block that was decoded to verify it is not the one that was encoded."""
    if not same:
        raise RuntimeError("a block did not come back as it was written; that is a defect of the program")


def pack_names(names: Sequence[str] | None) -> dict[str, bytes]:
    """The items' names, if they have some, as an attachment."""
    return {} if names is None else {_NAMES: zlib.compress(json.dumps(names).encode())}


def unpack_names(reader: ArchiveReader) -> tuple[str, ...] | None:
    """The inverse; raises `DamagedArchiveError` if there are not as many as items."""
    if _NAMES not in reader.attachments:
        return None
    names = tuple(json.loads(inflate(reader.attachment(_NAMES), 2 + _NAME_BYTES * reader.items, _NAMES)))
    if len(names) != reader.items or not all(isinstance(name, str) for name in names):
        raise DamagedArchiveError("the archive's header is damaged")
    return names


def inflate(content: bytes, most: int, name: str) -> bytes:
    """Deflated bytes (zlib) as they were; raises `ArchiveLimitError` if they are more than `most`."""
    inflated = zlib.decompressobj().decompress(content, most + 1)
    if len(inflated) > most:
        raise ArchiveLimitError(f"the archive's {name} are more than {most:,} bytes")
    return inflated
