"""What the comparisons and sections of series work on."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from functools import cached_property
from importlib.util import find_spec
from typing import cast

import numpy as np

from fivefold.errors import FivefoldWarning
from fivefold.evaluation import Material
from fivefold.evaluation.rivals.imputers import Attention
from fivefold.items import Items
from fivefold.jobs.denoise import denoise
from fivefold.jobs.detect import Detection, detect
from fivefold.jobs.generate import generate
from fivefold.jobs.impute import impute
from fivefold.series.dataset import SeriesSet
from fivefold.series.schema import SeriesSchema

_MOST_STEPS, _MOST_DRAWN = 20_000, 500
_INTERVAL = 0.9


@dataclass
class SeriesMaterial(Material[SeriesSet]):
    """The first 20,000 steps of the test series, and of the training series."""

    def __post_init__(self) -> None:
        self.data = _first(self.data)
        self.train = None if self.train is None else _first(self.train)

    @property
    def schema(self) -> SeriesSchema:
        """Of the windows."""
        return cast(SeriesSchema, self.model.schema)

    @cached_property
    def items(self) -> Items:
        """The test series' windows."""
        return self.data.items()

    @property
    def values(self) -> np.ndarray:
        """Of the test series, `(total, c)`, NaN where missing."""
        return self.data.values

    @property
    def known(self) -> SeriesSet:
        """The training series, or the test series if there are none."""
        return self.data if self.train is None else self.train

    @cached_property
    def spread(self) -> np.ndarray:
        """Deviation of each channel of the training series, `(c,)`, the unit of errors."""
        spread = np.nanstd(self.known.values, axis=0)
        return np.where(spread > 0, spread, 1.0)

    @cached_property
    def generated(self) -> np.ndarray:
        """As many new windows as there are test windows, at most 500: `(n, t, c)`."""
        drawn: np.ndarray = generate(self.model, min(len(self.items), _MOST_DRAWN), self.seed)
        return drawn

    @cached_property
    def attention(self) -> Attention | None:
        """SAITS, trained as long as the model was; None if it is not to be compared with, or not installed."""
        if not self.against or not find_spec("pypots"):
            return None
        return Attention.fit(self.known.items().values[..., 0], 60 * self.fit_minutes)

    @cached_property
    def detection(self) -> Detection:
        """What `detect` makes of the test series."""
        return self.detect(self.values)

    def detect(self, values: np.ndarray) -> Detection:
        """What `detect` makes of the test series with other values."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FivefoldWarning)  # what is strange was put there
            return detect(self.model, self._with(values))

    def denoise(self, values: np.ndarray) -> np.ndarray:
        """The test series with other values, without their noise."""
        return np.asarray(denoise(self.model, self._with(values)).data)

    def impute(
        self, values: np.ndarray, n_draws: int = 0
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[np.ndarray]]:
        """The test series with other values and the missing ones filled in, the ends of 90 % intervals, and draws."""
        imputed = impute(self.model, self._with(values), interval=_INTERVAL, n_draws=n_draws, seed=self.seed)
        return imputed.data, imputed.lower, imputed.upper, imputed.draws

    def _with(self, values: np.ndarray) -> SeriesSet:
        """The test series with other values, whose results are to be encoded values."""
        return replace(self.data, values=values, encoded=True)

    def rng(self, purpose: str) -> np.random.Generator:
        """Random numbers for one purpose."""
        return super().rng(f"evaluate {purpose}")

    def rmse(self, values: np.ndarray, where: np.ndarray | None = None) -> float:
        """Root of the mean squared error of values `(total, c)` `where` they were known, in the channels' deviations."""
        known = self.data.visible if where is None else where & self.data.visible
        error = ((values - self.values) / self.spread)[known]
        return float(np.sqrt(np.mean(np.square(error)))) if len(error) else float("nan")


def _first(series: SeriesSet) -> SeriesSet:
    """The first steps, in whole series if there are several."""
    if len(series.values) <= _MOST_STEPS:
        return series
    whole = int(np.searchsorted(np.cumsum(series.lengths), _MOST_STEPS))
    lengths = series.lengths[: max(whole, 1)] if len(series.lengths) > 1 else np.array([_MOST_STEPS])
    labels = None if series.labels is None else series.labels[: len(lengths)]
    total = int(lengths.sum())
    return SeriesSet(series.values[:total], lengths, series.schema, series.source, labels)
