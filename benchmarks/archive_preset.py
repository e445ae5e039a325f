"""The `archive` preset on MNIST: `python benchmarks/archive_preset.py`; up to an hour, and apart from `make bench`."""

from __future__ import annotations

from pathlib import Path

from results_file import write_result

import fivefold
from archive import measure_archive
from fivefold.images.dataset import read_items

MODEL = Path("out/bench/archive-model")
_MINUTES = 50.0  # of training; with what is fitted afterwards it stays within the hour


def main() -> None:
    """Fit, unless it is done, and measure."""
    if not MODEL.exists():
        MODEL.parent.mkdir(parents=True, exist_ok=True)
        fivefold.save(fivefold.fit("mnist", preset="archive", max_minutes=_MINUTES), MODEL)
    model = fivefold.load(MODEL)
    minutes = model.record["train_seconds"] / 60
    write_result(
        "archive_preset", {"fit_minutes": minutes, **measure_archive(model, read_items("mnist:test", model.schema))}
    )


if __name__ == "__main__":
    main()
