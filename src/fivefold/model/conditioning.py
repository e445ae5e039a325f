"""What windows show of an element, and where elements are: shared by all that look through them. No torch here."""

from __future__ import annotations

from enum import IntEnum

GUIDE_WINDOW = 5  # side of the part of the mean item that is told of
FREQUENCIES = (0.5, 1.0, 2.0, 4.0)  # of the waves that say where an element is, in half turns across the item
TOPS = (1 / 64, 1 / 16)  # shares of the range, from its high end, that are shown finely
MAPS = 3 + len(TOPS)  # per channel: value, visible, at the low end, and how far into each of the tops


class Window(IntEnum):
    """Which neighbours an element sees."""

    CAUSAL = 0
    MISSING = 1
    NOISY = 2
