"""How wide intervals must be to hold what they promise: split conformal calibration."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fivefold.errors import ModelError

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

    def share(self, nominal: float) -> float:
        """What share to ask of the model's distributions so that intervals hold the share `nominal`."""
        share = float(np.interp(nominal, np.linspace(0, 1, _POINTS), self.shares))
        return min(max(share, 1e-6), 1 - 1e-6)

    @classmethod
    def fit(cls, shares: np.ndarray) -> IntervalCalibration | None:
        """From the shares of the model's central intervals that just reach held-out numbers `(m,)`; None if there are none."""
        if len(shares) == 0:
            return None
        nominal = np.minimum(np.linspace(0, 1, _POINTS) * (1 + 1 / len(shares)), 1)
        return cls(np.quantile(shares, nominal))
