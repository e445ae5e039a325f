"""Anomaly detection beside PyOD's detectors and the plain reconstruction error."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.metrics import roc_auc_score

from fivefold.evaluation.comparison import OURS, Measure, contest
from fivefold.evaluation.material import Material
from fivefold.evaluation.section import Section
from fivefold.images.dataset import read_items
from fivefold.images.schema import ImageSchema
from fivefold.items import Items
from fivefold.jobs.detect import detect
from fivefold.model.scoring import reconstruction_scores

DIGITS = ImageSchema(28, 28, 1, "uint8", 0.0, 255.0)
RATES = (0.01, 0.05)
ERROR = "reconstruction error"


def compare(material: Material) -> Section:
    """False alarms among the items; AUROC of anomalies against them, where some are known."""
    model = material.model
    if model.normality is None:
        return Section("detect", "Anomaly detection", {}, ("Too few items were held out in the fit to compare with.",))
    found = material.detection
    n, calibrated_on = len(found.score), found.calibrated_on
    alarms = {f"{rate:g}": float((found.p_value <= rate).mean()) for rate in RATES}
    # the rate itself varies with the calibrating items, the share with the tested ones
    errors = {f"{rate:g}": float(np.sqrt(rate * (1 - rate) * (1 / n + 1 / calibrated_on))) for rate in RATES}
    figures: dict[str, Any] = {"false_alarms": alarms, "standard_errors": errors, "calibrated_on": calibrated_on}
    sentences = [
        f"At a nominal {float(rate):.0%}, {share:.2%} of the items are flagged (standard error {errors[rate]:.2%})."
        for rate, share in alarms.items()
    ]
    anomalies = read_items("letters", model.schema) if model.schema == DIGITS else None
    if anomalies is None:
        return Section("detect", "Anomaly detection", figures, sentences)
    strange = detect(model, anomalies, false_alarm_rate=0.5)
    figures["found"] = {f"{rate:g}": float((strange.p_value <= rate).mean()) for rate in RATES}
    scores = {OURS: (found.score, strange.score)}
    scores[ERROR] = (reconstruction_scores(model, material.items), reconstruction_scores(model, anomalies))
    if material.against:
        scores |= _specialists(material, anomalies)
    figures["auroc"] = auroc = {name: _auroc(*pair) for name, pair in scores.items()}
    label = f"{anomalies.source} against items"
    table, losses = contest(Measure("AUROC", digits=4), {label: auroc}, "anomalies")
    return Section("detect", "Anomaly detection", figures, losses + sentences, [table])


def _auroc(normal: np.ndarray, strange: np.ndarray) -> float:
    labels = np.concatenate([np.ones(len(normal)), np.zeros(len(strange))])
    return float(roc_auc_score(labels, np.concatenate([normal, strange])))


def _specialists(material: Material, anomalies: Items) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    from fivefold.evaluation.specialists.detectors import DETECTORS, fit_detector

    assert material.train is not None
    train, items, strange = (_flat(each) for each in (material.train, material.items, anomalies))
    scores = {}
    for name in DETECTORS:
        score = fit_detector(name, train, minutes=material.peer_minutes, seed=material.seed)
        scores[f"PyOD {name}"] = score(items), score(strange)
    return scores


def _flat(items: Items) -> np.ndarray:
    return items.unit()[0].reshape(len(items), -1)
