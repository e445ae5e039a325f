"""A job measured beside what a user would otherwise pick for it; and what was measured, for the report and for JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

OURS = "Fivefold"
Rows = Mapping[str, Mapping[str, float | None]]


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
    """What was measured of a job, with its tables, pictures and sentences.

    Attributes
    ----------
    key, title : the section's name in report.json, and in the report
    figures : its content in report.json
    sentences : what the figures say
    tables, pictures : likewise, as text and as PNGs
    summary : rows of name and text, for the terminal

    Examples
    --------
    >>> _, sections = fivefold.evaluate(tree_model, trees, ["detect"])
    >>> sections[0].key, sections[0].figures["calibrated_on"]
    ('detect', 45)
    """

    key: str
    title: str
    figures: dict[str, Any]
    sentences: Sequence[str] = ()
    tables: Sequence[Table] = ()
    pictures: Sequence[Picture] = ()
    summary: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True)
class Measure:
    """What a row of numbers is, and which way is better."""

    name: str
    unit: str = ""
    digits: int = 2
    higher_is_better: bool = True

    def show(self, value: float | None) -> str:
        """The number as text."""
        return "–" if value is None else f"{value:.{self.digits}f}{self.unit}"

    def beats(self, value: float | None, other: float | None) -> bool:
        """Whether a number is better than another; False if one is missing."""
        if value is None or other is None:
            return False
        return value > other if self.higher_is_better else value < other


def contest(measure: Measure, rows: Rows, title: str | None = None) -> tuple[Table, list[str]]:
    """A table of competitors (columns) under conditions (rows), and a sentence for each that beats ours somewhere.

    Names that begin with ours and a comma are other ways of using the model, no competitors.
    """
    names = list(dict.fromkeys(name for row in rows.values() for name in row))
    cells = [(label, *(measure.show(row.get(name)) for name in names)) for label, row in rows.items()]
    sentences = []
    for name in names:
        if name.startswith(f"{OURS},"):
            continue
        lost = [label for label, row in rows.items() if measure.beats(row.get(name), row.get(OURS))]
        if lost:
            pairs = "; ".join(
                (f"{label}: " if len(rows) > 1 else "")
                + f"{measure.show(rows[label][name])} against {measure.show(rows[label][OURS])}"
                for label in lost
            )
            sentences.append(f"{name} does better than {OURS} in {measure.name}: {pairs}.")
    return Table((measure.name if title is None else title, *names), cells), sentences


def contests(rounds: Sequence[tuple[Measure, Rows]]) -> tuple[list[Table], list[str]]:
    """Several contests, but for those in which nothing was measured."""
    tables, sentences = [], []
    for measure, rows in rounds:
        if any(value is not None for row in rows.values() for value in row.values()):
            table, losses = contest(measure, rows)
            tables.append(table)
            sentences += losses
    return tables, sentences
