"""New rows: how their columns lie, and whether a classifier tells them from real ones."""

from __future__ import annotations

import numpy as np
from scipy.stats import ks_2samp
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import cross_val_predict

from fivefold.evaluation.comparison import OURS, Measure, contest
from fivefold.evaluation.rows.material import RowMaterial
from fivefold.evaluation.section import Section

_FOLDS = 5
_ALONE = "columns alone"


def compare(material: RowMaterial) -> Section:
    """Beside rows whose columns are drawn each by itself; and what training rows would get."""
    known = material.known_cells
    rng = material.rng("generate")
    some = known[rng.choice(len(known), len(material.cells), replace=len(known) < len(material.cells))]
    rows = {OURS: material.generated, _ALONE: np.stack([rng.permutation(column) for column in some.T], axis=1)}
    shapes: dict[str, float | None] = {name: column_shapes(material, cells) for name, cells in rows.items()}
    told: dict[str, float | None] = {name: _told(material, cells) for name, cells in rows.items()}
    known_rows = {row.tobytes() for row in known}
    copies = float(np.mean([row.tobytes() in known_rows for row in material.generated]))
    tables, losses = [], []
    for measure, row in (
        (Measure("shapes of the columns, from 0 to 1", digits=4), shapes),
        (Measure("AUROC of a classifier between them and real rows", digits=4, higher_is_better=False), told),
    ):
        if all(value is not None for value in row.values()):
            table, lost = contest(measure, {"new rows": row})
            tables.append(table)
            losses += lost
    best = {"shapes": column_shapes(material, some), "told": _told(material, some)}
    sentences = [
        "A column's shape is 1 less the Kolmogorov–Smirnov distance, or the total variation of classes, from the test "
        f"rows'. The classifier is gradient boosting, over {_FOLDS} folds; 0.5 is chance.",
        f"{copies:.1%} of the new rows are copies of known ones.",
    ]
    if material.train is not None:
        sentences.append(f"Training rows in their place have a mean shape of {best['shapes']:.4f}, the best to be had.")
    figures = {"shapes": shapes, "told": told, "real": best, "copies": copies}
    return Section("generate", "New rows", figures, losses + sentences, tables)


def column_shapes(material: RowMaterial, cells: np.ndarray) -> float:
    """Mean over the columns of how like the test rows' their cells lie."""
    likeness = []
    for number, column in enumerate(material.schema.columns):
        mine, theirs = (part[~np.isnan(part)] for part in (cells[:, number], material.cells[:, number]))
        if not len(mine) or not len(theirs):
            continue
        if column.classes:
            shares = [np.bincount(part.astype(int), minlength=column.classes) / len(part) for part in (mine, theirs)]
            likeness.append(1 - float(np.abs(shares[0] - shares[1]).sum()) / 2)
        else:
            likeness.append(1 - float(ks_2samp(mine, theirs, method="asymp").statistic))
    return float(np.mean(likeness))


def _told(material: RowMaterial, cells: np.ndarray) -> float | None:
    """How well a classifier tells rows from the test rows, at least 0.5; None of too few."""
    real = material.cells
    if len(real) < 2 * _FOLDS:
        return None
    made = np.arange(len(real) + len(cells)) >= len(real)
    classifier = HistGradientBoostingClassifier(random_state=material.seed)
    both = np.concatenate((real, np.where(np.isnan(real), np.nan, cells)))  # holes alone must not give them away
    scores = cross_val_predict(classifier, both, made, cv=_FOLDS, method="predict_proba")[:, 1]
    return max(0.5, float(roc_auc_score(made, scores)))
