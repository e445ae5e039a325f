"""Real numbers to whole ones, the same on machines whose arithmetic differs in the last bits.

A number next to the border between two whole ones may fall to either side on another machine. The writer finds those
numbers and writes down, as a *hint*, which way it went; the reader, finding a hint, takes it. What is further from a
border than `GUARD` falls to the same side everywhere, as long as machines differ by less than that.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from fivefold.arrays import Floats, Ints
from fivefold.errors import ModelError

GUARD = 1e-6


class Rounder(Protocol):
    """Rounds arrays, in the order in which they come."""

    def __call__(self, values: Floats) -> Ints:
        """`values`, finite, of any shape."""
        ...


class HintingRounder:
    """The writer's: notes what is close to a border.

    Attributes
    ----------
    count : of the numbers it has rounded
    """

    def __init__(self) -> None:
        self.count = 0
        self._hints: list[np.ndarray] = []

    def __call__(self, values: Floats) -> Ints:
        """Raises `ModelError` if a number is not finite."""
        if not np.isfinite(values).all():
            raise ModelError("the model's networks give numbers that are not finite; are its weights damaged?")
        rounded = np.rint(values).astype(np.int64)
        doubtful = np.flatnonzero(np.abs(np.abs(values - rounded) - 0.5) < GUARD)
        if len(doubtful):
            self._hints.append((self.count + doubtful) << 1 | (rounded.flat[doubtful] & 1))
        self.count += values.size
        return rounded

    def add(self, groups: GroupedRounder) -> None:
        """Note what another has found, as if it had been rounded here, group by group."""
        self._hints.append((self.count << 1) + groups.hints)
        self.count += groups.count

    @property
    def hints(self) -> np.ndarray:
        """Ascending int64: twice the place of a doubtful number among all, plus 1 if it became an odd one."""
        return np.concatenate(self._hints) if self._hints else np.empty(0, np.int64)


class GroupedRounder:
    """The writer's, of arrays whose rows are those of groups, one group after the other, which the reader rounds group by group.

    Parameters
    ----------
    sizes : `(g,)`, rows of each group
    """

    def __init__(self, sizes: np.ndarray) -> None:
        self._sizes, self._columns = sizes, 0
        self._groups = np.repeat(np.arange(len(sizes)), sizes)
        self._rows = np.arange(len(self._groups)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        self._found: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []  # groups, places in them, whether odd

    def __call__(self, values: Floats) -> Ints:
        """Raises `ModelError` if a number is not finite."""
        rounder, wide = HintingRounder(), values.size // max(len(values), 1)
        rounded, hints = rounder(values), rounder.hints
        rows, columns = np.divmod(hints >> 1, max(wide, 1))
        groups = self._groups[rows]
        self._found.append((groups, self._sizes[groups] * self._columns + self._rows[rows] * wide + columns, hints & 1))
        self._columns += wide
        return rounded

    @property
    def count(self) -> int:
        """Of the numbers it has rounded."""
        return len(self._groups) * self._columns

    @property
    def hints(self) -> np.ndarray:
        """As a `HintingRounder` has them that rounds group by group."""
        groups, places, odd = (np.concatenate(part) for part in zip(*self._found, strict=True))
        firsts = (np.cumsum(self._sizes) - self._sizes) * self._columns
        return np.sort((firsts[groups] + places) << 1 | odd)


class HintedRounder:
    """The reader's: takes the hints."""

    def __init__(self, hints: np.ndarray) -> None:
        self._count = 0
        self._places, self._odd = hints >> 1, hints & 1

    def __call__(self, values: Floats) -> Ints:
        with np.errstate(invalid="ignore"):  # a foreign model's; the symbols then are nonsense, but no harm is done
            rounded = np.rint(values).astype(np.int64)
        first, last = np.searchsorted(self._places, (self._count, self._count + values.size))
        if last > first:
            here = self._places[first:last] - self._count
            lower = np.floor(values.flat[here]).astype(np.int64)
            rounded.flat[here] = lower + ((lower & 1) != self._odd[first:last])
        self._count += values.size
        return rounded


def pack_hints(hints: np.ndarray) -> bytes:
    """Differences of ascending hints, seven bits to a byte, the lowest first (LEB128)."""
    packed = bytearray()
    for difference in np.diff(hints, prepend=0).tolist():
        while difference >= 0x80:
            packed.append(difference & 0x7F | 0x80)
            difference >>= 7
        packed.append(difference)
    return bytes(packed)


def unpack_hints(packed: bytes) -> np.ndarray:
    """The inverse of `pack_hints`; raises `ValueError` for what that doesn't write."""
    hints, total, number, shift = [], 0, 0, 0
    for byte in packed:
        number |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            total += number
            hints.append(total)
            number = shift = 0
        if shift > 56 or total >= 1 << 62:
            raise ValueError("a hint is out of range")
    if shift:
        raise ValueError("the hints end within a number")
    return np.array(hints, np.int64)
