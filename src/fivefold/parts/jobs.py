"""The mathematics of finding defects in pictures of any size; other jobs are refused, see `settings.REFUSED`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NoReturn, cast

import numpy as np
import torch
from scipy.ndimage import gaussian_filter

from fivefold.errors import UsageError
from fivefold.items import Items
from fivefold.jobs.detect import Detection, unwatched
from fivefold.jobs.strangest import strangest_items as strangest
from fivefold.model.fitted import FittedModel, channels_first
from fivefold.parts.octaves import enlarged, octaves
from fivefold.parts.regions import PeakScore, PixelLevels, Regions
from fivefold.pictures.networks import PictureVAE
from fivefold.pictures.splitting import first_guess, with_share
from fivefold.pictures.tiles import by_tiles

__all__ = ["in_context", "known", "statistics", "strangest", "surprise", "watcher"]

watcher = unwatched
_LEAST_SIDE = 256  # pixels, of a smaller copy that is looked at
_RIM = 4  # pixels at the edges, of which too little is known around: they are judged as those next to them
_BLUR = 2.0  # deviation, in pixels: a defect is more than one pixel


def log_odds(model: FittedModel, picture: np.ndarray) -> np.ndarray:
    """How much more likely pixels of a picture `(h, w, c)` were altered than not, the highest of all sizes: `(h, w)` float32.

    NaN where a pixel is missing. Tile by tile, so that memory does not grow with the picture.
    """
    shape = (picture.shape[0], picture.shape[1])
    found = np.full(shape, -np.inf, np.float32)
    for small in octaves(picture, _LEAST_SIDE):
        values = by_tiles(small, lambda tile: _log_odds(model, tile))
        values = np.pad(values[_RIM:-_RIM, _RIM:-_RIM], _RIM, mode="edge")
        np.maximum(found, enlarged(gaussian_filter(values, _BLUR), shape), out=found)
    if picture.dtype.kind == "f":
        found[np.isnan(picture).any(2)] = np.nan
    return found


@torch.inference_mode()
def _log_odds(model: FittedModel, tile: np.ndarray) -> np.ndarray:
    """Of a tile `(h, w, c)`, whose sides are multiples of 16."""
    vae, context = cast(PictureVAE, model.vae), cast(Any, model.context)
    unit = channels_first(model.schema.to_unit(tile)[None]).to(model.device)
    visible = ~unit.isnan()
    x = torch.where(visible, unit, first_guess(unit.nan_to_num(), visible))
    found: np.ndarray = context(x, vae.coarse(with_share(x), torch.ones_like(visible)))[0, 0].cpu().numpy()
    return found


def _surprise(model: FittedModel, picture: np.ndarray) -> np.ndarray:
    levels: PixelLevels = model.calibrations["surprise"]
    return levels.surprise(log_odds(model, picture))


def surprise(model: FittedModel, items: Items) -> np.ndarray:
    """How far pixels' log odds are above those of good parts, in their deviations, for all channels `(n, h, w, c)` float32."""
    maps = np.stack([_surprise(model, picture) for picture in items.values])
    return np.broadcast_to(maps[..., None], items.values.shape)


def statistics(model: FittedModel, items: Items) -> np.ndarray:
    """The surprise of the strangest pixel, `(n, 1)`."""
    return np.array([[_surprise(model, picture).max()] for picture in items.values])


def known(model: FittedModel, data: Any) -> NoReturn:
    """Raise `UsageError`: a fit is what learns that more is good."""
    raise UsageError("`normal` does not go with a model of good parts: fit anew, to pictures of these too")


def in_context(
    model: FittedModel, data: Any, found: Detection, false_alarm_rate: float, fdr: float | None, least: Any
) -> Detection:
    """`found` with the `Regions` of the pictures that are flagged."""
    normal: PeakScore = cast(Any, model.normality)
    maps = (
        (block.place, _surprise(model, block.items.values[0]))
        for block in data.blocks("find regions")
        if found.anomaly[block.place]
    )
    peak = -float(found.score[found.anomaly].max(initial=-np.inf))
    return replace(found, events=Regions.of(maps, model.calibrations["surprise"].edge[0], peak, normal))
