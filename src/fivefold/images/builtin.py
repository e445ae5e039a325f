"""MNIST as it ships inside the package.

Y. LeCun, C. Cortes, C. J. C. Burges: The MNIST database of handwritten digits; CC BY-SA 3.0.
"""

from __future__ import annotations

import gzip
import hashlib
import zlib
from importlib.resources import as_file, files

import numpy as np

from fivefold.arrays import read_idx
from fivefold.errors import DataError

MNIST_SPLITS = {"train": "train", "test": "t10k"}
_SHA256 = {  # of the unpacked files
    "train-images-idx3-ubyte.gz": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte.gz": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte.gz": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte.gz": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}


def load_mnist(split: str) -> tuple[np.ndarray, np.ndarray]:
    """Images `(n, 28, 28, 1)` uint8 and labels `(n,)` uint8 of the `train` (60,000) or `test` (10,000) split.

    Raises `DataError` if the package's files are damaged.
    """
    stem = MNIST_SPLITS[split]
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
