"""Answers from the files that a verb wrote: one file, all of them in a zip archive, or JSON."""

from __future__ import annotations

import datetime
import decimal
import io
import json
import math
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from fivefold.errors import UsageError, suggest
from fivefold.serve.forms import ARROW_STREAM, BYTES, JSON, PICTURES, ZIP, media_of

_PATHS = frozenset({"output", "heatmaps", "nearest"})  # figures that name files
_CHUNK = 1 << 20


@dataclass
class Answer:
    """What a request is answered with.

    Attributes
    ----------
    media : its type
    content : all of it; None if it is in a file
    path : the file
    name : what to call it where it is saved
    figures : what is said of it
    warnings : what should be known before it is relied on
    parts : what else there is to be had, by `part`
    items : how many it is of
    """

    media: str
    content: bytes | None = None
    path: Path | None = None
    name: str = "data"
    figures: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    parts: tuple[str, ...] = ()
    items: int = 0

    def chunks(self) -> Iterator[bytes]:
        """The content of the file."""
        assert self.path is not None
        with self.path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                yield chunk


def answer_of(
    output: Path, form: str, part: str | None, split: bool, figures: Mapping[str, Any], warnings: tuple[str, ...]
) -> Answer:
    """The answer of a verb whose results are at `output`, a file or a folder, and beside it.

    Parameters
    ----------
    form : media type, or `PICTURES`
    part : of the files beside, which one is wanted alone; `data` or None for the results
    split : whether rows are to be in pandas' form `split`
    """
    figures = {name: value for name, value in figures.items() if name not in _PATHS}
    parts = _parts(output)
    if part is not None and part not in parts:
        raise UsageError(f"`part` must be one of what there is{suggest(part[:80], parts)}")
    about: dict[str, Any] = {"figures": figures, "warnings": warnings, "parts": tuple(parts)}
    if form == JSON:
        wanted = parts if part is None else {"data": parts[part]}
        said = {"warnings": warnings} if warnings else {}
        return Answer(JSON, dumped({"figures": figures, **said, **_as_json(wanted, split)}), name="data.json", **about)
    if form == ZIP:
        return Answer(ZIP, path=_zipped(parts, output.parent), name="data.zip", **about)
    path = parts[part or "data"]
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.is_file())
        if len(files) > 1:
            return Answer(ZIP, path=_zipped({"data": path}, output.parent), name="data.zip", **about)
        path = files[0]
    if form == ARROW_STREAM and path.suffix == ".arrow":
        return Answer(form, _as_stream(path), name=path.name, **about)
    media = form if form not in (PICTURES, BYTES) and media_of(path.suffix) != "image/png" else media_of(path.suffix)
    return Answer(media if path.suffix != ".ff" else BYTES, path=path, name=path.name, **about)


def _parts(output: Path) -> dict[str, Path]:
    """Results and what is beside them, by name: `data`, `lower`, `draw1`, …"""
    stem = output.name.partition(".")[0]
    found = {"data": output}
    for path in sorted(output.parent.iterdir()):
        if path != output:
            found[
                path.name.partition(".")[0].removeprefix(f"{stem}-") if "-" in path.name else path.suffixes[0][1:]
            ] = path
    return found


def _zipped(parts: Mapping[str, Path], folder: Path) -> Path:
    """A zip archive of files and folders."""
    target = folder.parent / "answer.zip"
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in parts.values():
            files = sorted(path.rglob("*")) if path.is_dir() else [path]
            base = path if len(parts) == 1 and path.is_dir() else folder
            for file in files:
                if file.is_file():
                    archive.write(file, file.relative_to(base))
    return target


def _as_stream(path: Path) -> bytes:
    """A file of Arrow's as a stream."""
    sink = io.BytesIO()
    with (
        pa.memory_map(str(path)) as file,
        pa.ipc.open_file(file) as reader,
        pa.ipc.new_stream(sink, reader.schema) as stream,
    ):
        for number in range(reader.num_record_batches):
            stream.write_batch(reader.get_batch(number))
    return sink.getvalue()


def _as_json(parts: Mapping[str, Path], split: bool) -> dict[str, Any]:
    main, *others = parts.items()
    found = _content(main[1], split)
    for name, path in others:
        found[name] = _content(path, split)
    return found


def _content(path: Path, split: bool) -> dict[str, Any]:
    """What a file holds, for JSON."""
    if path.suffix in (".arrow", ".feather"):
        with pa.memory_map(str(path)) as file, pa.ipc.open_file(file) as reader:
            return rows_of(reader.read_all(), split)
    if path.suffix == ".npz":
        with np.load(path, allow_pickle=False) as arrays:
            named = {name: values_of(array) for name, array in arrays.items()}
            return named if len(named) > 1 else next(iter(named.values()))
    return values_of(np.load(path, allow_pickle=False))


def rows_of(table: pa.Table, split: bool = False) -> dict[str, Any]:
    """A table as records, or in pandas' form `split`."""
    names = table.column_names
    columns = [[_plain(cell) for cell in column.to_pylist()] for column in table.columns]
    rows = list(zip(*columns, strict=True))
    if split:
        return {"columns": names, "data": rows}
    return {"rows": [dict(zip(names, row, strict=True)) for row in rows]}


def values_of(array: np.ndarray) -> dict[str, Any]:
    """An array as nested lists, null for what is no number."""
    values = array.tolist() if array.dtype.kind != "f" or np.isfinite(array).all() else _finite(array.tolist())
    return {"shape": array.shape, "dtype": str(array.dtype), "values": values}


def _finite(values: Any) -> Any:
    if isinstance(values, list):
        return [_finite(value) for value in values]
    return values if math.isfinite(values) else None


def _plain(cell: Any) -> Any:
    """A cell as JSON has it."""
    if isinstance(cell, float):
        return cell if math.isfinite(cell) else None
    if cell is None or isinstance(cell, str | int):
        return cell
    if isinstance(cell, datetime.datetime | datetime.date | datetime.time):
        return cell.isoformat()
    if isinstance(cell, decimal.Decimal):
        return float(cell)
    return str(cell)


def dumped(content: Any) -> bytes:
    """JSON, in which nothing is NaN."""
    return json.dumps(content, ensure_ascii=False, separators=(",", ":"), allow_nan=False, default=_plain).encode()
