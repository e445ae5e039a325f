"""Pictures at full size, half, a quarter, …: what is too large for the networks at full size is not at a smaller one."""

from __future__ import annotations

import numpy as np

_MOST = 4


def octaves(picture: np.ndarray, least: int) -> list[np.ndarray]:
    """A picture `(h, w, c)`, and smaller ones of its type, as long as they are `least` pixels high and wide.

    Pixels are means of two by two; those are missing of which one is.
    """
    found = [picture]
    while len(found) < _MOST and min(found[-1].shape[:2]) >= 2 * least:
        height, width = (side // 2 for side in found[-1].shape[:2])
        squares = found[-1][: 2 * height, : 2 * width].reshape(height, 2, width, 2, -1)
        mean = squares.mean((1, 3), dtype=np.float32)
        found.append((mean.round() if picture.dtype.kind in "ui" else mean).astype(picture.dtype))
    return found


def enlarged(values: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """A map of a smaller picture as one of `shape` `(h, w)`."""
    rows, columns = (np.minimum(np.arange(to) * of // to, of - 1) for to, of in zip(shape, values.shape, strict=True))
    return values[np.ix_(rows, columns)]
