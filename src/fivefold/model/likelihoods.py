"""p(x | z), element by element: what the networks return, and the only thing that the jobs ask.

Elements live on the unit scale: real in [0, 1], or `levels` equidistant values from 0 to 1. All tensors are
`(n, c, h, w)` unless said otherwise; a family's parameters `(n, p * c, h, w)`, p of them per element.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import cache, cached_property, lru_cache
from typing import ClassVar, final

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from fivefold.codec.mixtures import FEW_LEVELS, LOGISTIC_LOG_SCALES
from fivefold.errors import UsageError

_REACH = 4  # steps of a bisection that begins nearby
_LEAST_SPREAD = 0.1  # nats: what is nearly certain may cost a little more or less


class Likelihood(ABC):
    """A distribution over items whose elements are independent given z."""

    @abstractmethod
    def at(self, items: Tensor, elements: Tensor) -> Likelihood:
        """The same for single `elements` `(m,)` of `items` `(m, s)`, numbered in raster order, channels last: `(m, 1, s, 1)`."""

    @abstractmethod
    def log_prob(self, x: Tensor) -> Tensor:
        """Log probability (or density) of each element in nats."""

    @abstractmethod
    def point(self, weight: Tensor | None = None) -> Tensor:
        """The best single value of each element: a number's expected value, the likeliest class.

        With `weight` `(m, 1, s, 1)`, of the mixture over the s codes of single elements: `(m, 1, 1, 1)`.
        """

    @abstractmethod
    def cdf(self, x: Tensor) -> Tensor:
        """P(X ≤ x) for each element."""

    @abstractmethod
    def quantile(self, probability: Tensor) -> Tensor:
        """The smallest x with P(X ≤ x) ≥ `probability`, for each element; with uniform numbers in (0, 1), a draw."""

    @abstractmethod
    def information(self) -> tuple[Tensor, Tensor]:
        """Mean, which is the entropy, and spread of the information content −log p(X) of each element, nats."""

    @final
    def excess(self, x: Tensor) -> Tensor:
        """How far the information content of each element is above its mean, in spreads: no unit, the same of all elements."""
        entropy, spread = self.information()
        return (-self.log_prob(x) - entropy) / torch.sqrt(spread.square() + _LEAST_SPREAD**2)

    @final
    def item_log_prob(self, x: Tensor, visible: Tensor | None = None) -> Tensor:
        """Log probability of each item's visible elements: `(n,)`, nats."""
        log_prob = self.log_prob(x)
        if visible is not None:
            log_prob = torch.where(visible, log_prob, 0.0)
        return log_prob.flatten(1).sum(1)


class NumberLikelihood(Likelihood):
    """Of elements that are all numbers of one kind."""

    parameters_per_element: ClassVar[int]

    def __init__(self, parameters: Tensor, levels: int | None) -> None:
        self.parameters, self.levels = parameters, levels

    @final
    def at(self, items: Tensor, elements: Tensor) -> NumberLikelihood:
        n, _, h, w = self.parameters.shape
        split = self.parameters.view(n, -1, self.parameters_per_element, h, w).permute(0, 3, 4, 1, 2)
        chosen = split.reshape(n, -1, self.parameters_per_element)[items, elements[:, None]]
        return type(self)(chosen.transpose(1, 2).unsqueeze(3), self.levels)

    @property
    @abstractmethod
    def mean(self) -> Tensor:
        """Expected value of each element."""

    @property
    @abstractmethod
    def variance(self) -> Tensor:
        """Variance of each element."""

    @final
    def point(self, weight: Tensor | None = None) -> Tensor:
        return self.mean if weight is None else (weight * self.mean).sum(2, keepdim=True)


@final
class Bernoulli(NumberLikelihood):
    """Each element is black or white; values between count as probabilities of white.

    `log_prob` is then minus the binary cross-entropy, the publication's reconstruction loss.
    """

    parameters_per_element = 1

    def __init__(self, parameters: Tensor, levels: int | None = None) -> None:
        super().__init__(parameters, levels)
        self.logits = parameters

    def log_prob(self, x: Tensor) -> Tensor:
        return -F.binary_cross_entropy_with_logits(self.logits, x, reduction="none")

    @property
    def mean(self) -> Tensor:
        return torch.sigmoid(self.logits)

    @property
    def variance(self) -> Tensor:
        return self.mean * (1 - self.mean)

    def cdf(self, x: Tensor) -> Tensor:
        return torch.where(x >= 1, 1.0, torch.where(x >= 0, 1 - self.mean, 0.0))

    def quantile(self, probability: Tensor) -> Tensor:
        return (probability > 1 - self.mean).to(self.logits.dtype)

    def information(self) -> tuple[Tensor, Tensor]:
        costs = F.softplus(self.logits), F.softplus(-self.logits)
        return moments(costs, (1 - self.mean, self.mean))


@final
class DiscretizedLogisticMixture(NumberLikelihood):
    """Exact probabilities of integer levels: logistics cut into bins, and point masses at both ends.

    Salimans et al. 2017, PixelCNN++ (arXiv:1701.05517), eq. 2, with masses for the black and white that images are
    full of. The tails beyond the ends belong to the end levels.
    """

    components: ClassVar[int] = 5
    parameters_per_element = 3 * components + 2

    def __init__(self, parameters: Tensor, levels: int | None) -> None:
        if levels is None or levels < 2:
            raise UsageError("`likelihood` pixels needs integer data; use bernoulli or gaussian for real numbers")
        super().__init__(parameters, levels)
        self._top = _countable(levels - 1)
        n, _, h, w = parameters.shape
        k = self.components
        split = parameters.view(n, -1, self.parameters_per_element, h, w)
        logits, means, log_scales = torch.split(split, [k + 2, k, k], dim=2)
        self._log_weights = F.log_softmax(logits, dim=2)  # components, then black, then white
        self._locations = torch.sigmoid(means) * self._top
        self._scales = torch.exp(log_scales.clamp(*LOGISTIC_LOG_SCALES)) * self._top

    def _index(self, x: Tensor) -> Tensor:
        """The level of each element, with an axis for the components: `(n, c, 1, h, w)`."""
        return torch.round(x * self._top).unsqueeze(2)

    def log_prob(self, x: Tensor) -> Tensor:
        index = self._index(x)
        upper = (index + 0.5 - self._locations) / self._scales
        lower = (index - 0.5 - self._locations) / self._scales
        first, last = index <= 0, index >= self._top
        # log(σ(u) − σ(l)) = log σ(u) + log σ(−l) + log(1 − e^(l − u)), without cancellation
        inside = F.logsigmoid(upper) + F.logsigmoid(-lower) + torch.log(-torch.expm1(-1 / self._scales))
        binned = torch.where(first, F.logsigmoid(upper), torch.where(last, F.logsigmoid(-lower), inside))
        ends = torch.where(torch.cat((first, last), dim=2), 0.0, -math.inf)
        return torch.logsumexp(self._log_weights + torch.cat((binned, ends), dim=2), dim=2)

    @property
    def mean(self) -> Tensor:
        """Expected value: Σ P(X > j) over the levels; of more than 32, as an integral, to within half a level."""
        if self._top <= FEW_LEVELS:
            return torch.stack([self._beyond(j) for j in range(int(self._top))]).sum(0) / self._top
        integral = self._scales * (
            F.softplus(self._locations / self._scales) - F.softplus((self._locations - self._top) / self._scales)
        )
        return self._mix(integral / self._top)

    @property
    def variance(self) -> Tensor:
        """E[X²] − mean²: Σ (2j + 1) P(X > j); of more than 32 levels, by quadrature over each component's quantiles."""
        if self._top <= FEW_LEVELS:
            square = torch.stack([(2 * j + 1) * self._beyond(j) for j in range(int(self._top))]).sum(0) / self._top**2
        else:
            squares = torch.zeros_like(self._locations)
            for node, weight in zip(*logistic_nodes(16), strict=True):
                squares += weight * ((self._locations + self._scales * node) / self._top).clamp(0, 1).square()
            square = self._mix(squares)
        return (square - self.mean.square()).clamp_min(0)

    def _beyond(self, level: int) -> Tensor:
        """P(X > level)."""
        return 1 - self.cdf(torch.full_like(self._locations[:, :, 0], level / self._top))

    def _mix(self, values: Tensor) -> Tensor:
        """The mixture's mean of the components' `values`, with 0 and 1 for the ends."""
        return (self._weights[:, :, : self.components] * values).sum(2) + self._weights[:, :, -1]

    @cached_property
    def _weights(self) -> Tensor:
        return self._log_weights.exp()

    def cdf(self, x: Tensor) -> Tensor:
        index = torch.floor(x * self._top + 1e-4)
        below = torch.sigmoid((index.unsqueeze(2) + 0.5 - self._locations) / self._scales)
        inside = (self._weights[:, :, : self.components] * below).sum(2) + self._weights[:, :, self.components]
        return torch.where(index >= self._top, 1.0, torch.where(index >= 0, inside, 0.0)).clamp(0, 1)

    def quantile(self, probability: Tensor) -> Tensor:
        return bisect(self.cdf, probability, self.levels)

    def information(self) -> tuple[Tensor, Tensor]:
        """Of more than 32 levels, by quadrature over each component's quantiles."""
        if self._top <= FEW_LEVELS:
            levels = (
                torch.full_like(self._locations[:, :, 0], level / self._top) for level in range(int(self._top) + 1)
            )
            costs = [-self.log_prob(level) for level in levels]
            return moments(costs, [torch.exp(-cost) for cost in costs])
        nodes, shares = logistic_nodes(16)
        weights = self._weights.unbind(2)
        places = [
            (weight * share, (location + scale * node).clamp(0, self._top) / self._top)
            for weight, location, scale in zip(weights, self._locations.unbind(2), self._scales.unbind(2), strict=False)
            for node, share in zip(nodes, shares, strict=True)
        ]
        places += [(weights[-2], torch.zeros_like(weights[-2])), (weights[-1], torch.ones_like(weights[-1]))]
        return moments([-self.log_prob(x) for _, x in places], [weight for weight, _ in places])


@final
class Gaussian(NumberLikelihood):
    """A normal density per element, with its own mean and deviation."""

    parameters_per_element = 2
    _MIN_LOG_SCALE = -5.0  # below, a constant element's density grows without bound

    def __init__(self, parameters: Tensor, levels: int | None = None) -> None:
        super().__init__(parameters, levels)
        n, _, h, w = parameters.shape
        self._mean, log_scale = parameters.view(n, -1, 2, h, w).unbind(2)
        self.log_scale = log_scale.clamp(self._MIN_LOG_SCALE, 2.0)

    def log_prob(self, x: Tensor) -> Tensor:
        scaled = (x - self._mean) * torch.exp(-self.log_scale)
        return -0.5 * scaled.square() - self.log_scale - 0.5 * math.log(2 * math.pi)

    @property
    def mean(self) -> Tensor:
        return self._mean

    @property
    def variance(self) -> Tensor:
        return torch.exp(2 * self.log_scale)

    def cdf(self, x: Tensor) -> Tensor:
        below: Tensor = torch.special.ndtr((x - self._mean) * torch.exp(-self.log_scale))
        return below

    def quantile(self, probability: Tensor) -> Tensor:
        normal: Tensor = torch.special.ndtri(probability)
        return self._mean + normal * self.log_scale.exp()

    def information(self) -> tuple[Tensor, Tensor]:
        return self.log_scale + 0.5 * math.log(2 * math.pi * math.e), torch.full_like(self.log_scale, 0.5**0.5)


def moments(values: Sequence[Tensor], weights: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of `values` by their `weights`, which sum to 1."""
    pairs = list(zip(values, weights, strict=True))
    mean = torch.stack([weight * value for value, weight in pairs]).sum(0)
    variance = torch.stack([weight * (value - mean).square() for value, weight in pairs]).sum(0)
    return mean, variance.sqrt()


@lru_cache(maxsize=64)
def constant(numbers: tuple[float, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Numbers as a tensor `(n,)` that is made once."""
    with torch.inference_mode(False):
        return torch.tensor(numbers, dtype=dtype, device=device)


@cache
def logistic_nodes(count: int) -> tuple[list[float], list[float]]:
    """Gauss–Legendre over the quantiles of the standard logistic: its values there, and their weights."""
    places, weights = np.polynomial.legendre.leggauss(count)
    quantiles = (places + 1) / 2
    return np.log(quantiles / (1 - quantiles)).tolist(), (weights / 2).tolist()


def bisect(
    cdf: Callable[[Tensor], Tensor], probability: Tensor, levels: int | None, near: Tensor | None = None
) -> Tensor:
    """The smallest x in [0, 1] with `cdf(x) ≥ probability`; among `levels` equidistant values, or to within 1e-6.

    It may be known to be `near` some x, to within 4e-6.
    """
    steps, rounds = _countable(1 << 20 if levels is None else levels - 1), 0
    low, high = torch.zeros_like(probability), torch.full_like(probability, steps)
    if near is not None:
        middle = torch.round(near * steps)
        low, high = ((middle + reach).clamp(0, steps) for reach in (-_REACH, _REACH))
        rounds = (2 * _REACH).bit_length()
    for _ in range(rounds or int(steps).bit_length()):
        middle = torch.floor((low + high) / 2)
        enough = cdf(middle / steps) >= probability
        low, high = torch.where(enough, low, torch.minimum(middle + 1, high)), torch.where(enough, middle, high)
    return high / steps


def _countable(number: int) -> float:
    """An integer as tensors take it: beyond 2⁵³ as a float."""
    return number if number < 1 << 53 else float(number)


FAMILIES: dict[str, type[Bernoulli] | type[DiscretizedLogisticMixture] | type[Gaussian]] = {
    "bernoulli": Bernoulli,
    "pixels": DiscretizedLogisticMixture,
    "gaussian": Gaussian,
}
