"""Find anomalies: which items does the model not know how to explain?"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from fivefold.config import Conditioning, JobNumbers
from fivefold.dataset import open_data
from fivefold.errors import FivefoldWarning, ModelError
from fivefold.items import Block, Collector, Items
from fivefold.jobs import Results, collect, gathered, in_one_pass
from fivefold.modality import Dataset, ScoreCollector, modality_of, modality_taking
from fivefold.model.conditional import Conditional
from fivefold.model.fitted import FittedModel, channels_last
from fivefold.model.verdicts import too_few_to_flag, warn_if_worse
from fivefold.notebook import table

USUAL_RATE = 0.01  # of false alarms
_SHOWN = 5  # of the strangest, in notebooks


@dataclass(frozen=True)
class Detection:
    """Of each image or row, `(n,)`; of each step in the form in which the series came: `(n, t)` of arrays, one per row of tables.

    Attributes
    ----------
    score : float64, nats; higher = more normal; NaN where nothing was visible
    p_value : how often a normal item is as strange, of series less so after alarms; NaN likewise
    anomaly : bool
    calibrated_on : number of held-out items that the p-values compare with
    window_score, window_p_value : of series the lowest score in each window's middle, and how often a normal window's is as
        low, `(w,)`; else None
    events : of series, what the flagged steps make up, as `series.results.Events`; of parts, where flagged pictures are strange,
        as `parts.regions.Regions`; else None
    strangest : with `top`, a table of the strangest items (an Arrow table): which each is, its score, p-value, whether it is
        flagged, and its strangest element, as found and as expected; else None

    Examples
    --------
    >>> found = fivefold.detect(tree_model, trees)
    >>> found.score.shape, found.p_value.dtype, found.anomaly.dtype
    ((300,), dtype('float64'), dtype('bool'))
    """

    score: Any
    p_value: Any
    anomaly: Any
    calibrated_on: int
    window_score: np.ndarray | None = None
    window_p_value: np.ndarray | None = None
    events: Any = None
    strangest: Any = None

    def _repr_html_(self) -> str:
        score, p_value, anomaly = (_in_a_row(form) for form in (self.score, self.p_value, self.anomaly))
        title = f"{anomaly.sum():,} of {len(anomaly):,} flagged; compared with {self.calibrated_on:,} held-out ones"
        strangest = np.argsort(score)[:_SHOWN]  # NaN are last
        rows = [
            (int(at), *(float(form[at]) for form in (score, p_value)), "yes" if anomaly[at] else "") for at in strangest
        ]
        return table(title, rows, ("number", "score", "p-value", "flagged"))

    @property
    def windows(self) -> dict[str, np.ndarray] | None:
        """`window_score` and `window_p_value` as columns `score` and `p_value`; None where there are none.

        >>> list(fivefold.detect(load_model, loads, false_alarm_rate=0.05).windows)
        ['score', 'p_value']
        """
        if self.window_score is None or self.window_p_value is None:
            return None
        return {"score": self.window_score, "p_value": self.window_p_value}


def _in_a_row(form: Any) -> np.ndarray:
    """One number per item or step, `(n,)`, of whatever form."""
    return np.concatenate([np.ravel(part) for part in form]) if isinstance(form, list) else np.ravel(form)


def detect(
    model: FittedModel,
    data: Any,
    *,
    false_alarm_rate: float | None = None,
    fdr: float | None = None,
    top: int | None = None,
    normal: Any = None,
    strict: bool = False,
    **reading: Any,
) -> Detection:
    """Score items, and flag those that are too strange.

    The score of an image is the joint density of its statistics among those of normal items (density of states:
    Morningstar et al. 2020, arXiv:2006.09273, with the full covariance); that of a row counts their upper tails only; that of a
    part is minus the surprise of its strangest pixel; of series each step is scored, by how improbable it and those around are,
    and by what its window is like; there an alarm raises the bar for the next ones, so that drift is not flagged throughout.
    The p-value compares it with the scores of other normal items (split conformal: Laxhammar & Falkman 2011; exact if those and
    the normal items are exchangeable; of series the tail beyond those is taken as exponential). An item's score does not depend
    on the others, but for those of a series, and for a row that repeats the value of a column which in the fit had none twice.

    Parameters
    ----------
    data : whatever the model's modality reads, or `Items`, or a dataset
    false_alarm_rate : share of normal items that may be flagged, in (0, 1); by default 0.01
    fdr : if given, the share of normal items among the flagged ones to aim for instead, in (0, 1) (Benjamini &
        Hochberg 1995; with conformal p-values: Bates et al. 2023, arXiv:2104.08279); depends on the batch
    top : if given, only so many items are in the result, the strangest first: `score`, `p_value` and `anomaly` are
        `(n,)`, `strangest` says which they are, and why. Tables in files are read part by part, so memory does not grow with the
        rows. Of series each step stands for those around it: the next is at least a window away.
    normal : data that are known to be normal though they are flagged. Items like these, clearly nearer to one of them than to
        any that the model remembers of the fit, are compared with these alone; so are windows of series, which are not flagged
    strict : raise `ModelError` instead of warning where the simplest alternative did better on held-out items
    reading : how the data are read, such as `mask`; see the modality's `open`

    Raises
    ------
    UsageError : for a rate outside (0, 1), both rates, or a parameter that the modality does not take
    DataError : if the data can't be read, or are unlike those of the fit
    ModelError : if the model was fitted without held-out items; with `normal`, if it remembers no items

    Examples
    --------
    >>> found = fivefold.detect(tree_model, trees, false_alarm_rate=0.05)
    >>> int(found.anomaly.sum()), found.calibrated_on
    (14, 45)
    >>> wrong = trees.assign(girth=trees["girth"].where(trees.index != 3, 700.0))
    >>> fivefold.detect(tree_model, wrong, top=1).strangest.select(["row", "column", "found"]).to_pylist()
    [{'row': 3, 'column': 'girth', 'found': '700'}]
    """
    modality_taking(model, "detect", **reading)
    JobNumbers(false_alarm_rate=false_alarm_rate, fdr=fdr, top=top)
    dataset = open_data(data, model.schema, **reading)
    rate = USUAL_RATE if false_alarm_rate is None else false_alarm_rate
    known = None if normal is None else open_data(normal, model.schema)
    if top is not None:
        return strangest_in(model, dataset, top, rate, known, strict)
    found = detect_in(model, dataset, rate, fdr, known, strict)
    per_item = {name: dataset.in_form(getattr(found, name)) for name in ("score", "p_value", "anomaly")}
    return replace(found, **per_item)


def detect_in(
    model: FittedModel,
    data: Dataset,
    false_alarm_rate: float = USUAL_RATE,
    fdr: float | None = None,
    known: Dataset | None = None,
    strict: bool = False,
    heatmaps: bool = False,
) -> Detection:
    """`detect` for a dataset, `known` to be normal another one; its numbers per item or step are all in one row, `(len(data),)`.

    With `heatmaps` its collector of the role `surprise` gets that of each element, so that data are read once for both.
    """
    normal, jobs = _ready(model, strict, false_alarm_rate, fdr), modality_of(model.schema).jobs
    likely = None if known is None else jobs.known(model, known)
    with ExitStack() as stack:
        beside = data.collector("surprise", replace=False) if heatmaps else None
        collector = None if beside is None else stack.enter_context(beside)
        flagged = flag(model, data, false_alarm_rate, fdr, likely, heatmaps=collector)
        if collector is not None:
            collector.result()
    while (
        adapted := data.adapted(flagged.anomaly, lambda trial: flag(model, trial, false_alarm_rate).p_value)
    ) is not None:
        data = adapted
        flagged = flag(model, data, false_alarm_rate, fdr, likely)
    alone = Detection(flagged.score, flagged.p_value, flagged.anomaly, len(normal.calibration))
    found: Detection = jobs.in_context(model, data, alone, false_alarm_rate, fdr, flagged.least)
    if flagged.worst is None:
        return found
    return replace(found, window_score=flagged.worst, window_p_value=normal.window_p_value(flagged.worst))


def strangest_in(
    model: FittedModel,
    data: Dataset,
    top: int,
    false_alarm_rate: float = USUAL_RATE,
    known: Dataset | None = None,
    strict: bool = False,
) -> Detection:
    """`detect` of the `top` strangest items of a dataset, without those that are like ones `known` to be normal."""
    _ready(model, strict, false_alarm_rate)
    found: Detection = modality_of(model.schema).jobs.strangest(model, data, top, false_alarm_rate, known)
    return found


def _ready(model: FittedModel, strict: bool, false_alarm_rate: float, fdr: float | None = None) -> Any:
    """`calibrated`, after warnings of what is doubtful."""
    warn_if_worse(model, "detect", strict)
    normal = calibrated(model)
    parameter, rate = ("false_alarm_rate", false_alarm_rate) if fdr is None else ("fdr", fdr)
    if (remark := too_few_to_flag(model, parameter, rate)) is not None:
        warnings.warn(remark, FivefoldWarning, stacklevel=4)
    return normal


def detect_together(model: FittedModel, datasets: Sequence[Dataset], false_alarm_rate: float) -> list[Detection]:
    """`detect_in` for several small datasets of independent items in one pass; what it says of one depends on no other."""
    normal, jobs = _ready(model, False, false_alarm_rate), modality_of(model.schema).jobs
    found = in_one_pass(
        datasets, "detect", lambda items: normal.score(jobs.statistics(model, items)), lambda: jobs.watcher(model)
    )
    count = len(normal.calibration)
    return [Detection(score, *_judge(normal, score, false_alarm_rate, None), count) for _, score in found]


@dataclass(frozen=True)
class Flagged:
    """Items or steps by themselves.

    Attributes
    ----------
    score, p_value, anomaly : `(n,)`
    worst : scores of windows, or None
    least : what p-values are at least, as known items like these are normal, or None
    """

    score: np.ndarray
    p_value: np.ndarray
    anomaly: np.ndarray
    worst: np.ndarray | None
    least: np.ndarray | None


def flag(
    model: FittedModel,
    data: Dataset,
    false_alarm_rate: float,
    fdr: float | None = None,
    likely: Callable[[Items, np.ndarray], np.ndarray] | None = None,
    *,
    heatmaps: Collector | None = None,
    scores: ScoreCollector | None = None,
) -> Flagged:
    """Each item or step by itself, or those whose `scores` are kept, which are of none that is like known ones.

    `likely` says what p-values are at least; see `Jobs.known`.
    """
    jobs, normal, collected = modality_of(model.schema).jobs, calibrated(model), scores or data.scores()
    watch, lifted = jobs.watcher(model), data.scores() if likely is not None and scores is None else None
    for block in data.blocks("detect"):
        items = watch(block.items)
        score = normal.score(jobs.statistics(model, items))
        if likely is not None:
            at_least = likely(items, score)
            if lifted is not None:
                lifted.add(block, at_least)
            else:
                score = np.where(at_least > false_alarm_rate, np.nan, score)
        collected.add(block, score)
        if heatmaps is not None:
            heatmaps.add(block, jobs.surprise(model, items), items.visible())
    score, worst = collected.result()
    least = None if lifted is None else np.nan_to_num(lifted.result()[0])
    return Flagged(score, *_judge(normal, score, false_alarm_rate, fdr, least), worst, least)


def _judge(
    normal: Any, score: np.ndarray, false_alarm_rate: float, fdr: float | None, least: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """The p-value of each score, at `least` so much, and whether it is an anomaly's."""
    p_value = np.where(np.isnan(score), np.nan, normal.p_value(score))
    p_value = p_value if least is None else np.maximum(p_value, least)
    return p_value, p_value <= false_alarm_rate if fdr is None else flag_by_fdr(p_value, fdr)


def calibrated(model: FittedModel) -> Any:
    """The scores of normal items; raises `ModelError` if there are none."""
    if model.normality is None:
        items = modality_of(model.schema).settings.WORDS.items
        raise ModelError(
            f"the model has too few held-out {items} to compare with; fit with more, or with a larger `validation`"
        )
    return model.normality


def flag_by_fdr(p_value: np.ndarray, fdr: float) -> np.ndarray:
    """Which items are anomalies, `(n,)` bool, for a false discovery rate of at most `fdr`; none whose p-value is NaN."""
    anomaly: np.ndarray = ~np.isnan(p_value)
    anomaly[anomaly] = benjamini_hochberg(p_value[anomaly], fdr)
    return anomaly


def benjamini_hochberg(p_value: np.ndarray, fdr: float) -> np.ndarray:
    """Which hypotheses to reject, `(n,)` bool, for a false discovery rate of at most `fdr` (1995, equation 1)."""
    ordered = np.sort(p_value)
    passing = np.flatnonzero(ordered <= fdr * np.arange(1, len(ordered) + 1) / len(ordered))
    return p_value <= ordered[passing[-1]] if len(passing) else np.zeros(len(p_value), bool)


def surprise(model: FittedModel, data: Any, **reading: Any) -> Any:
    """How far each element costs more than expected, in the form of the data: the higher, the stranger.

    What it costs is its information content, −log p; expected is the mean of that, the entropy, under its predictive
    distribution given what else is visible; the unit is its spread. So elements of all kinds can be compared: about 0 is
    usual, above 3 or so is strange, whatever the column. A pixel is strange, too, if those next to it cost too much, or if it
    lies where all is smoother than expected, such as in a dead spot.

    Of arrays numbers like them, of tables a table of the modelled columns, of series in tables one with a row per step; NaN
    where a cell or value is missing, 0 where a pixel is hidden. Raises as `encode` does.

    Examples
    --------
    >>> wrong = trees.copy()
    >>> wrong.loc[3, "girth"] = 700.0
    >>> fivefold.surprise(tree_model, wrong).loc[3].idxmax()
    'girth'
    """
    modality = modality_taking(model, "surprise", **reading)
    dataset, watch = open_data(data, model.schema, **reading), modality.jobs.watcher(model)

    def measure(block: Block) -> Results:
        return {"surprise": (modality.jobs.surprise(model, watch(block.items)), block.items.visible())}

    return collect(dataset, "surprise", measure, (), ("surprise",))["surprise"]


def surprise_together(model: FittedModel, datasets: Sequence[Dataset]) -> list[Any]:
    """`surprise` of several small datasets of independent items in one pass."""
    jobs = modality_of(model.schema).jobs
    found = in_one_pass(datasets, "surprise", lambda items: jobs.surprise(model, items), lambda: jobs.watcher(model))
    return [
        gathered(data, "surprise", block, values, block.items.visible(), replace=False)
        for data, (block, values) in zip(datasets, found, strict=True)
    ]


def unwatched(model: FittedModel) -> Callable[[Items], Items]:
    """`Jobs.watcher` where blocks tell nothing of each other."""
    return lambda items: items


def by_itself(
    model: FittedModel,
    data: Dataset,
    found: Detection,
    false_alarm_rate: float,
    fdr: float | None,
    least: np.ndarray | None,
) -> Detection:
    """`Jobs.in_context` where items stand for themselves: as `found`."""
    return found


def apart(items: Items) -> Items:
    """`Jobs.apart` where items have nothing in common: all."""
    return items


@torch.inference_mode()
def excess(model: FittedModel, items: Items) -> np.ndarray:
    """`surprise` of the elements of items: `(n, h, w, c)` float32, 0 where hidden.

    Given z, the posterior mean, and all other visible elements; those before, if the context decoder has not learnt to fill in.
    """
    conditioning = Conditioning.MISSING if model.has_learnt(Conditioning.MISSING) else Conditioning.CAUSAL
    found = np.empty(items.values.shape, np.float32)
    for rows, x, visible in model.batches(items):
        given = Conditional(model, conditioning, x, visible, model.vae.posterior(x, visible).mu)
        found[rows] = channels_last(torch.where(visible, given.excess(x), 0))
    return found
