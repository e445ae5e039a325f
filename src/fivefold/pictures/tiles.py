"""Pictures of any size, tile by tile: tiles overlap, and of each only the middle counts."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fivefold.arrays import Ints
from fivefold.pictures.settings import PLACE

_CORE, _MARGIN = 448, 64  # pixels


def by_tiles(picture: np.ndarray, work: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """`work` of a picture `(h, w, …)`, whose result has the same height and width.

    Beyond its edges the picture is mirrored, so that tiles have sides that are multiples of 16.
    """
    height, width = picture.shape[:2]
    result: np.ndarray | None = None
    for top, bottom, rows in _cuts(height):
        for left, right, columns in _cuts(width):
            found = work(picture[np.ix_(rows, columns)])
            if result is None:
                result = np.empty((height, width, *found.shape[2:]), found.dtype)
            above, before = int(np.argmax(rows == top)), int(np.argmax(columns == left))
            result[top:bottom, left:right] = found[above : above + bottom - top, before : before + right - left]
    assert result is not None
    return result


def _cuts(side: int) -> list[tuple[int, int, Ints]]:
    """First and last row of each tile's middle, and all its rows, mirrored at the ends."""
    tiles = -(-side // _CORE)
    ends = np.linspace(0, side, tiles + 1).round().astype(int)
    cuts = []
    for first, last in zip(ends[:-1].tolist(), ends[1:].tolist(), strict=True):
        start, end = max(first - _MARGIN, 0), min(last + _MARGIN, side)
        rows = np.arange(start, end + (start - end) % PLACE)
        cuts.append((first, last, _mirrored(rows, side)))
    return cuts


def _mirrored(places: Ints, side: int) -> Ints:
    """Places beyond the end as those before it."""
    period = max(2 * side - 2, 1)
    places = places % period
    return np.minimum(places, period - places)
