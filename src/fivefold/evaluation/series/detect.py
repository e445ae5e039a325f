"""Strange steps beside matrix profile and detectors of windows."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.metrics import roc_auc_score

from fivefold.evaluation.comparison import OURS, Measure, contest
from fivefold.evaluation.section import Section
from fivefold.evaluation.series.damage import EVENTS, inject
from fivefold.evaluation.series.material import SeriesMaterial
from fivefold.evaluation.specialists.series_detectors import SERIES_DETECTORS, score_steps
from fivefold.series.jobs import detect_series

RATES = (0.01, 0.05)
_FEWEST_EVENTS, _MOST_TURNS = 20, 8
_WIDTH = 8  # of the other detectors' windows: a window of the model's, divided by this


def compare(material: SeriesMaterial) -> Section:
    """False alarms among the steps; of events of six kinds the AUROC per step, and how often the strangest step of the
    section around is one of theirs.
    """
    if material.model.normality is None:
        return Section("detect", "Strange steps", {}, ("Too few windows were held out in the fit to compare with.",))
    found = detect_series(material.model, material.series)
    p_value = found.p_value[~np.isnan(found.p_value)]
    alarms = {f"{rate:g}": float((p_value <= rate).mean()) for rate in RATES}
    measured = {kind: _measure(material, kind) for kind in EVENTS}
    measured = {kind: each for kind, each in measured.items() if each["auroc"]}
    tables, sentences = [], []
    for part, title in (("auroc", "AUROC per step"), ("place", "events whose place is found")):
        table, lost = contest(Measure(title, digits=3), {kind: each[part] for kind, each in measured.items()}, title)
        tables.append(table)
        sentences += lost
    sentences += [
        f"At a nominal {float(rate):.0%}, {part:.2%} of the steps are flagged." for rate, part in alarms.items()
    ]
    figures = {"false_alarms": alarms, "steps": len(p_value), "calibrated_on": found.calibrated_on, "events": measured}
    return Section("detect", "Strange steps", figures, sentences, tables)


def _measure(material: SeriesMaterial, kind: str) -> dict[str, Any]:
    """Again and again with other events, until there are enough."""
    steps = min(material.schema.steps, int(material.series.lengths.max()))
    scores: dict[str, list[np.ndarray]] = {}
    places: dict[str, list[bool]] = {}
    strange = []
    for turn in range(_MOST_TURNS):
        rng = material.rng(f"event {kind} {turn}")
        values, where, sections = inject(material.series.values, material.series.lengths, EVENTS[kind], steps, rng)
        if len(sections) == 0:
            break
        found = _scores(material, values, steps)
        seen = ~np.isnan(found[OURS])
        strange.append(where[seen])
        for name, score in found.items():
            scores.setdefault(name, []).append(score[seen])
            places.setdefault(name, []).extend(_found(score, where, *each) for each in sections)
        if len(places[OURS]) >= _FEWEST_EVENTS:
            break
    if not strange:
        return {"auroc": {}, "place": {}, "events": 0}
    auroc = {name: float(roc_auc_score(np.concatenate(strange), np.concatenate(each))) for name, each in scores.items()}
    return {
        "auroc": auroc,
        "place": {name: float(np.mean(each)) for name, each in places.items()},
        "events": len(places[OURS]),
    }


def _scores(material: SeriesMaterial, values: np.ndarray, steps: int) -> dict[str, np.ndarray]:
    """How strange each step is, by each detector."""
    scores = {OURS: -detect_series(material.model, material.of(values)).score}
    known, width = material.known, max(steps // _WIDTH, 4)
    for name in SERIES_DETECTORS if material.against else ():
        scores[name] = score_steps(
            name, known.values, known.lengths, values, material.series.lengths, width, material.seed
        )
    return scores


def _found(score: np.ndarray, strange: np.ndarray, begin: int, end: int) -> bool:
    """Whether the strangest step of a section is in its event."""
    return bool(strange[begin:end][np.nanargmax(score[begin:end])])
