"""Series cut into windows of one length, and what was found of windows put together again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from fivefold.errors import DataError, UsageError
from fivefold.series.schema import MOST_STEPS

_USUAL, _SHORTEST, _WHOLE = 128, 8, 512
_MOST_VALUES = 256  # of a window by default: what covariances are between


@dataclass(frozen=True)
class Windows:
    """Where windows lie in series that stand one after the other.

    Attributes
    ----------
    lengths : `(s,)` steps of each series
    series, starts : `(n,)`, of which series a window is, and at which of its steps it begins; in order
    steps : of a window; where a series ends before, the rest is missing
    """

    lengths: np.ndarray
    series: np.ndarray
    starts: np.ndarray
    steps: int

    @classmethod
    def of(cls, lengths: np.ndarray, steps: int, stride: int) -> Windows:
        """Windows every `stride` steps, a last one at the end of each series."""
        last = np.maximum(lengths - steps, 0)
        counts = -(-last // stride) + 1
        series = np.repeat(np.arange(len(lengths)), counts)
        number = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        return cls(lengths, series, np.minimum(number * stride, last[series]), steps)

    def __len__(self) -> int:
        return len(self.starts)

    @cached_property
    def _first(self) -> np.ndarray:
        """The place of each series' first step."""
        return np.concatenate(([0], np.cumsum(self.lengths)))

    def places(self, windows: slice | np.ndarray = slice(None)) -> tuple[np.ndarray, np.ndarray]:
        """Of each step the place in the series one after the other, and whether there is one: `(b, steps)` twice."""
        series, steps = self.series[windows], self.starts[windows, None] + np.arange(self.steps)
        inside = steps < self.lengths[series, None]
        return np.where(inside, self._first[series, None] + steps, 0), inside

    def cut(self, values: np.ndarray, windows: slice | np.ndarray = slice(None)) -> np.ndarray:
        """Windows `(b, steps, c)` of float values `(total, c)`."""
        places, inside = self.places(windows)
        return np.where(inside[..., None], values[places], np.nan)

    def stitch(self, whole: np.ndarray, windows: slice, found: np.ndarray) -> None:
        """Put what was `found` of windows, `(b, steps, …)`, into `whole` `(total, …)`, each step from the window in whose
        middle it is most.
        """
        mine = self.answers(windows)
        whole[self.places(windows)[0][mine]] = found[mine]

    def answers(self, windows: slice | np.ndarray = slice(None)) -> np.ndarray:
        """For which steps a window is the one to ask, bool `(b, steps)`."""
        steps = self.starts[windows, None] + np.arange(self.steps)
        inside = steps < self.lengths[self.series[windows], None]
        return inside & (steps >= self._owned[windows, :1]) & (steps < self._owned[windows, 1:])

    def runs(self) -> np.ndarray:
        """The number of the stretch without a break in which each window is, `(n,)`."""
        apart = (np.diff(self.series) != 0) | (np.diff(self.starts) > self.steps)
        return np.concatenate(([0], np.cumsum(apart)))

    def thinned(self, stride: int) -> np.ndarray:
        """Windows about `stride` steps apart, the first and last of each run among them: numbers, ascending."""
        runs = self.runs()
        ends = np.append(np.diff(runs) != 0, True)
        first = np.concatenate(([0], np.flatnonzero(ends)[:-1] + 1))[runs]
        along = (self.starts - self.starts[first]) // stride
        return np.flatnonzero(ends | (np.diff(along, prepend=-1) != 0) | (np.diff(runs, prepend=-1) != 0))

    @cached_property
    def _owned(self) -> np.ndarray:
        """From which step to which of its series a window is the one to ask, `(n, 2)`."""
        middles = (self.starts[1:] + self.starts[:-1] + self.steps) // 2
        follows = self.series[1:] == self.series[:-1]
        begins = np.concatenate(([0], np.where(follows, middles, 0)))
        ends = np.concatenate(
            (np.where(follows, middles, self.lengths[self.series[:-1]]), self.lengths[self.series[-1:]])
        )
        return np.stack((begins, ends), axis=1)

    def batches(self, size: int) -> Iterator[slice]:
        """Consecutive slices that cover all windows."""
        return (slice(start, min(start + size, len(self))) for start in range(0, len(self), size))

    @property
    def overlap(self) -> bool:
        """Whether some windows share steps."""
        return bool(((np.diff(self.starts) < self.steps) & (np.diff(self.series) == 0)).any())

    def select(self, windows: np.ndarray | slice) -> Windows:
        """Some of them."""
        return replace(self, series=self.series[windows], starts=self.starts[windows])

    def hold_out(self, share: float, rng: np.random.Generator, source: str) -> tuple[np.ndarray, np.ndarray] | None:
        """See `Origin`: of windows that overlap, those held out are runs, so that no step is in both.

        Raises `DataError` if none are left for training.
        """
        if not self.overlap:
            return None
        parts = held_out_runs(self, share, rng)
        if len(parts[0]) == 0:
            raise DataError(f"{source}: the series are too short to hold out {share:.0%} for validation")
        return parts


def choose_steps(lengths: np.ndarray, channels: int, window: int | None, stride: int | None) -> tuple[int, int]:
    """Steps of a window and from one to the next, as asked for or by what the series are.

    Series of one length up to 512 are windows as they are, if there are 16 or more; else windows have 128 steps, or a
    quarter of the longest series', at least 16, and overlap by three quarters. With many channels they are shorter.

    Raises `UsageError` if they are longer than all series, or out of bounds.
    """
    longest = int(lengths.max())
    many = len(lengths) >= 16 and (lengths == longest).all() and longest <= _WHOLE and longest * channels <= 2 * _WHOLE
    steps = window
    if steps is None:
        most = max(_MOST_VALUES // channels, 2 * _SHORTEST)
        steps = longest if many else min(_USUAL, max(longest // 4, 2 * _SHORTEST), most, longest)
    if not 2 <= steps <= MOST_STEPS:
        raise UsageError(f"`window` must be from 2 to {MOST_STEPS} steps, got {steps}")
    if steps > longest:
        raise UsageError(f"`window` must not be longer than the longest series, which has {longest} steps; got {steps}")
    if stride is None:
        stride = steps if steps == longest and many else max(steps // 4, 1)
    if not 1 <= stride <= steps:
        raise UsageError(f"`stride` must be from 1 to the window's {steps} steps, got {stride}")
    return steps, stride


def held_out_runs(windows: Windows, share: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Windows to train on and those held out: numbers, ascending; no step is in both.

    Whole series are held out if there are many, else runs of their steps.
    """
    total, steps = int(windows.lengths.sum()), windows.steps
    places = windows.places()[0][:, 0]
    held_out, wanted = np.zeros(len(windows), bool), share * total
    touched = held_out.copy()
    if len(windows.lengths) >= 20:
        order = rng.permutation(len(windows.lengths))
        count = np.searchsorted(np.cumsum(windows.lengths[order]), wanted) + 1
        held_out = touched = np.isin(windows.series, order[:count])
    else:
        runs = int(np.clip(wanted // (3 * steps), 1, 8))
        length = max(round(wanted / runs), min(steps + steps // 2, total // 3))
        for part in range(runs):
            room = total / runs
            free = max(room - length, 0)
            begin = part * room + free * (rng.random() if runs > 1 else rng.integers(2))  # one run alone is at an end
            held_out |= (places >= begin) & (places + steps <= begin + length)
            touched |= (places + steps > begin) & (places < begin + length)
    return np.flatnonzero(~touched), np.flatnonzero(held_out)
