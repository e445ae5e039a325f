"""Patches of pictures, cut out when they are asked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from fivefold.arrays import Ints

_MOST = 20_000  # patches that are numbered
_TIMES = 8  # that a pixel is in one of them
_FEWEST_PICTURES = 10  # of which whole ones are held out
_MOST_HELD_OUT = 256  # patches
TURNS = 8  # ways to turn and mirror a square


@dataclass(frozen=True)
class Patches:
    """Square patches of pictures, turned and mirrored: like an array `(n, side, side, c)` that is never whole in memory.

    Attributes
    ----------
    pictures : each `(h, w, c)`, of one type
    side : in pixels
    corners : `(n, 4)`: of which picture, first row, first column, how turned
    """

    pictures: Sequence[np.ndarray]
    side: int
    corners: Ints

    @classmethod
    def drawn(
        cls, pictures: Sequence[np.ndarray], side: int, rng: np.random.Generator, turns: int = TURNS, beyond: int = 0
    ) -> Patches:
        """At random places, as many in a picture as its size makes likely; with `turns` 1 as they stand.

        Places up to so many pixels `beyond` an edge are brought back to it, so that edges are seen as often as the middle.
        """
        places = np.array([(p.shape[0] - side + 1) * (p.shape[1] - side + 1) for p in pictures], np.float64)
        pixels = sum(p.shape[0] * p.shape[1] for p in pictures)
        n = min(_MOST, -(-_TIMES * pixels // side**2))
        which = np.sort(rng.choice(len(pictures), n, p=places / places.sum()))
        last = np.array([p.shape[:2] for p in pictures])[which] - side
        corners = rng.integers(-beyond, last + 1 + beyond).clip(0, last)
        return cls(pictures, side, np.column_stack((which, corners, rng.integers(0, turns, n))))

    @property
    def dtype(self) -> np.dtype:
        """Of the pictures."""
        return self.pictures[0].dtype

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """As if they were cut out."""
        return len(self), self.side, self.side, self.pictures[0].shape[2]

    @property
    def size(self) -> int:
        """Number of elements."""
        return int(np.prod(self.shape))

    def __len__(self) -> int:
        return len(self.corners)

    def unturned(self, indices: Ints) -> Iterator[np.ndarray]:
        """Patches as they stand in the pictures."""
        for which, row, column, _ in self.corners[indices].tolist():
            yield self.pictures[which][row : row + self.side, column : column + self.side]

    def __getitem__(self, indices: np.ndarray | slice) -> np.ndarray:
        corners = self.corners[indices]
        cut = np.empty((len(corners), *self.shape[1:]), self.dtype)
        for out, (which, row, column, turn) in zip(cut, corners.tolist(), strict=True):
            patch = np.rot90(self.pictures[which][row : row + self.side, column : column + self.side], turn // 2)
            out[:] = patch[:, ::-1] if turn % 2 else patch
        return cut


@dataclass(frozen=True)
class PatchPlaces:
    """Where patches are; the `origin` of `Items`."""

    sizes: tuple[tuple[int, int], ...]
    side: int
    corners: Ints

    def select(self, indices: np.ndarray | slice) -> PatchPlaces:
        """See `items.Origin`."""
        return replace(self, corners=self.corners[indices])

    def hold_out(self, share: float, rng: np.random.Generator, source: str) -> tuple[np.ndarray, np.ndarray]:
        """Of many pictures whole ones, of few a band of each, held out; patches across its edge are left out.

        None are held out of pictures too small to be cut so.
        """
        which, rows = self.corners[:, 0], self.corners[:, 1]
        if len(self.sizes) >= _FEWEST_PICTURES:
            chosen = rng.permutation(len(self.sizes))[: max(1, round(share * len(self.sizes)))]
            inside = np.isin(which, chosen)
            return np.flatnonzero(~inside), _some(inside, rng)
        heights = np.array([size[0] for size in self.sizes])
        bands = np.maximum(np.rint(share * heights), np.where(heights >= 4 * self.side, 1.25 * self.side, 0))[which]
        inside, outside = rows >= heights[which] - bands, rows + self.side <= heights[which] - bands
        return np.flatnonzero(outside), _some(inside, rng)


def _some(chosen: np.ndarray, rng: np.random.Generator) -> Ints:
    """Numbers of those that are chosen, of many a random few."""
    return np.sort(rng.permutation(np.flatnonzero(chosen))[:_MOST_HELD_OUT])
