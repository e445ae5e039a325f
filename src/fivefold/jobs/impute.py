"""Fill in missing values."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from fivefold.config import Conditioning, JobNumbers
from fivefold.dataset import open_data
from fivefold.items import Block, Items
from fivefold.jobs import Results, collect, gathered, in_one_pass
from fivefold.modality import Dataset, modality_of, modality_taking
from fivefold.model.conditional import Conditional
from fivefold.model.context import as_items, by_element
from fivefold.model.fitted import FittedModel, standard_normal, uniform
from fivefold.model.likelihoods import Likelihood, bisect
from fivefold.model.threads import in_threads
from fivefold.model.vae import Posterior
from fivefold.model.verdicts import warn_if_worse
from fivefold.notebook import table
from fivefold.seeds import derive_seed

NOTHING_MISSING = "nothing is missing: the data come back as they are"
_ROUNDS = 48  # in which a draw is completed; the elements of a round don't see each other
_CODES_OF_DRAWS = 2  # where what is expected takes none
_TEMPER = 0.3  # power of the importance weights beside a context decoder


@dataclass(frozen=True)
class Imputed:
    """Completed data in the form in which they came; what was visible is unchanged in all of them, bit for bit.

    Attributes
    ----------
    data : missing elements are their expected values, classes the likeliest
    draws : as many more as asked for: missing elements are drawn together, so that neighbours agree
    lower, upper : ends of the interval in which a missing number lies with the probability asked for, a class none; or None
    missing : how many elements there were to fill in

    Examples
    --------
    >>> filled = fivefold.impute(tree_model, trees, n_draws=2)
    >>> len(filled.draws), filled.draws[0].shape, filled.lower is None
    (2, (300, 7), True)
    """

    data: Any
    draws: list[Any]
    lower: Any
    upper: Any
    missing: int

    def _repr_html_(self) -> str:
        rows = [("draws", len(self.draws)), ("intervals", "no" if self.lower is None else "yes")]
        return table("Imputed", [("filled in", f"{self.missing:,}"), *rows])


def impute(
    model: FittedModel,
    data: Any,
    *,
    n_samples: int | None = None,
    n_draws: int = 0,
    interval: float | None = None,
    seed: int = 0,
    free: bool = False,
    strict: bool = False,
    **reading: Any,
) -> Imputed:
    """Complete items from p(missing | visible); see `impute_items`.

    Parameters
    ----------
    data : whatever the model's modality reads, or `Items`, or a dataset
    free : of tables: relations between columns that were found in the fit need not hold
    strict : raise `ModelError` instead of warning where the simplest alternative did better on held-out items
    reading : how the data are read, such as `mask`; see the modality's `open`

    Raises
    ------
    UsageError : if a number is out of its range, or the modality doesn't take an option
    DataError : if the data can't be read, or are unlike those of the fit

    Examples
    --------
    >>> filled = fivefold.impute(tree_model, trees, interval=0.9)
    >>> filled.missing, int(filled.data.isna().sum().sum())
    (31, 0)
    >>> bool((filled.lower.height <= filled.upper.height).all())
    True
    """
    modality_taking(model, "impute", **reading, free=free or None)
    JobNumbers(n_samples=n_samples, n_draws=n_draws, interval=interval, seed=seed)
    warn_if_worse(model, "impute", strict)
    dataset = open_data(data, model.schema, **reading)
    draws, ends = [f"draw{number + 1}" for number in range(n_draws)], [] if interval is None else ["lower", "upper"]

    def complete(block: Block) -> Results:
        values = impute_items(
            model,
            block.items,
            n_samples=n_samples,
            n_draws=n_draws,
            interval=interval,
            seed=block.seed(seed),
            free=free,
        )
        missing = ~block.items.visible()
        return {role: (array, missing) for role, array in zip(("", *draws, *ends), values, strict=True)}

    filled = collect(dataset, "impute", complete, ("", *draws, *ends))
    if filled.changed == 0:
        warnings.warn(NOTHING_MISSING, stacklevel=2)
    lower, upper = (filled[role] if ends else None for role in ("lower", "upper"))
    return Imputed(filled[""], [filled[role] for role in draws], lower, upper, filled.changed)


def can_impute_together(model: FittedModel) -> bool:
    """Whether what is expected takes no random codes, which would depend on the items before."""
    return modality_of(model.schema).jobs.filling(model)[1] == 0


def impute_together(
    model: FittedModel, datasets: Sequence[Dataset], interval: float | None = None, free: bool = False
) -> list[Imputed]:
    """`impute`, without draws, of several small datasets of independent items in one pass; see `can_impute_together`."""
    warn_if_worse(model, "impute", False)
    roles = [""] if interval is None else ["", "lower", "upper"]
    found = in_one_pass(
        datasets,
        "impute",
        lambda items: impute_items(model, items, interval=interval, free=free),
        lambda: lambda items: items,
        axis=1,
    )
    results = []
    for data, (block, values) in zip(datasets, found, strict=True):
        missing = ~block.items.visible()
        forms = dict.fromkeys(("lower", "upper")) | {
            role: gathered(data, role, block, array, missing) for role, array in zip(roles, values, strict=True)
        }
        results.append(Imputed(forms[""], [], forms["lower"], forms["upper"], int(missing.sum())))
    return results


def by_codes(count: int) -> Callable[[FittedModel], tuple[FittedModel, int]]:
    """`Jobs.filling` of a model as it is, by so many codes."""
    return lambda model: (model, count)


@torch.inference_mode()
def impute_items(
    model: FittedModel,
    items: Items,
    *,
    n_samples: int | None = None,
    n_draws: int = 0,
    interval: float | None = None,
    seed: int = 0,
    free: bool = False,
) -> np.ndarray:
    """Completed items `(1 + n_draws + 2, n, h, w, c)`: expected, drawn, and with an `interval` its lower and upper ends.

    Codes z are drawn from the posterior given what is visible, weighted by importance (self-normalised, as in MIWAE:
    Mattei & Frellsen 2019, arXiv:1812.02633, eq. 12); given z and the visible elements around it, each missing one has
    a distribution of its own. With a context decoder the weights are tempered, since p(visible | z) takes elements for
    independent that are not, and each code is drawn once more, from the posterior of the item as it completes it
    (Rezende et al. 2014, arXiv:1401.4082, section 6.4). Draws take one code each, by weight, and the elements from the
    border of what is missing inwards, in random order at each depth, in 48 rounds, each seeing those before; of rows,
    whose cells have no borders that mean anything, that is an order among others. What is expected of rows is given one
    code, the posterior's mean, unless the model is `exact` or there are `n_samples`.

    Parameters
    ----------
    n_samples : codes per item; by default 10 of images, 2 of series and exact tables, whose elements depend more on others
    n_draws : completed items to draw, besides the expected one
    interval : probability of each missing element's interval, such as 0.9: the narrowest of the central one and those
        that leave out one tail only, made to hold the expected value too
    """
    if interval is not None and model.coverage is not None:
        interval = model.coverage.share(interval)
    filled = np.repeat(items.values[None], 1 + n_draws + (0 if interval is None else 2), axis=0)
    if all(items.visible(rows).all() for rows in items.batches(model.batch_size)):
        return filled
    model, usual = (room := modality_of(model.schema).jobs).filling(model)
    by_mean, n_samples = not (n_samples or usual), n_samples or usual or _CODES_OF_DRAWS

    def complete(rows: slice, x: Tensor, visible: Tensor, noise: Tensor, choices: Tensor, chances: Tensor) -> None:
        if n_draws or not by_mean:
            weights, codes = _draw_codes(model, x, visible, *noise.chunk(2, dim=1))
        of_expected = _mean_code(model, x, visible) if by_mean else (weights, codes)
        expected, *ends = _summarise(model, x, visible, *of_expected, interval)
        draws = [
            _draw(model, x, visible, _choose(codes, weights, choices[:, draw]), *chances[:, draw].unbind(1))
            for draw in range(n_draws)
        ]
        new = [model.values(unit, items.values.dtype) for unit in (expected, *draws, *ends)]
        new[1:] = map(model.schema.snap, new[1:])  # to values as real items have them; what is expected may lie between
        filled[:, rows] = np.where(items.visible(rows), items.values[rows], new)

    in_threads(model, complete, _incomplete(model, items, seed, n_samples, n_draws))
    if not free:
        filled[: 1 + n_draws] = room.consistent(model, items, filled[: 1 + n_draws])
    if interval is not None and not model.schema.numbers.all():
        filled[1 + n_draws :, ~items.visible() & ~model.schema.numbers] = np.nan
    return filled


def _incomplete(
    model: FittedModel, items: Items, seed: int, n_samples: int, n_draws: int
) -> Iterator[tuple[slice, Tensor, Tensor, Tensor, Tensor, Tensor]]:
    """Batches of which something is missing, and random numbers: normal ones for codes, uniform ones to choose a code by, and
    of each element of each draw for its place in the order, and a quantile."""
    streams = (derive_seed(seed, f"impute {stream}") for stream in ("codes", "choices", "elements"))
    for_codes, for_choices, for_elements = map(np.random.default_rng, streams)
    for rows, x, visible in model.batches(items):
        noise = standard_normal(for_codes, (len(x), 2 * n_samples, model.latent_dim), x.device)
        choices = uniform(for_choices, (len(x), n_draws), x.device)
        chances = uniform(for_elements, (len(x), n_draws, 2, model.schema.size), x.device).to(x.dtype)
        if not visible.all():
            yield rows, x, visible, noise, choices, chances


def _mean_code(model: FittedModel, x: Tensor, visible: Tensor) -> tuple[Tensor, Tensor]:
    """`_draw_codes` where the posterior's mean stands for all."""
    return x.new_ones(len(x), 1), model.vae.posterior(x, visible).mu.unsqueeze(1)


def _draw_codes(model: FittedModel, x: Tensor, visible: Tensor, noise: Tensor, more: Tensor) -> tuple[Tensor, Tensor]:
    """Weights `(n, s)`, sum 1, and codes `(n, s, latent_dim)`, from normal numbers like the codes."""
    posterior = model.vae.posterior(x, visible)
    codes = posterior.at(noise.transpose(0, 1)).transpose(0, 1)
    log_weights = torch.stack([_log_weight(model, posterior, x, visible, z) for z in codes.unbind(1)], dim=1)
    if model.has_learnt(Conditioning.MISSING):
        log_weights = _TEMPER * log_weights
        pairs = zip(_complete(model, x, visible, codes).unbind(1), more.unbind(1), strict=True)
        codes = torch.stack([model.vae.posterior(as_items(item, x)).at(draw) for item, draw in pairs], dim=1)
    return torch.softmax(log_weights, dim=1), codes


def _choose(codes: Tensor, weights: Tensor, chance: Tensor) -> Tensor:
    """One code of each item by weight, `(n, latent_dim)`, from uniform numbers `(n,)`."""
    chosen = (chance[:, None] > weights.cumsum(1)).sum(1).clamp_max(weights.shape[1] - 1)
    return codes[torch.arange(len(codes)), chosen]


def _log_weight(model: FittedModel, posterior: Posterior, x: Tensor, visible: Tensor, z: Tensor) -> Tensor:
    """log p(visible, z) − log q(z), but for a constant: `(n,)`."""
    prior = -0.5 * z.square().sum(1)
    return model.vae.likelihood(z).item_log_prob(x, visible) + prior - posterior.log_prob(z)


def _complete(model: FittedModel, x: Tensor, visible: Tensor, codes: Tensor) -> Tensor:
    """The items with expected values given each code, `(n, s, size)`."""
    given = Conditional(model, Conditioning.MISSING, x, visible, codes)
    completed = by_element(x).unsqueeze(1).repeat(1, given.codes, 1)
    for where in torch.split((~by_element(visible)).nonzero(), given.chunk):
        rows, elements = where.unbind(1)
        completed[rows, :, elements] = given(rows, elements).point().view(len(rows), -1)
    return completed


def _summarise(
    model: FittedModel, x: Tensor, visible: Tensor, weights: Tensor, codes: Tensor, interval: float | None
) -> list[Tensor]:
    """Expected values of the missing elements, then the ends of their intervals: each `(n, c, h, w)`, 0 elsewhere."""
    given = Conditional(model, Conditioning.MISSING, x, visible, codes)
    summaries = x.new_zeros((1 if interval is None else 3, *by_element(x).shape))
    for where in torch.split((~by_element(visible)).nonzero(), given.chunk):
        rows, elements = where.unbind(1)
        likelihood, weight = given(rows, elements), weights[rows].view(len(rows), 1, -1, 1)
        summaries[0, rows, elements] = expected = likelihood.point(weight).view(-1)
        if interval is not None:
            low, high = _interval(likelihood, weight, interval, model.schema.levels)
            low, high = torch.minimum(low, expected), torch.maximum(high, expected)  # a skewed one's mean is far out
            summaries[1:, rows, elements] = torch.stack((low, high))
    return [as_items(summary, x) for summary in summaries]


def _interval(likelihood: Likelihood, weight: Tensor, share: float, levels: int | None) -> Tensor:
    """Lower and upper ends of the narrowest of three intervals that hold `share` of the probability, `(2, m)`.

    The distributions `(m, 1, s, 1)` are mixed by `weight`, likewise.
    """

    def cdf(x: Tensor) -> Tensor:
        return (weight * likelihood.cdf(x.expand_as(weight))).sum(2, keepdim=True)

    def quantile(probability: float) -> Tensor:
        return bisect(cdf, torch.full_like(weight[:, :, :1], probability), levels).view(-1)

    tail = 1 - share
    low = torch.stack([quantile(probability) for probability in (tail / 2, tail)])
    high = torch.stack([quantile(probability) for probability in (share, 1 - tail / 2)])
    lower, upper = torch.cat((torch.zeros_like(low[:1]), low)), torch.cat((high, torch.ones_like(high[:1])))
    narrowest = (upper - lower).argmin(0, keepdim=True)
    return torch.cat((lower.gather(0, narrowest), upper.gather(0, narrowest)))


def _draw(model: FittedModel, x: Tensor, visible: Tensor, z: Tensor, order: Tensor, chance: Tensor) -> Tensor:
    """The items `(n, c, h, w)` with their missing elements drawn, round by round."""
    given = Conditional(model, Conditioning.MISSING, x, visible, z)
    turns, drawn = _turns(~visible, as_items(order, x)), by_element(x).clone()
    for turn in range(_ROUNDS):
        rows, elements = turns.eq(turn).nonzero().unbind(1)
        if len(rows):
            values = given(rows, elements).quantile(chance[rows, elements].view(-1, 1, 1, 1)).view(-1).clamp(0, 1)
            given.put(rows, elements, values)
            drawn[rows, elements] = values
    return as_items(drawn, x)


def _turns(hidden: Tensor, order: Tensor) -> Tensor:
    """The round in which each hidden element is drawn, `(n, size)`, from its border inwards; -1 for the visible."""
    depth, inner = torch.zeros_like(order), hidden.to(order.dtype)
    for _ in range(max(hidden.shape[2:])):  # where nothing is visible there is no border to end at
        if not inner.any():
            break
        depth, inner = depth + inner, -F.max_pool2d(-inner, 3, stride=1, padding=1)
    late, hidden = by_element(depth + order), by_element(hidden)
    rank = late.where(hidden, late.new_tensor(torch.inf)).argsort(1).argsort(1)
    count = hidden.sum(1, keepdim=True).clamp_min(1)
    return torch.where(hidden, rank * _ROUNDS // count, -1)
