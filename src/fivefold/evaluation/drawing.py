"""Pictures for reports: rows of images, and plots in one style."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

_COLOUR_MAP = "viridis"
_STYLE: dict[Any, Any] = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "figure.constrained_layout.use": True,
    "figure.constrained_layout.w_pad": 0.1,
    "savefig.dpi": 130,
}
_GAP = 0.08  # of an image's side


@contextmanager
def figure(path: Path, width: float, height: float) -> Iterator[Figure]:
    """A figure of so many inches, saved to `path`."""
    with mpl.rc_context(_STYLE):
        drawn = Figure(figsize=(width, height))
        FigureCanvasAgg(drawn)
        yield drawn
        drawn.savefig(path)


def image_rows(path: Path, rows: Sequence[tuple[str, np.ndarray]], titles: Sequence[str] = ()) -> None:
    """Draw rows of images: per row a label and `(k, h, w, c)` in [0, 1], NaN where nothing is to be seen.

    `titles` stand above the columns.
    """
    count = max(len(images) for _, images in rows)
    h, w = rows[0][1].shape[1:3]
    across = (0.75 if count > 8 else 0.9) * (1 + _GAP)  # inches from image to image
    down = across * (h + _gap(w)) / (w + _gap(w))
    left = 0.09 * max(len(label) for label, _ in rows) + 0.1
    top = 0.25 if titles else 0.05
    width, height = left + count * across, top + len(rows) * down
    with figure(path, width, height) as drawn:
        drawn.set_layout_engine("none")
        for row, (label, images) in enumerate(rows):
            place = (left / width, 1 - (top + (row + 1) * down) / height)
            size = (len(images) * across / width, down / height)
            ax = drawn.add_axes((*place, *size), anchor="NW")
            show(ax, tile(images, len(images)))
            ax.set_ylabel(label, rotation=0, ha="right", va="center", labelpad=3)
        for column, title in enumerate(titles):
            middle = left + column * across + across * w / (w + _gap(w)) / 2
            drawn.text(middle / width, 1 - 0.06 / height, title, ha="center", va="top", fontsize=9)


def image_sheet(path: Path, images: np.ndarray, columns: int) -> None:
    """Draw `(n, h, w, c)` images in [0, 1] as one sheet."""
    rows = -(-len(images) // columns)
    with figure(path, columns * 0.6, rows * 0.6 * images.shape[1] / images.shape[2]) as drawn:
        show(drawn.subplots(), tile(images, columns))


def show(ax: Axes, image: np.ndarray) -> None:
    """One image `(h, w, c)`: a colour map for one channel (or the first of two), colours for three or four."""
    colour_map = mpl.colormaps[_COLOUR_MAP].with_extremes(bad="white")
    if image.shape[2] >= 3:
        ax.imshow(np.nan_to_num(image, nan=1.0))
    else:
        ax.imshow(image[..., 0], cmap=colour_map, vmin=0, vmax=1)
    ax.set_xticks([])
    ax.set_yticks([])
    ax.spines[:].set_visible(False)


def tile(images: np.ndarray, columns: int) -> np.ndarray:
    """`(n, h, w, c)` images as one, row by row, with gaps of NaN."""
    n, h, w, c = images.shape
    gap, rows = _gap(w), -(-n // columns)
    sheet = np.full((rows, h + gap, columns, w + gap, c), np.nan, np.float32)
    for index, image in enumerate(images):
        sheet[index // columns, :h, index % columns, :w] = image
    return sheet.reshape(rows * (h + gap), columns * (w + gap), c)[:-gap, :-gap]


def plane_of_codes(path: Path, plane: np.ndarray, colours: np.ndarray, label: str) -> None:
    """Draw codes projected onto two directions, `(n, 2)`, with a colour bar."""
    with figure(path, 5, 4) as drawn:
        ax = drawn.subplots()
        points = ax.scatter(plane[:, 0], plane[:, 1], c=colours, s=10, cmap=_COLOUR_MAP)
        drawn.colorbar(points, label=label)
        ax.set(xlabel="first direction", ylabel="second")


def main_plane(codes: np.ndarray) -> np.ndarray:
    """Codes `(n, d)` along their two directions of most variance, `(n, 2)`; the second is 0 where there is only one."""
    centred = codes - codes.mean(axis=0, dtype=np.float64)
    axes = np.linalg.svd(centred, full_matrices=False)[2][:2]
    return centred @ axes.T if len(axes) == 2 else np.column_stack((centred[:, 0], np.zeros(len(centred))))


def _gap(width: int) -> int:
    return max(1, round(width * _GAP))
