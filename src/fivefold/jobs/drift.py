"""Whether new data are still like those of the fit: column by column, and as a whole."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from fivefold.dataset import open_data
from fivefold.errors import DataError, ModelError
from fivefold.items import Items
from fivefold.jobs.two_samples import column_test, energy_test, holm
from fivefold.modality import modality_taking
from fivefold.model.fitted import FittedModel
from fivefold.model.reference import MOST, Reference, mean_levels
from fivefold.model.scoring import encode_items
from fivefold.notebook import table
from fivefold.seeds import derive_seed

NOTHING_REMEMBERED = "the model remembers no items of its fit to compare with: it is of an older version; fit it again"
_FEWEST = 5  # items


@dataclass(frozen=True)
class Drift:
    """How probable it is that data differ as much from those of the fit by chance.

    Attributes
    ----------
    p_value : of the data as a whole: twice the least of `codes` and `corrected`
    codes : of the items' codes, by energy distance and permutations, at least 0.001
    names : of the columns; of images and series of channels, whose means are compared
    columns, corrected : of each column, `(c,)` float64, by Kolmogorov's and Smirnov's test or, of classes, by chi-squared, also
        of how many cells are missing; and corrected for their number (Holm 1979)
    compared_with : number of items of the fit

    Examples
    --------
    >>> found = fivefold.drift(vae.model_, rows.assign(girth=rows["girth"] + 40))
    >>> [name for name, p in zip(found.names, found.corrected) if p < 0.01]
    ['girth']
    """

    p_value: float
    codes: float
    names: Sequence[str]
    columns: np.ndarray
    corrected: np.ndarray
    compared_with: int

    def table(self, rate: float) -> pa.Table:
        """A row for the whole, for the codes, and for each column: p-values, and whether they are at most `rate`.

        >>> found = fivefold.drift(vae.model_, rows)
        >>> found.table(0.01).column_names, found.table(0.01)["part"].to_pylist()[:3]
        (['part', 'column', 'p_value', 'corrected', 'drift'], ['batch', 'codes', 'column'])
        """
        corrected = np.array([self.p_value, min(1.0, 2 * self.codes), *self.corrected])
        return pa.table(
            {
                "part": ["batch", "codes", *["column"] * len(self.names)],
                "column": pa.array([None, None, *self.names], pa.string()),
                "p_value": [self.p_value, self.codes, *self.columns],
                "corrected": corrected,
                "drift": corrected <= rate,
            }
        )

    def _repr_html_(self) -> str:
        rows = [(name, float(p)) for name, p in zip(self.names, self.corrected, strict=True)]
        return table(f"Drift: p = {self.p_value:.2g}", [("codes", self.codes), *rows], ("column", "p-value"))


def drift(model: FittedModel, data: Any, *, seed: int = 0, **reading: Any) -> Drift:
    """Compare data with those of the fit, as far as the model remembers them: at most 1,024 items.

    Each item is to be independent of the others. Windows of series are taken side by side, but if a series wanders, windows one
    after the other are not independent, and p-values too small.

    Parameters
    ----------
    data : whatever the model's modality reads, or `Items`, or a dataset; of more than 1,024 items the codes of some are compared
    seed : of that choice, and of permutations
    reading : how the data are read; see the modality's `open`

    Raises
    ------
    DataError : if the data can't be read, are unlike those of the fit, or are fewer than 5 items
    ModelError : if the model remembers no items, as those fitted before there was `drift`

    Examples
    --------
    >>> found = fivefold.drift(vae.model_, rows)
    >>> found.p_value > 0.01, found.compared_with
    (True, 255)
    """
    jobs = modality_taking(model, "detect", **reading).jobs
    everything = open_data(data, model.schema, **reading).all_items()
    items = jobs.apart(everything)
    if len(items) < _FEWEST:
        raise DataError(f"{items.source}: must have at least {_FEWEST} items side by side to compare, got {len(items)}")
    rng = np.random.default_rng(derive_seed(seed, "drift"))
    remembered, (cells, names, classes) = jobs.remembered(model), jobs.compared(items)
    some = np.sort(rng.permutation(len(items))[:MOST])
    codes = energy_test(remembered.codes, encode_items(model, items.select(some))[0], rng)
    pairs = zip(remembered.levels.T, cells.T, classes, strict=True)
    columns = np.array([column_test(own, new, count) for own, new, count in pairs])
    corrected = holm(columns)
    least = min(1.0, 2 * min(codes, float(corrected.min())))
    return Drift(least, codes, names, columns, corrected, len(remembered.codes))


def remembered(model: FittedModel) -> Reference:
    """`Jobs.remembered` of models that keep a reference; raises `ModelError` for others."""
    reference: Reference | None = model.calibrations.get("reference")
    if reference is None:
        raise ModelError(NOTHING_REMEMBERED)
    return reference


def compared_channels(items: Items) -> tuple[np.ndarray, Sequence[str], Sequence[int]]:
    """`Jobs.compared` of pictures: the mean of each channel."""
    channels = items.schema.shape[2]
    return mean_levels(items, (1, 2)), [f"channel {number}" for number in range(channels)], [0] * channels
