"""A job measured beside what a user would otherwise pick for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fivefold.evaluation.section import Table

OURS = "Fivefold"


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


def contest(
    measure: Measure, rows: Mapping[str, Mapping[str, float | None]], title: str | None = None
) -> tuple[Table, list[str]]:
    """A table of competitors (columns) under conditions (rows), and a sentence for each that beats ours somewhere.

    Names that begin with ours and a comma are other ways of using the model, no competitors.
    """
    names = list(dict.fromkeys(name for row in rows.values() for name in row))
    cells = [(label, *(measure.show(row.get(name)) for name in names)) for label, row in rows.items()]
    sentences = []
    for name in names:
        if name.startswith(f"{OURS},"):
            continue
        lost = [label for label, row in rows.items() if _beats(measure, row.get(name), row.get(OURS))]
        if lost:
            pairs = "; ".join(
                (f"{label}: " if len(rows) > 1 else "")
                + f"{measure.show(rows[label][name])} against {measure.show(rows[label][OURS])}"
                for label in lost
            )
            sentences.append(f"{name} does better than {OURS} in {measure.name}: {pairs}.")
    return Table((measure.name if title is None else title, *names), cells), sentences


def _beats(measure: Measure, theirs: float | None, ours: float | None) -> bool:
    if theirs is None or ours is None:
        return False
    return theirs > ours if measure.higher_is_better else theirs < ours
