"""`letters`: A–Z and a–z in the fonts that come with matplotlib, sized and centred as MNIST's digits are."""

from __future__ import annotations

import string
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

SIDE = 28
_BOX = 20  # MNIST: the glyph fits a 20×20 box …
_CENTRE = (SIDE - 1) / 2  # … and its centre of mass lies in the centre of the field
_RENDER_SIZE = 80
_FONTS = (
    "DejaVuSans",
    "DejaVuSans-Bold",
    "DejaVuSans-Oblique",
    "DejaVuSansMono",
    "DejaVuSerif",
    "DejaVuSerif-Bold",
    "DejaVuSerif-Italic",
    "STIXGeneral",
    "STIXGeneralBol",
    "STIXGeneralItalic",
    "cmr10",
    "cmss10",
    "cmtt10",
)
_SHEARS = (-0.2, 0.0, 0.2)


def render_letters() -> tuple[np.ndarray, np.ndarray]:
    """Images `(2028, 28, 28, 1)` uint8, white on black, and labels `(2028,)` of one character.

    Every letter in upper and lower case × 13 fonts (families, weights, italics) × 3 slants.
    """
    import matplotlib

    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    fonts = [ImageFont.truetype(folder / f"{name}.ttf", _RENDER_SIZE) for name in _FONTS]
    letters = string.ascii_uppercase + string.ascii_lowercase
    images = [_normalise(_draw(letter, font, shear)) for letter in letters for font in fonts for shear in _SHEARS]
    return np.stack(images)[..., None], np.repeat(list(letters), len(_FONTS) * len(_SHEARS))


def _draw(letter: str, font: ImageFont.FreeTypeFont, shear: float) -> Image.Image:
    canvas = Image.new("L", (2 * _RENDER_SIZE, 2 * _RENDER_SIZE))
    ImageDraw.Draw(canvas).text((_RENDER_SIZE // 2, _RENDER_SIZE // 2), letter, fill=255, font=font)
    middle = float(_RENDER_SIZE)
    slanted = canvas.transform(
        canvas.size, Image.Transform.AFFINE, (1, shear, -shear * middle, 0, 1, 0), Image.Resampling.BILINEAR
    )
    return slanted.crop(slanted.getbbox())


def _normalise(glyph: Image.Image) -> np.ndarray:
    scale = _BOX / max(glyph.size)
    width, height = (max(1, round(side * scale)) for side in glyph.size)
    small = np.asarray(glyph.resize((width, height), Image.Resampling.BOX))
    mass = small / small.sum()
    top, left = (
        int(np.clip(round(_CENTRE - mass.sum(axis=1 - axis) @ np.arange(size)), 0, SIDE - size))
        for axis, size in enumerate((height, width))
    )
    field = np.zeros((SIDE, SIDE), np.uint8)
    field[top : top + height, left : left + width] = small
    return field
