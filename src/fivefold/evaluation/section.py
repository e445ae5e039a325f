"""What was measured of a job, for the report and for JSON: figures, sentences, tables, pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Table:
    """Cells as text; the first column names the row."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Picture:
    """A PNG in the report's folder."""

    file: str
    caption: str


@dataclass(frozen=True)
class Section:
    """`key` is the section's name in report.json, `figures` its content there."""

    key: str
    title: str
    figures: dict[str, Any]
    sentences: Sequence[str] = ()
    tables: Sequence[Table] = ()
    pictures: Sequence[Picture] = ()
    summary: Sequence[tuple[str, str]] = ()
