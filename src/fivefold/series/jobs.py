"""The mathematics of jobs on series: statistics of steps for anomaly detection, denoising, drawing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

import numpy as np
import pyarrow as pa
import torch
import torch.nn.functional as F
from torch import Tensor

from fivefold.config import Conditioning
from fivefold.errors import ModelError, UsageError
from fivefold.items import Items
from fivefold.jobs.detect import Detection, detect_in, excess, flag_by_fdr, unwatched
from fivefold.jobs.drift import NOTHING_REMEMBERED
from fivefold.jobs.drift import remembered as remembered
from fivefold.jobs.generate import Generated, draw_items
from fivefold.jobs.impute import by_codes
from fivefold.jobs.known import Known, Least
from fivefold.jobs.strangest import item_table
from fivefold.model.conditional import Conditional
from fivefold.model.context import by_element, column
from fivefold.model.fitted import FittedModel, standard_normal, uniform
from fivefold.model.likelihoods import Likelihood
from fivefold.model.reference import mean_levels
from fivefold.model.threads import in_threads
from fivefold.progress import progress_bar
from fivefold.seeds import derive_seed
from fivefold.series.alarms import score_in_context, with_rising_bar
from fivefold.series.causes import Stretches, causes
from fivefold.series.context import SeriesContext, step_support
from fivefold.series.dataset import SeriesSet, read_series
from fivefold.series.patches import PatchScore, tail_nats
from fivefold.series.results import caused
from fivefold.series.schema import SeriesSchema
from fivefold.series.scores import IndependentScore
from fivefold.series.windows import Windows
from fivefold.tables.likelihood import ColumnLikelihood

EXTRA_ROLE = "std"
surprise, watcher, filling = excess, unwatched, by_codes(2)
_BLOCK, _TOGETHER = 256, 128  # windows at once, and those of a thread
_KNOWN = 4  # share of a window that is drawn at once, as 1 / so much; the rest is known
WIDTHS = (9, 33)  # steps over which squared deviations are averaged
_SUSPECT = 8.0  # nats of surprise, about four deviations, above which a value is not to mislead what follows
_TRIALS = 8  # values of a window that may be suspect
_FAR, _COUNTED = 30.0, 16.0  # nats of one step's surprise, and its squared deviations in averages: more does not count
_LEAST = 1e-4  # mean squared deviation


@torch.inference_mode()
def denoise(model: FittedModel, items: Items, *, seed: int = 0) -> dict[str, tuple[np.ndarray, np.ndarray | None]]:
    """The clean windows `(n, t, c, 1)` that noisy ones stand for: E[x | z, noisy window]; and in the role `std` its deviation.

    Noise is taken to be white, its strength need not be known.
    """
    values, std = np.empty((2, *items.values.shape))
    for rows, x, visible in model.batches(items):
        given = Conditional(model, Conditioning.NOISY, x, visible, model.vae.posterior(x, visible).mu)
        unit, deviation = given.map(_expected)
        values[rows], std[rows] = model.values(unit), _as_spread(model, unit, deviation)
    return {"": (values, items.visible()), "std": (std, items.visible())}


def _expected(likelihood: Likelihood, items: Tensor, elements: Tensor) -> Tensor:
    assert isinstance(likelihood, ColumnLikelihood)
    return torch.stack((likelihood.point(), likelihood.moments()[1].clamp_min(0).sqrt()), dim=1).view(-1, 2)


def _as_spread(model: FittedModel, unit: Tensor, std: Tensor) -> np.ndarray:
    """Deviations on the channels' scales, `(n, 1, t, c)`, in the data's units: `(n, t, c, 1)`."""
    columns = cast(SeriesSchema, model.schema).channels.columns
    spread, centre = (np.array([getattr(column, name) for column in columns])[:, None] for name in ("spread", "centre"))
    off = (model.values(unit) - centre) / spread
    in_units: np.ndarray = spread * np.sqrt(1 + np.square(off)) * std.cpu().numpy().transpose(0, 2, 3, 1)
    return in_units


def generate(
    model: FittedModel,
    n: int,
    seed: int,
    *,
    after: Any = None,
    steps: int | None = None,
    temperature: float = 1.0,
    **dialect: Any,
) -> Generated:
    """`n` new windows; or, `after` series, `n` ways in which each may go on for some `steps`. `dialect`: of the file of these.

    Raises `UsageError` for options that exclude each other, `ModelError` if the context decoder has not learnt what it takes.
    """
    schema = cast(SeriesSchema, model.schema)
    if after is None:
        if steps is not None:
            raise UsageError("`steps` goes with `after`: a window that is drawn anew has the model's number of steps")
        if dialect:
            raise UsageError(f"`{min(dialect)}` goes with `after`, which is what is read")
        sharp = model.has_learnt(Conditioning.CAUSAL)
        drawn = draw_items(model, n, seed, prior="fitted", sharp=sharp, temperature=temperature)
        counts = {"windows": n, "steps": schema.steps}
        return Generated(schema.snap(drawn), {"sample": np.arange(n)}, counts=counts)
    if temperature != 1:
        raise UsageError("`temperature` does not go with `after`")
    series = read_series(after, schema, **dialect)
    drawn = continuations(model, series, schema.steps if steps is None else steps, n, seed)
    count = drawn.shape[1]
    number = np.tile(np.arange(count), n)
    labels: dict[str, Any] = {"sample": np.repeat(np.arange(n), count)}
    names = None if series.grid is None else series.grid.names
    if names is not None or count > 1:
        labels[schema.ids or "series"] = number if names is None else np.array(names.to_pylist(), object)[number]
    if series.grid is not None and (ahead := series.grid.ahead(drawn.shape[2])) is not None:
        time = schema.time or ""
        labels["time" if not time or time.startswith("__index_level_") else time] = ahead.take(
            pa.array(np.tile(np.arange(len(ahead)), n))
        )
    counts = {"continuations": n, "series": count, "steps": drawn.shape[2]}
    return Generated(drawn.reshape(-1, *drawn.shape[2:], 1), labels, (n, count), counts)


@torch.inference_mode()
def draw(model: FittedModel, codes: np.ndarray, seed: int) -> np.ndarray:
    """Windows `(n, t, c, 1)`, all steps at once.

    Values are to depend on each other as those of real windows do: a normal copula (Nelsen 2006, chapter 2) over the
    distributions that the VAE has of each.
    """
    assert isinstance(model.context, SeriesContext)
    rng, parts = np.random.default_rng(derive_seed(seed, "sharp")), []
    steps, channels, _ = model.schema.shape
    for start in range(0, len(codes), model.batch_size):
        z = model.codes(codes[start : start + model.batch_size].astype(np.float32))
        noise = standard_normal(rng, (len(z), 1, steps, channels), model.device)
        shares = torch.special.ndtr(model.context.residual.correlated(noise))
        parts.append(model.values(model.vae.likelihood(z).quantile(shares)))
    return np.concatenate(parts)


@torch.inference_mode()
def continuations(model: FittedModel, series: SeriesSet, steps: int, n: int, seed: int) -> np.ndarray:
    """`n` ways in which each series may go on, drawn step by step: `(n, s, steps, c)`, encoded.

    Each part of a window is drawn given what came before in it, and a code drawn from the posterior given that.

    Raises `UsageError` if `steps` is below 1, `ModelError` if the model's context decoder has not learnt what it takes.
    """
    if steps < 1:
        raise UsageError(f"`steps` must be at least 1, got {steps}")
    if not model.has_learnt(Conditioning.CAUSAL):
        raise ModelError("`after` needs a model with a context decoder, this one has none")
    schema = cast(SeriesSchema, model.schema)
    rng, c = np.random.default_rng(derive_seed(seed, "continue")), schema.channels.size
    ahead = max(schema.steps // _KNOWN, 1)
    ends = np.cumsum(series.lengths)
    places = ends[:, None] + np.arange(-schema.steps, 0)
    inside = places >= (ends - series.lengths)[:, None]
    known = np.where(inside[..., None], series.values[np.maximum(places, 0)], np.nan)
    paths = np.tile(known, (n, 1, 1))
    parts = []
    with progress_bar("continue", steps) as bar:
        for first in range(0, steps, ahead):
            count = min(ahead, steps - first)
            windows = np.concatenate((paths[:, count:], np.full((len(paths), count, c), np.nan)), axis=1)
            items = Items(windows[..., None], schema, series.source)
            drawn = np.concatenate(
                [_draw_ahead(model, items.select(rows), count, rng) for rows in items.batches(_BLOCK)]
            )
            paths = np.concatenate((windows[:, : schema.steps - count], drawn), axis=1)
            parts.append(drawn)
            bar.advance(steps=count)
    return np.concatenate(parts, axis=1).reshape(n, len(ends), steps, c)


def _draw_ahead(model: FittedModel, items: Items, count: int, rng: np.random.Generator) -> np.ndarray:
    """The last `count` steps of windows, `(b, count, c)`."""
    unit, seen = items.unit()
    x, visible = model.tensor(unit), model.tensor(seen)
    c, size = x.shape[3], x.shape[2] * x.shape[3]
    noise = standard_normal(rng, (len(x), model.latent_dim), x.device)
    chances = uniform(rng, (len(x), count * c), x.device).to(x.dtype)
    given = Conditional(model, Conditioning.CAUSAL, x, visible, model.vae.posterior(x, visible).at(noise))
    values, rows = by_element(x).clone(), torch.arange(len(x), device=x.device)
    for number, element in enumerate(range(size - count * c, size)):
        here = torch.full_like(rows, element)
        values[:, element] = given(rows, here).quantile(chances[:, number].view(-1, 1, 1, 1)).view(-1).clamp(0, 1)
        given.put(rows, here, values[:, element])
    drawn = model.values(values.view(len(x), 1, -1, c))[:, -count:]
    return model.schema.snap(drawn)[..., 0]


@torch.inference_mode()
def statistics(model: FittedModel, items: Items) -> np.ndarray:
    """Surprise of the visible values of each step, `(n, t, k)` float64, NaN where nothing is visible.

    Given those before them, by the context decoder, and given the window's code, by the VAE: minus log density; and log mean
    squared deviations over 9 and over 33 steps around, which are strange if they are small, too. Both are in units of the
    deviation that was expected, so that steps of which more is known can be compared with others, and means over the channels.
    Very surprising values are taken for wrong: predictions and codes do without.
    """
    causal = model.has_learnt(Conditioning.CAUSAL)
    found = np.empty((len(items), items.schema.shape[0], (1 + causal) * (1 + len(WIDTHS))))

    def measure(rows: slice, x: Tensor, visible: Tensor) -> None:
        trusted, parts = visible, []
        if causal:
            cost, trusted = _doubting(model, x, visible)
            parts += [cost]
        level = _levelled(model, x, trusted)
        likelihood = model.vae.likelihood(model.vae.posterior(_shown(level, trusted), trusted).mu)
        parts += [_surprise(likelihood, level)]
        steps, count = visible.any(3), visible.sum(3).clamp_min(1)
        features = []
        for cost, square in parts:
            features.append(torch.where(visible, cost.clamp(max=_FAR), 0).sum(3) / count)
            averaged = torch.where(visible, square.clamp(max=_COUNTED), 0).sum(3) / count
            features += [_log_averaged(averaged, steps, width) for width in WIDTHS]
        shown = torch.where(steps[:, 0, :, None], torch.stack(features, dim=3)[:, 0], torch.nan)
        found[rows] = shown.double().cpu().numpy()

    in_threads(model, measure, model.batches(items, _TOGETHER))
    return found


def _doubting(model: FittedModel, x: Tensor, visible: Tensor) -> tuple[Tensor, Tensor]:
    """Surprise and squared deviation given those before, `(2, n, 1, t, c)`, and which values are to be trusted.

    The first suspect value of a window can't be one that others mislead, so it is left out; then the next is looked for.
    """
    measured, trusted = _of_causal(model, x, visible), visible.clone()
    rows = torch.arange(len(x), device=x.device)
    for _ in range(_TRIALS):
        suspect = ((measured[0, rows] > _SUSPECT) & trusted[rows]).flatten(1)
        chosen = suspect.any(1)
        rows, suspect = rows[chosen], suspect[chosen]
        if len(rows) == 0:
            break
        first = suspect.to(torch.uint8).argmax(1)
        trusted.view(len(x), -1)[rows, first] = False
        measured[:, rows] = _of_causal(model, x[rows], trusted[rows])
    return measured, trusted


def _of_causal(model: FittedModel, x: Tensor, trusted: Tensor) -> Tensor:
    values = by_element(x)

    def measure(likelihood: Likelihood, items: Tensor, elements: Tensor) -> Tensor:
        return _surprise(likelihood, column(values[items, elements])).flatten(1).T

    return Conditional(model, Conditioning.CAUSAL, _shown(x, trusted), trusted, None).map(measure)


def _levelled(model: FittedModel, x: Tensor, trusted: Tensor) -> Tensor:
    """Windows whose channels' levels wander, moved to the middle of where they were in the fit."""
    schema = cast(SeriesSchema, model.schema)
    wanders = torch.tensor(schema.wander, device=x.device) > 0
    middle = step_support(schema, x).unit(x.new_zeros(()))
    mean = _shown(x, trusted).sum(2, keepdim=True) / trusted.sum(2, keepdim=True).clamp_min(1)
    return torch.where(wanders, x - mean + middle, x)


def _shown(x: Tensor, trusted: Tensor) -> Tensor:
    return torch.where(trusted, x, 0.0)


def count_statistics(model: FittedModel) -> int:
    """The k of `statistics`."""
    return (1 + len(WIDTHS)) * (2 if model.has_learnt(Conditioning.CAUSAL) else 1)


def _surprise(likelihood: Likelihood, x: Tensor) -> Tensor:
    """Minus log density, and squared deviation, of each value: `(2, n, 1, t, c)`."""
    assert isinstance(likelihood, ColumnLikelihood)
    mean, variance = likelihood.moments()
    cost = likelihood.support.log_width(x) - likelihood.log_prob(x) - 0.5 * variance.log()
    return torch.stack((cost, (likelihood.support.scaled(x) - mean).square() / variance))


def _log_averaged(squares: Tensor, steps: Tensor, width: int) -> Tensor:
    """Log means of `(n, 1, t)` over the known steps around; of fewer than `width` nearer to 0, as such means vary more."""
    kernel = squares.new_ones(1, 1, width)
    known = steps.to(squares.dtype)
    sums, counts = (F.conv1d(values, kernel, padding=width // 2) for values in (squares * known, known))
    return (sums / counts.clamp_min(1)).clamp_min(_LEAST).log() * (counts / width).sqrt()


def in_context(
    model: FittedModel,
    data: SeriesSet,
    found: Detection,
    false_alarm_rate: float,
    fdr: float | None,
    least: np.ndarray | None,
) -> Detection:
    """Steps judged by what their windows are like, too, and with what is around, and what the flagged ones make up."""
    judged = _judged(model, data, found, false_alarm_rate, fdr, least)
    events = data.events(judged.score, judged.p_value, judged.anomaly, found.anomaly)
    firsts = (np.cumsum(data.lengths) - data.lengths)[events.series]
    stretches = Stretches(events.start + firsts, events.end + firsts, events.peak + firsts)
    return replace(judged, events=replace(events, **causes(model, data, stretches)))


def _judged(
    model: FittedModel,
    data: SeriesSet,
    found: Detection,
    false_alarm_rate: float,
    fdr: float | None,
    least: np.ndarray | None,
) -> Detection:
    """Scores and flags of steps; as `found` by models of before."""
    patches: PatchScore | None = model.calibrations.get("patches")
    if patches is None:
        return found
    own, evidence = evidence_against(model, patches, data, found.score)
    score = score_in_context(evidence, own, data.lengths, data.schema.steps)
    nats = tail_nats(evidence, patches.evidence)
    if least is not None:
        nats = np.minimum(nats, -np.log(np.maximum(least, np.finfo(np.float64).tiny)))
    if fdr is not None:
        p_value = np.exp(-nats)
        return replace(found, score=score, p_value=p_value, anomaly=flag_by_fdr(p_value, fdr))
    p_value = with_rising_bar(nats, data.lengths, data.schema.steps, false_alarm_rate)
    return replace(found, score=score, p_value=p_value, anomaly=p_value <= false_alarm_rate)


def known(model: FittedModel, data: SeriesSet) -> Least:
    """See `Jobs`: p-values are 1 in windows that are nearer to one of the data, from any step on, than to those remembered."""
    patches: PatchScore | None = model.calibrations.get("patches")
    if patches is None:
        raise ModelError(NOTHING_REMEMBERED)
    windows = Windows.of(data.lengths, data.schema.steps, 1)
    places, others = map(torch.from_numpy, patches.places(windows.cut(data.values)))
    alike = Known(places, np.zeros(len(places)), others)

    def least(items: Items, score: np.ndarray) -> np.ndarray:
        cut = np.where(items.visible(), items.values, np.nan)[..., 0]
        near = alike.near(torch.from_numpy(patches.places(cut)[0])).any(axis=1, keepdims=True)
        return np.broadcast_to(near, score.shape).astype(np.float64)

    return least


def strangest(model: FittedModel, data: SeriesSet, top: int, false_alarm_rate: float, known: Any) -> Detection:
    """See `Jobs`: the strangest step first, then the next that is a window away from those before, and so on."""
    whole = detect_in(model, data, false_alarm_rate, known=known)
    numbers = data.apart(np.where(whole.p_value < 1, whole.score, np.nan), top)
    found = Detection(whole.score[numbers], whole.p_value[numbers], whole.anomaly[numbers], whole.calibrated_on)
    because = causes(model, data, Stretches.around(numbers, data.schema))
    return replace(
        found, strangest=item_table(data, numbers, found, caused(data.index, data.steps(numbers)[0], because))
    )


def evidence_against(
    model: FittedModel, patches: PatchScore, data: SeriesSet, score: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Nats against steps `(total,)` by their own `score`, and by that and what their windows are like."""
    own = own_nats(cast(IndependentScore, model.normality), score)
    evidence, against = np.empty_like(own), patches.against(data.values, data.windows)
    for rows in data.windows.batches(_BLOCK):
        data.windows.stitch(evidence, rows, np.repeat(against[rows, None], data.schema.steps, axis=1))
    return own, evidence + own


def apart(items: Items) -> Items:
    """Windows side by side."""
    return items.select(cast(Windows, items.origin).thinned(items.schema.shape[0]))


def compared(items: Items) -> tuple[np.ndarray, Sequence[str], Sequence[int]]:
    """See `Jobs`: the mean of each channel in each window."""
    names = cast(SeriesSchema, items.schema).channels.names
    return mean_levels(items, (1, 3)), names, [0] * len(names)


def own_nats(normal: IndependentScore, score: np.ndarray) -> np.ndarray:
    """Tail probabilities of steps' own scores among those of normal ones, in nats; NaN stays."""
    return tail_nats(-score, -normal.calibration[::-1])


def consistent(model: FittedModel, items: Items, filled: np.ndarray) -> np.ndarray:
    """As they are: nothing is known to hold exactly."""
    return filled
