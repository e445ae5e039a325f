"""Logs of a fit: its figures epoch by epoch."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from fivefold.config import LoggerName
from fivefold.errors import UsageError

Log = Callable[[Mapping[str, float]], None]


@contextmanager
def open_log(name: LoggerName | None, workdir: Path | None) -> Iterator[Log]:
    """A function that takes a row of figures; a resumed fit's rows come after those that are there.

    They go to `workdir/logs`, as `metrics.csv` or for TensorBoard; nowhere without a name or a folder.
    """
    if name is None or workdir is None:
        yield lambda row: None
    elif name == "csv":
        yield lambda row: _append(workdir / "logs" / "metrics.csv", row)
    else:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ModuleNotFoundError:
            raise UsageError("`logger` tensorboard needs an extra: pip install fivefold[tensorboard]") from None
        with SummaryWriter(workdir / "logs") as writer:

            def add(row: Mapping[str, float]) -> None:
                for figure, value in row.items():
                    writer.add_scalar(figure, value, row["epoch"])

            yield add


def _append(path: Path, row: Mapping[str, float]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = not path.exists()
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(row))
        if fresh:
            writer.writeheader()
        writer.writerow(row)
