"""Flagged steps as events: runs that are most likely one thing each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_JOINED = 4  # steps that may lie between flagged ones of one event


@dataclass(frozen=True)
class Events:
    """Runs of strange steps; all `(e,)`.

    Attributes
    ----------
    series : in which series, by number
    start, end, peak : first and last step, and the strangest, counted from the series' start
    score, p_value : of the strangest step
    """

    series: np.ndarray
    start: np.ndarray
    end: np.ndarray
    peak: np.ndarray
    score: np.ndarray
    p_value: np.ndarray


def find_events(lengths: np.ndarray, score: np.ndarray, p_value: np.ndarray, anomaly: np.ndarray) -> Events:
    """Flagged steps `(total,)` of series of `lengths` `(s,)` as events: those at most 4 steps apart belong together."""
    flagged = np.flatnonzero(anomaly)
    firsts = np.concatenate(([0], np.cumsum(lengths)[:-1]))
    series = np.searchsorted(firsts, flagged, side="right") - 1
    new = (np.diff(flagged, prepend=-np.inf) > _JOINED + 1) | (np.diff(series, prepend=-1) != 0)
    begins = np.flatnonzero(new)
    run = np.cumsum(new) - 1
    peaks = flagged[np.lexsort((score[flagged], run))[begins]]  # the lowest of each run comes first
    start, end = flagged[begins], flagged[np.append(begins, len(flagged))[1:] - 1]
    owner = series[begins]
    first = firsts[owner]
    return Events(owner, start - first, end - first, peaks - first, score[peaks], p_value[peaks])
