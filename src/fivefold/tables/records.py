"""Records of separated text: where each cell stands in the bytes, so that cells can be read, and replaced where they stand."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

_QUOTE, _NEWLINE, _RETURN, _BLANK = ord('"'), ord("\n"), ord("\r"), ord(" ")
_SHORT = 16_384  # bytes


@dataclass(frozen=True)
class Records:
    """Whole records of a text; all positions are of its bytes.

    Attributes
    ----------
    starts, ends : of the cells one after the other, their quotes included
    begins : of the records
    counts : cells of each record
    consumed : where the first one begins that is not whole
    """

    starts: np.ndarray
    ends: np.ndarray
    begins: np.ndarray
    counts: np.ndarray
    consumed: int


def scan(text: np.ndarray, separator: str, comment: str, *, blank: bool, last: bool) -> Records:
    """The records of UTF-8 bytes `(n,)`: cells may be quoted by `"`, doubled within, and lines end in any usual way.

    Lines that start with `comment` are left out, and blank ones unless `blank`. If it is the `last` of the text, what has no
    end of line is whole, too. A blank as the separator stands for any number of them, and those at the ends of lines for nothing.
    """
    most = 1 + sum(int(np.count_nonzero(text == mark)) for mark in (ord(separator), _NEWLINE, _RETURN))
    cells, records = np.empty((2, most), np.int64), np.empty((2, most), np.int64)
    marked = ord(comment) if comment else -1
    run = _run(_scan, len(text))
    count, whole, consumed = run(text, ord(separator), marked, blank, last, cells, records)
    return Records(cells[0, :count], cells[1, :count], records[0, :whole], records[1, :whole], int(consumed))


def _scan(
    text: np.ndarray, separator: int, comment: int, blank: bool, last: bool, cells: np.ndarray, records: np.ndarray
) -> tuple[int, int, int]:
    """How many cells and whole records there are, and how many bytes they take; writes where they stand."""
    size, at, count, whole, consumed = len(text), 0, 0, 0, 0
    while at < size:
        begin, first = at, count
        if text[at] == comment:
            while at < size and text[at] != _NEWLINE and text[at] != _RETURN:
                at += 1
        elif blank or (text[at] != _NEWLINE and text[at] != _RETURN):
            while True:
                while separator == _BLANK and at < size and text[at] == _BLANK:
                    at += 1
                if separator == _BLANK and (at == size or text[at] == _NEWLINE or text[at] == _RETURN):
                    break
                cells[0, count] = at
                if at < size and text[at] == _QUOTE:
                    at += 1
                    while at < size and (text[at] != _QUOTE or (at + 1 < size and text[at + 1] == _QUOTE)):
                        at += 2 if text[at] == _QUOTE else 1
                    if at >= size:  # not closed
                        return first, whole, begin
                    at += 1
                while at < size and text[at] != separator and text[at] != _NEWLINE and text[at] != _RETURN:
                    at += 1
                cells[1, count] = at
                count += 1
                if at == size or text[at] != separator:
                    break
                at += 1
        if not last and (at == size or (text[at] == _RETURN and at + 1 == size)):  # a line feed may follow
            return first, whole, begin
        if at < size:
            at += 2 if text[at] == _RETURN and at + 1 < size and text[at + 1] == _NEWLINE else 1
        if count > first:
            records[0, whole] = begin
            records[1, whole] = count - first
            whole += 1
        consumed = at
    return count, whole, consumed


def count_lines(text: np.ndarray) -> int:
    """How many lines end in bytes `(n,)`, in any usual way."""
    feeds, returns = text == _NEWLINE, text == _RETURN
    pairs = np.count_nonzero(returns[:-1] & feeds[1:])
    return int(np.count_nonzero(feeds) + np.count_nonzero(returns) - pairs)


def gather(text: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pieces of bytes in a row, and their offsets `(n + 1,)`."""
    offsets = np.zeros(len(starts) + 1, np.int64)
    np.cumsum(ends - starts, out=offsets[1:])
    data = np.empty(offsets[-1], np.uint8)
    _run(_copy, len(data))(text, starts, ends, data)
    return data, offsets


def _copy(text: np.ndarray, starts: np.ndarray, ends: np.ndarray, data: np.ndarray) -> None:
    at = 0
    for piece in range(len(starts)):
        for place in range(starts[piece], ends[piece]):
            data[at] = text[place]
            at += 1


def _run(function: Callable[..., Any], size: int) -> Callable[..., Any]:
    """Compiled, unless numba would take longer to load than Python takes for a text of so many bytes."""
    return function if size <= _SHORT else _compiled(function)


@cache
def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    from fivefold.codec.kernels import compiled

    return compiled(function)


def cell_texts(text: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> pa.Array:
    """What cells say, without their quotes: `large_string`."""
    data, offsets = gather(text, starts, ends)
    raw = pa.LargeStringArray.from_buffers(len(starts), pa.py_buffer(offsets), pa.py_buffer(data))
    if not (data == _QUOTE).any():
        return raw
    bare = pc.replace_substring(pc.replace_substring_regex(raw, r'(?s)^"(.*)"([^"]*)$', r"\1\2"), '""', '"')
    return pc.if_else(pc.starts_with(raw, '"'), bare, raw)


def quoted(texts: pa.Array, separator: str) -> pa.Array:
    """Texts as cells: those that would end one, or a line, in quotes."""
    special = pc.match_substring_regex(texts, f'[{re.escape(separator)}"\r\n]')
    return pc.if_else(special, in_quotes(texts), texts) if pc.any(special).as_py() else texts


def in_quotes(texts: pa.Array) -> pa.Array:
    """Texts in quotes, those within doubled."""
    quote, nothing = pa.scalar('"', pa.large_string()), pa.scalar("", pa.large_string())
    return pc.binary_join_element_wise(quote, pc.replace_substring(texts, '"', '""'), quote, nothing)


@dataclass(frozen=True)
class Added:
    """New rows of a text.

    Attributes
    ----------
    before : `(m,)`, ascending: number of the row before which each is
    columns : its cells, `large_string` `(m,)` each
    """

    before: np.ndarray
    columns: Sequence[pa.Array]


@dataclass(frozen=True)
class RecordBlock:
    """Some records of a text with what stands between them.

    Attributes
    ----------
    text : UTF-8 bytes
    starts, ends : of the cells `(n, d)`
    begins : of the records `(n,)`; the first one's is 0, since what stands before belongs to it
    """

    text: np.ndarray
    starts: np.ndarray
    ends: np.ndarray
    begins: np.ndarray

    def __len__(self) -> int:
        return len(self.begins)

    @classmethod
    def joined(cls, blocks: Sequence[RecordBlock]) -> RecordBlock:
        """Blocks one after the other."""
        shifts = np.cumsum([0, *(len(block.text) for block in blocks)])
        parts = [
            (block.starts + shift, block.ends + shift, block.begins + shift)
            for block, shift in zip(blocks, shifts, strict=False)
        ]
        starts, ends, begins = (np.concatenate(part) for part in zip(*parts, strict=True))
        return cls(np.concatenate([block.text for block in blocks]), starts, ends, begins)

    def part(self, first: int, rows: int) -> RecordBlock:
        """At most so many records from number `first` on."""
        last = min(first + rows, len(self))
        edges = np.append(self.begins, len(self.text))
        begin, end = edges[first], edges[last]
        cut = slice(first, last)
        return RecordBlock(
            self.text[begin:end], self.starts[cut] - begin, self.ends[cut] - begin, self.begins[cut] - begin
        )

    def column(self, at: int) -> pa.Array:
        """The texts of a column, `large_string`."""
        return cell_texts(self.text, self.starts[:, at], self.ends[:, at])

    def replaced(
        self, columns: dict[int, tuple[np.ndarray, pa.Array]], separator: str, added: Added | None = None
    ) -> bytes:
        """The text with other cells: by column, in which rows `(n,)` bool, and as many texts; and with new rows; all else stays.

        New cells are quoted where they must be, or where most of the column's are.
        """
        texts, starts, ends = [], [], []
        if added is not None and len(added.before):
            cells = [self._as_cells(at, new, separator) for at, new in enumerate(added.columns)]
            separating, ending, nothing = (
                pa.scalar(text, pa.large_string()) for text in (separator, self._newline(), "")
            )
            lines = pc.binary_join_element_wise(*cells, separating)
            texts.append(pc.binary_join_element_wise(lines, ending, nothing))
            starts.append(self.begins[added.before])
            ends.append(self.begins[added.before])
        for at, (where, new) in columns.items():
            texts.append(self._as_cells(at, new, separator))
            starts.append(self.starts[where, at])
            ends.append(self.ends[where, at])
        if not texts:
            return self.text.tobytes()
        old_starts, old_ends = np.concatenate(starts), np.concatenate(ends)
        order = np.argsort(old_starts, kind="stable")
        cells = pa.concat_arrays(texts).take(pa.array(order))
        offsets = np.frombuffer(cells.buffers()[1], np.int64)[cells.offset : cells.offset + len(cells) + 1]
        source = np.concatenate([self.text, np.frombuffer(cells.buffers()[2] or b"", np.uint8)])
        pieces = np.empty((2, 2 * len(cells) + 1), np.int64)  # what stays and what is new by turns
        pieces[0, ::2] = np.append(0, old_ends[order])
        pieces[1, ::2] = np.append(old_starts[order], len(self.text))
        pieces[:, 1::2] = np.stack([offsets[:-1], offsets[1:]]) + len(self.text)
        return gather(source, *pieces)[0].tobytes()

    def _as_cells(self, at: int, texts: pa.Array, separator: str) -> pa.Array:
        marks = self.text[np.minimum(self.starts[:, at], len(self.text) - 1)] == _QUOTE
        filled = self.ends[:, at] > self.starts[:, at]
        return in_quotes(texts) if marks.sum() > filled.sum() / 2 else quoted(texts, separator)

    def _newline(self) -> str:
        """How the first record ends that has an end of line."""
        ends = self.ends[:, -1]
        first = self.text[ends[0] : ends[0] + 2].tobytes()
        return "\r\n" if first == b"\r\n" else first[:1].decode() or "\n"
