"""Options of verbs as text: what they are called, of which types they are, and how they are read. No torch here."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from fivefold.config import PriorName
from fivefold.errors import UsageError
from fivefold.modality import chosen

NAMES = {"ids": "id", "n_draws": "draws", "start": "from", "end": "to"}  # parameters that users know by another name
READING: dict[str, Any] = {
    "time": str,
    "ids": str,
    "separator": str,
    "decimal": str,
    "encoding": str,
    "header": str,
    "sheet": str,
    "missing": list[str],
    "mask": Path,
    "resize": str,
    "axes": str,
    "pages": str,
    "skip_unreadable": bool,
    "tolerance": float,
    "time_zone": str,
    "adapt": bool,
}
"""How data may be read, by name."""
DRAWING: dict[str, Any] = {
    "prior": PriorName,
    "sharp": bool,
    "given": list[str],
    "free": bool,
    "complete": bool,
    "after": str,
    "steps": int,
}
"""How new items may be drawn, by name; not all modalities take all."""


def renamed(message: str, name: Callable[[str], str]) -> str:
    """A message of the library, in which `parameters` are called as `name` says of them."""
    return re.sub(r"`(\w+)`", lambda found: name(NAMES.get(found[1], found[1])), message)


def parse_reading(options: Mapping[str, Any]) -> dict[str, Any]:
    """How data are to be read, as far as that is said; raises `UsageError`."""
    found = chosen(options)
    return found | ({"resize": parse_size(found["resize"])} if "resize" in found else {})


def parse_size(text: str) -> tuple[int, int]:
    """`HxW` as `(height, width)`; raises `UsageError`."""
    height, _, width = text.lower().replace("×", "x").partition("x")
    if not (height.isdecimal() and width.isdecimal() and 0 < int(height) <= 1 << 14 and 0 < int(width) <= 1 << 14):
        raise UsageError(f"`resize` must be HxW with sides from 1 to {1 << 14}, such as 64x48; got {text!r}")
    return int(height), int(width)


def parse_columns(name: str, texts: list[str] | None) -> dict[str, str] | None:
    """`COLUMN=VALUE` by column, as the option `name` was given; raises `UsageError`."""
    given = {}
    for text in texts or ():
        column, equals, value = text.partition("=")
        if not equals:
            raise UsageError(f"`{name}` must be COLUMN=VALUE with a column of the table, got {text!r}")
        given[column] = value
    return given or None


def parse_range(text: str | None) -> slice:
    """`FROM:TO` as a slice; all without a text. Raises `UsageError`."""
    if text is None:
        return slice(None)
    start, colon, end = text.partition(":")
    if not colon or not all(part == "" or (part.isdecimal() and len(part) < 19) for part in (start, end)):
        raise UsageError(f"`items` must be FROM:TO, such as 100:200; got {text!r}")
    return slice(int(start) if start else None, int(end) if end else None)


def beside(output: Path, name: str) -> Path:
    """`OUT-name` with the endings of `output`; `output` itself without a name."""
    if not name:
        return output
    if not output.name:
        raise UsageError(f"`output` must have a name for the others to be called after, got {output}")
    ending = "".join(output.suffixes[-2:]) if output.suffix == ".gz" else output.suffix
    return output.with_name(f"{output.name.removesuffix(ending)}-{name}{ending}")
