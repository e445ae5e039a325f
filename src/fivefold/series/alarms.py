"""Steps of series judged one after the other: by what is around as well, and with alarms that do not go on for ever."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_OWN = 0.1  # share of a step's own evidence in its score, beside the mean of what is around
_RAISED = 2.0  # nats by which an alarm raises the bar
_MOST = 30.0  # nats that count


@dataclass(frozen=True)
class Bar:
    """How high the bar for alarms is at a step.

    Attributes
    ----------
    raised : nats, after the last stretch with alarms
    since : steps since then
    """

    raised: float = 0.0
    since: int = 0


def smoothed(evidence: np.ndarray, lengths: np.ndarray, width: int) -> np.ndarray:
    """Means of `(total,)` over the `width` known steps before and after each, within its series; NaN stays."""
    known, found = ~np.isnan(evidence), np.empty_like(evidence)
    ends = np.cumsum(lengths)
    for start, stop in zip((ends - lengths).tolist(), ends.tolist(), strict=True):
        at = np.arange(stop - start)
        first, last = np.maximum(at - width, 0), np.minimum(at + width + 1, stop - start)
        sums, counts = (
            np.concatenate(([0.0], np.cumsum(part[start:stop]))) for part in (np.where(known, evidence, 0.0), known)
        )
        found[start:stop] = (sums[last] - sums[first]) / np.maximum(counts[last] - counts[first], 1)
    return np.where(known, found, np.nan)


def score_in_context(evidence: np.ndarray, own: np.ndarray, lengths: np.ndarray, width: int) -> np.ndarray:
    """The score of steps, `(total,)` nats, higher = more normal: less the mean evidence around, and a part of their own."""
    return -(smoothed(np.minimum(evidence, _MOST), lengths, width) + _OWN * own)


def with_rising_bar(nats: np.ndarray, lengths: np.ndarray, window: int, rate: float) -> np.ndarray:
    """p-values `(total,)` of steps of so many `nats`, minus log tail probabilities; at most about the share `rate` is below that.

    Each alarm raises the bar by 2 nats for what follows in its series. The `window` steps from one on are one stretch, whose
    strangest step comes first. Each step without an alarm lowers the bar again, so that it is as before after `1 / rate` steps.
    So of a series' T steps at most `rate`, and 15 / T besides, are flagged however it changes (quantile tracking: Angelopoulos
    et al. 2023, arXiv:2307.16895, equation 4; Gibbs & Candès 2021, arXiv:2106.00170).
    """
    left, ends = np.empty_like(nats), np.cumsum(lengths)
    for start, stop in zip((ends - lengths).tolist(), ends.tolist(), strict=True):
        left[start:stop], _, _ = above_bar(nats[start:stop], window, rate)
    p_value: np.ndarray = np.minimum(np.exp(-left), 1.0)
    return p_value


def above_bar(
    nats: np.ndarray, window: int, rate: float, before: Bar = Bar(), until: int | None = None
) -> tuple[np.ndarray, int, Bar]:
    """What is left of the nats of one series' steps, by so much less as the bar is raised; and from which step on, with which bar
    `before` it, to go on when more steps are known, if those `until` some step are decided now."""
    bar, lowered = -np.log(rate), _RAISED * rate / (1 - rate)
    left: np.ndarray = np.minimum(nats, _MOST)
    until = len(left) if until is None else until
    end, raised = -before.since, before.raised
    begun = 0, before

    def raised_after(steps: int | np.ndarray) -> np.ndarray:
        height: np.ndarray = np.maximum(raised - lowered * steps, 0.0)
        return height

    for step in np.flatnonzero(nats >= bar).tolist():
        if step >= until:
            break
        if step < end or left[step] - raised_after(step - end) < bar:
            continue
        begun = step, Bar(raised, step - end)
        left[max(end, 0) : step] -= raised_after(np.arange(max(-end, 0), step - end))
        raised = float(raised_after(step - end))
        stretch, order = left[step : step + window], np.argsort(-nats[step : step + window])
        ranks, above = np.arange(len(stretch)), stretch[order] - raised
        alarms = int((above - _RAISED * ranks >= bar).sum())
        stretch[order] = above - _RAISED * np.minimum(ranks, alarms)
        raised = max(raised + _RAISED * alarms - lowered * (len(stretch) - alarms), 0.0)
        end = step + len(stretch)
    left[max(end, 0) :] -= raised_after(np.arange(max(-end, 0), len(left) - end))
    return left, *(begun if end > until else (until, Bar(raised, until - end)))
