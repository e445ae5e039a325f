"""How cells are shown to networks and how those tell them: shared with the half that does without torch."""

from __future__ import annotations

from collections.abc import Sequence

KNOTS = (-4.0, -2.5, -1.6, -1.0, -0.6, -0.3, 0.0, 0.3, 0.6, 1.0, 1.6, 2.5, 4.0)  # on a number's own scale
FARTHEST_CELL = 10.0  # likewise: what lies beyond is shown as this
COMPONENTS = 5  # logistics of a number
LOG_SCALES = (-5.5, 4.0)  # bounds of theirs
LOG_NOISE = (-6.0, 4.0)  # bounds of the log variance of the factors' noise


def feature_places(classes: Sequence[int]) -> tuple[list[slice], int]:
    """Where the features that say what a column's cells are stand, and how many features there are in all.

    `classes` of each column, 0 for numbers. First of all columns whether a cell is visible, then those of numbers, then of
    classes.
    """
    first, places = len(classes), [slice(0)] * len(classes)
    for wanted in (False, True):
        for column, count in enumerate(classes):
            if bool(count) is wanted:
                places[column] = slice(first, first + (count or len(KNOTS)))
                first = places[column].stop
    return places, first
