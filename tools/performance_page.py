"""docs/performance.md's tables, from benchmarks/results."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

_PARTS = {
    "fits": "Fits to tables",
    "adbench": "Fits to ADBench's tables, at most 1,500 rows, one thread",
    "rows": "20,000 rows of 20 columns",
    "million": "A million rows as Parquet, whole commands",
    "images": "MNIST, whole commands",
    "series": "Series as .npy, whole commands",
    "first": "The first answer, whole commands",
}
_PICTURES = {
    "rows": "Rows of a table",
    "columns": "Columns of a table",
    "pixels": "Pixels of an image",
    "steps": "Steps of a series",
}


def speed(results: dict[str, Any]) -> str:
    """A table per part."""
    parts = results.get("speed", {}).get("parts", {})
    tables = [f"### {title}\n\n{_works(parts[name])}" for name, title in _PARTS.items() if name in parts]
    return "\n\n".join(tables) or "Not measured yet: `make bench-speed`."


def growth(results: dict[str, Any]) -> str:
    """A picture per growth, and its points."""
    growths = results.get("growth", {}).get("growths", {})
    parts = [
        f"### {title}\n\n![time and memory](images/growth-{name}.png)\n\n{_points(growths[name]['curves'])}"
        for name, title in _PICTURES.items()
        if name in growths
    ]
    return "\n\n".join(parts) or "Not measured yet: `make bench-growth`."


def _works(part: dict[str, Any]) -> str:
    earlier, environment = part.get("before"), part["environment"]
    rows = [
        (
            name,
            _number(work["now"]["seconds"]),
            _number(work["now"].get("imports")),
            f"{work['rows'] / _own_seconds(work['now']):,.0f}" if work["rows"] else "",
            _number(work["now"]["peak_gigabytes"]),
            _number(work["at_most"]),
            *([_before(work.get("before"))] if earlier else []),
        )
        for name, work in part["works"].items()
    ]
    header = ("", "seconds", "of them imports", "per second", "peak GB", "wanted: at most")
    return _table((*header, *([f"at {earlier}"] if earlier else [])), rows) + (
        f"\n\nAt {part['now']}, {environment['date']}, {environment['cores']} cores."
    )


def _before(figures: dict[str, Any] | None) -> str:
    """Seconds of the earlier version."""
    if figures is None:
        return ""
    seconds = _number(figures["seconds"])
    if "ended" in figures:
        return f"more than {seconds}"
    return f"{seconds} (once, {figures['once']})" if "once" in figures else seconds


def _own_seconds(figures: dict[str, float]) -> float:
    return figures["seconds"] - figures.get("imports", 0.0)


def _points(curves: dict[str, dict[str, list[list[float]]]]) -> str:
    sizes = sorted({int(size) for by_tool in curves.values() for points in by_tool.values() for size, _ in points})
    rows = []
    for panel, by_tool in curves.items():
        for tool, points in by_tool.items():
            values = {int(size): value for size, value in points}
            rows.append((f"{panel}: {tool}", *(_number(values.get(size)) for size in sizes)))
    return _table(("", *(f"{size:,}" for size in sizes)), rows)


def _number(value: float | None) -> str:
    """Two significant digits, or all before the point."""
    if value is None:
        return ""
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"


def _table(header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [header, ("---",) * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
