"""What is strange about steps of series: which channels, and where they are farthest from what is expected there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from torch import Tensor

from fivefold.config import Conditioning
from fivefold.model.conditional import Conditional
from fivefold.model.context import by_element, column
from fivefold.model.fitted import FittedModel, channels_last
from fivefold.model.likelihoods import Likelihood
from fivefold.model.threads import in_threads
from fivefold.series.dataset import SeriesSet
from fivefold.series.results import CAUSES
from fivefold.series.schema import SeriesSchema
from fivefold.series.windows import Windows
from fivefold.tables.likelihood import ColumnLikelihood

_FAR = 4.0  # deviations from what is expected, from which on further channels are named
_AROUND = 8  # parts of a window that are looked at before and after a strangest step
_TOGETHER = 128  # windows of a thread


@dataclass(frozen=True)
class Stretches:
    """Steps that are strange together, numbered along the series one after the other; all `(e,)`.

    Attributes
    ----------
    first, last : of each stretch, both included
    peak : the strangest
    """

    first: np.ndarray
    last: np.ndarray
    peak: np.ndarray

    @classmethod
    def around(cls, peak: np.ndarray, schema: SeriesSchema) -> Stretches:
        """An eighth of a window to either side of the strangest steps."""
        return cls(peak - schema.steps // _AROUND, peak + schema.steps // _AROUND, peak)


def causes(model: FittedModel, data: SeriesSet, stretches: Stretches) -> dict[str, np.ndarray]:
    """Of each stretch, `(e,)` in columns `CAUSES`: the channels that are farthest from what is expected, the first first, how
    that is found and expected, and at which step, counted from the series' start.

    What is expected is predicted from what is around the stretch, within the window that has its strangest step in the middle.
    Found and expected are encoded: numbers as they are, states their code.
    """
    schema, total = cast(SeriesSchema, model.schema), len(stretches.peak)
    if not total:
        return {name: np.empty(0, kind) for name, kind in CAUSES.items()}
    ends = np.cumsum(data.lengths)
    series = np.searchsorted(ends, stretches.peak, side="right")
    begins = (ends - data.lengths)[series]
    starts = np.minimum(stretches.peak - schema.steps // 2, ends[series] - schema.steps)
    windows = Windows(data.lengths, series, np.maximum(starts, begins) - begins, schema.steps)
    places, inside = windows.places()
    suspect = inside & (places >= stretches.first[:, None]) & (places <= stretches.last[:, None])
    items = data.items(windows)
    found = items.values[..., 0]
    expected, off = _expected(model, data, windows, suspect)
    off = np.where(suspect[..., None] & ~np.isnan(found), np.abs(off), -1.0)
    at = off.argmax(axis=1)  # `(e, c)`
    most = np.take_along_axis(off, at[:, None], axis=1)[:, 0]
    first, rows = most.argmax(axis=1), np.arange(total)
    farthest = at[rows, first]
    named = [_names(schema, far) for far in most]
    columns = named, windows.starts + farthest, found[rows, farthest, first], expected[rows, farthest, first]
    return {name: np.array(part, kind) for (name, kind), part in zip(CAUSES.items(), columns, strict=True)}


def _names(schema: SeriesSchema, far: np.ndarray) -> str:
    """Of the channel that is farthest off, and of others that are far."""
    order = np.argsort(-far, kind="stable")
    return ", ".join(schema.channels.names[place] for place in order if place == order[0] or far[place] >= _FAR)


@torch.inference_mode()
def _expected(
    model: FittedModel, data: SeriesSet, windows: Windows, suspect: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """What steps `(e, t)` that are suspect are expected to be by the others of their windows, and by how many deviations they are
    off: `(e, t, c)` each."""
    items, (expected, off) = data.items(windows), np.empty((2, *suspect.shape, data.schema.channels.size))
    conditioning = Conditioning.MISSING if model.has_learnt(Conditioning.MISSING) else Conditioning.CAUSAL

    def expect(rows: slice, x: Tensor, visible: Tensor) -> None:
        shown = visible & ~torch.from_numpy(suspect[rows]).to(x.device)[:, None, :, None]
        seen = torch.where(shown, x, 0.0)
        given = Conditional(model, conditioning, seen, shown, model.vae.posterior(seen, shown).mu)
        values = by_element(x)

        def measure(likelihood: Likelihood, of: Tensor, elements: Tensor) -> Tensor:
            assert isinstance(likelihood, ColumnLikelihood)
            mean, variance = likelihood.moments()
            far = (likelihood.support.scaled(column(values[of, elements])) - mean) / variance.sqrt()
            return torch.stack((likelihood.point(), far), dim=1).view(-1, 2)

        unit, far = given.map(measure)
        expected[rows], off[rows] = model.values(unit)[..., 0], channels_last(far)[..., 0]

    in_threads(model, expect, model.batches(items, _TOGETHER))
    return expected, off
