"""The container: a header, blocks of two layers that decode alone, an index. See docs/format.md. No model, no torch here."""

from __future__ import annotations

import hashlib
import io
import json
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
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
VERSION = 2  # since which the index has digests
LAYERS = 2
_START = struct.Struct("<8sHHI")  # magic, version, reserved, bytes of the header
_BLOCK = struct.Struct("<4sIBxxx2I2I")  # magic, items, method, bytes and checksums of the layers
_ENDS = {1: struct.Struct("<QI4s4s"), 2: struct.Struct("<QI32s4s")}  # where the index is, blocks, its checksum, magic
_ENTRIES = {1: struct.Struct("<QI"), 2: struct.Struct("<QI32s")}  # where a block is, its items; its digest
_NO_DIGEST = bytes(32)
_CHUNK = 1 << 20
_SUM = struct.Struct("<I")
_CUT = "the archive ends too early: copy it again, or compress anew"
_BLOCK_MAGIC, _END_MAGIC = b"BLCK", b"FFIX"


@dataclass(frozen=True)
class Limits:
    """The limits of a reader, checked before anything is allocated.

    Attributes
    ----------
    items : of an archive
    block_elements : of a block's items; to decode one takes some 150 bytes each (those of pictures of any size, of which four
        times as many may be, some 50)
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
    """A block's place in the file; its items: the first one's number, and how many; and its digest, empty if it has none."""

    offset: int
    end: int
    first: int
    items: int
    digest: bytes


def block_digest(identity: bytes, first: int, values: bytes) -> bytes:
    """SHA-256 of a block at its place: of an archive's identity, the number of its first item, and its values' SHA-256."""
    return hashlib.sha256(identity + first.to_bytes(8, "little") + values).digest()


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
        identity = hashlib.sha256()
        for content in (start, *attachments.values()):
            for part in (content, _SUM.pack(crc32c(content))):
                identity.update(part)
                self._write(part)
        self._identity = identity.digest()

    def add(self, items: int, method: int, layers: Sequence[bytes], values: bytes) -> None:
        """Add a block; `values` is the SHA-256 of what it decodes to, or empty if that is not exact."""
        digest = block_digest(self._identity, self._items, values) if values else _NO_DIGEST
        self._index += _ENTRIES[VERSION].pack(self._offset, items, digest)
        head = _BLOCK.pack(_BLOCK_MAGIC, items, method, *map(len, layers), *map(crc32c, layers))
        self._write(head + _SUM.pack(crc32c(head)))
        self._items += items
        for layer in layers:
            self._write(layer)

    def close(self) -> None:
        """Write the index."""
        index = bytes(self._index)
        end = self._offset, len(index) // _ENTRIES[VERSION].size, _index_sum(index, VERSION), _END_MAGIC
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
            raise NotAnArchiveError("this is not an archive of fivefold's; give what compress wrote")
        start = self._read(0, _START.size)
        _, self._version, _, size = _START.unpack(start)
        if self._version > VERSION:
            raise NewerArchiveError(
                f"the archive has format version {self._version}, this package reads up to {VERSION}: upgrade it"
            )
        if self._version not in _ENDS:
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
        self._blocks_at = place

    @property
    def items(self) -> int:
        """The number of items."""
        return sum(block.items for block in self.blocks)

    @cached_property
    def identity(self) -> bytes:
        """SHA-256 of all that comes before the blocks: the header and the attachments."""
        identity = hashlib.sha256()
        for place in range(0, self._blocks_at, _CHUNK):
            identity.update(self._read(place, min(_CHUNK, self._blocks_at - place)))
        return identity.digest()

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
        form, entry = _ENDS[self._version], _ENTRIES[self._version]
        end = self._size - form.size
        if end < place:
            raise TruncatedArchiveError(_CUT)
        offset, count, checksum, magic = form.unpack(self._read(end, form.size))
        if magic != _END_MAGIC:
            raise TruncatedArchiveError(f"{_CUT}; its index is missing")
        if not place <= offset or offset + count * entry.size != end:
            raise DamagedArchiveError("the archive's index is not where its end says")
        index = self._read(offset, count * entry.size)
        if _index_sum(index, self._version) != checksum:
            raise DamagedArchiveError("the archive's index is damaged: its checksum is another")
        entries = list(entry.iter_unpack(index))
        self._limits.check("items", sum(items for _, items, *_ in entries))
        blocks, first = [], 0
        for (start, items, *digest), end in zip(entries, [*(start for start, *_ in entries), offset][1:], strict=True):
            if not (place == start < end and items > 0):
                raise DamagedArchiveError("the archive's index names a block that is not there")
            blocks.append(Block(start, end, first, items, b"".join(digest).replace(_NO_DIGEST, b"")))
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
            raise TruncatedArchiveError(_CUT)
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


def _index_sum(index: bytes, version: int) -> bytes:
    """The checksum of an index: CRC-32C, since version 2 SHA-256."""
    return _SUM.pack(crc32c(index)) if version == 1 else hashlib.sha256(index).digest()


def _span(block: Block) -> str:
    return f"{block.first}–{block.first + block.items - 1}"
