"""Dialects of text files: compression, encoding, separator, decimal mark, comments, header; found, or as they are said to be."""

from __future__ import annotations

import bz2
import codecs
import gzip
import lzma
import re
import zipfile
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Literal, cast

import numpy as np
import pyarrow as pa

from fivefold.errors import DataError, UsageError
from fivefold.tables.records import cell_texts, scan

Header = Literal["first", "none"]
SAMPLE = 1 << 20  # bytes that are looked at
_SEPARATORS = {"comma": ",", "semicolon": ";", "tab": "\t", "pipe": "|", "space": " ", "\\t": "\t"}
_MOST_TITLES = 20
_MARKS = {codecs.BOM_UTF8: "utf-8", codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}
COMPRESSED = (".gz", ".bz2", ".xz", ".zst", ".zip")
_FOREIGN = (
    (b"%PDF", "a PDF document"),
    (b"PK\x03\x04", "an Excel or Word file, or an archive in an archive"),
    (b"\xd0\xcf\x11\xe0", "an old Excel or Word file"),
    (b"PAR1", "a Parquet file: its name must end in .parquet"),
    (b"ARROW1", "an Arrow file: its name must end in .arrow"),
    (b"\x89PNG", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"\x93NUMPY", "a NumPy array: its name must end in .npy"),
    (b"SQLite format 3", "an SQLite database"),
    (b"<!DOCTYPE", "an HTML page"),
    (b"<html", "an HTML page"),
    (b"<?xml", "XML"),
)
_SPACED = 0.9  # share of the records that blanks must separate alike
_TYPED = re.compile(
    r"\s*(?:[^\w\s]{0,2}[+-]?\d[\d.,:/ T+-]*(?:[eE][+-]?\d+)?[Z%]?\)?|-?P[T\d][\dTHMS.]*|[Tt]rue|TRUE|[Ff]alse|FALSE)\s*"
)


@dataclass(frozen=True)
class Dialect:
    """How a table is written as text.

    Attributes
    ----------
    separator : of cells; a blank stands for any number of them
    decimal : the mark that numbers most likely have
    encoding : as Python calls it
    header : whether the first record are names
    titles : records before that, or before the first row, that are none of the table's
    comment : what starts a line that is none of the table's; empty if there are none
    mark : the byte order mark
    doubts : what may be meant otherwise
    settled : whether the decimal mark was given, not found
    """

    separator: str = ","
    decimal: str = "."
    encoding: str = "utf-8"
    header: bool = True
    titles: int = 0
    comment: str = ""
    mark: bytes = b""
    doubts: tuple[tuple[str, str], ...] = field(default=(), compare=False)
    settled: bool = field(default=False, compare=False)

    def describe(self) -> str:
        """`semicolons, decimal comma, cp1252, no header, comments`; empty for what CSV usually is."""
        names = {",": "", ";": "semicolons", "\t": "tabs", "|": "pipes", " ": "spaces"}
        parts = [
            names.get(self.separator, f"separator {self.separator!r}"),
            "decimal comma" if self.decimal == "," else "",
            "" if self.encoding == "utf-8" else self.encoding,
            "" if self.header else "no header",
            f"{self.titles} line{'s' * (self.titles > 1)} above the {'header' if self.header else 'rows'}"
            * bool(self.titles),
            f"comments after {self.comment}" if self.comment else "",
        ]
        return ", ".join(part for part in parts if part)


def find_dialect(
    path: Path,
    head: bytes,
    names: tuple[str, ...] = (),
    *,
    separator: str | None = None,
    decimal: str | None = None,
    encoding: str | None = None,
    header: Header | None = None,
) -> Dialect:
    """The dialect of a file that starts with `head`; what is given is believed, and `names` are those to expect.

    Raises
    ------
    DataError : if it is no text, or not of this encoding
    UsageError : for parameters that can't be
    """
    check_dialect(separator, decimal, encoding, header)
    for start, name in _FOREIGN:
        if head.lstrip()[: len(start)].lower() == start.lower():
            raise DataError(f"{path}: must be a table, got {name}")
    mark = next((mark for mark in _MARKS if head.startswith(mark)), b"")
    coding = encoding or _MARKS.get(mark) or _find_encoding(path, head)
    try:
        text = codecs.getincrementaldecoder(coding)("strict" if encoding is None else "replace").decode(
            head[len(mark) :]
        )
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path}: must be {coding.upper()} text, got the byte {head[len(mark) + error.start]:#04x} at byte "
            f"{len(mark) + error.start}; give its `encoding`"
        ) from None
    if text.lstrip()[:2] in ("{}", '{"', "[{", "[[") or re.match(r'\s*[{\[]\s*[{"\[]', text):
        raise DataError(f"{path}: must be a table, got JSON")
    data = np.frombuffer(text.encode(), np.uint8)
    tab = re.search(r"\.tsv(\.\w+)?$", path.name.lower())
    given = _SEPARATORS.get(separator or "", separator) or ("\t" if tab and "\t" in text else "")
    found, comment = _find_separator(data, given, len(head) < SAMPLE)
    lines = _records(data, found, comment, 200)
    titles = count_titles(lines, names)
    records = lines[titles:]
    mark_of = decimal or _find_decimal(records, found)
    named, doubts = (header == "first", ()) if header else has_header(records, names)
    if titles:
        doubts += ((f"its first lines, {', '.join(filter(None, lines[0]))[:40]!r} …, are left out: titles", ""),)
    if given and records and len(records[0]) == 1:
        doubts += _other_separator(data, given, comment, len(head) < SAMPLE)
    if found == " " and not given:
        doubts += (("blanks are taken to separate its columns", "`separator` comma"),)
    if coding in ("cp1252", "latin-1") and encoding is None:
        doubts += ((f"its bytes are not UTF-8; they are read as {coding}", f"`encoding` {coding}"),)
    coding, settled = codecs.lookup(coding).name, decimal is not None
    return Dialect(found, mark_of, coding, named, titles, comment, mark, doubts, settled)


def check_dialect(separator: str | None, decimal: str | None, encoding: str | None, header: str | None) -> None:
    """Raise `UsageError` for parameters of a dialect that can't be."""
    if (
        separator is not None
        and separator not in _SEPARATORS
        and (len(separator) != 1 or not separator.isascii() or separator in '"\r\n')
    ):
        raise UsageError(
            f"`separator` must be one character, or tab, comma, semicolon, pipe or space; got {separator!r}"
        )
    if decimal not in (None, ".", ","):
        raise UsageError(f"`decimal` must be . or , and got {decimal!r}")
    if header not in (None, "first", "none"):
        raise UsageError(f"`header` must be first or none, got {header!r}")
    try:
        codecs.lookup(encoding or "utf-8")
    except LookupError:
        raise UsageError(
            f"`encoding` must be one that Python knows, such as utf-8 or cp1252; got {encoding!r}"
        ) from None


def compressed(file: BinaryIO, path: Path, stack: ExitStack) -> BinaryIO:
    """Where to write what `file` is to hold compressed, as the ending of `path` says; the stack closes it."""
    opened: Any = file
    match path.suffix.lower():
        case ".gz":
            opened = gzip.GzipFile("", "wb", fileobj=file, mtime=0)
        case ".bz2":
            opened = bz2.BZ2File(file, "wb")
        case ".xz":
            opened = lzma.open(file, "wb")  # noqa: SIM115  (the stack closes it)
        case ".zst":
            opened = pa.CompressedOutputStream(pa.PythonFile(file, "w"), "zstd")
        case ".zip":
            archive = stack.enter_context(zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED))
            opened = archive.open(zipfile.ZipInfo(path.stem), "w", force_zip64=True)
        case _:
            return file
    return cast(BinaryIO, stack.enter_context(opened))


def _find_encoding(path: Path, head: bytes) -> str:
    zeros = np.frombuffer(head[: len(head) // 2 * 2], np.uint8) == 0
    if zeros[1::2].mean(dtype=float) > 0.4 if len(zeros) else False:
        return "utf-16-le"
    if zeros[::2].mean(dtype=float) > 0.4 if len(zeros) else False:
        return "utf-16-be"
    if zeros.any():
        raise DataError(f"{path}: must be text, got other bytes")
    for name in ("utf-8", "cp1252"):
        try:
            codecs.getincrementaldecoder(name)().decode(head)
        except UnicodeDecodeError:
            continue
        return name
    return "latin-1"


def _find_separator(text: np.ndarray, given: str, whole: bool) -> tuple[str, str]:
    """The separator with which most records have as many cells as each other, more than one; and what starts comments.

    Blanks are one only where there is no other, and where they separate nearly all records; see `_is_spaced`.
    """
    best, found = (0.0, False, 0), (given or ",", "")
    for separator in (given,) if given else (",", ";", "\t", "|", " "):
        counts, starts = _counts(text, separator, whole)
        if not len(counts):
            continue
        usual, times = Counter(counts.tolist()).most_common(1)[0]
        marked = (text[starts] == ord("#")) & (counts != usual)
        share = times / max(len(counts) - int(marked.sum()), 1)
        unlikely = separator == " " and (best > (0.0, False, 0) or share < _SPACED or not _is_spaced(text, counts))
        rank = round(share, 2), bool(counts[0] == usual), usual  # names have no decimal commas
        if given or (usual > 1 and not unlikely and rank > best):
            best, found = rank, (separator, "#" if marked.any() else "")
    return found


def _other_separator(text: np.ndarray, given: str, comment: str, whole: bool) -> tuple[tuple[str, str], ...]:
    """The doubt that another separator was meant than the one `given`, which separates nothing."""
    other, _ = _find_separator(text, "", whole)
    if len(_records(text, other, comment, 1)[0]) == 1:
        return ()
    return ((f"{given!r} does not separate columns, and {other!r} would", f"`separator` {other}"),)


def _is_spaced(text: np.ndarray, counts: np.ndarray) -> bool:
    """Whether blanks are between columns, not words: of three columns at least or aligned, the names too."""
    usual = Counter(counts.tolist()).most_common(1)[0][0]
    return usual - 1 <= counts[0] <= usual and counts[0] > 1 and (usual > 2 or b"  " in text.tobytes())


def _counts(text: np.ndarray, separator: str, whole: bool) -> tuple[np.ndarray, np.ndarray]:
    records = scan(text, separator, "", blank=False, last=whole)
    return records.counts, records.begins


def _records(text: np.ndarray, separator: str, comment: str, most: int) -> list[list[str]]:
    """The first records' cells."""
    records = scan(text, separator, comment, blank=False, last=True)
    ends = np.cumsum(records.counts)[:most]
    cells = cell_texts(text, records.starts[: ends[-1]], records.ends[: ends[-1]]).to_pylist() if len(ends) else []
    return [cells[end - count : end] for end, count in zip(ends, records.counts, strict=False)]


def count_titles(records: list[list[str]], names: tuple[str, ...]) -> int:
    """How many records stand before the table: such as have fewer cells than the others, or but one that is not empty."""
    usual = Counter(map(len, records)).most_common(1)[0][0] if records else 0
    count = 0
    for record in records[: _MOST_TITLES + 1]:
        filled = sum(map(bool, map(str.strip, record)))
        if len(record) >= usual and not (filled <= 1 and usual > 2):
            break
        count += 1
    if (
        count > _MOST_TITLES
        or count == len(records)
        or usual < 2
        or any(set(names) <= set(r) for r in records[:count] if names)
    ):
        return 0
    return count - _lacks_name(records[count - 1 :], usual) if count else 0


def _lacks_name(records: list[list[str]], usual: int) -> bool:
    """Whether the first record is the names of all columns but the first, as R writes them, and no title."""
    return len(records[0]) == usual - 1 > 1 and all(records[0]) and not has_header(records[1:], ())[0]


def _find_decimal(records: list[list[str]], separator: str) -> str:
    cells = [cell.strip() for record in records[1:] for cell in record]
    commas = sum(bool(re.fullmatch(r"[+-]?[\d.]*\d,\d+", cell)) for cell in cells)
    points = sum(bool(re.fullmatch(r"[+-]?[\d,]*\d\.\d+", cell)) for cell in cells)
    return "," if separator != "," and commas > points else "."


def has_header(records: list[list[str]], names: tuple[str, ...]) -> tuple[bool, tuple[tuple[str, str], ...]]:
    """Whether the first record are names; with the doubt about it."""
    if not records or (names and set(names) <= set(records[0])):
        return True, ()
    if names and all(re.fullmatch(r"x\d+", name) for name in names):
        return False, ()
    first, others = records[0], [record for record in records[1:] if len(record) == len(records[0])]
    typed = [bool(_TYPED.fullmatch(cell)) for cell in first]
    if not others or not any(typed) or len(set(first)) < len(first) * 0.5:
        return True, ()
    columns = list(zip(*others, strict=True))
    for at, cell in enumerate(first):
        filled = [other for other in columns[at] if other.strip()]
        if sum(bool(_TYPED.fullmatch(other)) for other in filled) > 0.9 * len(filled):
            if cell.strip() and not typed[at]:
                return True, ()
        elif cell.strip() and len(set(filled)) < len(filled) / 2 and cell not in filled:
            return True, ()
    numbers = [int(cell) for cell in first if cell.strip().isdecimal()]
    if len(numbers) > 1 and numbers == list(range(numbers[0], numbers[0] + len(numbers))):
        return True, ((f"its first row, {', '.join(first[:4])}, …, is taken for names", "`header` none"),)
    return False, (
        (f"its first row, {', '.join(first[:4])}, …, looks like the others, so there are no names", "`header` first"),
    )
