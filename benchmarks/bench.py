"""All quoted figures on MNIST, part by part: `python benchmarks/bench.py [PART …] [--again]`.

Without names all parts but three of archives: `archive_memory`, `everywhere` and `damage`.

One `default` model is fitted once, into out/bench/model; each part measures something on it and writes
benchmarks/results/PART.json. A part whose results are of this very model is skipped, so an interrupted run goes on where
it was; `--again` measures anew.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import archive_memory
import colour
import cost
import damage
import everywhere
import one_class
import prior
import rate_distortion
import windows
from results_file import read_result, write_result

import archive
import fivefold
from fivefold.evaluation.report import evaluate
from fivefold.images.dataset import read_items
from fivefold.items import Items
from fivefold.model.fitted import FittedModel

MODEL = Path("out/bench/model")
_MINUTES = 13.75  # of training, so that with what is fitted afterwards it stays within 15
_APART = ("archive_memory", "everywhere", "damage")
JOBS = ("compress", "generate", "denoise", "impute", "detect")


def main() -> None:
    """Run the parts that are not done."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(PARTS)}")
    options.add_argument("--again", action="store_true", help="measure what has been measured")
    options.add_argument(
        "--alone", action="store_true", help="the five jobs without the specialists: minutes, not hours"
    )
    given = options.parse_args()
    if unknown := set(given.parts) - PARTS.keys():
        options.error(f"no such part: {', '.join(unknown)}")
    if not MODEL.exists():
        MODEL.parent.mkdir(parents=True, exist_ok=True)
        fivefold.save(fivefold.fit("mnist", max_minutes=_MINUTES), MODEL)
    model, fingerprint = fivefold.load(MODEL), hashlib.sha256((MODEL / "model.safetensors").read_bytes()).hexdigest()
    test, train = (read_items(f"mnist:{split}", model.schema) for split in ("test", "train"))
    for name in given.parts or (JOBS if given.alone else [part for part in PARTS if part not in _APART]):
        if _of_model(name) == fingerprint and not given.again:
            print(f"{name}: done", file=sys.stderr)
            continue
        start = time.monotonic()
        measure = partial(_measure, name, against=False) if given.alone and name in JOBS else PARTS[name]
        done = "" if given.alone else fingerprint
        write_result(name, {**measure(model, test, train), "model": done})
        print(f"{name}: {time.monotonic() - start:.0f} s", file=sys.stderr)


def _of_model(name: str) -> str | None:
    return read_result(name).get("model")


def _measure(job: str, model: FittedModel, test: Items, train: Items, against: bool = True) -> dict[str, Any]:
    return evaluate(model, test, [job], train=train, against=against)[0]


PARTS: dict[str, Callable[[FittedModel, Items, Items], dict[str, Any]]] = {
    **{job: partial(_measure, job) for job in JOBS},
    "archive": archive.measure,
    "rate_distortion": rate_distortion.measure,
    "archive_memory": archive_memory.measure,
    "everywhere": everywhere.measure,
    "damage": damage.measure,
    "cost": cost.measure,
    "one_class": one_class.measure,
    "colour": colour.measure,
    "prior": prior.measure,
    "windows": windows.measure,
}

if __name__ == "__main__":
    main()
