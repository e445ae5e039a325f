"""Strange rows beside PyOD's detectors."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.metrics import roc_auc_score

from fivefold.evaluation.comparison import OURS, Measure, contest
from fivefold.evaluation.rows.material import RowMaterial
from fivefold.evaluation.section import Section
from fivefold.evaluation.specialists.matrices import Matrices
from fivefold.evaluation.specialists.row_detectors import ROW_DETECTORS, score_rows
from fivefold.jobs.detect import detect

RATES = (0.01, 0.05)
_SWAPPED = 0.5


def compare(material: RowMaterial) -> Section:
    """False alarms among the rows; AUROC of rows half of whose cells are other rows', against them."""
    if material.model.normality is None:
        return Section("detect", "Strange rows", {}, ("Too few rows were held out in the fit to compare with.",))
    found = material.detection
    n, calibrated_on = len(found.score), found.calibrated_on
    alarms = {f"{rate:g}": float((found.p_value <= rate).mean()) for rate in RATES}
    errors = {f"{rate:g}": float(np.sqrt(rate * (1 - rate) * (1 / n + 1 / calibrated_on))) for rate in RATES}
    swapped, _ = material.swapped(_SWAPPED, "detect")
    strange = {OURS: (-found.score, -detect(material.model, material.rows(swapped), false_alarm_rate=0.5).score)}
    if material.against:
        strange |= _specialists(material, swapped)
    auroc: dict[str, float | None] = {name: _auroc(*pair) for name, pair in strange.items()}
    table, losses = contest(Measure("AUROC", digits=4), {f"{_SWAPPED:.0%} of the cells": auroc}, "swapped")
    figures: dict[str, Any] = {"false_alarms": alarms, "standard_errors": errors, "calibrated_on": calibrated_on}
    sentences = [
        f"At a nominal {float(rate):.0%}, {part:.2%} of the rows are flagged (standard error {errors[rate]:.2%})."
        for rate, part in alarms.items()
    ]
    sentences.append(
        "Swapped rows have half of their cells from other rows: each column is as it was, the rows are not."
    )
    return Section("detect", "Strange rows", {**figures, "auroc": auroc}, losses + sentences, [table])


def _auroc(normal: np.ndarray, strange: np.ndarray) -> float:
    return float(roc_auc_score(np.arange(len(normal) + len(strange)) >= len(normal), np.concatenate((normal, strange))))


def _specialists(material: RowMaterial, swapped: np.ndarray) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Missing cells, which these don't take, at their columns' means."""
    known = material.known_cells
    matrices = Matrices(material.schema, known)
    train, test, strange = (np.nan_to_num(matrices.of(cells)) for cells in (known, material.cells, swapped))
    both, scores = np.concatenate((test, strange)), {}
    for name in ROW_DETECTORS:
        found = score_rows(name, train, both, material.seed)
        scores[f"PyOD {name}"] = found[: len(test)], found[len(test) :]
    return scores
