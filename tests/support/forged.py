"""Archives with right checksums, and with whatever is to be wrong."""

from __future__ import annotations

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
        writer.add(block.items, reader.head(block).method, layers, b"")
    writer.close()
    return file.getvalue()


def mended(archive: bytes, order: Iterable[int], change: Callable[[Layers], Layers] = list) -> bytes:
    """With their digests, but in another `order`, left out or repeated, and their layers changed: all else is right."""
    reader = ArchiveReader(io.BytesIO(archive))
    content, index, items = bytearray(archive[: reader.blocks[0].offset]), bytearray(), 0
    shape = container._BLOCKS[container.VERSION]
    for block in (reader.blocks[number] for number in order):
        magic, count, method, *_, digest = shape.unpack_from(archive, block.offset)
        layers = change([reader.layer(block, number) for number in (0, 1)])
        head = shape.pack(magic, count, method, *map(len, layers), *map(crc32c, layers), digest)
        index += struct.pack("<QI", len(content), count)
        content += head + struct.pack("<I", crc32c(head)) + b"".join(layers)
        items += count
    end = len(content), items, len(index) // 12, crc32c(bytes(index)), b"FFIX"
    return bytes(content + index) + container._ENDS[container.VERSION].pack(*end)
