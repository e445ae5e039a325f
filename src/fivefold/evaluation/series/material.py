"""What the comparisons and sections of series work on."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from importlib.util import find_spec

import numpy as np

from fivefold.evaluation.material import Material
from fivefold.evaluation.rivals.imputers import Attention
from fivefold.items import Items
from fivefold.jobs.generate import generate
from fivefold.model.conditioning import Window
from fivefold.series.dataset import SeriesSet
from fivefold.series.jobs import SeriesDetection, denoise_series, detect_series, impute_series
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
        return self.model.series_schema

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
        sharp = self.model.has_learnt(Window.CAUSAL)
        drawn = generate(self.model, min(len(self.items), _MOST_DRAWN), self.seed, prior="fitted", sharp=sharp)
        return self.schema.snap(drawn)[..., 0]

    @cached_property
    def attention(self) -> Attention | None:
        """SAITS, trained as long as the model was; None if it is not to be compared with, or not installed."""
        if not self.against or not find_spec("pypots"):
            return None
        return Attention.fit(self.known.items().values[..., 0], 60 * self.fit_minutes)

    @cached_property
    def detection(self) -> SeriesDetection:
        """What `detect` makes of the test series."""
        return self.detect(self.values)

    def detect(self, values: np.ndarray) -> SeriesDetection:
        """What `detect` makes of the test series with other values."""
        return detect_series(self.model, replace(self.data, values=values))

    def denoise(self, values: np.ndarray) -> np.ndarray:
        """The test series with other values, without their noise."""
        return denoise_series(self.model, replace(self.data, values=values)).values

    def impute(self, values: np.ndarray, n_draws: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """The test series with other values and the missing ones filled in, the ends of 90 % intervals, and draws."""
        series = replace(self.data, values=values)
        imputed = impute_series(self.model, series, interval=_INTERVAL, n_draws=n_draws, seed=self.seed)
        assert imputed.lower is not None
        assert imputed.upper is not None
        return imputed.values, imputed.lower, imputed.upper, imputed.draws

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
