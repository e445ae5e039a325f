"""How long things take, and how much memory, beside an earlier version: `python benchmarks/speed.py [PART …] [--before DIR]`.

DIR is a checkout of the earlier version, whose package is imported from DIR/src; `--adbench` names the folder of
tables_anomalies.py, without which its tables are left out. Each work has a process of its own, the versions take turns, and the
medians are stated. What takes long is repeated less often. What takes the earlier version many minutes is not done again: its
figure is in its own benchmarks/results, measured once. Parts that are not named keep what was measured of them before.

Files, and the models that works leave to those after them, are in out/speed.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from results_file import read_result, write_result
from timed import ROOT, TooLongError, run

from fivefold.system import environment

_OUT = (ROOT / "out" / "speed").resolve()
_WORKS = str(Path(__file__).with_name("works.py").resolve())
_LONGEST = 300.0  # seconds, after which the earlier version is ended
_ROWS = "20000x20"
Figures = dict[str, Any]


@dataclass(frozen=True)
class Work:
    """Something to be timed: a command, or a script.

    `at_most` is how many seconds it is to take; `rows` of them it deals with, for a rate. `once` in the earlier version's
    results, where its seconds are: a file and keys. `rival`: no version of ours.
    """

    name: str
    words: tuple[str, ...]
    at_most: float | None = None
    rows: int | None = None
    one_thread: bool = False
    once: tuple[str, ...] = ()
    rival: bool = False


@dataclass(frozen=True)
class Version:
    """A checkout, the commit that last changed its package, and the seconds of a work after which it is not repeated."""

    source: Path
    enough: float
    commit: str = field(init=False)

    def __post_init__(self) -> None:
        words = ("git", "log", "-1", "--format=%h", "--", "src")
        printed = subprocess.run(words, cwd=self.source, check=True, capture_output=True, text=True).stdout
        object.__setattr__(self, "commit", printed.strip())

    @property
    def folder(self) -> Path:
        """Where its models are."""
        folder = _OUT / self.commit
        folder.mkdir(parents=True, exist_ok=True)
        return folder


def _script(*words: str) -> tuple[str, ...]:
    return _WORKS, *words


def _command(*words: str) -> tuple[str, ...]:
    return "-m", "fivefold", *words


def _rows(name: str, tool: str, method: str, per_second: float | None = None) -> Work:
    words = _script("call", tool, method, _ROWS)
    return Work(name, words, 20_000 / per_second if per_second else None, 20_000, rival=tool != "VAE")


def _fit(tool: str) -> Work:
    return Work(f"{tool}: fit", _script("fit", tool, _ROWS), rows=20_000, rival=True)


PARTS: dict[str, list[Work]] = {
    "fits": [
        Work("iris, 150×4", _script("fit", "VAE", "iris"), 2),
        Work("breast cancer, 569×30", _script("fit", "VAE", "breast_cancer"), 5),
        Work("2,000×1,500, 30 of them alike", _script("fit", "VAE", "2000x1500x30"), 90),
    ],
    "adbench": [],
    "rows": [
        Work("fit", _script("fit", "VAE", _ROWS), 20, 20_000),
        _rows("score", "VAE", "score_samples", 50_000),
        _rows("impute, 10 % missing", "VAE", "impute", 60_000),
        _rows("sample", "VAE", "sample", 30_000),
        _fit("IForest"),
        _rows("IForest: score", "IForest", "decision_function"),
        _fit("KNN"),
        _rows("KNN: score", "KNN", "decision_function"),
        _fit("IterativeImputer"),
        _rows("IterativeImputer: impute, 10 % missing", "IterativeImputer", "transform"),
    ],
    "million": [
        Work(
            "fit to 20,000×50",
            _command("fit", "../data/first.parquet", "-o", "rows", "--quiet", "--force"),
            rows=20_000,
            once=("tables_large", "fit"),
        ),
        Work(
            "detect, 1,000,000×50",
            _command("detect", "rows", "../data/whole.parquet", "-o", "scores.parquet", "--force"),
            60,
            1_000_000,
            once=("tables_large", "detect"),
        ),
        Work(
            "impute, 1,000,000×50, 5 % missing",
            _command("impute", "rows", "../data/holes.parquet", "-o", "filled.parquet", "--force"),
            60,
            1_000_000,
            once=("tables_large", "impute"),
        ),
    ],
    "images": [
        Work(
            "fit MNIST, 1 epoch",
            _command("fit", "mnist", "--epochs", "1", "-o", "digits", "--no-verdicts", "--quiet", "--force"),
            rows=60_000,
        ),
        Work(
            "write an archive of 10,000 digits",
            _command("compress", "digits", "mnist:test", "-o", "digits.ff", "--no-verify", "--force"),
            10,
            10_000,
        ),
        Work(
            "read it", _command("decompress", "digits.ff", "--model", "digits", "-o", "back.npy", "--force"), 10, 10_000
        ),
    ],
    "series": [
        Work(
            "fit to 20,000 steps",
            _command("fit", "../data/first.npy", "--kind", "series", "-o", "steps", "--quiet", "--force"),
            60,
            20_000,
            once=("series_large", "fit"),
        ),
        Work(
            "detect, 10,000,000 steps",
            _command("detect", "steps", "../data/whole.npy", "-o", "strange.parquet", "--force"),
            70,
            10_000_000,
            once=("series_large", "detect"),
        ),
        Work(
            "compress 1,000,000 steps",
            _command("compress", "steps", "../data/tenth.npy", "-o", "tenth.ff", "--no-verify", "--force"),
            10,
            1_000_000,
            once=("series_large", "compress"),
        ),
    ],
    "first": [
        Work("fit to iris.csv", _command("fit", "../data/iris.csv", "-o", "iris", "--quiet", "--force")),
        Work("detect in one row", _command("detect", "iris", "../data/one-row.csv", "-o", "one.csv", "--force"), 2),
    ],
}


def main() -> None:
    """Measure part by part, and write after each."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(PARTS)}")
    options.add_argument("--before", type=Path, metavar="DIR")
    options.add_argument("--adbench", type=Path, metavar="FOLDER")
    options.add_argument("--repetitions", type=int, default=3, metavar="N")
    given = options.parse_args()
    if unknown := set(given.parts) - PARTS.keys():
        options.error(f"no such part: {', '.join(unknown)}")
    if "adbench" in given.parts and not given.adbench:
        options.error("the part adbench needs --adbench FOLDER")
    if given.before and not (given.before / "src" / "fivefold").is_dir():
        options.error(f"{given.before} is no checkout")
    versions = {"now": Version(ROOT, enough=45)} | ({"before": Version(given.before, 10)} if given.before else {})
    parts = PARTS | {"adbench": list(_of_adbench(given.adbench)) if given.adbench else []}
    _write_data()
    for part in given.parts or [name for name, works in parts.items() if works]:
        measured = {work.name: _measure(work, versions, given.repetitions) for work in parts[part]}
        commits = {name: version.commit for name, version in versions.items()}
        found = {**commits, "repetitions": given.repetitions, "works": measured, "environment": environment()}
        write_result("speed", {"parts": {**read_result("speed").get("parts", {}), part: found}})


def _of_adbench(folder: Path) -> Iterator[Work]:
    for path in sorted(folder.resolve().glob("*.npz")):
        name = path.stem.split("_", 1)[-1]
        yield Work(name, _script("fit", "VAE", str(path)), 6, one_thread=True)


def _write_data() -> None:
    """Once, in a process of its own: the memory of a parent counts for its children."""
    if not (_OUT / "data").exists():
        shutil.rmtree(_OUT / "data.part", ignore_errors=True)
        (_OUT / "data.part").mkdir(parents=True)
        subprocess.run([sys.executable, _WORKS, "write"], cwd=_OUT / "data.part", check=True)
        (_OUT / "data.part").rename(_OUT / "data")


def _measure(work: Work, versions: dict[str, Version], repetitions: int) -> Figures:
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in versions if name == "now" or not work.rival}
    found: Figures = {"at_most": work.at_most, "rows": work.rows}
    if work.once and "before" in runs:
        del runs["before"]
        found["before"] = _measured_once(versions["before"], *work.once)
    for _ in range(repetitions):
        for name, done in runs.items():
            version = versions[name]
            if sum(each["seconds"] for each in done) >= version.enough:
                continue
            limit = {"limit": _LONGEST} if name == "before" else {}
            try:
                done.append(run(work.words, version.folder, version.source, one_thread=work.one_thread, **limit))
            except TooLongError:
                done.append({"seconds": _LONGEST, "ended": True})
    found |= {name: _median(done) for name, done in runs.items()}
    print(work.name, found, file=sys.stderr, flush=True)
    return found


def _median(runs: list[dict[str, float]]) -> Figures:
    """Of each figure, and all seconds."""
    return {name: median(each[name] for each in runs) for name in runs[0]} | {
        "every": [each["seconds"] for each in runs]
    }


def _measured_once(version: Version, name: str, *keys: str) -> Figures:
    """What the earlier version's own results say."""
    result = json.loads((version.source / "benchmarks" / "results" / f"{name}.json").read_text(encoding="utf-8"))
    figures, date = result, result["environment"]["date"]
    for key in keys:
        figures = figures[key]
    return {"seconds": figures["seconds"], "peak_gigabytes": figures["peak_gigabytes"], "once": date}


if __name__ == "__main__":
    main()
