"""How wide intervals of missing numbers must be to hold what they promise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from fivefold.errors import ModelError
from fivefold.images.context import by_element, column
from fivefold.items import Items
from fivefold.model.conditional import Conditional
from fivefold.model.conditioning import Conditioning
from fivefold.model.corruption import draw_strength, hide_gaps
from fivefold.model.fitted import FittedModel
from fivefold.seeds import derive_seed
from fivefold.series.schema import SeriesSchema

_HIDDEN = 0.3
_CELLS, _MOST_MASKS = 4000, 20
_POINTS = 1001


@dataclass(frozen=True)
class IntervalCalibration:
    """Split conformal calibration of central intervals (Romano et al. 2019, arXiv:1905.03222; by probability).

    Attributes
    ----------
    shares : `(1001,)` float64, ascending: what share of the probability the model's intervals must have to hold 0, 0.1 %,
        …, 100 % of held-out numbers
    """

    shares: np.ndarray

    def __post_init__(self) -> None:
        sane = self.shares.shape == (_POINTS,) and bool(((self.shares >= 0) & (self.shares <= 1)).all())
        if not (sane and np.array_equal(self.shares, np.sort(self.shares))):
            raise ModelError("the calibration of intervals is damaged")

    def share(self, asked: float) -> float:
        """What share to ask of the model's distributions so that intervals hold `asked`."""
        found = float(np.interp(asked, np.linspace(0, 1, _POINTS), self.shares))
        return min(max(found, 1e-6), 1 - 1e-6)


@torch.inference_mode()
def fit_intervals(model: FittedModel, held_out: Items, seed: int) -> IntervalCalibration | None:
    """From items that the networks were not fitted to, of which 30 % is hidden at random, of every other window runs of
    steps; several times, if there are few.

    None if there are no numbers to compare.
    """
    rng, found = np.random.default_rng(derive_seed(seed, "coverage")), list[np.ndarray]()
    generator = torch.Generator(model.device).manual_seed(derive_seed(seed, "coverage of gaps"))
    series = isinstance(model.schema, SeriesSchema)
    columns = [] if series else model.table_schema.columns
    numbers = torch.tensor([each.classes == 0 for each in columns] or [True], device=model.device)
    for _ in range(_MOST_MASKS):
        for _, x, visible in model.batches(held_out):
            chosen = torch.from_numpy(rng.random(x.shape) < _HIDDEN).to(x.device)
            if series:
                chosen[::2] = ~hide_gaps(x[::2], draw_strength("gap", len(x[::2]), generator), generator)
            hidden = visible & chosen
            seen = torch.where(hidden, 0.0, x)
            z = model.vae.posterior(seen, visible & ~hidden).mu
            items, elements = (by_element(hidden) & numbers).nonzero().unbind(1)
            if len(items):
                told = Conditional(model, Conditioning.MISSING, seen, visible & ~hidden, z)(items, elements)
                values = column(by_element(x)[items, elements])
                upper = told.cdf(values)
                middle = upper - told.log_prob(values).exp() / 2
                found.append((2 * middle - 1).abs().clamp(0, 1).flatten().cpu().numpy())
            if sum(map(len, found)) >= _CELLS:
                return _summarise(found)
    return _summarise(found)


def _summarise(found: list[np.ndarray]) -> IntervalCalibration | None:
    if not found:
        return None
    every = np.concatenate(found)
    asked = np.minimum(np.linspace(0, 1, _POINTS) * (1 + 1 / len(every)), 1)
    return IntervalCalibration(np.quantile(every, asked))
