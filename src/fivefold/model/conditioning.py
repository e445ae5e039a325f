"""What a context decoder sees of an item, shared with the half of a model that does without torch."""

from __future__ import annotations

from enum import IntEnum


class Conditioning(IntEnum):
    """Which other elements an element's distribution is conditioned on.

    Of causal conditioning the elements that come earlier in the order of coding; of missing ones all visible elements but
    itself; of noisy ones all elements, itself among them, each with its noise.
    """

    CAUSAL = 0
    MISSING = 1
    NOISY = 2
