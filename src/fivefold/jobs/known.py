"""Items that are known to be normal, strange as they may be: others like them are not flagged, without a fit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from fivefold.items import Items, concatenated
from fivefold.jobs.detect import calibrated
from fivefold.jobs.drift import remembered
from fivefold.modality import Dataset, modality_of
from fivefold.model.fitted import FittedModel
from fivefold.model.scoring import encode_items

Least = Callable[[Items, np.ndarray], np.ndarray]
"""What the p-values of items are at least, given their scores; 0 of those that are like none that is known."""
_NEARER = 0.7  # times the distance to the nearest item of the fit, within which a known one is alike
_TOGETHER = 1024  # items at once


@dataclass(frozen=True)
class Known:
    """Items that are known to be normal, among those that the model remembers of the fit; each as a place.

    Attributes
    ----------
    places : `(m, f)`
    score : `(m,)` float64
    others : `(r, f)`, of the fit
    norm : by which distances are measured
    """

    places: Tensor
    score: np.ndarray
    others: Tensor
    norm: float = 2.0

    def near(self, places: Tensor) -> np.ndarray:
        """Which known items those at places `(n, f)` are like, bool `(n, m)`: clearly nearer to them than to any of the fit."""
        found = np.empty((len(places), len(self.places)), bool)
        for start in range(0, len(places), _TOGETHER):
            some = places[start : start + _TOGETHER]
            nearest = torch.cdist(some, self.others, p=self.norm).amin(1, keepdim=True)
            found[start : start + _TOGETHER] = (
                torch.cdist(some, self.places, p=self.norm) <= _NEARER * nearest
            ).numpy()
        return found

    def p_value(self, places: Tensor, score: np.ndarray) -> np.ndarray:
        """How often known items like those at places `(n, f)` score as low, `(n,)`; 0 where there are none.

        So those are a class of their own to calibrate on (Mondrian conformal prediction: Vovk et al. 2003).
        """
        near = self.near(places)
        count = near.sum(axis=1)
        as_strange = (near & (self.score <= score[:, None])).sum(axis=1)
        return np.where(count > 0, (1 + as_strange) / (1 + count), 0.0)


def known_items(
    model: FittedModel, data: Dataset, others: Tensor, place: Callable[[Items], Tensor], norm: float = 2.0
) -> Least:
    """`Jobs.known` of independent items, by where they lie."""
    jobs = modality_of(model.schema).jobs
    items = concatenated([block.items for block in data.blocks("read")])
    known = Known(place(items), calibrated(model).score(jobs.statistics(model, items)), others, norm)
    return lambda items, score: known.p_value(place(items), score)


def known_by_codes(model: FittedModel, data: Dataset) -> Least:
    """`Jobs.known` by the items' codes, whose axes count by how far codes of the fit spread along them."""
    codes = remembered(model).codes
    deviation = np.maximum(codes.std(axis=0), 1e-9)

    def place(items: Items) -> Tensor:
        return torch.from_numpy(encode_items(model, items)[0] / deviation)

    return known_items(model, data, torch.from_numpy(codes / deviation), place)
