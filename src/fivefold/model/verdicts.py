"""Whether a job is worth its while: each is tried on held-out items, beside the simplest alternative."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np

from fivefold.errors import FivefoldWarning, ModelError
from fivefold.items import Items, Schema
from fivefold.modality import modality_of

Job = Literal["compress", "denoise", "detect", "generate", "impute"]
_TREES = 30
_TOLERANCE = 2.0  # standard errors
FOLDS = 5  # of the classifier between two samples


@dataclass(frozen=True)
class Verdict:
    """One job of one model, tried once.

    Attributes
    ----------
    job : compress, denoise, detect, generate or impute
    figure : of the model
    alternative : of the best of the simplest alternatives
    name : of that alternative, such as `median filter`
    unit : of both figures
    good : whether the model does no worse than the alternative, but for two standard errors of the difference
    items : how many it was tried on
    held_out : whether these were held out in the fit, or are items of the fit
    more_is_better : whether the greater of the figures is the better one

    Examples
    --------
    >>> from fivefold.model.verdicts import Verdict
    >>> print(Verdict("impute", 0.25, 0.5, "mean", "squared error", good=True, items=100))
    0.25 against 0.5 (mean; squared error, less is better; 100 held-out items)
    """

    job: str
    figure: float
    alternative: float
    name: str
    unit: str
    good: bool
    items: int
    held_out: bool = True
    more_is_better: bool = False

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Verdict:
        """As a model's record holds it; in earlier ones the unit says which way is better.

        >>> import dataclasses
        >>> from fivefold.model.verdicts import Verdict
        >>> verdict = Verdict("impute", 0.25, 0.5, "mean", "squared error", good=True, items=100)
        >>> Verdict.of(dataclasses.asdict(verdict)) == verdict
        True
        """
        unit, comma, way = row["unit"].rpartition(", ")
        if "more_is_better" in row or not comma or not way.endswith(" better"):
            return cls(**row)
        return cls(**{**row, "unit": unit, "more_is_better": way.startswith("more")})

    @property
    def grade(self) -> str:
        """The verdict in a word: `better`, `even` (no better, but for the error), `WORSE`.

        >>> from fivefold.model.verdicts import Verdict
        >>> Verdict("impute", 0.25, 0.5, "mean", "squared error", good=True, items=100).grade
        'better'
        """
        ahead = (self.figure - self.alternative) * (1 if self.more_is_better else -1)
        even = f"{self.figure:.4g}" == f"{self.alternative:.4g}"
        return "WORSE" if not self.good else "better" if ahead > 0 and not even else "even"

    def __str__(self) -> str:
        tried = "held-out items" if self.held_out else "items of the fit"
        unit = f"{self.unit}, {'more' if self.more_is_better else 'less'} is better"
        return f"{self.figure:.4g} against {self.alternative:.4g} ({self.name}; {unit}; {self.items} {tried})"


class Recorded(Protocol):
    """What is asked of a model, fitted or as stored, which shows its verdicts itself and so lies above."""

    @property
    def record(self) -> dict[str, Any]: ...


class Judged(Recorded, Protocol):
    """What is asked of a fitted one."""

    @property
    def schema(self) -> Schema: ...

    @property
    def normality(self) -> Any: ...


Trial = Callable[[Any, Items, Items, np.random.Generator], Verdict | None]
"""Tries a job of a model on items, given those of the fit; None if it can't be tried."""


def verdict_of(model: Recorded, job: Job) -> Verdict | None:
    """What was found after the fit; None of a job that was not tried."""
    rows: list[dict[str, Any]] = model.record.get("verdicts", [])
    return next((Verdict.of(row) for row in rows if row["job"] == job), None)


def warn_if_worse(model: Recorded, job: Job, strict: bool = False) -> Verdict | None:
    """Warn of a job that did worse than its simplest alternative, and give that verdict; None of one that did not.

    Raises `ModelError` instead if `strict`.
    """
    verdict = verdict_of(model, job)
    if verdict is None or verdict.good:
        return None
    use = f"{job} by the simplest alternative: it" if job == "denoise" else f"{job}: the simplest alternative"
    text = f"{use} did better than this model after the fit: {verdict}"
    if strict:
        raise ModelError(text)
    warnings.warn(text, FivefoldWarning, stacklevel=3)
    return verdict


def too_few_to_flag(model: Judged, parameter: str, rate: float) -> str | None:
    """What to say if no p-value can be as low as a rate, which is called `parameter`, and what would help; else None."""
    count = 0 if model.normality is None else len(model.normality.calibration)
    least = 1 / (1 + count)
    if least <= rate:
        return None
    items = modality_of(model.schema).settings.WORDS.items
    return (
        f"detection compares with {count or 'no'} held-out {items}: at a `{parameter}` below {least:.2g} nothing "
        f"can be flagged; for {rate:g} it takes {round(1 / rate) - 1}: fit to more {items}, or with a larger `validation`"
    )


def compare_losses(job: Job, ours: np.ndarray, others: Mapping[str, np.ndarray], unit: str) -> Verdict:
    """By losses per item `(n,)`, of which less is better, the mean is the figure; NaN where an item has none."""
    name, theirs = min(others.items(), key=lambda pair: float(np.nanmean(pair[1])))
    difference = ours - theirs
    error = np.nanstd(difference) / np.sqrt(max(np.isfinite(difference).sum(), 1))
    good = bool(np.nanmean(difference) <= _TOLERANCE * error)
    return Verdict(job, float(np.nanmean(ours)), float(np.nanmean(theirs)), name, unit, good, len(ours))


def try_compression(sizes: Mapping[str, int], ours: int, items: int) -> Verdict:
    """By bytes of the same items in other files."""
    name, theirs = min(sizes.items(), key=lambda pair: pair[1])
    return Verdict("compress", ours / items, theirs / items, name, "bytes per item", ours <= theirs, items)


def try_detection(
    scores: tuple[np.ndarray, np.ndarray], features: tuple[np.ndarray, np.ndarray, np.ndarray]
) -> Verdict:
    """By the AUROC of strange items against normal ones, beside the distance to the nearest item of the fit.

    Parameters
    ----------
    scores : of the normal items `(n,)` and the strange ones `(m,)`, to the model; higher = more normal
    features : of the items of the fit, of the normal and of the strange ones, as rows of numbers
    """
    known, normal, strange = features
    distances = nearest_distances(known, normal), nearest_distances(known, strange)
    return compare_detection(scores, distances, "nearest neighbour")


def nearest_distances(known: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """From each of `rows` `(n, d)` to the nearest of the `known` ones: `(n,)`."""
    from sklearn.neighbors import NearestNeighbors

    distances: np.ndarray = NearestNeighbors(n_neighbors=1).fit(known).kneighbors(rows)[0][:, 0]
    return distances


def compare_detection(
    scores: tuple[np.ndarray, np.ndarray], others: tuple[np.ndarray, np.ndarray], name: str
) -> Verdict:
    """By the AUROC of strange items against normal ones, beside the alternative of that name.

    Parameters
    ----------
    scores : of the normal items `(n,)` and the strange ones `(m,)`, to the model; higher = more normal
    others : the same to the alternative; higher = stranger
    """
    ours, theirs = _placements(-scores[0], -scores[1]), _placements(*others)
    error = np.sqrt(sum(np.var(a - b) / len(a) for a, b in zip(ours, theirs, strict=True)))  # DeLong et al. 1988
    figure, alternative = float(ours[1].mean()), float(theirs[1].mean())
    good = bool(figure >= alternative - _TOLERANCE * error)
    return Verdict("detect", figure, alternative, name, "AUROC", good, len(ours[0]), more_is_better=True)


def _placements(normal: np.ndarray, strange: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How much of the strange items is above each normal one, and how much of the normal ones below each strange one."""
    order, other = np.sort(normal), np.sort(strange)
    below = (np.searchsorted(order, strange, "left") + np.searchsorted(order, strange, "right")) / (2 * len(order))
    above = (np.searchsorted(other, normal, "left") + np.searchsorted(other, normal, "right")) / (2 * len(other))
    return 1 - above, below


def try_generation(real: np.ndarray, made: np.ndarray, alone: np.ndarray) -> Verdict | None:
    """By how well a classifier tells new items from real ones, beside those whose elements are drawn each by itself.

    All are rows of numbers. None of too few.
    """
    from sklearn.ensemble import ExtraTreesClassifier

    forest = ExtraTreesClassifier(_TREES, random_state=0)
    order = np.random.default_rng(0).permutation(len(real) + len(made))
    ours, theirs = (two_sample_auroc(real, rows, forest, order) for rows in (made, alone))
    if ours is None or theirs is None:
        return None
    error = np.sqrt(1 / (6 * len(real)))  # of an AUROC of chance
    name = "elements drawn each by itself"
    text = "AUROC of a classifier between new and real ones"
    return Verdict("generate", ours, theirs, name, text, bool(ours <= theirs + _TOLERANCE * error), len(real))


def auroc(normal: np.ndarray, strange: np.ndarray) -> float:
    """How often a strange item's score is above a normal one's."""
    from sklearn.metrics import roc_auc_score

    labels = np.arange(len(normal) + len(strange)) >= len(normal)
    return float(roc_auc_score(labels, np.concatenate((normal, strange))))


def two_sample_auroc(real: np.ndarray, made: np.ndarray, model: Any, order: np.ndarray | None = None) -> float | None:
    """AUROC, cross-validated, of a classifier (`model`) between two samples `(n, d)`: at least 0.5, which is chance.

    None of too few. `order` is that in which all rows are cut into folds.
    """
    from sklearn.model_selection import cross_val_predict

    if min(len(real), len(made)) < 2 * FOLDS:
        return None
    rows = np.concatenate((real, made))
    order = np.arange(len(rows)) if order is None else order
    labels = order >= len(real)
    scores = cross_val_predict(model, rows[order], labels, cv=FOLDS, method="predict_proba")[:, 1]
    return max(0.5, auroc(scores[~labels], scores[labels]))
