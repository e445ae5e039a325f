"""p(x | z), element by element: what the networks return, and the only thing that the jobs ask.

Elements live on the unit scale: real in [0, 1], or `levels` equidistant values from 0 to 1. All tensors are
`(n, c, h, w)` unless said otherwise; a family's parameters `(n, p * c, h, w)`, p of them per element.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import ClassVar, final

import torch
import torch.nn.functional as F
from torch import Tensor

from fivefold.errors import UsageError


class Likelihood(ABC):
    """A distribution over items whose elements are independent given z."""

    parameters_per_element: ClassVar[int]

    @abstractmethod
    def log_prob(self, x: Tensor) -> Tensor:
        """Log probability (or density) of each element in nats."""

    @property
    @abstractmethod
    def mean(self) -> Tensor:
        """Expected value of each element."""

    @abstractmethod
    def sample(self, generator: torch.Generator) -> Tensor:
        """One draw of each element."""

    @abstractmethod
    def cdf(self, x: Tensor) -> Tensor:
        """P(X ≤ x) for each element."""

    @final
    def item_log_prob(self, x: Tensor, visible: Tensor | None = None) -> Tensor:
        """Log probability of each item's visible elements: `(n,)`, nats."""
        log_prob = self.log_prob(x)
        if visible is not None:
            log_prob = torch.where(visible, log_prob, 0.0)
        return log_prob.flatten(1).sum(1)


@final
class Bernoulli(Likelihood):
    """Each element is black or white; values between count as probabilities of white.

    `log_prob` is then minus the binary cross-entropy, the publication's reconstruction loss.
    """

    parameters_per_element = 1

    def __init__(self, parameters: Tensor, levels: int | None = None) -> None:
        self.logits = parameters

    def log_prob(self, x: Tensor) -> Tensor:
        return -F.binary_cross_entropy_with_logits(self.logits, x, reduction="none")

    @property
    def mean(self) -> Tensor:
        return torch.sigmoid(self.logits)

    def sample(self, generator: torch.Generator) -> Tensor:
        return torch.bernoulli(self.mean, generator=generator)

    def cdf(self, x: Tensor) -> Tensor:
        return torch.where(x >= 1, 1.0, torch.where(x >= 0, 1 - self.mean, 0.0))


@final
class DiscretizedLogisticMixture(Likelihood):
    """Exact probabilities of integer levels: logistics cut into bins, and point masses at both ends.

    Salimans et al. 2017, PixelCNN++ (arXiv:1701.05517), eq. 2, with masses for the black and white that images are
    full of. The tails beyond the ends belong to the end levels.
    """

    components: ClassVar[int] = 3
    parameters_per_element = 3 * components + 2
    _MIN_LOG_SCALE = -7.0

    def __init__(self, parameters: Tensor, levels: int | None) -> None:
        if levels is None or levels < 2:
            raise UsageError("--likelihood pixels needs integer data; use bernoulli or gaussian for real numbers")
        n, _, h, w = parameters.shape
        k = self.components
        logits, means, log_scales = parameters.view(n, -1, self.parameters_per_element, h, w).split(
            (k + 2, k, k), dim=2
        )
        self.levels = levels
        self._log_weights = F.log_softmax(logits, dim=2)  # components, then black, then white
        self._locations = torch.sigmoid(means) * (levels - 1)
        self._scales = torch.exp(log_scales.clamp(self._MIN_LOG_SCALE, 2.0)) * (levels - 1)

    def _index(self, x: Tensor) -> Tensor:
        """The level of each element, with an axis for the components: `(n, c, 1, h, w)`."""
        return torch.round(x * (self.levels - 1)).unsqueeze(2)

    def log_prob(self, x: Tensor) -> Tensor:
        index = self._index(x)
        upper = (index + 0.5 - self._locations) / self._scales
        lower = (index - 0.5 - self._locations) / self._scales
        first, last = index <= 0, index >= self.levels - 1
        # log(σ(u) − σ(l)) = log σ(u) + log σ(−l) + log(1 − e^(l − u)), without cancellation
        inside = F.logsigmoid(upper) + F.logsigmoid(-lower) + torch.log(-torch.expm1(-1 / self._scales))
        binned = torch.where(first, F.logsigmoid(upper), torch.where(last, F.logsigmoid(-lower), inside))
        ends = torch.where(torch.cat((first, last), dim=2), 0.0, -math.inf)
        return torch.logsumexp(self._log_weights + torch.cat((binned, ends), dim=2), dim=2)

    @property
    def mean(self) -> Tensor:
        """Expected value, to within half a level: Σ P(X > j) over the levels, as an integral."""
        top = self.levels - 1
        integral = self._scales * (
            F.softplus(self._locations / self._scales) - F.softplus((self._locations - top) / self._scales)
        )
        values = torch.cat(
            (integral / top, torch.zeros_like(integral[:, :, :1]), torch.ones_like(integral[:, :, :1])), 2
        )
        return (self._log_weights.exp() * values).sum(2)

    def sample(self, generator: torch.Generator) -> Tensor:
        weights = self._log_weights.movedim(2, -1).exp()
        choice = torch.multinomial(weights.flatten(0, -2), 1, generator=generator).view(weights.shape[:-1]).unsqueeze(2)
        uniform = torch.rand(self._locations.shape, generator=generator, device=choice.device).clamp(1e-6, 1 - 1e-6)
        top = self.levels - 1
        drawn = torch.round(self._locations + self._scales * torch.logit(uniform)).clamp(0, top) / top
        values = torch.cat((drawn, torch.zeros_like(drawn[:, :, :1]), torch.ones_like(drawn[:, :, :1])), 2)
        return values.gather(2, choice).squeeze(2)

    def cdf(self, x: Tensor) -> Tensor:
        index = torch.floor(x * (self.levels - 1) + 1e-4).unsqueeze(2)
        last = index >= self.levels - 1
        below = torch.sigmoid((index + 0.5 - self._locations) / self._scales)
        binned = torch.where(last, 1.0, torch.where(index >= 0, below, 0.0))
        ends = torch.cat((index >= 0, last), dim=2).to(binned.dtype)
        return (self._log_weights.exp() * torch.cat((binned, ends), dim=2)).sum(2).clamp(0, 1)


@final
class Gaussian(Likelihood):
    """A normal density per element, with its own mean and deviation."""

    parameters_per_element = 2
    _MIN_LOG_SCALE = -5.0  # below, a constant element's density grows without bound

    def __init__(self, parameters: Tensor, levels: int | None = None) -> None:
        self._mean, log_scale = parameters.chunk(2, dim=1)
        self.log_scale = log_scale.clamp(self._MIN_LOG_SCALE, 2.0)

    def log_prob(self, x: Tensor) -> Tensor:
        scaled = (x - self._mean) * torch.exp(-self.log_scale)
        return -0.5 * scaled.square() - self.log_scale - 0.5 * math.log(2 * math.pi)

    @property
    def mean(self) -> Tensor:
        return self._mean

    def sample(self, generator: torch.Generator) -> Tensor:
        noise = torch.randn(self._mean.shape, generator=generator, device=self._mean.device)
        return self._mean + noise * self.log_scale.exp()

    def cdf(self, x: Tensor) -> Tensor:
        return torch.special.ndtr((x - self._mean) * torch.exp(-self.log_scale))


FAMILIES: dict[str, type[Bernoulli] | type[DiscretizedLogisticMixture] | type[Gaussian]] = {
    "bernoulli": Bernoulli,
    "pixels": DiscretizedLogisticMixture,
    "gaussian": Gaussian,
}
