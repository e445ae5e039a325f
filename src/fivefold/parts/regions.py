"""What is usual of the pixels of good parts, and the regions of pixels that are not."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from typing import final

import numpy as np
import pyarrow as pa

from fivefold.errors import ModelError
from fivefold.model.calibrations import AnomalyScore

_SHARE = 1e-3  # of the pixels of good parts, that are as strange as those of regions


@final
@dataclass(frozen=True)
class PeakScore(AnomalyScore):
    """How strange the strangest place of a picture is, beside those of good parts.

    Attributes
    ----------
    calibration : `(m,)` float64, ascending scores: minus the peaks of maps
    """

    calibration: np.ndarray

    def __post_init__(self) -> None:
        self.check_order()

    @property
    def size(self) -> int:
        return 1

    def score(self, statistics: np.ndarray) -> np.ndarray:
        """Of peaks `(n, 1)`: `(n,)`."""
        return -statistics[:, 0].astype(np.float64)


@dataclass(frozen=True)
class PixelLevels:
    """What is usual of the log odds of good parts' pixels.

    Attributes
    ----------
    centre, scale, edge : each `(1,)` float64: mean, deviation, and what one in a thousand is above, in deviations beyond the mean
    """

    centre: np.ndarray
    scale: np.ndarray
    edge: np.ndarray

    def __post_init__(self) -> None:
        shapes = self.centre.shape == self.scale.shape == self.edge.shape == (1,)
        if not (shapes and np.isfinite([self.centre, self.scale, self.edge]).all() and (self.scale > 0).all()):
            raise ModelError("the levels of pixels are damaged")

    @classmethod
    def fit(cls, known: np.ndarray) -> PixelLevels:
        """From log odds of good parts' pixels `(m,)`, NaN where nothing is known."""
        known = known[~np.isnan(known)]
        centre, scale = known.mean(), max(float(known.std()), 1e-6)
        edge = (np.quantile(known, 1 - _SHARE) - centre) / scale
        return cls(np.array([centre]), np.array([scale]), np.array([edge]))

    def surprise(self, log_odds: np.ndarray) -> np.ndarray:
        """A map in deviations beyond the mean, 0 where nothing is known."""
        deviations = (log_odds - np.float32(self.centre[0])) / np.float32(self.scale[0])
        return np.where(np.isnan(deviations), np.float32(0), deviations)


@dataclass(frozen=True)
class Regions:
    """Places where a picture is strange, which are most likely one thing each; all `(r,)`.

    Attributes
    ----------
    picture : in which picture, by number
    top, bottom, left, right : first and last row, first and last column
    area : in pixels
    row, column : of the strangest pixel
    score, p_value : of that, as of a picture whose strangest place it is
    """

    picture: np.ndarray
    top: np.ndarray
    bottom: np.ndarray
    left: np.ndarray
    right: np.ndarray
    area: np.ndarray
    row: np.ndarray
    column: np.ndarray
    score: np.ndarray
    p_value: np.ndarray

    def __len__(self) -> int:
        return len(self.picture)

    @classmethod
    def of(cls, maps: Iterable[tuple[int, np.ndarray]], edge: float, peak: float, normal: PeakScore) -> Regions:
        """Connected pixels of maps `(h, w)`, each with its picture's number, of which all are at `edge`, and one at `peak`."""
        from scipy.ndimage import find_objects, label

        rows = []
        for number, values in maps:
            labels, _ = label(values >= min(edge, peak), np.ones((3, 3)))
            for index, (ys, xs) in enumerate(find_objects(labels), 1):
                inside = np.where(labels[ys, xs] == index, values[ys, xs], -np.inf)
                y, x = np.unravel_index(inside.argmax(), inside.shape)
                if inside[y, x] < peak:
                    continue
                box = ys.start, ys.stop - 1, xs.start, xs.stop - 1
                area = np.count_nonzero(inside > -np.inf)
                rows.append((number, *box, area, ys.start + y, xs.start + x, -float(inside[y, x])))
        columns = np.array(rows, np.float64).reshape(-1, 9).T
        names = [field.name for field in dataclasses.fields(cls)]
        whole = dict(zip(names, columns[:-1].astype(np.int64), strict=False))
        return cls(**whole, score=columns[-1], p_value=normal.p_value(columns[-1]))

    def table(self, names: list[str]) -> pa.Table:
        """A row each, with the name of its picture."""
        numbers = {name: column for name, column in vars(self).items() if name != "picture"}
        return pa.table({"item": [names[number] for number in self.picture], **numbers})
