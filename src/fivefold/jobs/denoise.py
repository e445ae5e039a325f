"""Remove noise of unknown kind and level."""

from __future__ import annotations

import numpy as np

from fivefold.data.source import Mask, Source
from fivefold.jobs.codes import decode, encode
from fivefold.model.fitted import FittedModel


def denoise(model: FittedModel, data: Source, *, mask: Mask = None) -> np.ndarray:
    """The clean items that the noisy ones stand for: `(n, h, w, c)` in their own dtype.

    The encoder of a model that was trained with corruption gives the posterior of the clean item; its mean is decoded.
    """
    items = model.read(data, mask)
    return decode(model, encode(model, items)[0], items.values.dtype)
