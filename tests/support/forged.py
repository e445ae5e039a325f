"""Archives with right checksums, and with whatever is to be wrong."""

from __future__ import annotations

import hashlib
import io
import struct
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from google_crc32c import value as crc32c

from fivefold.archive import container
from fivefold.archive.container import ArchiveReader, ArchiveWriter

Layers = list[bytes]


def rewritten(
    archive: bytes,
    facts: Mapping[str, Any] | None = None,
    attachments: Mapping[str, bytes] | None = None,
    change: Callable[[Layers], Layers] = list,
    blocks: slice = slice(None),
) -> bytes:
    """Without digests: with other `facts` and `attachments` beside its own, its `blocks` only, and their layers changed."""
    reader, file = ArchiveReader(io.BytesIO(archive)), io.BytesIO()
    own = {name: value for name, value in reader.facts.items() if name != "attachments"}
    attached = {name: reader.attachment(name) for name in reader.attachments}
    writer = ArchiveWriter(file, {**own, **(facts or {})}, {**attached, **(attachments or {})})
    for block in reader.blocks[blocks]:
        layers = change([reader.layer(block, number) for number in (0, 1)])
        writer.add(block.items, reader.method(block), layers, b"")
    writer.close()
    return file.getvalue()


def mended(
    archive: bytes,
    order: Iterable[int] | None = None,
    change: Callable[[Layers], Layers] = list,
    head: bytes | None = None,
) -> bytes:
    """With their digests, but in another `order`, left out or repeated, behind another `head`, and their layers changed."""
    reader = ArchiveReader(io.BytesIO(archive))
    content, index = bytearray(head or archive[: reader.blocks[0].offset]), bytearray()
    for block in reader.blocks if order is None else [reader.blocks[number] for number in order]:
        layers = change([reader.layer(block, number) for number in (0, 1)])
        numbers = block.items, reader.method(block), *map(len, layers), *map(crc32c, layers)
        start = struct.pack("<4sIBxxx2I2I", b"BLCK", *numbers)
        index += struct.pack("<QI32s", len(content), block.items, block.digest)
        content += start + struct.pack("<I", crc32c(start)) + b"".join(layers)
    end = struct.pack("<QI32s4s", len(content), len(index) // 44, hashlib.sha256(index).digest(), b"FFIX")
    return bytes(content + index) + end


def headed(archive: bytes, header: bytes, attachments: Mapping[str, bytes] | None = None) -> bytes:
    """With another header, JSON, and other attachments, but the digests that it has."""
    reader = ArchiveReader(io.BytesIO(archive))
    attached = {name: reader.attachment(name) for name in reader.attachments} | dict(attachments or {})
    start = struct.pack("<8sHHI", container.MAGIC, container.VERSION, 0, len(header)) + header
    parts = [part + struct.pack("<I", crc32c(part)) for part in (start, *attached.values())]
    return mended(archive, head=b"".join(parts))
