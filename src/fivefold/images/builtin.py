"""Built-in sets: MNIST as it ships inside the package, and `letters`, rendered from the fonts that come with matplotlib.

Y. LeCun, C. Cortes, C. J. C. Burges: The MNIST database of handwritten digits; CC BY-SA 3.0.
"""

from __future__ import annotations

import gzip
import hashlib
import string
import zlib
from importlib.resources import as_file, files
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from fivefold.arrays import read_idx
from fivefold.errors import DataError

_SHA256 = {  # of the unpacked files
    "train-images-idx3-ubyte.gz": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte.gz": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte.gz": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte.gz": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}

SIDE = 28
_BOX = 20  # MNIST: the glyph fits a 20×20 box …
_CENTRE = (SIDE - 1) / 2  # … and its centre of mass lies in the centre of the field
_RENDER_SIZE = 80
_FONTS = [
    f"DejaVu{face}" for face in ("Sans", "Sans-Bold", "Sans-Oblique", "SansMono", "Serif", "Serif-Bold", "Serif-Italic")
]
_FONTS += ["STIXGeneral", "STIXGeneralBol", "STIXGeneralItalic", "cmr10", "cmss10", "cmtt10"]
_SHEARS = (-0.2, 0.0, 0.2)


def load_mnist(split: str) -> tuple[np.ndarray, np.ndarray]:
    """Images `(n, 28, 28, 1)` uint8 and labels `(n,)` uint8 of the `train` (60,000) or `test` (10,000) split.

    Raises `DataError` if the package's files are damaged.
    """
    stem = "train" if split == "train" else "t10k"
    return _read(f"{stem}-images-idx3-ubyte.gz")[..., None], _read(f"{stem}-labels-idx1-ubyte.gz")


def _read(name: str) -> np.ndarray:
    with as_file(files("fivefold.images") / "mnist" / name) as path:
        try:
            digest = hashlib.sha256(gzip.decompress(path.read_bytes())).hexdigest()
        except (OSError, EOFError, zlib.error) as error:
            raise DataError(f"{path}: can't be unpacked ({error}); reinstall fivefold") from None
        if digest != _SHA256[name]:
            raise DataError(f"{path}: SHA-256 must be {_SHA256[name]}, got {digest}; reinstall fivefold")
        return read_idx(path)


def render_letters() -> tuple[np.ndarray, np.ndarray]:
    """Images `(2028, 28, 28, 1)` uint8, white on black, and labels `(2028,)` of one character.

    Every letter in upper and lower case × 13 fonts (families, weights, italics) × 3 slants, sized and centred as MNIST's digits.
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
    shearing = 1, shear, -shear * middle, 0, 1, 0
    slanted = canvas.transform(canvas.size, Image.Transform.AFFINE, shearing, Image.Resampling.BILINEAR)
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
