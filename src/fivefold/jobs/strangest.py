"""The strangest of many independent items, and what is strange about each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from fivefold.items import Items, Lowest, concatenated
from fivefold.jobs.detect import Detection, calibrated, flag
from fivefold.jobs.impute import impute_items
from fivefold.modality import Dataset, modality_of
from fivefold.model.fitted import FittedModel

Describe = Callable[[Any, np.ndarray, np.ndarray, np.ndarray], dict[str, Any]]
"""Columns of a table from a schema, and the number of an element of each item and its values, found and expected: each `(n,)`."""


def strangest_items(
    model: FittedModel,
    data: Dataset,
    top: int,
    false_alarm_rate: float,
    known: Dataset | None,
    describe: Describe | None = None,
) -> Detection:
    """`Jobs.strangest` where items stand for themselves; why they are strange is said if one can `describe` it."""
    lowest = Lowest(top)
    likely = None if known is None else modality_of(model.schema).jobs.known(model, known)
    flagged = flag(model, data, false_alarm_rate, likely=likely, scores=lowest)
    found = Detection(flagged.score, flagged.p_value, flagged.anomaly, len(calibrated(model).calibration))
    because = _causes(model, data, lowest.items, describe) if describe and len(found.score) else {}
    return replace(found, strangest=item_table(data, lowest.items, found, because))


def item_table(data: Dataset, numbers: np.ndarray, found: Detection, causes: dict[str, Any]) -> pa.Table:
    """A row per item or step of these numbers."""
    scores = {"score": found.score, "p_value": found.p_value, "anomaly": found.anomaly}
    return pa.table({**data.named(numbers), **scores, **causes})


def _causes(model: FittedModel, data: Dataset, numbers: np.ndarray, describe: Describe) -> dict[str, Any]:
    """The strangest element of each item, with what is found there, and what would be filled in."""
    items = _items_at(model, data, numbers)
    surprise = modality_of(model.schema).jobs.surprise(model, items).reshape(len(items), -1)
    seen = items.visible()
    elements = np.where(seen.reshape(surprise.shape), surprise, -np.inf).argmax(axis=1)
    suspect = np.zeros(surprise.shape, bool)
    suspect[np.arange(len(items)), elements] = True
    filled = impute_items(model, replace(items, hidden=~seen | suspect.reshape(seen.shape)))[0]
    filled = model.schema.snap(filled)
    values = [part.reshape(surprise.shape)[suspect] for part in (items.values, filled)]
    return {**describe(model.schema, elements, *values), "surprise": surprise[suspect]}


def _items_at(model: FittedModel, data: Dataset, numbers: np.ndarray) -> Items:
    """The items of these numbers, in this order."""
    watch, first, parts = modality_of(model.schema).jobs.watcher(model), 0, []
    ascending = np.sort(numbers)
    for block in data.blocks("explain"):
        items = watch(block.items)
        inside = (ascending >= first) & (ascending < first + len(items))
        if inside.any():
            parts.append(items.select(ascending[inside] - first))
        first += len(items)
    return concatenated(parts).select(np.argsort(np.argsort(numbers)))


def _as_pixels(schema: Any, elements: np.ndarray, found: np.ndarray, expected: np.ndarray) -> dict[str, Any]:
    """Where a pixel is, from the top left corner, and its values."""
    y, x, channel = np.unravel_index(elements, schema.shape)
    places = {"y": y, "x": x} | ({"channel": channel} if schema.shape[2] > 1 else {})
    return {**places, "found": found, "expected": expected}


strangest_pixels = partial(strangest_items, describe=_as_pixels)
"""`Jobs.strangest` of items that are pictures."""
