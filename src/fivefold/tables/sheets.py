"""Tables in spreadsheets: one sheet of an Excel workbook read as columns, and written, anew or into a copy of what was read.

The packages that know the format are an extra, and loaded when a workbook is met.
"""

from __future__ import annotations

import datetime
import importlib
import re
import warnings
import zipfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
from pyarrow import types as pt

from fivefold.errors import DataError, UsageError
from fivefold.inputs import check_expansion, check_file
from fivefold.tables.csv import MISSING
from fivefold.tables.dialect import Header, check_dialect, count_titles, has_header

WORKBOOKS = (".xlsx", ".xlsm", ".xls")
WRITTEN = ".xlsx"
_ZIPPED = (".xlsx", ".xlsm")
_MOST_ROWS, _MOST_CELLS = 1 << 20, 1 << 25  # that a sheet can have, and that its extent may be
_PLACE = re.compile(rb'<c\b[^>]{0,80}?\br="([A-Z]{1,3})(\d{1,7})"')
_CHUNK, _OVERLAP = 1 << 20, 128
_LOOKED_AT = 200  # rows, for titles and names
_EXACT = 1 << 53

Changes = dict[int, tuple[np.ndarray, pa.Array]]
"""New cells by the table's column: the numbers of their rows in the file, and their values."""


@dataclass(frozen=True)
class Sheet:
    """A sheet of a workbook, as a table.

    Attributes
    ----------
    path, name
    table : its columns
    rows, columns : where its cells stand in the sheet, counted from 1
    doubts : what may be meant otherwise
    """

    path: Path
    name: str
    table: pa.Table
    rows: np.ndarray
    columns: tuple[int, ...]
    doubts: tuple[tuple[str, str], ...]

    @classmethod
    def read(
        cls, path: Path, names: tuple[str, ...] = (), *, sheet: str | None = None, header: Header | None = None
    ) -> Sheet:
        """The sheet called `sheet`, by default the first one that has cells; `names` are those to expect.

        Raises
        ------
        DataError : if there is none, it can't be read, or the extra is not installed
        UsageError : for another `header` than first and none
        """
        check_dialect(None, None, None, header)
        found, others = _open_sheet(path, sheet)
        first_row, first_column = found.start or (0, 0)
        records = found.to_python()
        filled = [at for at, record in enumerate(records) if any(cell != "" for cell in record)]
        shown = [[_text(cell) for cell in records[at]] for at in filled[:_LOOKED_AT]]
        titles = count_titles(shown, names)
        named, doubts = (header == "first", ()) if header else has_header(shown[titles:], names)
        rows = filled[titles + named :]
        if not rows:
            raise DataError(f"{path}: sheet {found.name!r} has no rows")
        heads = shown[titles] if named else [""] * found.width
        used = [at for at in range(found.width) if heads[at] or any(records[row][at] != "" for row in rows)]
        if others:
            doubts += (
                (f"of its sheets {found.name!r} is read, not {', '.join(map(repr, others[:8]))}", "`sheet` NAME"),
            )
        columns = [_column([records[row][at] for row in rows]) for at in used]
        table = pa.table(columns, _named([heads[at] for at in used], named))
        places = tuple(at + first_column + 1 for at in used)
        return cls(path, found.name, table, np.array(rows) + first_row + 1, places, doubts)

    def describe(self) -> str:
        """`sheet 'Sheet1'`."""
        return f"sheet {self.name!r}"

    def row_name(self, row: int) -> str:
        """What to call a row of the table, counted from 0, in messages: as the sheet numbers it."""
        return f"row {self.rows[row]} of the sheet"

    def edit(self, file: BinaryIO, stack: ExitStack) -> Callable[[Changes], None]:
        """A function that puts new cells into a copy of the workbook, which is written to `file` when the stack closes.

        Styles, formulas, widths and other sheets stay; new cells are formatted as their column's first.
        """
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of extensions that are lost
            workbook = _package("openpyxl", self.path).load_workbook(self.path)
        sheet = workbook[self.name]

        def put(changes: Changes) -> None:
            for column, (rows, values) in changes.items():
                place = self.columns[column]
                usual = sheet.cell(int(self.rows[0]), place).number_format
                for row, value in zip(self.rows[rows].tolist(), _plain(values).to_pylist(), strict=True):
                    cell = sheet.cell(row, place)
                    cell.value = _writable(value)
                    cell.number_format = usual if cell.number_format == "General" else cell.number_format

        stack.callback(lambda: workbook.save(file))
        return put


def write_workbook(file: BinaryIO, path: Path, names: Sequence[str], stack: ExitStack) -> Callable[[pa.Table], None]:
    """A function that takes rows, to stand one below the other in a new workbook, written to `file` when the stack closes.

    Raises `DataError` for more rows than a sheet has.
    """
    workbook = _package("openpyxl", path).Workbook(write_only=True)
    sheet = workbook.create_sheet("Sheet1")
    sheet.append(list(names))
    written = 1

    def add(table: pa.Table) -> None:
        nonlocal written
        written += table.num_rows
        if written > _MOST_ROWS:
            raise DataError(f"{path}: a sheet has {_MOST_ROWS:,} rows at most; give .csv or .parquet")
        columns = [_plain(column).to_pylist() for column in table.columns]
        for row in zip(*columns, strict=True):
            sheet.append([_writable(value) for value in row])

    stack.callback(lambda: workbook.save(file))
    return add


def _open_sheet(path: Path, name: str | None) -> tuple[Any, list[str]]:
    """The sheet, as python-calamine has it, and the names of the others that have cells, if none was asked for."""
    if check_file(path) and path.suffix.lower() in _ZIPPED:
        _check_extent(path)
    calamine = _package("python_calamine", path)
    try:
        workbook = calamine.CalamineWorkbook.from_path(str(path))
        names = workbook.sheet_names
        if name is not None and name not in names:
            raise UsageError(f"`sheet` must be one of {', '.join(names)}; got {name}")
        sheets = [workbook.get_sheet_by_name(each) for each in (names if name is None else [name])]
    except calamine.CalamineError as error:
        raise DataError(f"{path}: can't be read as a workbook, is it damaged, or locked? ({_line(error)})") from None
    filled = [sheet for sheet in sheets if sheet.width and sheet.height]
    if not filled:
        raise DataError(f"{path}: has no rows")
    return filled[0], [sheet.name for sheet in filled[1:]]


def _check_extent(path: Path) -> None:
    """Raise `DataError` for decompression bombs, and for sheets whose cells are too far apart to be read into memory."""
    try:
        with zipfile.ZipFile(path) as archive:
            check_expansion(path, sum(entry.file_size for entry in archive.infolist()))
            for name in archive.namelist():
                if re.fullmatch(r"xl/worksheets/[^/]+\.xml", name):
                    with archive.open(name) as member:
                        _check_places(path, member)
    except (zipfile.BadZipFile, OSError, NotImplementedError, RuntimeError) as error:
        raise DataError(f"{path}: can't be read as a workbook, is it damaged, or locked? ({_line(error)})") from None


def _check_places(path: Path, member: Any) -> None:
    width, height, rest = 0, 0, b""
    while chunk := member.read(_CHUNK):
        text = rest + chunk
        for letters, digits in set(_PLACE.findall(text)):
            number = 0
            for letter in letters:
                number = number * 26 + letter - 64
            width, height = max(width, number), max(height, int(digits))
        if width * height > _MOST_CELLS:
            raise DataError(
                f"{path}: a sheet's cells must be within {_MOST_CELLS:,} places, got {height:,} × {width:,}"
            )
        rest = text[-_OVERLAP:]


def _package(name: str, path: Path) -> Any:
    """Raises `DataError` if the extra is not installed."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        raise DataError(f"{path}: workbooks need an extra: pip install fivefold[excel]") from None


def _named(names: list[str], named: bool) -> list[str]:
    """Of columns; those without a name are numbered, and one alone stays so."""
    if not named:
        return [f"x{at}" for at in range(len(names))]
    unnamed = [at for at, name in enumerate(names) if not name]
    return [f"unnamed: {at}" if len(unnamed) > 1 and not name else name for at, name in enumerate(names)]


def _column(cells: list[Any]) -> pa.Array:
    """Cells of one type as such; of several as text, in which what spells a missing one is missing."""
    cells = [None if cell == "" or (isinstance(cell, str) and cell.strip() in MISSING) else cell for cell in cells]
    kinds = {type(cell) for cell in cells} - {type(None)}
    if kinds <= {int, float}:
        whole = all(cell is None or (float(cell).is_integer() and abs(cell) < _EXACT) for cell in cells)
        return pa.array(
            [None if cell is None else int(cell) if whole else float(cell) for cell in cells], from_pandas=True
        )
    if kinds == {datetime.date, datetime.datetime}:
        midnight = datetime.time()
        cells = [datetime.datetime.combine(cell, midnight) if type(cell) is datetime.date else cell for cell in cells]
        return pa.array(cells, pa.timestamp("us"))
    if kinds == {datetime.time}:
        exact = any(cell is not None and cell.microsecond for cell in cells)
        return pa.array(cells, pa.time64("us") if exact else pa.time32("s"))
    if len(kinds) == 1:
        return pa.array(cells)
    return pa.array([None if cell is None else _text(cell) for cell in cells], pa.large_string())


def _text(cell: Any) -> str:
    """A cell as it would be written as text."""
    if isinstance(cell, float) and cell.is_integer() and abs(cell) < _EXACT:
        return str(int(cell))
    return str(cell)


def _plain(column: pa.ChunkedArray | pa.Array) -> pa.ChunkedArray | pa.Array:
    """Without a dictionary; times of a zone, which sheets have not, as text."""
    if pt.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    zoned = pt.is_timestamp(column.type) and column.type.tz is not None
    if pt.is_timestamp(column.type) and not zoned:
        return column.cast(pa.timestamp("us"), safe=False)  # Python has no nanoseconds
    return column.cast(pa.string()) if zoned else column


def _writable(value: Any) -> Any:
    """A value as a cell takes it: control characters can't be written, nor NaN and infinity."""
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return re.sub(r"[\x00-\x08\x0b\x0c\x0e-\x1f]", "", value) if isinstance(value, str) else value


def _line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
