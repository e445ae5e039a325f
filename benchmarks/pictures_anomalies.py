"""Anomalies in pictures, with and without what tells of too smooth patches: `python benchmarks/pictures_anomalies.py FOLDER`.

FOLDER has `good/` and, by kind of fault, `KIND/` and `KIND-masks/` with files of the same names, nonzero where the fault is, as
the magnetic tiles of Huang et al. 2020 (doi:10.1007/s00371-018-1588-5). Pictures are brought to half their size and cut into
squares without overlap; half of the good pictures are for the fit. A faulty square has at least 20 pixels of the fault.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from results_file import write_result
from sklearn.metrics import roc_auc_score

from fivefold.images.dataset import make_items
from fivefold.images.jobs import statistics
from fivefold.images.settings import configure
from fivefold.images.surprise import surprise
from fivefold.items import Items, split_rows
from fivefold.jobs.detect import excess
from fivefold.model.calibrations import JointScore
from fivefold.model.fitted import FittedModel
from fivefold.model.scoring import calibration_rows
from fivefold.system import environment
from fivefold.training.fit import fit_items

SETTINGS: dict[str, Any] = {"epochs": 12, "batch_size": 32, "positions": 24, "validation": 0.2, "max_minutes": 3}
_FAULTY = 20  # pixels
_MOST = {"fit": 1000, "test": 300}  # squares


def main() -> None:
    """Measure, print, and write the result."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("folder", type=Path)
    options.add_argument("--side", type=int, default=32)
    options.add_argument("--seeds", type=int, default=1)
    given = options.parse_args()
    paths = sorted((given.folder / "good").iterdir())
    rng = np.random.default_rng(0)
    order = [paths[number] for number in rng.permutation(len(paths))]
    known, good = (_squares(part, given.side)[0] for part in (order[::2], order[1::2]))
    known, good = (
        part[rng.permutation(len(part))[:most]] for part, most in zip((known, good), _MOST.values(), strict=True)
    )
    faulty = _faulty(given.folder, given.side, rng)
    if not faulty:
        options.error(f"{given.folder} has no KIND beside KIND-masks")
    result: dict[str, Any] = {
        "side": given.side,
        "squares": {"fit": len(known), "good": len(good)},
        "settings": SETTINGS,
    }
    result["squares"] |= {kind: len(values) for kind, (values, _) in faulty.items()}
    result["runs"] = [_run(known, good, faulty, seed) for seed in range(given.seeds)]
    write_result("pictures_anomalies", result | {"environment": environment()})


def _squares(paths: list[Path], side: int) -> tuple[np.ndarray, np.ndarray]:
    """Squares `(n, side, side, 1)` uint8 of pictures, and where their masks, if they have any, are nonzero: bool likewise."""
    found = []
    for path in paths:
        mask = path.parent.with_name(f"{path.parent.name}-masks") / f"{path.stem}.png"
        with Image.open(path) as opened:
            picture = opened.convert("L")
        marked = (
            Image.open(mask).convert("L").resize(picture.size, 0) if mask.exists() else Image.new("L", picture.size)
        )
        half = (picture.width // 2, picture.height // 2)
        layers = picture.resize(half, Image.Resampling.BOX), marked.point(lambda v: 255 * (v > 0)).resize(half, 0)
        both = np.stack([np.asarray(layer) for layer in layers], axis=-1)
        rows, columns = (size // side for size in both.shape[:2])
        cut = both[: rows * side, : columns * side].reshape(rows, side, columns, side, 2).swapaxes(1, 2)
        found.append(cut.reshape(-1, side, side, 2))
    squares = np.concatenate(found)
    return squares[..., :1], squares[..., 1:] > 0


def _faulty(folder: Path, side: int, rng: np.random.Generator) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Squares with faults and where they are, by kind."""
    found = {}
    for masks in sorted(folder.glob("*-masks")):
        kind = masks.name.removesuffix("-masks")
        values, marked = _squares(sorted((folder / kind).iterdir()), side)
        rows = rng.permutation(np.flatnonzero(marked.sum(axis=(1, 2, 3)) >= _FAULTY))[: _MOST["test"]]
        found[kind] = values[rows], marked[rows]
    return found


def _run(
    known: np.ndarray, good: np.ndarray, faulty: dict[str, tuple[np.ndarray, np.ndarray]], seed: int
) -> dict[str, Any]:
    """AUROC of squares by both scores, and of pixels within faulty squares by both maps, by kind."""
    items = make_items(known)
    with tempfile.TemporaryDirectory() as folder:
        model = fit_items(items, configure(**SETTINGS, seed=seed), Path(folder))
    normal, scores = make_items(good, model.schema), _scores(model, items)
    run: dict[str, Any] = {"seed": seed, "fit_seconds": model.record["train_seconds"]}
    for kind, (values, marked) in faulty.items():
        odd = make_items(values, model.schema)
        run[kind] = {name: _auroc(model, score, normal, odd) for name, score in scores.items()}
        run[kind] |= {
            f"pixels by {name}": float(roc_auc_score(marked.ravel(), draw(model, odd).ravel()))
            for name, draw in (("cost alone", excess), ("cost and smoothness", surprise))
        }
        print(kind, run[kind], file=sys.stderr)
    return run


def _scores(model: FittedModel, items: Items) -> dict[str, JointScore]:
    """The model's own score, and the one without its last statistic, of the smoothest patch."""
    training = model.config.training
    rows = calibration_rows(split_rows(items, training.validation, training.seed)[1], training.seed)
    found = statistics(model, items.select(rows))
    made = {"with smoothness": JointScore.fit(found), "without": JointScore.fit(found[:, :-1])}
    return {name: score for name, score in made.items() if score is not None}


def _auroc(model: FittedModel, score: JointScore, normal: Items, odd: Items) -> float:
    """Of strange squares against normal ones."""
    fitted = dataclasses.replace(model, calibrations=model.calibrations | {"normality": score})
    strange = [-score.score(statistics(fitted, items)) for items in (normal, odd)]
    return float(roc_auc_score(np.repeat((0, 1), [len(normal), len(odd)]), np.concatenate(strange)))


if __name__ == "__main__":
    main()
