"""Range asymmetric numeral systems: a stack of symbols, each in as many bits as its probability asks for.

After Duda 2013 (arXiv:1311.2540); interleaved as in Giesen 2014 (arXiv:1402.3392).
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from fivefold.codec import LOWEST_HEAD

Intervals = tuple[np.ndarray, np.ndarray]  # where symbols' intervals start, and their frequencies: `(n,)` uint64


class EmptyCoderError(ValueError):
    """More was popped than had been pushed."""


class Distributions(Protocol):
    """`n` distributions over symbols, in integer frequencies ≥ 1 that add up to 2 ** PRECISION."""

    def interval(self, symbols: np.ndarray) -> Intervals:
        """The interval of each distribution's symbol `(n,)`."""
        ...

    def pop(self, heads: np.ndarray, words: np.ndarray, count: int) -> tuple[np.ndarray, int]:
        """The symbols `(n,)` at the top of a coder, and how many words are left; see `kernels`."""
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

        Raises `ValueError` if a head is below 2³².
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
        """Push symbols by their intervals."""
        from fivefold.codec import kernels

        if self._count + len(starts) > len(self._words):
            self._words = np.concatenate((self._words, np.empty(self._count + len(starts), np.uint32)))
        self._count = kernels.push(self.heads, self._words, self._count, starts, frequencies)

    def pop(self, distributions: Distributions) -> np.ndarray:
        """Pop n symbols `(n,)` int64 under n distributions; raises `EmptyCoderError` if there are not as many."""
        symbols, left = distributions.pop(self.heads, self._words, self._count)
        if left < 0:
            raise EmptyCoderError(f"more words were to be popped than the {self._count} there are")
        self._count = left
        return symbols
