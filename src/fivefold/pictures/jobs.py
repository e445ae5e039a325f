"""The mathematics of denoising pictures of any size; other jobs are refused, see `settings.REFUSED`."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import torch

from fivefold.items import Items
from fivefold.model.fitted import FittedModel, channels_first
from fivefold.pictures.networks import PictureVAE
from fivefold.pictures.schema import PictureSchema
from fivefold.pictures.splitting import can_be_seen, with_share
from fivefold.pictures.tiles import by_tiles

EXTRA_ROLE = "std"
_UNSURE = 0.03  # share of the noise's variance that may be texture: flat places do not show the level more exactly


@torch.inference_mode()
def denoise(model: FittedModel, items: Items, *, seed: int = 0) -> dict[str, tuple[np.ndarray, np.ndarray | None]]:
    """The expected signal of pictures `(n, h, w, c)` of any size, in their type; and in the role `std`, float32, how sure it is.

    Tile by tile, so that memory does not grow with the picture. What is missing is filled in.
    """
    cleaned, std = np.empty_like(items.values), np.empty(items.values.shape, np.float32)
    schema = cast(PictureSchema, model.schema)
    for clean, deviation, picture in zip(cleaned, std, items.values, strict=True):
        found = by_tiles(picture, lambda tile: _signal(model, tile))
        clean[:] = schema.from_unit(found[..., 0], items.values.dtype)
        deviation[:] = found[..., 1] * (schema.high - schema.low)
    return {"": (cleaned, None), "std": (std, None)}


def _signal(model: FittedModel, tile: np.ndarray) -> np.ndarray:
    """Mean and standard deviation of the signal of a tile `(h, w, c)`, on the unit scale: `(h, w, c, 2)` float32."""
    vae, context = cast(PictureVAE, model.vae), cast(Any, model.context)
    unit = channels_first(model.schema.to_unit(tile)[None]).to(model.device)
    visible = can_be_seen(unit, ~unit.isnan(), vae.noise.noise)
    x = with_share(torch.where(visible, unit, 0.0))
    signal = context(x, visible, vae.coarse(x, visible))
    mean, variance = signal.mean[0], signal.variance[0] + _UNSURE * vae.noise.variance(signal.mean[0])
    if vae.noise.noise.name == "impulse":  # what is seen is true
        mean, variance = torch.where(visible[0], unit[0], mean), torch.where(visible[0], 0.0, variance)
    return np.ascontiguousarray(torch.stack((mean, variance.sqrt())).permute(2, 3, 1, 0).cpu().numpy())
