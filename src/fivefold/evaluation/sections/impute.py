"""Missing data: random pixels and a block hidden."""

from __future__ import annotations

import numpy as np

from fivefold.data import Items
from fivefold.evaluation.drawing import image_rows
from fivefold.evaluation.material import Material
from fivefold.evaluation.metrics import root_mean_square
from fivefold.evaluation.section import Picture, Section, Table
from fivefold.jobs.impute import impute
from fivefold.model.corruption import hide_at_random, hide_block

_CASES = {
    "random_0.5": (hide_at_random, 0.5, "half of it"),
    "block": (hide_block, 0.25, "a block"),
}


def make(material: Material) -> Section:
    """The section `impute`."""
    model, truth, shown = material.model, material.truth, material.shown
    figures, rows = {}, [("original", truth[shown])]
    mean = _mean_item(material)
    for name, (hide, strength, label) in _CASES.items():
        holey = material.holey(hide, strength, name)
        hidden = material.seen & ~holey.visible()
        completed = model.schema.to_unit(impute(model, holey, seed=material.seed))
        figures[name] = {
            "rmse": root_mean_square((truth - completed)[hidden]),
            "rmse_mean_fill": root_mean_square((truth - mean)[hidden]),
        }
        what_is_left = np.where(hidden, np.nan, truth)
        rows += [(f"{label} hidden", what_is_left[shown]), ("completed", completed[shown])]
    image_rows(material.folder / "impute.png", rows)
    source = "training" if material.train is not None else "report's own"
    return Section(
        "impute",
        "Missing data",
        figures,
        [
            "Root mean squared error over the hidden pixels, on the scale from 0 to 1, beside filling them with the "
            f"mean of the {source} items at that place. The block covers a quarter of the area, anywhere."
        ],
        [
            Table(
                ("hidden", "RMSE", "RMSE of mean fill"),
                [
                    (label, f"{figures[name]['rmse']:.4f}", f"{figures[name]['rmse_mean_fill']:.4f}")
                    for name, (_, _, label) in _CASES.items()
                ],
            )
        ],
        [Picture("impute.png", "What is left of the items (white: hidden), and the completed ones.")],
        [
            (
                "impute",
                "; ".join(
                    f"{label} hidden: RMSE {figures[name]['rmse']:.3f} (mean fill {figures[name]['rmse_mean_fill']:.3f})"
                    for name, (_, _, label) in _CASES.items()
                ),
            )
        ],
    )


def _mean_item(material: Material) -> np.ndarray:
    """The mean of the visible values at each place, in [0, 1]: `(h, w, c)`."""
    items: Items = material.items if material.train is None else material.train
    total, count = np.zeros(items.schema.shape), np.zeros(items.schema.shape)
    for rows in items.batches(material.model.batch_size):
        unit, seen = items.unit(rows)
        total += unit.sum(axis=0, dtype=np.float64)
        count += seen.sum(axis=0)
    return (total / np.maximum(count, 1)).astype(np.float32)
