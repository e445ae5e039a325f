"""The causal coder of pictures: each pixel's distribution given those before it, the same on every machine. No torch here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from fivefold.archive.layers import DamagedLayerError, check_empty, pack, pop, unpack
from fivefold.arrays import Floats, Ints
from fivefold.codec.mixtures import even_edges, lookup_tables
from fivefold.codec.rans import Intervals

COMPONENTS = 4  # of the mixtures
OUTPUTS = 3 * COMPONENTS + 2
BORDER = 8  # pixels around a plane
REACH = 6  # pixels around, that a regression is fitted to
_ALONE, _OWN, _SEEN = 8, 6, 26  # neighbours in a regression, in one beside other planes, and of the network
_BESIDE = ((0, 0), (0, -1), (-1, 0))  # of the plane before, in a regression; of the one before that the first
_SQUARE = (*_BESIDE, (0, 1), (1, 0), (-1, -1), (-1, 1), (1, -1), (1, 1))  # of both, of the network
MOST_BESIDE = 2  # planes before, that are looked at
_OTHER_FEATURES = 14
_SLACK, _RIDGE, _FLOOR = 4.0, 2.0, 0.3  # in squares of the scale; in levels
_NO_HINTS = np.zeros(0, np.int64)


def order(channels: int) -> tuple[int, ...]:
    """In which channels are coded: green first, which tells most of the others."""
    return (1, 0, 2) if channels == 3 else tuple(range(channels))


def count_taps(planes: int) -> int:
    """Most numbers of a regression of pictures of so many planes."""
    return max(len(Plan(0, 0, before).taps) for before in range(min(planes - 1, MOST_BESIDE) + 1))


def count_features(planes: int) -> int:
    """What the network sees of a pixel."""
    return _SEEN + _OTHER_FEATURES + 2 * len(_SQUARE) * min(planes - 1, MOST_BESIDE)


def neighbours(count: int) -> list[tuple[int, int]]:
    """So many rows and columns, relative to a pixel, of the nearest before it in raster order."""
    places = [(row, column) for row in range(-5, 1) for column in range(-5, 6) if (row, column) < (0, 0)]
    return sorted(places, key=lambda place: (place[0] ** 2 + place[1] ** 2, -place[0], place[1]))[:count]


@dataclass(frozen=True)
class Plan:
    """Where the coder looks, for one plane of pictures of one width: places relative to a pixel in the flat `Field`.

    Attributes
    ----------
    stride, size : of rows and of planes
    before : how many planes are looked at besides
    """

    stride: int
    size: int
    before: int

    @property
    def taps(self) -> Ints:
        """What the regression is on, `(n, 3)`: planes back, rows and columns."""
        own = [(0, *place) for place in neighbours(_OWN if self.before else _ALONE)]
        return np.array(own + [(1, *place) for place in _BESIDE if self.before] + [(2, 0, 0)] * (self.before > 1))

    def arrays(self, prior: Floats) -> tuple[np.ndarray, ...]:
        """For the kernels, given the regression of all pictures, to which that of few pixels is drawn."""
        back, rows, columns = np.ascontiguousarray(self.taps.T)
        around = np.array([(row, column) for row in range(-REACH, 1) for column in range(-REACH, REACH + 1)])
        above, beside = np.ascontiguousarray(around[: np.flatnonzero((around == 0).all(1))[0]].T)
        others = [(back, self._offset(back, *place)) for back in range(1, self.before + 1) for place in _SQUARE]
        return (
            self._offset(back, rows, columns),
            back,
            1.0 / (1 + rows**2 + columns**2),
            prior[: len(back)].astype(np.float64),
            np.array([_SLACK, _RIDGE, _FLOOR]),
            self._offset(0, above, beside),
            above,
            beside,
            1.0 / np.sqrt(np.sqrt((above**2 + beside**2).astype(np.float64))),
            self._offset(0, *np.array(neighbours(_SEEN)).T),
            np.array(others, np.int64).reshape(-1, 2),
            np.array([BORDER, self.size]),
        )

    def _offset(self, back: Any, rows: Any, columns: Any) -> Any:
        return rows * self.stride + columns - back * self.size


class Field:
    """A picture's values and errors of predictions, flat, with a border around each plane, which is filled plane by plane.

    Parameters
    ----------
    shape : height, width and planes
    start : `(planes, 2)`, what values and errors are taken for beyond the first row
    """

    def __init__(self, shape: tuple[int, int, int], start: np.ndarray) -> None:
        self.height, self.width, self.planes = shape
        self.stride = self.width + 2 * BORDER
        self.size = self.stride * (self.height + 2 * BORDER)
        self.arrays = tuple(np.repeat(column.astype(np.float64), self.size) for column in start.T)

    def plan(self, plane: int) -> Plan:
        """That of the plane."""
        return Plan(self.stride, self.size, min(plane, MOST_BESIDE))

    def first(self, plane: int) -> int:
        """Place of the plane's first pixel."""
        return plane * self.size + BORDER * self.stride + BORDER

    def room(self, plane: int, features: int, hidden: int) -> tuple[np.ndarray, ...]:
        """Scratch space for the kernels."""
        n, around = len(self.plan(plane).taps), 2 * REACH * (REACH + 1)
        sizes = (n, n), n, n, n, min(plane, MOST_BESIDE) + 1
        places = np.zeros(around, np.int64), np.zeros(around)
        layers = (np.zeros(count) for count in (features, hidden, hidden, OUTPUTS))
        return (*(np.zeros(size) for size in sizes), *places, *layers)

    def finish(self, plane: int) -> None:
        """Continue a plane that is known below its last row."""
        last = self.first(plane) - BORDER + (self.height - 1) * self.stride
        for array in self.arrays:
            array[last + self.stride : last + 2 * self.stride] = array[last : last + self.stride]

    def features(self, plane: int, levels: np.ndarray, highest: int, prior: Floats) -> np.ndarray:
        """See `kernels.features_of`; of a plane's levels `(h, w)`, which the field gets."""
        from fivefold.pictures import kernels

        plan, room = self.plan(plane).arrays(prior), self.room(plane, count_features(self.planes), 0)
        found = kernels.features_of(levels, self.first(plane), float(highest), self.arrays, plan, room)
        self.finish(plane)
        return found


@dataclass(frozen=True)
class PixelCoder:
    """Codes pictures' levels, plane by plane; a network per plane, all float32.

    Attributes
    ----------
    start : `(c, 2)`, see `Field`
    prior : `(c, n)`, the regression of all pictures, zeros beyond the plane's taps
    first, second, third : weights `(c, inputs, outputs)` of the network's layers
    first_bias, second_bias, third_bias : `(c, outputs)`

    Raises
    ------
    ValueError : if the arrays do not fit together
    """

    start: np.ndarray
    prior: np.ndarray
    first: np.ndarray
    first_bias: np.ndarray
    second: np.ndarray
    second_bias: np.ndarray
    third: np.ndarray
    third_bias: np.ndarray

    def __post_init__(self) -> None:
        planes, hidden = len(self.start), self.first.shape[-1]
        shapes = {
            "start": (planes, 2),
            "prior": (planes, count_taps(planes)),
            "first": (planes, count_features(planes), hidden),
            "first_bias": (planes, hidden),
            "second": (planes, hidden, hidden),
            "second_bias": (planes, hidden),
            "third": (planes, hidden, OUTPUTS),
            "third_bias": (planes, OUTPUTS),
        }
        for name, shape in shapes.items():
            array = getattr(self, name)
            if array.shape != shape or array.dtype != np.float32 or not np.isfinite(array).all():
                raise ValueError(f"its {name} is {array.dtype} {array.shape}, not finite float32 {shape}")

    def encode(self, levels: np.ndarray, count: int) -> bytes:
        """A layer of a picture's levels `(h, w, c)`, int64 below `count`."""
        field = Field(levels.shape, self.start)
        planes = (levels[..., channel].ravel() for channel in order(field.planes))
        return pack(
            [PlaneSymbols(self, field, k, count).interval(plane) for k, plane in enumerate(planes)], _NO_HINTS, 1
        )

    def decode(self, layer: bytes, shape: tuple[int, int, int], count: int) -> np.ndarray:
        """The inverse; raises `DamagedLayerError`."""
        coder, _ = unpack(layer, 0)
        if len(coder.heads) != 1:
            raise DamagedLayerError("it has more than one head")
        field, levels = Field(shape, self.start), np.empty(shape, np.int64)
        for k, channel in enumerate(order(field.planes)):
            levels[..., channel] = pop(coder, PlaneSymbols(self, field, k, count)).reshape(shape[:2])
        check_empty(coder)
        return levels


@dataclass(frozen=True)
class PlaneSymbols:
    """The distributions of a plane's pixels, each given those before, as one of `rans.Distributions`; to be used once.

    Attributes
    ----------
    coder
    field : of the picture; planes before are known, and this one will be
    plane : number of it, in the order of coding
    count : of levels
    """

    coder: PixelCoder
    field: Field
    plane: int
    count: int

    def interval(self, symbols: np.ndarray) -> Intervals:
        """See `rans.Distributions`."""
        spans = np.empty((2, len(symbols)), np.uint64)
        self._code(symbols, spans, np.zeros(0, np.uint64), np.zeros(0, np.uint32), 0)
        return spans[0], spans[1]

    def pop(self, heads: np.ndarray, words: np.ndarray, count: int) -> tuple[np.ndarray, int]:
        """See `rans.Distributions`."""
        symbols = np.zeros(self.field.height * self.field.width, np.int64)
        return symbols, self._code(symbols, np.zeros((2, 0), np.uint64), heads, words, count)

    def _code(self, symbols: np.ndarray, spans: np.ndarray, *state: Any) -> int:
        from fivefold.pictures import kernels

        field, coder, k = self.field, self.coder, self.plane
        plan, room = field.plan(k).arrays(coder.prior[k]), field.room(k, *coder.first.shape[1:])
        names = ("first", "first_bias", "second", "second_bias", "third", "third_bias")
        network = tuple(getattr(coder, name)[k].astype(np.float64) for name in names)
        weights, inverses, farthest, cells = lookup_tables("logistic")
        ends, inner = np.zeros((1, COMPONENTS + 2), np.int64), np.zeros((3, 1, COMPONENTS), np.int64)
        tables = (even_edges(self.count), ends, *inner, cells)
        plane, lookup = symbols.reshape(field.height, field.width), (weights, inverses, farthest)
        left = kernels.code(plane, spans, state, field.first(k), field.arrays, plan, room, network, lookup, tables)
        field.finish(k)
        return int(left)
