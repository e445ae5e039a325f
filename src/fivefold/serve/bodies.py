"""Bodies of requests as data: tables and arrays from JSON in memory, files in a private folder."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from starlette.datastructures import FormData, UploadFile
from starlette.requests import Request

from fivefold.errors import DataError, FivefoldError, UsageError, suggest
from fivefold.items import Schema
from fivefold.serve.folder import Folder
from fivefold.serve.forms import JSON, ending_of, is_picture, media_of
from fivefold.verbs.catalogue import Verb

MULTIPART = "multipart/form-data"
_MOST_PARTS = 10_000
_CHUNK = 1 << 20
_UNSAFE = re.compile(r"[^\w.-]+")
_LONGEST_NAME = 80


class MalformedError(FivefoldError):
    """A body is not what its content type says."""


@dataclass
class Body:
    """What a request brought.

    Attributes
    ----------
    data : a path, a table or an array; None if there is none
    form : the media type in which it came; empty if there is none
    split : whether JSON had `columns` and `data`, as pandas' `split`
    files : by option, paths of further files
    """

    data: Any = None
    form: str = ""
    split: bool = False
    files: dict[str, Any] = field(default_factory=dict)


async def read_body(request: Request, verb: Verb, schema: Schema, folder: Folder) -> Body:
    """The body of a request, files of which go to `folder`.

    Raises
    ------
    MalformedError : if it is not of its content type
    DataError : if it holds no data that could be read
    UsageError : if a verb has no use for a part, or lacks one
    """
    media = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media == MULTIPART:
        async with request.form(max_files=_MOST_PARTS, max_fields=_MOST_PARTS, max_part_size=_CHUNK) as form:
            body = await _from_parts(form, verb, schema, folder)
    elif media == JSON or media.endswith("+json"):
        body = from_json(await request.body(), schema) if await request.body() else Body()
    else:
        body = await _from_file(request, media, verb, folder)
    if verb.takes != "nothing" and body.data is None:
        raise DataError("the body must be data: JSON, a file, or multipart/form-data with a part `data`")
    if verb.takes == "nothing" and body.data is not None:
        raise UsageError(
            f"{verb.name} takes no data; files go into parts of multipart/form-data that are called like options"
        )
    return body


async def _from_file(request: Request, media: str, verb: Verb, folder: Folder) -> Body:
    """A body that is one file."""
    start, path = b"", None
    body, file = Body(), None
    try:
        async for chunk in request.stream():
            if not chunk:
                continue
            if file is None:
                start = chunk[:16]
                ending = ".ff" if verb.takes == "archive" else ending_of(media, start=start)
                path = _fresh(folder, "data", ending)
                file = path.open("wb")
            file.write(chunk)
    finally:
        if file is not None:
            file.close()
    if path is not None:
        body.data, body.form = str(path), media_of(path.suffix)
    return body


async def _from_parts(form: FormData, verb: Verb, schema: Schema, folder: Folder) -> Body:
    """A body of several parts: the data, and files that options name."""
    body, pictures = Body(), list[tuple[UploadFile, str]]()
    options = {name for name, option in verb.options.items() if option.is_file}
    for name, value in form.multi_items():
        if name != "data" and name not in options:
            known = ["data", *sorted(options)]
            raise UsageError(
                f"a part is called {name[:80]!r}{suggest(name[:80], known)}; other options go into the query"
            )
        if isinstance(value, str):
            body_of_text = from_json(value.encode(), schema)
            if name != "data" or body.data is not None:
                raise UsageError(f"`{name}` must be one file")
            body = Body(body_of_text.data, body_of_text.form, body_of_text.split, body.files)
            continue
        start = await value.read(16)
        await value.seek(0)
        media = (value.content_type or "").partition(";")[0].strip().lower()
        ending = ending_of(media, value.filename or "", start)
        if name != "data":
            if name in body.files:
                raise UsageError(f"`{name}` must be one file")
            body.files[name] = str(await _saved(value, _fresh(folder, name, ending)))
        elif media == JSON or ending == ".json":
            found = from_json(await value.read(), schema)
            body = Body(found.data, found.form, found.split, body.files)
        elif is_picture(ending):
            pictures.append((value, ending))
        elif body.data is not None:
            raise UsageError("`data` must be one file, or several pictures")
        else:
            ending = ".ff" if verb.takes == "archive" else ending
            path = await _saved(value, _fresh(folder, "data", ending))
            body.data, body.form = str(path), media_of(path.suffix)
    if pictures:
        if body.data is not None:
            raise UsageError("`data` must be one file, or several pictures")
        body.data, body.form = await _saved_pictures(pictures, folder), media_of(pictures[0][1])
    return body


async def _saved_pictures(pictures: Sequence[tuple[UploadFile, str]], folder: Folder) -> str:
    """The path of one picture, or of a folder of several, whose names are theirs as far as these are plain."""
    place = folder.path / "data"
    place.mkdir()
    taken = set[str]()
    for number, (upload, ending) in enumerate(pictures):
        stem = _UNSAFE.sub("_", Path((upload.filename or "").replace("\\", "/")).stem)[:_LONGEST_NAME].strip("._")
        name = stem if stem and stem.lower() not in taken else f"{number:05d}"
        while name.lower() in taken:
            name += "_"
        taken.add(name.lower())
        path = await _saved(upload, place / f"{name}{ending}")
    return str(path if len(pictures) == 1 else place)


async def _saved(upload: UploadFile, path: Path) -> Path:
    with path.open("wb") as file:
        while chunk := await upload.read(_CHUNK):
            file.write(chunk)
    return path


def _fresh(folder: Folder, name: str, ending: str) -> Path:
    return folder.path / f"{name}{ending}"


def from_json(content: bytes, schema: Schema) -> Body:
    """Data from JSON: `{"rows": [{…}, …]}`, `{"columns": […], "data": [[…], …]}`, or numbers as `{"values": [[…], …]}`.

    Raises `MalformedError` or `DataError`.
    """
    found = load_json(content)
    if isinstance(found, Mapping):
        keys = found.keys() - {"index"}
        if keys == {"rows"}:
            return Body(_from_records(found["rows"], schema), JSON)
        if keys == {"columns", "data"}:
            return Body(_from_split(found["columns"], found["data"], schema), JSON, split=True)
        if keys == {"values"}:
            return Body(array_of(found["values"], schema), JSON)
        if keys == set():
            return Body()
    raise DataError('JSON must be {"rows": [{…}, …]}, {"columns": […], "data": [[…], …]} or {"values": […]}')


def load_json(content: bytes) -> Any:
    """What JSON says; raises `MalformedError`."""
    try:
        return json.loads(content, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise MalformedError(f"the body is no JSON: {str(error).splitlines()[0][:200]}") from None


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON; missing is null")


def _from_records(rows: Any, schema: Schema) -> pa.Table:
    """A table of records; columns of the model that no record has are missing."""
    if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) for row in rows):
        raise DataError("`rows` must be a list of objects, one per row")
    return table_of({name: [row.get(name) for row in rows] for name in dict.fromkeys(chain(*rows))}, len(rows), schema)


def table_of(columns: Mapping[str, Sequence[Any]], rows: int, schema: Schema) -> pa.Table:
    """A table of `rows` cells by column; columns of the model that are not among them are missing. Raises `DataError`."""
    known: tuple[str, ...] = getattr(schema, "names", ())
    if lacking := [name for name in known if name not in columns]:
        carried = {name for name, _ in getattr(schema, "carried", ())}
        for name in columns:
            if name not in known and name not in carried:
                raise DataError(f"there is a column {name[:80]!r} that the model has not{suggest(name[:80], known)}")
    return _table([*columns, *lacking], [*columns.values(), *([None] * rows for _ in lacking)], schema)


def columns_of(schema: Schema) -> Sequence[Any]:
    """The columns that rows, or steps, are read from; none if items are arrays alone."""
    found = getattr(schema, "columns", ())
    return getattr(found, "columns", found)


def _from_split(names: Any, data: Any, schema: Schema) -> pa.Table:
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names) or not names:
        raise DataError("`columns` must be a list of names")
    if not isinstance(data, list) or not data:
        raise DataError("`data` must be a list of rows")
    if not all(isinstance(row, list) and len(row) == len(names) for row in data):
        raise DataError(f"`data` must have {len(names)} cells in each row, as many as there are `columns`")
    return _table(names, list(zip(*data, strict=True)), schema)


def _table(names: Sequence[str], columns: Sequence[Sequence[Any]], schema: Schema) -> pa.Table:
    """Cells as columns; those that were real in the fit are, though JSON writes 18.0 as 18."""
    real = {column.name for column in columns_of(schema) if column.kind == "real"}
    if len(set(names)) < len(names):
        raise DataError("`columns` must have names of their own")
    arrays = []
    for name, cells in zip(names, columns, strict=True):
        try:
            array = pa.array(cells)
        except (pa.ArrowException, TypeError, ValueError, OverflowError):
            array = _mixed(name, cells)
        if name in real and pa.types.is_integer(array.type):
            array = array.cast(pa.float64(), safe=False)
        if pa.types.is_nested(array.type):
            raise DataError(f"column {name[:80]!r} must have numbers, texts, true or false, or null in its cells")
        arrays.append(array)
    return pa.table(arrays, list(names))


def _mixed(name: str, cells: Sequence[Any]) -> pa.Array:
    """Cells that are of several types: numbers, or texts."""
    if any(isinstance(cell, list | dict) for cell in cells):
        raise DataError(f"column {name[:80]!r} must have numbers, texts, true or false, or null in its cells")
    try:
        if all(cell is None or isinstance(cell, int | float) for cell in cells):
            return pa.array([None if cell is None else float(cell) for cell in cells])
    except OverflowError:
        raise DataError(f"column {name[:80]!r} has numbers that are too large") from None
    return pa.array([None if cell is None else str(cell) for cell in cells])


def array_of(values: Any, schema: Schema) -> np.ndarray:
    """Numbers as an array, whole ones of the type of the fit if they fit it; null is missing. Raises `DataError`."""
    try:
        array = np.array(values)
        if array.dtype.kind not in "biuf":
            array = np.array(values, float)
    except (TypeError, ValueError, OverflowError):
        raise DataError("`values` must be numbers or null, in lists of one length each") from None
    if array.ndim == 0 or array.size == 0:
        raise DataError("`values` must be lists of numbers")
    wanted = np.dtype(schema.dtype)
    if array.dtype.kind in "iu" and wanted.kind in "iu":
        limits = np.iinfo(wanted)
        if limits.min <= array.min() and array.max() <= limits.max:
            return array.astype(wanted)
    return array
