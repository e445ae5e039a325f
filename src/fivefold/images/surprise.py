"""How strange each pixel is: it or those next to it cost more than expected, or it lies where all is smoother than expected."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from fivefold.config import Conditioning
from fivefold.errors import ModelError
from fivefold.items import Items
from fivefold.jobs.detect import excess
from fivefold.model.conditional import Conditional
from fivefold.model.context import by_element, column
from fivefold.model.fitted import FittedModel, channels_first, channels_last
from fivefold.model.likelihoods import Likelihood, NumberLikelihood

PATCH = 7  # side of the squares that are too smooth or not
_NEAR = 3  # side of those that cost too much or not
_FINEST = 1e-5  # of variances, on the unit scale: of a level of 8 bits
_MOST_ELEMENTS, _FEWEST_ITEMS = 1 << 18, 8  # of normal items, whose elements are enough to compare with
_LEAST_SCALE = 1e-3
_SIGNS = 3  # statistics of an element, of which more is stranger


@dataclass(frozen=True)
class PixelScale:
    """What is usual of the elements of normal items, by each statistic of theirs; see `surprise`.

    Attributes
    ----------
    centre, scale : `(3,)` float64, means and deviations
    """

    centre: np.ndarray
    scale: np.ndarray

    def __post_init__(self) -> None:
        sane = self.centre.shape == self.scale.shape == (_SIGNS,) and np.isfinite(self.centre).all()
        if not (sane and np.isfinite(self.scale).all() and (self.scale > 0).all()):
            raise ModelError("the scale of the elements' surprise is damaged")

    @classmethod
    def fit(cls, model: FittedModel, items: Items) -> PixelScale:
        """From normal items that the networks were not fitted to; as many of the first as it takes."""
        items = items.select(slice(max(_FEWEST_ITEMS, _MOST_ELEMENTS // model.schema.size)))
        visible = items.visible()
        usual = [sign[visible].astype(np.float64) for sign, _ in _signs(model, items, excess(model, items))]
        deviations = [max(float(sign.std()), _LEAST_SCALE) for sign in usual]
        return cls(np.array([sign.mean() for sign in usual]), np.array(deviations))


def surprise(model: FittedModel, items: Items) -> np.ndarray:
    """See `jobs.detect.surprise`: `(n, h, w, c)` float32, 0 where hidden.

    The highest of three, each in deviations from what normal elements have: what the element costs beyond what is expected of it,
    what those next to it do on average, and how much smoother than expected the patch around it is: a dead spot is cheap, so that
    by its cost it would be most normal. Models of before the others were known have the first, in spreads of their own
    distributions.
    """
    cost = excess(model, items)
    usual: PixelScale | None = model.calibrations.get("surprise")
    if usual is None:
        return cost
    scaled = zip(_signs(model, items, cost), usual.centre, usual.scale, strict=True)
    highest = np.max([(sign - centre) / scale * weight for (sign, weight), centre, scale in scaled], axis=0)
    return np.where(items.visible(), highest, 0).astype(np.float32)


Sign = tuple[np.ndarray, np.ndarray | float]
"""Of each element `(n, h, w, c)`; and the inverse of how much further it may be off where less around is visible."""


def _signs(model: FittedModel, items: Items, cost: np.ndarray) -> tuple[Sign, Sign, Sign]:
    """By which an element may be strange; `cost` is the first."""
    near, smooth = (np.empty(items.values.shape, np.float32) for _ in range(2))
    weights = np.empty((2, *items.values.shape[:3], 1), np.float32)
    for rows in items.batches(model.batch_size):
        batch = items.select(rows)
        visible = channels_first(batch.visible())
        mean, share = _around(channels_first(cost[rows]), visible, _NEAR)
        near[rows], weights[0, rows] = channels_last(mean), channels_last(share.sqrt())
        mean, share = _around(_roughness_map(model, batch), visible, PATCH)
        # minus the log of the mean squared error in expected ones: as far off on both sides
        smooth[rows] = channels_last(-mean.clamp_min(_FINEST - 1).log1p())
        weights[1, rows] = channels_last(share.sqrt())
    return (cost, 1.0), (near, weights[0]), (smooth, weights[1])


@torch.inference_mode()
def _roughness_map(model: FittedModel, items: Items) -> Tensor:
    """`roughness` of each element given z and those before it: `(n, c, h, w)`."""
    ((_, x, visible),) = model.batches(items)
    given = Conditional(model, Conditioning.CAUSAL, x, visible, model.vae.posterior(x, visible).mu)
    return given.map(partial(roughness, by_element(x)))[0].cpu()


def roughness(values: Tensor, likelihood: Likelihood, items: Tensor, elements: Tensor) -> Tensor:
    """How much rougher elements are than expected, squared errors beyond the variance in variances, at the least −1: `(m, 1)`."""
    assert isinstance(likelihood, NumberLikelihood)
    x, variance = column(values[items, elements]), likelihood.variance
    return (((x - likelihood.mean).square() - variance) / (variance + _FINEST)).view(-1, 1)


def _around(values: Tensor, visible: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """Mean over the visible elements of the square around each pixel, all channels, and what share they are: `(n, 1, h, w)`."""
    sums, shares = (
        F.avg_pool2d(part.to(values.dtype).mean(1, keepdim=True), side, stride=1, padding=side // 2)
        for part in (torch.where(visible, values, 0), visible)
    )
    return sums / shares.clamp_min(1e-6), shares
