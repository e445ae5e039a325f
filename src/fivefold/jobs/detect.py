"""Find anomalies: which items does the model not know how to explain?"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass

import numpy as np
import torch

from fivefold.errors import ModelError, UsageError
from fivefold.images.dataset import Mask, Source
from fivefold.images.statistics import item_statistics
from fivefold.model.conditional import Conditional
from fivefold.model.conditioning import Conditioning
from fivefold.model.fitted import FittedModel


@dataclass(frozen=True)
class Detection:
    """Per item, in the items' order.

    Attributes
    ----------
    score : `(n,)` float64, nats; higher = more normal
    p_value : `(n,)`: how often a normal item scores as low
    anomaly : `(n,)` bool
    calibrated_on : number of held-out items that the p-values compare with
    """

    score: np.ndarray
    p_value: np.ndarray
    anomaly: np.ndarray
    calibrated_on: int


def detect(
    model: FittedModel,
    data: Source,
    *,
    false_alarm_rate: float = 0.01,
    fdr: float | None = None,
    mask: Mask = None,
) -> Detection:
    """Score items, and flag those that are too strange.

    The score is the joint density of the item's statistics among those of normal items (density of states: Morningstar
    et al. 2020, arXiv:2006.09273, with the full covariance). The p-value compares it with the scores of other normal
    items (split conformal: Laxhammar & Falkman 2011; exact if those and the normal items are exchangeable). An item's
    score does not depend on the others.

    Parameters
    ----------
    false_alarm_rate : share of normal items that may be flagged, in (0, 1)
    fdr : if given, the share of normal items among the flagged ones to aim for instead, in (0, 1) (Benjamini &
        Hochberg 1995; with conformal p-values: Bates et al. 2023, arXiv:2104.08279); depends on the batch

    Raises
    ------
    UsageError : for a rate outside (0, 1)
    ModelError : if the model was fitted without held-out items
    """
    statistics = item_statistics(model, model.read(data, mask))
    return decide(model, statistics, false_alarm_rate, fdr)


def decide(
    model: FittedModel, statistics: np.ndarray, false_alarm_rate: float = 0.01, fdr: float | None = None
) -> Detection:
    """`detect` from the items' statistics, `(n, k)`."""
    check_rates(false_alarm_rate, fdr)
    if model.normality is None:
        raise ModelError(
            "the model has too few held-out items to compare with; fit with more items or a larger --validation"
        )
    calibrated_on = len(model.normality.calibration)
    warn_of_few(calibrated_on, "items", false_alarm_rate, fdr)
    score = model.normality.score(statistics)
    p_value = model.normality.p_value(score)
    anomaly = p_value <= false_alarm_rate if fdr is None else benjamini_hochberg(p_value, fdr)
    return Detection(score, p_value, anomaly, calibrated_on)


def check_rates(false_alarm_rate: float | None, fdr: float | None) -> None:
    """Raise `UsageError` for a rate outside (0, 1)."""
    for flag, rate in (("false-alarm-rate", false_alarm_rate), ("fdr", fdr)):
        if rate is not None and not 0 < rate < 1:
            raise UsageError(f"--{flag} must be between 0 and 1, got {rate:g}")


def warn_of_few(calibrated_on: int, of_what: str, false_alarm_rate: float, fdr: float | None) -> None:
    """Say so if there are too few p-values to flag anything."""
    smallest = 1 / (1 + calibrated_on)
    kind, rate = ("false-alarm", false_alarm_rate) if fdr is None else ("false-discovery", fdr)
    if smallest > rate:
        warnings.warn(
            f"with {calibrated_on} held-out {of_what} to compare with no p-value is below {smallest:.3g}: "
            f"nothing can be flagged at a {kind} rate of {rate:g}",
            stacklevel=3,
        )


def benjamini_hochberg(p_value: np.ndarray, fdr: float) -> np.ndarray:
    """Which hypotheses to reject, `(n,)` bool, for a false discovery rate of at most `fdr` (1995, equation 1)."""
    ordered = np.sort(p_value)
    passing = np.flatnonzero(ordered <= fdr * np.arange(1, len(ordered) + 1) / len(ordered))
    return p_value <= ordered[passing[-1]] if len(passing) else np.zeros(len(p_value), bool)


@torch.inference_mode()
def surprise(model: FittedModel, data: Source, *, mask: Mask = None) -> np.ndarray:
    """Bits that each element costs, given z and the elements before it: `(n, h, w, c)` float32, 0 where hidden.

    z is the posterior mean; real-valued elements have a density, whose bits may be negative.
    """
    items = model.read(data, mask)
    bits = np.empty(items.values.shape, np.float32)
    for rows, x, visible in model.batches(items):
        given = Conditional(model, Conditioning.CAUSAL, x, visible, model.vae.posterior(x, visible).mu)
        surprising = torch.where(visible, -given.log_prob(x), 0) / math.log(2)
        bits[rows] = surprising.cpu().numpy().transpose(0, 2, 3, 1)
    return bits
