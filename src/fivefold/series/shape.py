"""How the networks of series are shaped: shared with the half that does without torch."""

from __future__ import annotations

import math

LOG_SCALES = (-9.0, 4.0)  # bounds of those of a number's logistics
FARTHEST_OFF = 6.0  # deviations that a value is shown to be off its linear prediction, at most
WAVES = (0.5, 1.0, 2.0, 4.0)  # half turns across the window, by which is told where in it a step is


def dilations(reach: int) -> list[int]:
    """Of convolutions of three, layer by layer, which together see `reach` steps to either side."""
    return [2**level for level in range(max(math.ceil(math.log2(max(reach, 2))), 1))]
