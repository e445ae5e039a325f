"""Causal windows of a batch of items in float64 and NumPy, as `Surroundings` shows them. No torch here."""

from __future__ import annotations

import math

import numpy as np

from fivefold.model.exact import ExactGuide
from fivefold.model.window import FREQUENCIES, GUIDE_WINDOW, MAPS, TOPS


class CausalWindows:
    """What the context decoder is told of one element after the other, in raster order, channels last.

    Parameters
    ----------
    unit : `(n, h, w, c)` float64 in [0, 1]: the items, or anything where they are not known yet; see `put`
    guide : h(z); or None to do without z
    side : of the window
    features : how many numbers the network takes
    """

    def __init__(self, unit: np.ndarray, guide: ExactGuide | None, side: int, features: int) -> None:
        n, self.height, self.width, self.channels = unit.shape
        self._guide, self._border, self._side = guide, side // 2, side
        self._maps = _bordered(_describe(unit), self._border)
        self._mean = None if guide is None else _bordered(guide.mean, GUIDE_WINDOW // 2)
        self._rows, self._columns = _waves(self.height), _waves(self.width)
        self._features = np.zeros((n, features))
        cell = MAPS * self.channels
        above, before = self._border * side * cell, self._border * cell
        self._above, self._before = slice(above), slice(above, above + before)
        self._here = slice(above + before, above + before + cell)
        self._place = above + side * cell
        self._features[:, self._place] = guide is not None

    def features(self, element: int) -> np.ndarray:
        """Of the element of that number in each item: `(n, features)`, to be used before the next call."""
        found, n, border, side = self._features, len(self._features), self._border, self._side
        row, column, channel = self._locate(element)
        found[:, self._above] = self._maps[:, row : row + border, column : column + side].reshape(n, -1)
        found[:, self._before] = self._maps[:, row + border, column : column + border].reshape(n, -1)
        here = found[:, self._here].reshape(n, MAPS, self.channels)
        if self.channels > 1:
            pixel = self._maps[:, row + border, column + border].reshape(n, MAPS, self.channels)
            here[:, :, :channel], here[:, :, channel:] = pixel[:, :, :channel], 0
            found[:, self._here] = here.reshape(n, -1)
        parts = [self._rows[row], self._columns[column]]
        if self.channels > 1:
            parts.append(np.eye(self.channels)[channel])
        place = np.concatenate(parts)
        start = self._place + 1
        found[:, start : start + len(place)] = place
        if self._guide is not None and self._mean is not None:
            start += len(place)
            height, width, told = self._guide.coarse.shape[1:]
            coarse = self._guide.coarse[:, row * height // self.height, column * width // self.width]
            found[:, start : start + told] = coarse
            mean = self._mean[:, row : row + GUIDE_WINDOW, column : column + GUIDE_WINDOW]
            found[:, start + told :] = mean.reshape(n, -1)
        return found

    def put(self, element: int, unit: np.ndarray) -> None:
        """Make an element of each item known, `(n,)`."""
        row, column, channel = self._locate(element)
        here = self._maps[:, row + self._border, column + self._border].reshape(-1, MAPS, self.channels)
        here[:, :, channel] = _describe(unit.reshape(-1, 1, 1, 1)).reshape(-1, MAPS)
        self._maps[:, row + self._border, column + self._border] = here.reshape(len(unit), -1)

    def _locate(self, element: int) -> tuple[int, int, int]:
        pixel, channel = divmod(element, self.channels)
        return *divmod(pixel, self.width), channel


def _describe(unit: np.ndarray) -> np.ndarray:
    """`(n, h, w, c)` → `(n, h, w, MAPS * c)`."""
    tops = [np.clip((unit - 1) / share + 1, 0, 1) for share in TOPS]
    return np.concatenate([unit, np.ones_like(unit), (unit <= 0).astype(np.float64), *tops], axis=3)


def _bordered(maps: np.ndarray, border: int) -> np.ndarray:
    return np.pad(maps, ((0, 0), (border, border), (border, border), (0, 0)))


def _waves(size: int) -> np.ndarray:
    """Where an element is along one axis: `(size, 1 + 2 frequencies)`."""
    place = np.arange(size)
    along = math.pi * place / max(size - 1, 1)
    parts = [(place % 2).astype(np.float64)]
    for frequency in FREQUENCIES:
        parts += [np.sin(frequency * along), np.cos(frequency * along)]
    return np.stack(parts, axis=1)
