"""The thorough report on MNIST: `python benchmarks/mnist.py MODEL` with a model of `make demo` or `fivefold fit mnist`.

Writes benchmarks/results/mnist.json; the page and its pictures go to out/thorough.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from results_file import write_result

import fivefold
from fivefold.evaluation.report import make_report
from fivefold.images.dataset import read_items


def main() -> None:
    """Make the report, with three seeds and the other models trained as long as this one."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("model", type=Path)
    model = fivefold.load(options.parse_args().model)
    train, test = (read_items(f"mnist:{split}", model.schema) for split in ("train", "test"))
    figures, _ = make_report(model, test, Path("out/thorough"), train=train, thorough=True)
    write_result("mnist", {"epochs": len(model.record["history"]), **figures})


if __name__ == "__main__":
    main()
