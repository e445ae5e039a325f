"""Pictures of parts with a frame around each strange region."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fivefold.images.files import Output
from fivefold.parts.schema import PartSchema

if TYPE_CHECKING:
    from fivefold.parts.regions import Regions

_RED = np.array([255, 0, 0], np.uint8)
_PARTS = 300  # of a picture's shorter side, of which a frame is one wide
_APART = 3  # widths between a region and its frame


def write_overlays(
    folder: Path, pictures: Sequence[np.ndarray], schema: PartSchema, names: Sequence[str], regions: Regions
) -> None:
    """`NAME-regions.png` in a folder for each picture that has regions."""
    boxes = np.stack([regions.top, regions.bottom, regions.left, regions.right], axis=1)
    numbers = np.unique(regions.picture).tolist()
    if not numbers:
        return
    framed = (overlay(schema.to_unit(pictures[at]), boxes[regions.picture == at])[None] for at in numbers)
    new = [f"{Path(names[number]).with_suffix('')}-regions.png" for number in numbers]
    Output(folder).write(framed, (len(new), 0, 0, 3), np.dtype(np.uint8), 0.0, 255.0, new)


def overlay(unit: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """A picture `(h, w, c)` on the unit scale with frames around `boxes` `(r, 4)` of rows and columns, 8 bits: `(h, w, 3)`."""
    colours = unit[..., :3] if unit.shape[2] > 2 else unit[..., :1].repeat(3, axis=2)
    framed: np.ndarray = np.round(np.nan_to_num(colours).clip(0, 1) * 255).astype(np.uint8)
    height, width = framed.shape[:2]
    thick = max(1, round(min(height, width) / _PARTS))
    for top, bottom, left, right in boxes.tolist():
        inner = _APART * thick
        ys = slice(max(top - inner, 0), min(bottom + inner + 1, height))
        xs = slice(max(left - inner, 0), min(right + inner + 1, width))
        frame = np.ones((ys.stop - ys.start, xs.stop - xs.start), bool)
        frame[thick:-thick, thick:-thick] = False
        framed[ys, xs][frame] = _RED
    return framed
