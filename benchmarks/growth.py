"""How time and memory grow with rows, columns, pixels and steps: `python benchmarks/growth.py [GROWTH …]`.

Over two decades of sizes each tool is fitted, and what is fitted used, at its defaults, each once and in a process of its own;
data and tools are those of works.py. A tool whose fit or use takes longer than two minutes is not given more. Images are fitted
to in three epochs, by the U-Net too. Growths that are not named keep what was measured of them before. Draws
docs/images/growth-GROWTH.png.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from results_file import read_result, write_result
from timed import ROOT, TooLongError, run

from fivefold.system import environment

_WORKS = str(Path(__file__).with_name("works.py").resolve())
_LIMIT = 120.0  # seconds
_PANELS = ("fit, seconds", "use, seconds", "peak of the fit's memory, GB")
_TABLE_TOOLS = {
    "VAE": ("score_samples", "impute"),
    "IForest": ("decision_function",),
    "KNN": ("decision_function",),
    "IterativeImputer": ("transform",),
}

Point = tuple[float, float]


@dataclass(frozen=True)
class Growth:
    """Data by size, as works.py names them; what a size to the `power` counts; tools and the methods of theirs that are used."""

    counted: str
    data: str
    sizes: tuple[int, ...]
    tools: dict[str, tuple[str, ...]]
    power: int = 1


GROWTHS = {
    "rows": Growth("rows of 20 columns", "{}x20", (200, 630, 2_000, 6_300, 20_000), _TABLE_TOOLS),
    "columns": Growth("columns of 1,000 rows", "1000x{}", (10, 32, 100, 320, 1_000), _TABLE_TOOLS),
    "pixels": Growth(
        "pixels of 400 images",
        "images400x{}",
        (10, 18, 32, 56, 100),
        {"VAE of images": ("denoise",), "U-Net": ("denoise",)},
        power=2,
    ),
    "steps": Growth(
        "steps", "wave{}", (2_000, 6_300, 20_000, 63_000, 200_000), {"VAE of series": ("score_samples", "impute")}
    ),
}


def main() -> None:
    """Measure, write and draw one after the other."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("growths", nargs="*", metavar="GROWTH", help=f"{', '.join(GROWTHS)}")
    given = options.parse_args()
    if unknown := set(given.growths) - GROWTHS.keys():
        options.error(f"no such growth: {', '.join(unknown)}")
    for name in given.growths or GROWTHS:
        known = read_result("growth").get("growths", {})
        found = {"curves": _measure(GROWTHS[name]), "environment": environment()}
        write_result("growth", {"growths": {**known, name: found}})
    for name, found in read_result("growth")["growths"].items():
        _draw(name, found["curves"])


def _measure(growth: Growth) -> dict[str, dict[str, list[Point]]]:
    """By panel and curve."""
    found: dict[str, dict[str, list[Point]]] = {panel: defaultdict(list) for panel in _PANELS}
    with tempfile.TemporaryDirectory() as folder:
        for tool, methods in growth.tools.items():
            for size in growth.sizes:
                data = growth.data.format(size)
                try:
                    fitted = _run(folder, "fit", tool, data)
                    used = {method: _run(folder, "call", tool, method, data) for method in methods}
                except TooLongError:
                    break
                count = size**growth.power
                found[_PANELS[0]][tool].append((count, _seconds(fitted)))
                found[_PANELS[2]][tool].append((count, fitted["peak_gigabytes"]))
                for method, figures in used.items():
                    found[_PANELS[1]][f"{tool}: {method}"].append((count, _seconds(figures)))
                print(tool, data, fitted, used, file=sys.stderr, flush=True)
    return found


def _run(folder: str, *words: str) -> dict[str, float]:
    return run((_WORKS, *words), Path(folder), limit=_LIMIT)


def _seconds(figures: dict[str, float]) -> float:
    """Without imports, which do not grow."""
    return figures["seconds"] - figures["imports"]


def _draw(name: str, curves: dict[str, dict[str, list[Point]]]) -> None:
    """A panel beside the other, both axes logarithmic."""
    from fivefold.evaluation.drawing import figure  # late: the memory of a parent counts for its children

    with figure(ROOT / "docs" / "images" / f"growth-{name}.png", 11, 3.6) as drawn:
        for ax, (panel, by_tool) in zip(drawn.subplots(1, 3), curves.items(), strict=True):
            for curve, points in by_tool.items():
                tool, _, method = curve.partition(": ")
                number = list(GROWTHS[name].tools).index(tool)
                line = "--" if method == "impute" else "-"
                ax.plot(
                    *zip(*points, strict=True),
                    f"o{line}C{number}",
                    label=curve,
                    markersize=4,
                    linewidth=2 if number == 0 else 1,
                )
            ax.set_xscale("log")
            ax.set_yscale("log")
            ax.set(xlabel=GROWTHS[name].counted, title=panel)
            ax.legend(frameon=False, fontsize=8)


if __name__ == "__main__":
    main()
