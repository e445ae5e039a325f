"""Strange steps of series beside matrix profile and detectors on windows; events of six kinds are injected."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from fivefold.evaluation.contest import OURS, Measure, Picture, Section, Table, contest
from fivefold.evaluation.drawing import figure
from fivefold.evaluation.metrics import alarm_shares
from fivefold.evaluation.rivals.detectors import SERIES_DETECTORS, score_steps
from fivefold.evaluation.series.material import SeriesMaterial
from fivefold.model.verdicts import auroc

_FEWEST_EVENTS, _MOST_TURNS = 20, 8
_WIDTH = 8  # of the other detectors' windows: a window of the model's, divided by this
_MOST_EVENTS, _MOST_CHANNELS = 6, 4
Event = Callable[[np.ndarray, float, np.random.Generator], np.ndarray]


def _spike(values: np.ndarray, spread: float, rng: np.random.Generator) -> np.ndarray:
    """One step far off."""
    values = values.copy()
    values[len(values) // 2] += rng.choice((-1, 1)) * 2 * spread
    return values


def _wrong_frequency(values: np.ndarray, spread: float, rng: np.random.Generator) -> np.ndarray:
    """The same at twice the speed, there and back."""
    fast = values[::2]
    return np.concatenate((fast, fast[::-1]))[: len(values)]


def _missing_beat(values: np.ndarray, spread: float, rng: np.random.Generator) -> np.ndarray:
    """What happens is left out: a straight line from the first value to the last, with the same small noise."""
    line = np.linspace(values[0], values[-1], len(values))
    noise = np.std(np.diff(values, 2)) / np.sqrt(6)
    return np.asarray(line + noise * rng.standard_normal(len(values)))


EVENTS: dict[str, Event] = {
    "spike": _spike,
    "level shift": lambda values, spread, rng: values + rng.choice((-1, 1)) * spread,
    "flat line": lambda values, spread, rng: np.full_like(values, values[0]),  # a sensor that is stuck
    "noise burst": lambda values, spread, rng: values + 0.5 * spread * rng.standard_normal(len(values)),
    "wrong frequency": _wrong_frequency,
    "missing beat": _missing_beat,
}


def inject(
    values: np.ndarray, lengths: np.ndarray, event: Event, steps: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Series with an event in every other section of `steps`, in one channel, an eighth to a quarter of it long.

    Returns the values `(total, c)`, which steps are strange `(total,)`, and the sections' places `(e, 2)`.
    """
    damaged, strange, sections = values.copy(), np.zeros(len(values), bool), []
    spread = np.nanstd(values, axis=0)
    for end, length in zip(np.cumsum(lengths), lengths, strict=True):
        for begin in range(end - length, end - steps + 1, 2 * steps):
            run = int(rng.integers(max(steps // 8, 3), max(steps // 4, 4) + 1))
            start = begin + int(rng.integers(0, steps - run + 1))
            channel = int(rng.integers(values.shape[1]))
            span = slice(start, start + run)
            if event is _spike:
                span = slice(start + run // 2, start + run // 2 + 1)
            if np.isnan(values[span, channel]).any():
                continue
            damaged[span, channel] = event(values[span, channel], spread[channel], rng)
            strange[span] = True
            sections.append((begin, begin + steps))
    return damaged, strange, np.array(sections, np.int64).reshape(-1, 2)


def compare_detection(material: SeriesMaterial) -> Section:
    """False alarms among the steps; of injected events the AUROC per step, and how often the strangest step is theirs."""
    if material.model.normality is None:
        return Section("detect", "Strange steps", {}, ("Too few windows were held out in the fit to compare with.",))
    detection = material.detection
    p_value = detection.p_value[~np.isnan(detection.p_value)]
    alarms = alarm_shares(p_value)
    events = {kind: row for kind in EVENTS if (row := _measure(material, kind))["auroc"]}
    tables, sentences = [], []
    for part, title in (("auroc", "AUROC per step"), ("place", "events whose place is found")):
        table, losses = contest(Measure(title, digits=3), {kind: row[part] for kind, row in events.items()})
        tables.append(table)
        sentences += losses
    sentences += [
        f"At a nominal {float(rate):.0%}, {share:.2%} of the steps are flagged." for rate, share in alarms.items()
    ]
    about = {"false_alarms": alarms, "steps": len(p_value), "calibrated_on": detection.calibrated_on}
    return Section("detect", "Strange steps", {**about, "events": events}, sentences, tables)


def _measure(material: SeriesMaterial, kind: str) -> dict[str, Any]:
    """Again and again with other events, until there are enough."""
    steps = min(material.schema.steps, int(material.data.lengths.max()))
    scores: dict[str, list[np.ndarray]] = {}
    places: dict[str, list[bool]] = {}
    strange = []
    for turn in range(_MOST_TURNS):
        rng = material.rng(f"event {kind} {turn}")
        values, where, sections = inject(material.values, material.data.lengths, EVENTS[kind], steps, rng)
        if len(sections) == 0:
            break
        turn_scores = _scores(material, values, steps)
        seen = ~np.isnan(turn_scores[OURS])
        strange.append(where[seen])
        for name, score in turn_scores.items():
            scores.setdefault(name, []).append(score[seen])
            hits = [bool(where[begin:end][np.nanargmax(score[begin:end])]) for begin, end in sections]
            places.setdefault(name, []).extend(hits)
        if len(places[OURS]) >= _FEWEST_EVENTS:
            break
    if not strange:
        return {"auroc": {}, "place": {}, "events": 0}
    labels = np.concatenate(strange)
    joined = {name: np.concatenate(parts) for name, parts in scores.items()}
    return {
        "auroc": {name: auroc(score[~labels], score[labels]) for name, score in joined.items()},
        "place": {name: float(np.mean(hits)) for name, hits in places.items()},
        "events": len(places[OURS]),
    }


def _scores(material: SeriesMaterial, values: np.ndarray, steps: int) -> dict[str, np.ndarray]:
    """How strange each step is, by each detector."""
    scores = {OURS: -material.detect(values).score}
    known, width = (material.known.values, material.known.lengths), max(steps // _WIDTH, 4)
    for name in SERIES_DETECTORS if material.against else ():
        scores[name] = score_steps(name, known, (values, material.data.lengths), width, material.seed)
    return scores


def report_detection(material: SeriesMaterial) -> Section:
    """The section `detect`, with the strangest events."""
    compared = compare_detection(material)
    if not compared.figures:
        return compared
    events = material.detection.events
    alarms = compared.figures["false_alarms"]["0.01"]
    summary = [("detect", f"{alarms:.2%} of the steps flagged at 1 %, in {len(events.start)} events")]
    order = np.argsort(events.score)[:_MOST_EVENTS]
    if not len(order):
        return replace(compared, summary=summary)
    places = events.series, events.start, events.end, events.peak
    lines = [(*(str(part[at]) for part in places), f"{events.p_value[at]:.3g}") for at in order]
    table = Table(("strangest events: series", "from step", "to", "peak", "p-value"), lines)
    _draw(material, order)
    names = ", ".join(material.schema.channels.names[:_MOST_CHANNELS])
    picture = Picture("detect.png", f"The strangest events (red), {names}, in deviations.")
    return replace(compared, tables=[*compared.tables, table], pictures=[picture], summary=summary)


def _draw(material: SeriesMaterial, order: np.ndarray) -> None:
    """The chosen events, each with half a window on either side."""
    events, margin = material.detection.events, material.schema.steps // 2
    firsts = np.cumsum(material.data.lengths) - material.data.lengths
    height = -(-len(order) // 2)
    with figure(material.folder / "detect.png", 8, 1.7 * height) as drawn:
        axes = drawn.subplots(height, min(len(order), 2), squeeze=False).ravel()
        for ax, at in zip(axes, order, strict=False):
            series, start, end = events.series[at], events.start[at], events.end[at]
            steps = np.arange(max(start - margin, 0), min(end + margin, material.data.lengths[series]))
            shown = material.values[firsts[series] + steps]
            deviations = (shown - np.nanmean(shown, axis=0)) / material.spread
            ax.plot(steps, deviations[:, :_MOST_CHANNELS], linewidth=1)
            ax.axvspan(start - 0.5, end + 0.5, color="tab:red", alpha=0.25, linewidth=0)
            ax.tick_params(labelsize=7)
        for ax in axes[len(order) :]:
            ax.set_visible(False)
