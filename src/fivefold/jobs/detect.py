"""Find anomalies: which items does the model not know how to explain?"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np

from fivefold.data.source import Mask, Source
from fivefold.errors import ModelError, UsageError
from fivefold.model.fitted import FittedModel
from fivefold.model.scoring import reconstruction_scores


@dataclass(frozen=True)
class Detection:
    """Per item, in the items' order.

    Attributes
    ----------
    score : `(n,)` float64, nats; higher = more normal
    p_value : `(n,)`: how often a normal item scores as low
    anomaly : `(n,)` bool: `p_value` at most the false-alarm rate
    """

    score: np.ndarray
    p_value: np.ndarray
    anomaly: np.ndarray


def detect(model: FittedModel, data: Source, *, false_alarm_rate: float = 0.01, mask: Mask = None) -> Detection:
    """Score items, and flag those that are too strange.

    The p-value compares the score with those of the items held out in the fit (split conformal: Laxhammar &
    Falkman 2011; exact if those and the normal items are exchangeable).

    Parameters
    ----------
    false_alarm_rate : share of normal items that may be flagged, in (0, 1)

    Raises
    ------
    UsageError : for a rate outside (0, 1)
    ModelError : if the model was fitted without held-out items
    """
    if not 0 < false_alarm_rate < 1:
        raise UsageError(f"--false-alarm-rate must be between 0 and 1, got {false_alarm_rate:g}")
    calibration = model.held_out_scores
    if len(calibration) == 0:
        raise ModelError(
            "the model has no held-out items to compare with; fit with more items or a larger --validation"
        )
    smallest = 1 / (1 + len(calibration))
    if smallest > false_alarm_rate:
        warnings.warn(
            f"with {len(calibration)} held-out items no p-value is below {smallest:.3g}: "
            f"nothing can be flagged at a false-alarm rate of {false_alarm_rate:g}",
            stacklevel=2,
        )
    score = reconstruction_scores(model, model.read(data, mask))
    as_strange = np.searchsorted(calibration, score, side="right")
    p_value = (1 + as_strange) / (1 + len(calibration))
    return Detection(score, p_value, p_value <= false_alarm_rate)
