"""Write docs/inputs.md from the tests marked `situation`: `python tools/inputs.py > docs/inputs.md`."""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
AREAS = {
    "tables": "Tables",
    "images": "Images",
    "series": "Series",
    "test_estimator": "From Python",
    "cli": "From the command line",
    "archive": "Archives and models",
}
REFUSED = "refused in one line"
HEAD = """# What people bring

{count} situations, and what happens in each: {refused} are refused in one line, in the others data are read right, and results are right. Each row is a
test, which builds the situation and looks at what comes of it. The page is made of them: `python tools/inputs.py > docs/inputs.md`.
"""


@dataclass(frozen=True)
class Situation:
    """A row of the page."""

    area: str
    what: str
    outcome: str
    test: str


def situations(items: Iterable[pytest.Item]) -> list[Situation]:
    """Those that tests show, in the order of the page; of a parametrized test `{id}` and `{parameter}` are filled in."""
    found = {}
    for item in items:
        for marker in item.iter_markers("situation"):
            what, outcome = marker.args
            case = getattr(item, "callspec", None)
            test = item.path.relative_to(ROOT)
            part = test.parts[1] if len(test.parts) > 2 else test.stem
            text = what if case is None else what.format(id=case.id, **case.params)
            found[text, outcome] = Situation(AREAS.get(part, "Whatever the data"), text, outcome, test.as_posix())
    places = list(AREAS.values())
    return sorted(
        found.values(),
        key=lambda row: (places.index(row.area) if row.area in places else len(places), row.what.lower()),
    )


def page(rows: list[Situation]) -> str:
    """The page, Markdown."""
    refused = sum(row.outcome == REFUSED for row in rows)
    lines = [HEAD.format(count=len(rows), refused=refused)]
    for area in dict.fromkeys(row.area for row in rows):
        lines += [f"## {area}\n", "| what people bring | what happens | shown by |", "| --- | --- | --- |"]
        lines += [
            f"| {_escaped(row.what)} | {row.outcome} | [{Path(row.test).stem}](../{row.test}) |"
            for row in rows
            if row.area == area
        ]
        lines.append("")
    return "\n".join(lines)


def _escaped(text: str) -> str:
    return text.replace("|", "\\|")


class _Collected:
    items: list[pytest.Item]

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self.items = session.items


if __name__ == "__main__":
    collected = _Collected()
    with contextlib.redirect_stdout(io.StringIO()) as said:
        code = pytest.main(["--collect-only", "-qq", "-n0", str(ROOT / "tests")], plugins=[collected])
    if code:
        sys.exit(said.getvalue())
    sys.stdout.reconfigure(encoding="utf-8")  # type: ignore[union-attr]
    sys.stdout.write(page(situations(collected.items)))
