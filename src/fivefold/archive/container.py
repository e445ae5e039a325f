"""The container: a header, blocks of two layers that decode alone, an index. See docs/format.md. No model, no torch here."""

from __future__ import annotations

import io
import json
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import IO, Any

from google_crc32c import value as crc32c

from fivefold.errors import (
    ArchiveLimitError,
    DamagedArchiveError,
    NewerArchiveError,
    NotAnArchiveError,
    TruncatedArchiveError,
)

MAGIC = b"\x89FIVE\r\n\x1a"
VERSION = 1
LAYERS = 2
_START = struct.Struct("<8sHHI")  # magic, version, reserved, bytes of the header
_BLOCK = struct.Struct("<4sIBxxx2I2I")  # magic, items, method, bytes and checksums of the layers
_END = struct.Struct("<QII4s")  # where the index is, blocks, checksum of the index, magic
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
        self._file, self._offset, self._index = file, 0, bytearray()
        self._write(start + _SUM.pack(crc32c(start)))
        for content in attachments.values():
            self._write(content + _SUM.pack(crc32c(content)))

    def add(self, items: int, method: int, layers: Sequence[bytes]) -> None:
        """Add a block."""
        self._index += _ENTRY.pack(self._offset, items)
        head = _BLOCK.pack(_BLOCK_MAGIC, items, method, *map(len, layers), *map(crc32c, layers))
        self._write(head + _SUM.pack(crc32c(head)))
        for layer in layers:
            self._write(layer)

    def close(self) -> None:
        """Write the index."""
        index = bytes(self._index)
        self._write(index + _END.pack(self._offset, len(index) // _ENTRY.size, crc32c(index), _END_MAGIC))

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
        _, version, _, size = _START.unpack(start)
        if version > VERSION:
            raise NewerArchiveError(
                f"the archive has format version {version}, this package reads {VERSION}: upgrade it"
            )
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

    def method(self, block: Block) -> int:
        """The block's method; see `archive/layers.py`."""
        return self._head(block)[0]

    def layer(self, block: Block, number: int) -> bytes:
        """One of the block's layers."""
        _, sizes, sums = self._head(block)
        content = self._read(block.offset + _BLOCK.size + _SUM.size + sum(sizes[:number]), sizes[number])
        if crc32c(content) != sums[number]:
            raise DamagedArchiveError(f"the block of items {_span(block)} is damaged: its checksum is another")
        return content

    def _head(self, block: Block) -> tuple[int, tuple[int, int], tuple[int, int]]:
        head = self._checked(block.offset, _BLOCK.size, f"block of items {_span(block)}")
        magic, items, method, *numbers = _BLOCK.unpack(head)
        end = block.offset + _BLOCK.size + _SUM.size + sum(numbers[:LAYERS])
        if magic != _BLOCK_MAGIC or items != block.items or end != block.end:
            raise DamagedArchiveError(f"the block of items {_span(block)} is not where the index says")
        return method, tuple(numbers[:LAYERS]), tuple(numbers[LAYERS:])

    def _read_index(self, place: int) -> list[Block]:
        if self._size < place + _END.size:
            raise TruncatedArchiveError("the archive ends too early")
        end = self._size - _END.size
        offset, count, checksum, magic = _END.unpack(self._read(end, _END.size))
        if magic != _END_MAGIC:
            raise TruncatedArchiveError("the archive ends too early: its index is missing")
        if not place <= offset or offset + count * _ENTRY.size != end:
            raise DamagedArchiveError("the archive's index is not where its end says")
        index = self._read(offset, count * _ENTRY.size)
        if crc32c(index) != checksum:
            raise DamagedArchiveError("the archive's index is damaged: its checksum is another")
        self._limits.check("items", sum(items for _, items in _ENTRY.iter_unpack(index)))
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
