"""What comparisons on series work on."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from fivefold.evaluation.specialists.series_attention import Attention, has_attention
from fivefold.items import Items
from fivefold.jobs.generate import generate
from fivefold.model.conditioning import Conditioning
from fivefold.model.fitted import FittedModel
from fivefold.seeds import derive_seed
from fivefold.series.dataset import SeriesSet
from fivefold.series.schema import SeriesSchema

_MOST_STEPS, _MOST_DRAWN = 20_000, 500


@dataclass
class SeriesMaterial:
    """The model under report, and the series to report on.

    Attributes
    ----------
    series : test series, of which the first 20,000 steps are looked at
    train : the training series, for specialists, likewise; or None
    folder : for the PNG files
    against : compare with specialists
    """

    model: FittedModel
    series: SeriesSet
    train: SeriesSet | None
    folder: Path
    seed: int = 0
    against: bool = False

    def __post_init__(self) -> None:
        self.series = _first(self.series)
        self.train = None if self.train is None else _first(self.train)

    @property
    def schema(self) -> SeriesSchema:
        """Of the windows."""
        return self.model.series_schema

    @cached_property
    def items(self) -> Items:
        """The test series' windows."""
        return self.series.items()

    @cached_property
    def generated(self) -> np.ndarray:
        """As many new windows as there are test windows, at most 500: `(n, t, c)`."""
        sharp = self.model.has_learnt(Conditioning.CAUSAL)
        drawn = generate(self.model, min(len(self.items), _MOST_DRAWN), self.seed, prior="fitted", sharp=sharp)
        return self.schema.snap(drawn)[..., 0]

    @cached_property
    def attention(self) -> Attention | None:
        """SAITS, trained as long as the model was; None if it is not to be compared with, or not installed."""
        if not self.against or not has_attention():
            return None
        return Attention.fit(self.known.items().values[..., 0], 60 * self.fit_minutes)

    @property
    def fit_minutes(self) -> float:
        """How long the model was trained."""
        return self.model.record["train_seconds"] / 60

    @cached_property
    def known(self) -> SeriesSet:
        """The training series, or the test series if there are none."""
        return self.series if self.train is None else self.train

    @cached_property
    def spread(self) -> np.ndarray:
        """Deviation of each channel of the training series, `(c,)`, in which errors are told."""
        spread = np.nanstd(self.known.values, axis=0)
        return np.where(spread > 0, spread, 1.0)

    def rng(self, stream: str) -> np.random.Generator:
        """Random numbers of a purpose."""
        return np.random.default_rng(derive_seed(self.seed, f"evaluate {stream}"))

    def of(self, values: np.ndarray) -> SeriesSet:
        """The test series with other values."""
        return replace(self.series, values=values)

    def rmse(self, values: np.ndarray, where: np.ndarray | None = None) -> float:
        """Root of the mean squared error of values `(total, c)` `where` they were known, in the channels' deviations."""
        known = self.series.visible if where is None else where & self.series.visible
        error = ((values - self.series.values) / self.spread)[known]
        return float(np.sqrt(np.mean(np.square(error)))) if len(error) else float("nan")


def _first(series: SeriesSet) -> SeriesSet:
    """The first steps, in whole series if there are several."""
    if len(series.values) <= _MOST_STEPS:
        return series
    if len(series.lengths) == 1:
        lengths = np.array([_MOST_STEPS])
    else:
        lengths = series.lengths[: max(int(np.searchsorted(np.cumsum(series.lengths), _MOST_STEPS)), 1)]
    labels = None if series.labels is None else series.labels[: len(lengths)]
    total = int(lengths.sum())
    return SeriesSet(series.values[:total], lengths, series.schema, series.source, labels)
