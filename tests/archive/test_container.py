"""What was put into the container comes out, and damage is told by its name."""

from __future__ import annotations

import hashlib
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fivefold.archive.container import ArchiveReader, ArchiveWriter, Limits, block_digest
from fivefold.errors import (
    ArchiveError,
    ArchiveLimitError,
    DamagedArchiveError,
    NewerArchiveError,
    NotAnArchiveError,
    TruncatedArchiveError,
)

VALUES = hashlib.sha256(b"values").digest()
BLOCKS = [(3, 1, [b"abc", b"defgh"], VALUES), (2, 0, [b"", b"raw"], VALUES), (1, 1, [b"x", b""], b"")]


def written(blocks=BLOCKS, facts=None, attachments=None) -> bytes:
    file = io.BytesIO()
    writer = ArchiveWriter(file, facts or {"what": "a test"}, attachments or {"notes": b"some notes"})
    for block in blocks:
        writer.add(*block)
    writer.close()
    return file.getvalue()


def opened(content: bytes, limits: Limits = Limits()) -> ArchiveReader:  # noqa: B008  (frozen)
    return ArchiveReader(io.BytesIO(content), limits)


def read(content: bytes):
    """All there is to read."""
    reader = opened(content)
    blocks = [
        (block.items, reader.method(block), [reader.layer(block, i) for i in (0, 1)], block.digest)
        for block in reader.blocks
    ]
    return reader.facts, {name: reader.attachment(name) for name in reader.attachments}, blocks


def test_round_trip():
    facts, attached, blocks = read(written())
    identity = hashlib.sha256(written()[: opened(written()).blocks[0].offset]).digest()
    assert facts["what"] == "a test"
    assert attached == {"notes": b"some notes"}
    assert [block[:3] for block in blocks] == [block[:3] for block in BLOCKS]
    assert [digest for *_, digest in blocks] == [*(block_digest(identity, first, VALUES) for first in (0, 3)), b""]
    reader = opened(written())
    assert reader.items == 6
    assert [block.first for block in reader.blocks] == [0, 3, 5]


def test_no_blocks():
    assert read(written([]))[2] == []


@pytest.mark.situation("a file that is no archive", "refused in one line")
@pytest.mark.parametrize("content", [b"", b"PNG and more, much more than a header takes", b"\x89FIVE"[:3] + b"x"])
def test_something_else(content):
    with pytest.raises(NotAnArchiveError):
        opened(content)


@pytest.mark.situation("an archive of a newer version", "refused in one line")
def test_a_newer_version():
    content = bytearray(written())
    content[8] = 3
    with pytest.raises(NewerArchiveError, match="version 3"):
        opened(bytes(content))


@pytest.mark.situation("an archive cut short, wherever", "refused in one line")
def test_every_truncation_is_told():
    content = written()
    for end in range(1, len(content)):
        with pytest.raises((TruncatedArchiveError, DamagedArchiveError)):
            read(content[:end])


@pytest.mark.situation("an archive with a flipped bit, wherever", "refused in one line")
def test_every_flipped_bit_is_told():
    """But for the two reserved bytes, which the header's checksum covers too."""
    content = written()
    for place in range(len(content)):
        for bit in (0, 7):
            damaged = bytearray(content)
            damaged[place] ^= 1 << bit
            with pytest.raises(ArchiveError):
                read(bytes(damaged))


@given(st.binary(max_size=300), st.integers(0, 400), st.integers(0, 400))
def test_spliced_archives_are_told(rest, start, end):
    content = written()
    spliced = content[:start] + rest + content[end:]
    try:
        found = read(spliced)
    except ArchiveError:
        return
    assert found == read(content)


@pytest.mark.parametrize(
    ("limits", "what"),
    [(Limits(items=5), "items"), (Limits(header_bytes=4), "header bytes"), (Limits(attachment_bytes=3), "attachment")],
)
def test_limits(limits, what):
    with pytest.raises(ArchiveLimitError, match=what):
        opened(written(), limits)


def test_a_damaged_block_leaves_the_others_readable():
    content = written()
    damaged = content.replace(b"defgh", b"deFgh")
    reader = opened(damaged)
    with pytest.raises(DamagedArchiveError, match="items 0–2"):
        reader.layer(reader.blocks[0], 1)
    assert reader.layer(reader.blocks[0], 0) == b"abc"
    assert reader.layer(reader.blocks[1], 1) == b"raw"
