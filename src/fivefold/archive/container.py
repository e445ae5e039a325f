"""The container: a header, blocks of two layers that decode alone, an index. See docs/format.md. No model, no torch here."""

from __future__ import annotations

import hashlib
import io
import json
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import IO, Any, NamedTuple

from google_crc32c import value as crc32c

from fivefold.errors import (
    ArchiveLimitError,
    DamagedArchiveError,
    NewerArchiveError,
    NotAnArchiveError,
    TruncatedArchiveError,
)

MAGIC = b"\x89FIVE\r\n\x1a"
VERSION = 2  # since which blocks have digests, and the end has the number of items
LAYERS = 2
_START = struct.Struct("<8sHHI")  # magic, version, reserved, bytes of the header
_BLOCKS = {  # magic, items, method, bytes and checksums of the layers; digest
    1: struct.Struct("<4sIBxxx2I2I"),
    2: struct.Struct("<4sIBxxx2I2I32s"),
}
_ENDS = {  # where the index is; items; blocks, checksum of the index, magic
    1: struct.Struct("<QII4s"),
    2: struct.Struct("<QQII4s"),
}
_NO_DIGEST = bytes(32)
_ENTRY = struct.Struct("<QI")  # where a block is, its items
_SUM = struct.Struct("<I")
_BLOCK_MAGIC, _END_MAGIC = b"BLCK", b"FFIX"


@dataclass(frozen=True)
class Limits:
    """The limits of a reader, checked before anything is allocated.

    Attributes
    ----------
    items : of an archive
    block_elements : of a block's items; to decode one takes some 150 bytes each
    block_rows : of a block of a table
    block_bytes : of the verbatim layer of a block of a table, inflated
    bytes : of the items that are read into one array
    header_bytes, attachment_bytes : of the header, and of an attachment, inflated
    """

    items: int = 1 << 32
    block_elements: int = 1 << 24
    block_rows: int = 1 << 16
    block_bytes: int = 1 << 30
    bytes: int = 1 << 34
    header_bytes: int = 1 << 20
    attachment_bytes: int = 1 << 30

    def check(self, what: str, number: int) -> None:
        """Raise `ArchiveLimitError` if `number` is above the limit called `what`."""
        if number > (most := getattr(self, what)):
            raise ArchiveLimitError(
                f"the archive has {number:,} {what.replace('_', ' ')}, more than the {most:,} allowed"
            )


@dataclass(frozen=True)
class Block:
    """A block's place in the file, and its items: the first one's number, and how many."""

    offset: int
    end: int
    first: int
    items: int


class Head(NamedTuple):
    """How a block is coded (see `archive/layers.py`), its layers' sizes and checksums, and its digest."""

    method: int
    sizes: Sequence[int]
    sums: Sequence[int]
    digest: bytes


def block_digest(first: int, values: bytes) -> bytes:
    """SHA-256 of a block at its place: of the number of its first item, and the SHA-256 of its values."""
    return hashlib.sha256(first.to_bytes(8, "little") + values).digest()


class ArchiveWriter:
    """Writes to `file` from where it stands.

    Parameters
    ----------
    facts : plain JSON values
    attachments : by name; they follow the header
    """

    def __init__(self, file: IO[bytes], facts: dict[str, Any], attachments: dict[str, bytes]) -> None:
        sizes = {name: len(content) for name, content in attachments.items()}
        header = json.dumps({**facts, "attachments": sizes}, separators=(",", ":")).encode()
        start = _START.pack(MAGIC, VERSION, 0, len(header)) + header
        self._file, self._offset, self._items, self._index = file, 0, 0, bytearray()
        self._write(start + _SUM.pack(crc32c(start)))
        for content in attachments.values():
            self._write(content + _SUM.pack(crc32c(content)))

    def add(self, items: int, method: int, layers: Sequence[bytes], values: bytes) -> None:
        """Add a block; `values` is the SHA-256 of what it decodes to, or empty if that is not exact."""
        self._index += _ENTRY.pack(self._offset, items)
        digest = block_digest(self._items, values) if values else _NO_DIGEST
        head = _BLOCKS[VERSION].pack(_BLOCK_MAGIC, items, method, *map(len, layers), *map(crc32c, layers), digest)
        self._write(head + _SUM.pack(crc32c(head)))
        self._items += items
        for layer in layers:
            self._write(layer)

    def close(self) -> None:
        """Write the index."""
        index = bytes(self._index)
        end = self._offset, self._items, len(index) // _ENTRY.size, crc32c(index), _END_MAGIC
        self._write(index + _ENDS[VERSION].pack(*end))

    def _write(self, content: bytes) -> None:
        self._file.write(content)
        self._offset += len(content)


class ArchiveReader:
    """Reads from a `file` that can seek.

    Attributes
    ----------
    facts : what the writer was given
    blocks : in order

    Raises
    ------
    ArchiveError : of the kind that says what is wrong
    """

    def __init__(self, file: IO[bytes], limits: Limits = Limits()) -> None:
        self._file, self._limits = file, limits
        self._size = file.seek(0, io.SEEK_END)
        start = self._read(0, min(_START.size, self._size))
        if start[: len(MAGIC)] != MAGIC[: len(start)] or not start:
            raise NotAnArchiveError("this is not an archive of fivefold's")
        start = self._read(0, _START.size)
        _, self._version, _, size = _START.unpack(start)
        if self._version > VERSION:
            raise NewerArchiveError(
                f"the archive has format version {self._version}, this package reads up to {VERSION}: upgrade it"
            )
        if self._version not in _BLOCKS:
            raise DamagedArchiveError(f"the archive has format version {self._version}, which there never was")
        limits.check("header_bytes", size)
        header = self._checked(0, _START.size + size, "header")[_START.size :]
        self.facts = _parse(header)
        self._attached: dict[str, tuple[int, int]] = {}
        place = _START.size + size + _SUM.size
        for name, length in self.facts["attachments"].items():
            limits.check("attachment_bytes", length)
            self._attached[name] = place, length
            place += length + _SUM.size
        self.blocks = self._read_index(place)

    @property
    def items(self) -> int:
        """The number of items."""
        return sum(block.items for block in self.blocks)

    def attachment(self, name: str) -> bytes:
        """The attachment called `name`; raises `KeyError` if there is none."""
        return self._checked(*self._attached[name], name)

    @property
    def attachments(self) -> frozenset[str]:
        """The names of all attachments."""
        return frozenset(self._attached)

    def head(self, block: Block) -> Head:
        """What a block says of itself; the digest is empty if it has none."""
        content = self._checked(block.offset, _BLOCKS[self._version].size, f"block of items {_span(block)}")
        magic, items, method, *numbers = _BLOCKS[self._version].unpack(content)
        sizes, sums, digest = numbers[:LAYERS], numbers[LAYERS : 2 * LAYERS], b"".join(numbers[2 * LAYERS :])
        if magic != _BLOCK_MAGIC or items != block.items or self._layers_at(block) + sum(sizes) != block.end:
            raise DamagedArchiveError(f"the block of items {_span(block)} is not where the index says")
        return Head(method, sizes, sums, digest.replace(_NO_DIGEST, b""))

    def layer(self, block: Block, number: int) -> bytes:
        """One of the block's layers."""
        head = self.head(block)
        content = self._read(self._layers_at(block) + sum(head.sizes[:number]), head.sizes[number])
        if crc32c(content) != head.sums[number]:
            raise DamagedArchiveError(f"the block of items {_span(block)} is damaged: its checksum is another")
        return content

    def _layers_at(self, block: Block) -> int:
        return block.offset + _BLOCKS[self._version].size + _SUM.size

    def _read_index(self, place: int) -> list[Block]:
        size = _ENDS[self._version].size
        if self._size < place + size:
            raise TruncatedArchiveError("the archive ends too early")
        end = self._size - size
        offset, *stated, count, checksum, magic = _ENDS[self._version].unpack(self._read(end, size))
        if magic != _END_MAGIC:
            raise TruncatedArchiveError("the archive ends too early: its index is missing")
        if not place <= offset or offset + count * _ENTRY.size != end:
            raise DamagedArchiveError("the archive's index is not where its end says")
        index = self._read(offset, count * _ENTRY.size)
        if crc32c(index) != checksum:
            raise DamagedArchiveError("the archive's index is damaged: its checksum is another")
        found = sum(items for _, items in _ENTRY.iter_unpack(index))
        self._limits.check("items", found)
        if stated not in ([], [found]):
            raise DamagedArchiveError(
                f"the archive must have {stated[0]:,} items by its end, got {found:,} in its index"
            )
        starts = [start for start, _ in _ENTRY.iter_unpack(index)]
        blocks, first = [], 0
        for (start, items), end in zip(_ENTRY.iter_unpack(index), [*starts, offset][1:], strict=True):
            if not (place == start < end and items > 0):
                raise DamagedArchiveError("the archive's index names a block that is not there")
            blocks.append(Block(start, end, first, items))
            place, first = end, first + items
        return blocks

    def _checked(self, offset: int, size: int, what: str) -> bytes:
        """Bytes that are followed by their checksum."""
        content = self._read(offset, size + _SUM.size)
        if crc32c(content[:size]) != _SUM.unpack(content[size:])[0]:
            raise DamagedArchiveError(f"the {what} is damaged: its checksum is another")
        return content[:size]

    def _read(self, offset: int, size: int) -> bytes:
        if offset + size > self._size:
            raise TruncatedArchiveError("the archive ends too early")
        self._file.seek(offset)
        return self._file.read(size)


def _parse(header: bytes) -> dict[str, Any]:
    try:
        facts: dict[str, Any] = json.loads(header)
        sizes = facts["attachments"].values()
        sane = all(type(size) is int and size >= 0 for size in sizes)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        sane = False
    if not sane:
        raise DamagedArchiveError("the header is not what a writer writes")
    return facts


def _span(block: Block) -> str:
    return f"{block.first}–{block.first + block.items - 1}"
