"""Compress to latent codes and back: the VAE's own, lossy half of compression."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from fivefold.dataset import open_data
from fivefold.errors import DataError
from fivefold.modality import modality_taking
from fivefold.model.fitted import FittedModel
from fivefold.model.scoring import encode_items


def encode(model: FittedModel, data: Any, **reading: Any) -> tuple[np.ndarray, np.ndarray]:
    """Posterior means and standard deviations of the items, both `(n, latent_dim)` float32; of series, of each window.

    Parameters
    ----------
    data : whatever the model's modality reads, or `Items`, or a dataset
    reading : how they are read, such as `mask`; see the modality's `open`

    Raises
    ------
    DataError : if the data can't be read, or are unlike those of the fit
    UsageError : for a parameter that their modality does not take

    Examples
    --------
    >>> mean, std = fivefold.encode(tree_model, trees)
    >>> mean.shape, std.dtype
    ((300, 3), dtype('float32'))
    """
    modality_taking(model, "encode", **reading)
    blocks = open_data(data, model.schema, **reading).blocks("encode")
    means, deviations = zip(*(encode_items(model, block.items) for block in blocks), strict=True)
    return np.concatenate(means), np.concatenate(deviations)


def decode(model: FittedModel, z: np.ndarray) -> Any:
    """The mean item of each code `(n, latent_dim)`, in the form of the fit's data: images `(n, h, w, c)`, a table, or windows.

    Raises `DataError` if `z` isn't `(n, latent_dim)` finite numbers.

    Examples
    --------
    >>> fivefold.decode(image_model, np.zeros((2, 3))).shape
    (2, 8, 6, 3)
    """
    return modality_taking(model, "decode").data.new(model.schema, decode_items(model, z), model.data_record)


@torch.inference_mode()
def decode_items(model: FittedModel, z: np.ndarray, dtype: np.dtype | str | None = None) -> np.ndarray:
    """The mean item of each code: `(n, h, w, c)` in the data's range and `dtype` (default: the training data's).

    Raises `DataError` if `z` isn't `(n, latent_dim)` finite numbers.
    """
    z = checked_codes(model, z)
    decoded = np.empty((len(z), *model.schema.shape), dtype or model.schema.dtype)
    for start in range(0, len(z), model.batch_size):
        rows = slice(start, start + model.batch_size)
        codes = model.codes(z[rows])
        decoded[rows] = model.values(model.vae.likelihood(codes).point(), decoded.dtype)
    return decoded


def checked_codes(model: FittedModel, z: Any) -> np.ndarray:
    """Codes as an array `(n, latent_dim)` float32; raises `DataError` for what isn't so many finite numbers."""
    try:
        z = np.asarray(z)
    except ValueError:  # rows of different lengths
        raise DataError(
            f"codes must be numbers of shape (n, {model.latent_dim}), got rows of different lengths"
        ) from None
    if z.dtype.kind not in "biuf" or z.ndim != 2 or z.shape[1] != model.latent_dim or len(z) == 0:
        raise DataError(f"codes must be numbers of shape (n, {model.latent_dim}), got {z.dtype} {z.shape}")
    with np.errstate(over="ignore"):
        codes: np.ndarray = z.astype(np.float32)
    if len(bad := np.flatnonzero(~np.isfinite(codes).all(axis=1))):
        raise DataError(f"codes must be finite, row {bad[0]} isn't")
    return codes
