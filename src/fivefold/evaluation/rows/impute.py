"""Missing cells beside other imputers."""

from __future__ import annotations

from typing import Any

import numpy as np

from fivefold.evaluation.comparison import OURS, Measure, contest
from fivefold.evaluation.rows.material import RowMaterial, share
from fivefold.evaluation.section import Section
from fivefold.evaluation.specialists.matrices import Matrices
from fivefold.evaluation.specialists.row_imputers import ROW_IMPUTERS, impute_rows
from fivefold.jobs.impute import impute

SHARES = (0.3, 0.5)
_INTERVAL = 0.9
_NARROW = 1e-9


def compare(material: RowMaterial) -> Section:
    """Cells hidden at random: errors of numbers and of classes, and the coverage of intervals."""
    figures: dict[str, Any] = {}
    sentences = []
    for hidden in SHARES:
        figures[f"{hidden:g}"] = found = _measure(material, hidden)
        if found["coverage"] is not None:
            sentences.append(
                f"With {hidden:.0%} of the cells hidden, {found['coverage']:.1%} of the hidden numbers lie in their "
                f"{_INTERVAL:.0%} intervals."
            )
    tables, losses = [], []
    for part, name in (("rmse", "RMSE of numbers (standard deviations)"), ("wrong", "share of wrong classes")):
        rows = {f"{hidden:.0%} hidden": share(figures[f"{hidden:g}"]["errors"], part) for hidden in SHARES}
        if any(value is not None for row in rows.values() for value in row.values()):
            table, lost = contest(Measure(name, digits=4, higher_is_better=False), rows)
            tables.append(table)
            losses += lost
    return Section("impute", "Missing cells", figures, losses + sentences, tables)


def hide(material: RowMaterial, hidden: float) -> tuple[np.ndarray, np.ndarray]:
    """The test rows' cells with a share of them hidden, and which."""
    where = (material.rng(f"hide {hidden:g}").random(material.cells.shape) < hidden) & ~np.isnan(material.cells)
    return np.where(where, np.nan, material.cells), where


def _measure(material: RowMaterial, hidden: float) -> dict[str, Any]:
    holey, where = hide(material, hidden)
    found = impute(material.model, material.rows(holey), interval=_INTERVAL, seed=material.seed)
    assert found.lower is not None
    assert found.upper is not None
    lower, upper = (bound[:, 0, :, 0] for bound in (found.lower, found.upper))
    inside = (lower <= material.cells + _NARROW) & (material.cells <= upper + _NARROW)
    mine = where & material.numbers
    filled = {OURS: found.items[:, 0, :, 0]}
    known = material.known_cells
    matrices = Matrices(material.schema, known)
    for name in ROW_IMPUTERS if material.against else ("mean/mode",):
        filled[name] = matrices.back(impute_rows(name, matrices.of(known), matrices.of(holey)))
    errors = {name: material.errors(cells, where) for name, cells in filled.items()}
    return {"errors": errors, "coverage": float(inside[mine].mean()) if mine.any() else None}
