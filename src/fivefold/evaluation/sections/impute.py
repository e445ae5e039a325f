"""Missing data: random pixels and a block hidden."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from fivefold.evaluation.comparison import OURS
from fivefold.evaluation.comparisons import impute as comparison
from fivefold.evaluation.drawing import image_rows
from fivefold.evaluation.material import Material
from fivefold.evaluation.section import Picture, Section
from fivefold.jobs.impute import impute

_DRAWS = 2


def make(material: Material) -> Section:
    """The section `impute`."""
    material = material.quick()
    compared = comparison.compare(material)
    _draw(material)
    source = "training" if material.train is not None else "report's own"
    errors = {label: compared.figures[name]["rmse"] for name, (_, _, label) in comparison.CASES.items()}
    opening = (
        "Root mean squared error over the hidden pixels, on the scale from 0 to 1, beside filling them with the mean of "
        f"the {source} items at that place. The block covers a quarter of the area, anywhere."
    )
    summary = "; ".join(
        f"{label} hidden: RMSE {row[OURS]:.3f} (mean fill {row['mean']:.3f})" for label, row in errors.items()
    )
    return replace(
        compared,
        sentences=[opening, *compared.sentences],
        pictures=[Picture("impute.png", "What is left of the items (white: hidden), the expected items, and draws.")],
        summary=[("impute", summary)],
    )


def _draw(material: Material) -> None:
    shown, unit = material.shown, material.model.schema.to_unit
    truth = material.truth[shown]
    rows = [("original", truth)]
    for name, (hide, strength, label) in comparison.CASES.items():
        holey = material.holey(hide, strength, name).select(shown)
        found = impute(material.model, holey, n_draws=_DRAWS, seed=material.seed)
        rows += [(f"{label} hidden", np.where(holey.visible(), truth, np.nan)), ("expected", unit(found.items))]
        rows += [("drawn", unit(draw)) for draw in found.draws]
    image_rows(material.folder / "impute.png", rows)
