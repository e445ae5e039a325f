"""Lossless archives of natural pictures beside PNG, WebP and JPEG XL: bits per pixel, pixels per second.

A model is fitted to some pictures of each set; others are compressed. Whole files are counted, but for the model; it is said
from how many pictures on the files are shorter than JPEG XL's with the model counted.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
from results_file import read_result, write_result

import fivefold
from fivefold.images.formats import IMAGE_ENDINGS
from fivefold.storage import as_stored
from fivefold.system import environment

_FIT, _CHOSEN = 200, 30  # tiles that are fitted to, and those next, by which settings were chosen
_CODECS = {
    "PNG, level 9": lambda picture: imagecodecs.png_encode(picture, level=9),
    "WebP, lossless, level 6": lambda picture: imagecodecs.webp_encode(picture, lossless=True, level=6),
    "JPEG XL, effort 9": lambda picture: imagecodecs.jpegxl_encode(picture, lossless=True, effort=9),
}


def main() -> None:
    """Fit, compress, decompress, compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pictures", type=Path, help="folder with bsd/train, bsd/test, tiles/good")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--only", choices=["bsd", "tiles"])
    options = parser.parse_args()
    bsd, tiles = options.pictures / "bsd", _files(options.pictures / "tiles/good")
    sets = {"bsd": (_files(bsd / "train"), _files(bsd / "test")), "tiles": (tiles[:_FIT], tiles[_FIT + _CHOSEN :])}
    wanted = [options.only] if options.only else list(sets)
    found = {name: _compare(*sets[name], options.minutes) for name in wanted}
    write_result("pictures_archive", {**read_result("pictures_archive"), "environment": environment(), **found})


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in IMAGE_ENDINGS)


def _compare(train: list[Path], test: list[Path], minutes: float) -> dict[str, Any]:
    begin = time.monotonic()
    model = fivefold.fit(
        [imagecodecs.imread(path) for path in train], kind="pictures", max_minutes=minutes, verdicts=False
    )
    fit_seconds = time.monotonic() - begin
    pictures = [imagecodecs.imread(path) for path in test]
    pixels = sum(picture.size for picture in pictures)
    fivefold.compress(model, pictures[:1])  # compiles what is to be timed
    begin = time.process_time()
    archive = fivefold.compress(model, pictures, verify=False)
    written = time.process_time()
    back = fivefold.decompress(archive, model)
    read = time.process_time()
    exact = all(np.array_equal(*pair) for pair in zip(back, pictures, strict=True))
    peers = {
        name: sum(len(encode(_colours(picture, name))) for picture in pictures) for name, encode in _CODECS.items()
    }
    model_bytes = sum(map(len, as_stored(model).files.values()))
    saved = (peers["JPEG XL, effort 9"] - len(archive)) / len(pictures)
    row = {
        "fitted to": len(train),
        "compressed": len(pictures),
        "pixels": pixels,
        "fit seconds": round(fit_seconds, 1),
        "exact": exact,
        "bits per pixel": {
            "Fivefold": round(8 * len(archive) / pixels, 4),
            **{name: round(8 * size / pixels, 4) for name, size in peers.items()},
        },
        "of JPEG XL": round(len(archive) / peers["JPEG XL, effort 9"], 4),
        "bytes of the model": model_bytes,
        "pictures from which on the model pays": int(np.ceil(model_bytes / saved)) if saved > 0 else None,
        "pixels per second": {
            "compress": round(pixels / (written - begin)),
            "decompress": round(pixels / (read - written)),
        },
    }
    print(row, flush=True)
    return row


def _colours(picture: np.ndarray, name: str) -> np.ndarray:
    """WebP has no grey pictures: its lossless mode finds that channels are alike."""
    return np.repeat(picture[..., None], 3, axis=2) if picture.ndim == 2 and name.startswith("WebP") else picture


if __name__ == "__main__":
    main()
