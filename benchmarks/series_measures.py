"""How well scores of steps tell labelled windows: the volume under the surface, and the score of the Numenta benchmark."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

Span = tuple[int, int]
_THRESHOLDS = 250
_FALSE, _FAR = 0.11, 3.0  # cost of a false alarm; window lengths after a window from where on it counts in full


def spans(labels: np.ndarray) -> list[Span]:
    """First and last step of each run of labelled ones."""
    edges = np.flatnonzero(np.diff(np.concatenate(([0], labels.astype(int), [0]))))
    return [(int(first), int(last) - 1) for first, last in zip(edges[::2], edges[1::2], strict=True)]


def volumes(labels: np.ndarray, strange: np.ndarray, width: int = 100) -> tuple[float, float]:
    """VUS-ROC and VUS-PR (Paparrizos et al. 2022, doi:10.14778/3551793.3551830), of labels softened by 0, 1, …, `width` steps.

    `strange` `(n,)`, higher = stranger. The same as `RangeAUC_volume_opt` of the package vus, with 250 thresholds.
    """
    order = np.argsort(-strange, kind="stable")
    ordered, count = -strange[order], len(strange)
    flagged = np.searchsorted(ordered, ordered[np.linspace(0, count - 1, _THRESHOLDS).astype(int)], side="right")
    ranks = np.empty(count, int)
    ranks[order] = np.arange(count)
    areas = [_areas(labels, order, ranks, flagged, buffer) for buffer in range(width + 1)]
    roc, precision = np.mean(areas, axis=0)
    return float(roc), float(precision)


def _areas(
    labels: np.ndarray, order: np.ndarray, ranks: np.ndarray, flagged: np.ndarray, buffer: int
) -> tuple[float, float]:
    """The areas under the range-based ROC and precision-recall curves, of labels softened by half a `buffer` at either side."""
    runs, half, count, positive = spans(labels), buffer // 2, len(labels), labels.sum()
    soft, joined = labels.astype(float), [[max(runs[0][0] - half, 0), runs[0][1] + half]]
    for first, last in runs:
        for at in (np.arange(last + 1, min(last + half + 1, count)), np.arange(max(first - half, 0), first)):
            soft[at] += np.sqrt(1 - np.minimum(abs(at - first), abs(at - last)) / max(buffer, 1))
        if first - half > joined[-1][1]:
            joined.append([first - half, last + half])
        joined[-1][1] = min(last + half, count - 1)
    soft = np.minimum(soft, 1)
    true = np.cumsum(soft[order])[flagged - 1]
    present = (positive + positive + np.cumsum(np.where(labels, 0, soft)[order])[flagged - 1]) / 2
    met = np.array([ranks[first : last + 1].min() for first, last in joined])
    recall = np.minimum(true / present, 1) * (met < flagged[:, None]).mean(axis=1)
    true_rate = np.concatenate(([0], recall, [1]))
    false_rate = np.concatenate(([0], (flagged - true) / (count - present), [1]))
    roc = np.sum(np.diff(false_rate) * (true_rate[1:] + true_rate[:-1]) / 2)
    return float(roc), float(np.sum(np.diff(true_rate[:-1]) * true / flagged))


def nab_score(found: Sequence[tuple[np.ndarray, Sequence[Span]]]) -> float:
    """The Numenta benchmark's score (Lavin & Ahmad 2015, arXiv:1510.03336), standard profile, over series together.

    Of each series how strange steps are `(n,)` (−inf: no alarm), and its windows. 0 without alarms, 100 with one at each window's
    first step; the threshold is the one of all series that does best, as there.
    """
    alarms, windows = [], 0
    for number, (strange, own) in enumerate(found):
        worth, inside = _worth(len(strange), own)
        windows += len(own)
        alarms += [(strange[at], (number, inside[at]), worth[at]) for at in np.flatnonzero(strange > -np.inf)]
    total = best = -float(windows)
    met = dict[tuple[int, int], float]()
    alarms.sort(key=lambda alarm: -alarm[0])
    for number, (strange_by, window, gain) in enumerate(alarms):
        if window[1] < 0:
            total += gain
        elif gain > met.get(window, -1.0):
            total += gain - met.get(window, -1.0)
            met[window] = gain
        if number + 1 == len(alarms) or alarms[number + 1][0] != strange_by:
            best = max(best, total)
    return 100 * (best + windows) / (2 * windows)


def _worth(count: int, windows: Sequence[Span]) -> tuple[np.ndarray, np.ndarray]:
    """What an alarm at each step is worth, and in which window it is, −1 in none: `(n,)`."""
    worth, inside, steps = np.full(count, -_FALSE), np.full(count, -1), np.arange(count)
    for number, (first, last) in enumerate(sorted(windows)):
        after = (steps - last) / max(last - first, 1)
        late = (after > 0) & (after < _FAR)
        worth[steps > last] = -_FALSE
        worth[late] = _FALSE * _sigmoid(after[late])
        within = slice(first, last + 1)
        worth[within] = _sigmoid((steps[within] - last - 1) / (last - first + 1)) / _sigmoid(np.array(-1.0))
        inside[within] = number
    return worth, inside


def _sigmoid(place: np.ndarray) -> np.ndarray:
    return 2 / (1 + np.exp(5 * place)) - 1
