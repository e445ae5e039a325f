"""Compress to latent codes and back: the VAE's own, lossy half of compression."""

from __future__ import annotations

import numpy as np
import torch

from fivefold.errors import DataError
from fivefold.images.dataset import Mask, Source
from fivefold.model.fitted import FittedModel
from fivefold.model.scoring import encode_items


def encode(model: FittedModel, data: Source, *, mask: Mask = None) -> tuple[np.ndarray, np.ndarray]:
    """Posterior means and standard deviations of the items, both `(n, latent_dim)` float32."""
    return encode_items(model, model.read(data, mask))


@torch.inference_mode()
def decode(model: FittedModel, z: np.ndarray, dtype: np.dtype | str | None = None) -> np.ndarray:
    """The mean item of each code: `(n, h, w, c)` in the data's range and `dtype` (default: the training data's).

    Raises `DataError` if `z` isn't `(n, latent_dim)` finite numbers.
    """
    z = np.asarray(z)
    if z.dtype.kind not in "biuf" or z.ndim != 2 or z.shape[1] != model.latent_dim or len(z) == 0:
        raise DataError(f"codes must be numbers of shape (n, {model.latent_dim}), got {z.dtype} {z.shape}")
    with np.errstate(over="ignore"):
        z = z.astype(np.float32)
    if len(bad := np.flatnonzero(~np.isfinite(z).all(axis=1))):
        raise DataError(f"codes must be finite, row {bad[0]} isn't")
    decoded = np.empty((len(z), *model.schema.shape), dtype or model.schema.dtype)
    for start in range(0, len(z), model.batch_size):
        rows = slice(start, start + model.batch_size)
        codes = model.codes(z[rows])
        decoded[rows] = model.values(model.vae.likelihood(codes).point(), decoded.dtype)
    return decoded
