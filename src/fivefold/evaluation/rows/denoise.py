"""Cells that are other rows': found, and mended."""

from __future__ import annotations

import numpy as np
from sklearn.metrics import roc_auc_score

from fivefold.evaluation.comparison import OURS, Measure, contest
from fivefold.evaluation.rows.material import RowMaterial, share
from fivefold.evaluation.section import Section
from fivefold.evaluation.specialists.matrices import Matrices
from fivefold.evaluation.specialists.row_imputers import impute_rows
from fivefold.tables.denoise import denoise_rows

SWAPPED = 0.05
_FAR = 3.0  # standard deviations


def compare(material: RowMaterial) -> Section:
    """A twentieth of the cells replaced by other rows': which are found, and how far all cells are from the truth after."""
    damaged, where = material.swapped(SWAPPED, "denoise")
    found = denoise_rows(material.model, material.rows(damaged))
    replaced, probability = found.replaced[:, 0, :, 0], found.probability[:, 0, :, 0]
    seen = ~np.isnan(material.cells)
    mended = {OURS: found.items[:, 0, :, 0], "as they are": damaged}
    if material.against:
        mended |= _specialists(material, damaged)
    errors = {name: material.errors(cells, seen) for name, cells in mended.items()}
    figures = {
        "swapped": float(where[seen].mean()),
        "found": float(replaced[where].mean()) if where.any() else None,
        "right": float(where[replaced].mean()) if replaced.any() else None,
        "auroc": float(roc_auc_score(where[seen], probability[seen])) if 0 < where[seen].mean() < 1 else None,
        "errors": errors,
    }
    sentences = []
    if figures["found"] is not None and figures["right"] is not None:
        sentences.append(
            f"{figures['swapped']:.1%} of the cells were swapped with other rows'; {figures['found']:.0%} of these were "
            f"replaced, and {figures['right']:.0%} of what was replaced had been swapped. By its probability of being "
            f"wrong, a swapped cell is told from another with an AUROC of {figures['auroc']:.3f}."
        )
    tables, losses = [], []
    for part, name in (("rmse", "RMSE of numbers (standard deviations)"), ("wrong", "share of wrong classes")):
        row = share(errors, part)
        if any(value is not None for value in row.values()):
            table, lost = contest(Measure(name, digits=4, higher_is_better=False), {f"{SWAPPED:.0%} swapped": row})
            tables.append(table)
            losses += lost
    return Section("denoise", "Cells that are wrong", figures, losses + sentences, tables)


def _specialists(material: RowMaterial, damaged: np.ndarray) -> dict[str, np.ndarray]:
    """Numbers beyond three standard deviations of their columns: taken for missing, and imputed by ExtraTrees."""
    known = material.known_cells
    matrices = Matrices(material.schema, known)
    far = np.abs(damaged - np.nanmean(known, axis=0)) > _FAR * material.spread
    far &= material.numbers
    filled = matrices.back(impute_rows("ExtraTrees", matrices.of(known), matrices.of(np.where(far, np.nan, damaged))))
    return {"three deviations, then ExtraTrees": np.where(far, filled, damaged)}
