"""Causal windows of a batch of items in float64 and NumPy, as `Surroundings` shows them. No torch here."""

from __future__ import annotations

import math

import numpy as np

from fivefold.images.exact import ExactDecoder, ExactGuide
from fivefold.images.settings import FREQUENCIES, MAPS, MEAN_FIELD, TOPS

_VISIBLE = 1  # the map of a window that is the same for all items here, where all is visible


class CausalWindows:
    """What the context decoder's first layer makes of one element after the other, in raster order, channels last.

    Only what differs between items and elements is multiplied for each: the values around, and the mean item. The
    coarse map's share serves all elements below one of its cells, and where an element is, all items.

    Parameters
    ----------
    unit : `(n, h, w, c)` float64 in [0, 1]: the items, or anything where they are not known yet; see `put`
    guide : h(z); or None to do without z
    decoder : whose first layer it is
    """

    def __init__(self, unit: np.ndarray, guide: ExactGuide | None, decoder: ExactDecoder) -> None:
        n, self._height, self._width, self._channels = unit.shape
        side, c = decoder.config.context.window, self._channels
        self._side, self._border = side, side // 2
        self._maps = _bordered(_describe(unit), self._border)
        self._inside = np.pad(np.ones((self._height, self._width)), self._border)
        self._guide = guide
        self._mean = None if guide is None else _bordered(guide.mean, MEAN_FIELD // 2)
        self._coarse_row, self._coarse = -1, np.empty(0)
        self._split(decoder)
        cell, told = (MAPS - 1) * c, 0 if guide is None else MEAN_FIELD**2 * c
        self._features = np.zeros((n, self._cells * cell + told))
        above, before = self._border * side * cell, self._border * cell
        self._above = self._features[:, :above].reshape(n, self._border, side, cell)
        self._before = self._features[:, above : above + before].reshape(n, self._border, cell)
        self._here = self._features[:, above + before : self._cells * cell].reshape(n, -1, c)
        self._around_mean = self._features[:, self._cells * cell :].reshape(n, -1, MEAN_FIELD, c)

    def first_layer(self, element: int) -> np.ndarray:
        """For the element of that number in each item: `(n, width)`, before the activation."""
        border, (row, column, channel) = self._border, self._locate(element)
        self._above[:] = self._maps[:, row : row + border, column : column + self._side]
        self._before[:] = self._maps[:, row + border, column : column + border]
        if self._channels > 1:
            pixel = self._maps[:, row + border, column + border].reshape(self._here.shape)
            self._here[..., :channel], self._here[..., channel:] = pixel[..., :channel], 0
        if self._mean is not None:
            self._around_mean[:] = self._mean[:, row : row + MEAN_FIELD, column : column + MEAN_FIELD]
        found = self._features @ self._moving
        found += self._place(row, column, channel)
        if self._guide is not None:
            height, width = self._guide.coarse.shape[1:3]
            if (coarse_row := row * height // self._height) != self._coarse_row:
                self._coarse_row, self._coarse = coarse_row, self._guide.coarse[:, coarse_row] @ self._of_coarse
            found += self._coarse[:, column * width // self._width]
        return found

    def put(self, element: int, unit: np.ndarray) -> None:
        """Make an element of each item known, `(n,)`."""
        row, column, channel = self._locate(element)
        here = self._maps[:, row + self._border, column + self._border].reshape(-1, MAPS - 1, self._channels)
        here[:, :, channel] = _describe(unit.reshape(-1, 1, 1, 1)).reshape(-1, MAPS - 1)
        self._maps[:, row + self._border, column + self._border] = here.reshape(len(unit), -1)

    def _split(self, decoder: ExactDecoder) -> None:
        """The first layer's weights, by what they are of; see `Surroundings.features`."""
        weight, self._bias = decoder.first_layer
        width, c, side = weight.shape[1], self._channels, self._side
        known = self._border * side + self._border  # cells before the pixel's own
        self._cells = known + (c > 1)
        window, rest = np.split(weight, [(self._border + 1) * side * MAPS * c])
        window = window.reshape(-1, MAPS, c, width)[: self._cells]
        values = np.delete(window, _VISIBLE, axis=1).reshape(-1, width)
        self._of_visible = window[:, _VISIBLE]
        waves = 2 * (1 + 2 * len(FREQUENCIES)) + (c if c > 1 else 0)
        coarse = len(rest) - 1 - waves - MEAN_FIELD**2 * c
        of_guide, self._of_place, self._of_coarse, of_mean = np.split(rest, np.cumsum([1, waves, coarse]))
        self._rows, self._columns = _waves(self._height), _waves(self._width)
        if self._guide is not None:
            values = np.concatenate((values, of_mean))
            self._bias = self._bias + of_guide[0]
        self._moving = values

    def _place(self, row: int, column: int, channel: int) -> np.ndarray:
        """What all items share: where the element is, and which cells around it are inside the item; `(width,)`."""
        border = self._border
        inside = np.concatenate(
            (
                self._inside[row : row + border, column : column + self._side].ravel(),
                self._inside[row + border, column : column + border],
            )
        )
        found = self._bias + np.einsum("k,kcw->w", inside, self._of_visible[: len(inside)])
        parts = [self._rows[row], self._columns[column]]
        if self._channels > 1:
            parts.append(np.eye(self._channels)[channel])
            found += self._of_visible[-1, :channel].sum(0)
        return found + np.concatenate(parts) @ self._of_place

    def _locate(self, element: int) -> tuple[int, int, int]:
        pixel, channel = divmod(element, self._channels)
        return *divmod(pixel, self._width), channel


def _describe(unit: np.ndarray) -> np.ndarray:
    """`(n, h, w, c)` → `(n, h, w, (MAPS − 1) * c)`: all maps but that of the visible."""
    tops = [np.clip((unit - 1) / share + 1, 0, 1) for share in TOPS]
    return np.concatenate([unit, (unit <= 0).astype(np.float64), *tops], axis=3)


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
