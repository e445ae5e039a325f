"""Range asymmetric numeral systems: a stack of symbols, each in as many bits as its probability asks for.

After Duda 2013 (arXiv:1311.2540); interleaved as in Giesen 2014 (arXiv:1402.3392).
"""

from __future__ import annotations

from functools import cache
from types import ModuleType
from typing import Protocol

import numpy as np

from fivefold.codec import LOWEST_HEAD, PRECISION, WORD_BITS

_SLOTS = np.uint64((1 << PRECISION) - 1)
_ROOM = np.uint64(64 - PRECISION)
_WORD = np.uint64(WORD_BITS)


@cache
def kernels() -> ModuleType | None:
    """The compiled inner loops, `codec/kernels.py`; None without numba."""
    try:
        from fivefold.codec import kernels
    except ImportError:
        return None
    return kernels


class EmptyCoderError(ValueError):
    """More was popped than had been pushed."""


class Distributions(Protocol):
    """`n` distributions over symbols, in integer frequencies ≥ 1 that add up to 2 ** PRECISION."""

    def __len__(self) -> int: ...

    def interval(self, symbols: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Where the interval of each distribution's symbol `(n,)` starts, and its frequency: `(n,)` uint64 each."""
        ...

    def find(self, slots: np.ndarray) -> np.ndarray:
        """The symbol in whose interval each slot `(n,)` lies."""
        ...

    def part(self, rows: slice) -> Distributions:
        """The distributions of these rows."""
        ...

    def pop_all(self, heads: np.ndarray, words: np.ndarray, count: int) -> tuple[np.ndarray, int] | None:
        """The symbols `(n,)` at the top of a coder in that state, whose heads are changed, and how many words are left.

        −1 if there were too few; None where there is no compiled code for it.
        """
        ...


class Rans:
    """A stack of symbols in `lanes` interleaved heads and one stack of words that they share.

    Symbol i of a batch lives in lane i mod `lanes`; a batch is pushed from its last symbol to its first and popped from
    its first to its last.
    """

    def __init__(self, lanes: int) -> None:
        self.heads = np.full(lanes, LOWEST_HEAD, np.uint64)
        self._words, self._count = np.empty(1 << 10, np.uint32), 0

    @property
    def words(self) -> np.ndarray:
        """The stack of words, uint32; its top is last."""
        return self._words[: self._count]

    @property
    def is_empty(self) -> bool:
        """Whether all that was pushed has been popped."""
        return self._count == 0 and bool((self.heads == LOWEST_HEAD).all())

    @classmethod
    def resume(cls, heads: np.ndarray, words: np.ndarray) -> Rans:
        """A coder in the state that `heads` `(lanes,)` uint64 and `words` `(m,)` uint32 describe.

        Raises
        ------
        ValueError : if a head is below 2³²
        """
        if (heads < LOWEST_HEAD).any():
            raise ValueError("a coder's head is below 2³²")
        coder = cls(len(heads))
        coder.heads[:] = heads
        coder._words, coder._count = words.astype(np.uint32), len(words)
        return coder

    def push(self, symbols: np.ndarray, distributions: Distributions) -> None:
        """Push `(n,)` symbols under n distributions."""
        self.push_intervals(*distributions.interval(symbols))

    def push_intervals(self, starts: np.ndarray, frequencies: np.ndarray) -> None:
        """Push symbols by their intervals, `(n,)` uint64 each."""
        if (compiled := kernels()) is not None:
            self._make_room(len(starts))
            self._count = compiled.push(self.heads, self._words, self._count, starts, frequencies)
            return
        for first in reversed(range(0, len(starts), len(self.heads))):
            rows = slice(first, first + len(self.heads))
            self._push_row(starts[rows], frequencies[rows])

    def pop(self, distributions: Distributions) -> np.ndarray:
        """Pop n symbols `(n,)` int64 under n distributions.

        Raises
        ------
        EmptyCoderError : if there are not as many
        """
        if (popped := distributions.pop_all(self.heads, self._words, self._count)) is not None:
            symbols, left = popped
            if left < 0:
                raise EmptyCoderError(f"more words were to be popped than the {self._count} there are")
            self._count = left
            return symbols
        symbols = np.empty(len(distributions), np.int64)
        for first in range(0, len(symbols), len(self.heads)):
            rows = slice(first, min(first + len(self.heads), len(symbols)))
            slots = self.heads[: rows.stop - first] & _SLOTS
            part = distributions.part(rows)
            symbols[rows] = part.find(slots)
            self._pop_row(slots, *part.interval(symbols[rows]))
        return symbols

    def _push_row(self, starts: np.ndarray, frequencies: np.ndarray) -> None:
        heads = self.heads[: len(starts)]
        full = heads >> _ROOM >= frequencies
        self._append(heads[full][::-1])
        heads[full] >>= _WORD
        turns, rest = np.divmod(heads, frequencies)
        heads[:] = (turns << np.uint64(PRECISION)) + starts + rest

    def _pop_row(self, slots: np.ndarray, starts: np.ndarray, frequencies: np.ndarray) -> None:
        heads = self.heads[: len(starts)]
        heads[:] = frequencies * (heads >> np.uint64(PRECISION)) + slots - starts
        low = heads < LOWEST_HEAD
        if (missing := int(low.sum())) > self._count:
            raise EmptyCoderError(f"more words were to be popped than the {self._count} there are")
        taken = self._words[self._count - missing : self._count][::-1]
        heads[low] = (heads[low] << _WORD) | taken
        self._count -= missing

    def _append(self, heads: np.ndarray) -> None:
        """The low words of `heads`."""
        self._make_room(len(heads))
        first, self._count = self._count, self._count + len(heads)
        self._words[first : self._count] = heads & np.uint64(LOWEST_HEAD - 1)

    def _make_room(self, words: int) -> None:
        if self._count + words > len(self._words):
            self._words = np.concatenate((self._words, np.empty(self._count + words, np.uint32)))
