"""Ways to damage series, and what was damaged: so that what the model makes of it can be measured."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

_FEWEST_BETWEEN, _MOST_BETWEEN = 20, 80


def hide_at_random(lengths: np.ndarray, rng: np.random.Generator, share: float = 0.2) -> np.ndarray:
    """Which steps to hide, bool `(total,)`; neither the first nor the last of a series."""
    return _inner(lengths) & (rng.random(lengths.sum()) < share)


def hide_gaps(lengths: np.ndarray, rng: np.random.Generator, shortest: int = 5, longest: int = 20) -> np.ndarray:
    """Runs of steps to hide, likewise, with 20 to 80 steps between; none longer than a third of its series."""
    hidden, first = np.zeros(lengths.sum(), bool), 0
    for length in lengths:
        most = max(min(longest, length // 3), 1)
        place = int(rng.integers(1, max(min(_FEWEST_BETWEEN, length - most), 2)))
        while place < length - 1:
            run = int(rng.integers(min(shortest, most), most + 1))
            hidden[first + place : first + min(place + run, length - 1)] = True
            place += run + int(rng.integers(_FEWEST_BETWEEN, _MOST_BETWEEN))
        first += length
    return hidden & _inner(lengths)


def _inner(lengths: np.ndarray) -> np.ndarray:
    ends = np.cumsum(lengths)
    inner = np.ones(ends[-1], bool)
    inner[np.concatenate((ends - lengths, ends - 1))] = False
    return inner


def add_noise(values: np.ndarray, decibels: float, rng: np.random.Generator) -> np.ndarray:
    """White noise on `(total, c)`, so many decibels below each channel's variance."""
    spread = np.nanstd(values, axis=0) * 10 ** (-decibels / 20)
    return values + spread * rng.standard_normal(values.shape)


Event = Callable[[np.ndarray, float, np.random.Generator], np.ndarray]


def spike(values: np.ndarray, spread: float, rng: np.random.Generator) -> np.ndarray:
    """One step far off."""
    values = values.copy()
    values[len(values) // 2] += rng.choice((-1, 1)) * 2 * spread
    return values


def level_shift(values: np.ndarray, spread: float, rng: np.random.Generator) -> np.ndarray:
    """All higher, or lower."""
    return values + rng.choice((-1, 1)) * spread


def flat_line(values: np.ndarray, spread: float, rng: np.random.Generator) -> np.ndarray:
    """A sensor that is stuck at its first value."""
    return np.full_like(values, values[0])


def noise_burst(values: np.ndarray, spread: float, rng: np.random.Generator) -> np.ndarray:
    """White noise of half the channel's deviation."""
    return values + 0.5 * spread * rng.standard_normal(len(values))


def wrong_frequency(values: np.ndarray, spread: float, rng: np.random.Generator) -> np.ndarray:
    """The same at twice the speed, there and back."""
    fast = values[::2]
    return np.concatenate((fast, fast[::-1]))[: len(values)]


def missing_beat(values: np.ndarray, spread: float, rng: np.random.Generator) -> np.ndarray:
    """What happens is left out: a straight line from the first value to the last, with the same small noise."""
    line = np.linspace(values[0], values[-1], len(values))
    return line + np.std(np.diff(values, 2)) / np.sqrt(6) * rng.standard_normal(len(values))


EVENTS: dict[str, Event] = {
    "spike": spike,
    "level shift": level_shift,
    "flat line": flat_line,
    "noise burst": noise_burst,
    "wrong frequency": wrong_frequency,
    "missing beat": missing_beat,
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
            if event is spike:
                span = slice(start + run // 2, start + run // 2 + 1)
            if np.isnan(values[span, channel]).any():
                continue
            damaged[span, channel] = event(values[span, channel], spread[channel], rng)
            strange[span] = True
            sections.append((begin, begin + steps))
    return damaged, strange, np.array(sections, np.int64).reshape(-1, 2)
