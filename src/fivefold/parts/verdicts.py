"""Detection on pictures of parts beside the nearest patches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from fivefold.images.verdicts import denoise_simply, with_strange_blocks
from fivefold.items import Items
from fivefold.model.fitted import FittedModel
from fivefold.model.verdicts import Trial, Verdict, compare_detection, nearest_distances
from fivefold.parts.jobs import statistics

MOST_ITEMS, MOST_ELEMENTS = 200, 1 << 20  # that jobs are tried on
_PART = 8  # of a patch's side, that a strange block has
_SQUARE, _STEP = 8, 4  # pixels, of squares that are compared with the nearest ones
_MOST_SQUARES = 20_000

__all__ = ["MOST_ELEMENTS", "MOST_ITEMS", "TRIALS", "denoise_simply"]


def _try_detection(model: FittedModel, items: Items, train: Items, rng: np.random.Generator) -> Verdict | None:
    """Strange patches have a small block in turn of one colour, of noise, and from another patch: not what the fit made up."""
    normality = model.normality
    if normality is None or len(items) < 2 or not items.visible().all():
        return None
    truth = items.unit()[0]
    strange = with_strange_blocks(truth, rng, _PART)
    odd = replace(items, values=items.schema.from_unit(strange, items.values.dtype))
    scores = normality.score(statistics(model, items)), normality.score(statistics(model, odd))
    known = _squares(train.unit()[0])
    known = known.reshape(-1, known.shape[2])
    known = known[rng.permutation(len(known))[:_MOST_SQUARES]]
    return compare_detection(scores, (_farthest(known, truth), _farthest(known, strange)), "nearest patches")


def _squares(unit: np.ndarray) -> np.ndarray:
    """All squares of patches `(n, h, w, c)`, as rows of numbers: `(n, squares, d)`."""
    cut = np.lib.stride_tricks.sliding_window_view(unit, (_SQUARE, _SQUARE), (1, 2))[:, ::_STEP, ::_STEP]
    return cut.reshape(len(unit), cut.shape[1] * cut.shape[2], -1)


def _farthest(known: np.ndarray, unit: np.ndarray) -> np.ndarray:
    """Of each patch the greatest distance that a square has to the nearest known one, `(n,)`."""
    squares = _squares(unit)
    distances = nearest_distances(known, squares.reshape(-1, squares.shape[2])).reshape(len(unit), -1)
    return np.asarray(distances.max(axis=1))


TRIALS: Mapping[str, Trial] = {"detect": _try_detection}
