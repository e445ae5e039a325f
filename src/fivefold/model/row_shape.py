"""How cells are shown to networks and how those tell them: shared with the half that does without torch."""

from __future__ import annotations

KNOTS = (-4.0, -2.5, -1.6, -1.0, -0.6, -0.3, 0.0, 0.3, 0.6, 1.0, 1.6, 2.5, 4.0)  # on a number's own scale
FARTHEST_CELL = 10.0  # likewise: what lies beyond is shown as this
COMPONENTS = 5  # logistics of a number
LOG_SCALES = (-5.5, 4.0)  # bounds of theirs
LOG_NOISE = (-6.0, 4.0)  # bounds of the log variance of the factors' noise
