"""Rows to networks and back: features of cells, and from hidden units the likelihood p(cell | …) of columns of any kind."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import final

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fivefold.model.likelihoods import Likelihood, bisect, constant, logistic_nodes, moments
from fivefold.tables import mixtures
from fivefold.tables.schema import TableSchema
from fivefold.tables.settings import COMPONENTS, FARTHEST_CELL, KNOTS, LOG_SCALES, feature_places

FINEST = 1 / 64  # of a column's spread: nearer numbers are distinguished only if its step does
FIRST_LOCATIONS = tuple(np.linspace(-1.2, 1.2, COMPONENTS).tolist())  # of logistics, where training begins
_NARROWEST = 1e-4
_AT_ONCE = 1 << 18  # numbers in a tensor, beyond which several small ones take no longer than one
_FARTHEST = 20.0  # sinh of which is a number still
_CLASS_EDGE = 1e-4  # below a class's own number, on the scale of their numbers
_LEAST_LOG_PROB = -100.0  # of classes that there are not


@dataclass(frozen=True)
class Support:
    """The support of columns' distributions; tensors of one number per column, `(1, 1, 1, d)`, or per cell, `(m, 1, 1, 1)`.

    Attributes
    ----------
    classes : how many, or 0 for numbers
    low, extent : the scaled least number, and the range (see `TableSchema`)
    centre, step : in units of the spread, of numbers that are multiples of a step; a step of 0: the finest that is
        distinguished; None if that is so of all
    finest : what that is, on the column's scale
    states : how many whole numbers from 0 on are the codes of states, of which no mean is asked for, or 0; None if there are none
    """

    classes: Tensor
    low: Tensor
    extent: Tensor
    centre: Tensor
    step: Tensor | None
    finest: Tensor
    states: Tensor | None

    @staticmethod
    def of(schema: TableSchema, like: Tensor, finest: float = FINEST) -> Support:
        """That of a table's columns, of the type of `like`, and where it is."""
        return _support(schema, like.dtype, like.device, finest)

    def at(self, elements: Tensor) -> Support:
        """Of elements by number `(m,)`, to go with their likelihoods: cells, or the channels of one step after the other."""
        columns = elements % self.low.shape[3]
        return self._map(lambda part: part.flatten()[columns].view(-1, 1, 1, 1))

    def columns(self, columns: Tensor) -> Support:
        """Of the columns numbered `columns`."""
        return self._map(lambda part: part[..., columns])

    def _map(self, change: Callable[[Tensor], Tensor]) -> Support:
        classes, low, extent, centre, finest = map(
            change, (self.classes, self.low, self.extent, self.centre, self.finest)
        )
        step, states = (None if part is None else change(part) for part in (self.step, self.states))
        return Support(classes, low, extent, centre, step, finest, states)

    def scaled(self, unit: Tensor) -> Tensor:
        """Numbers on their columns' scale, where their bulk is about -1 to 1."""
        return self.low + unit * self.extent

    def unit(self, scaled: Tensor) -> Tensor:
        """The inverse, within the range met in the fit."""
        return ((scaled - self.low) / self.extent).clamp(0, 1)

    def nearest(self, scaled: Tensor) -> Tensor:
        """The number in whose quantisation bin `scaled` is."""
        scaled = scaled.clamp(-_FARTHEST, _FARTHEST)
        if self.step is None:
            return self.unit(scaled)
        stepped, step = self.step > 0, torch.where(self.step > 0, self.step, 1.0)
        return self.unit(torch.where(stepped, torch.asinh(self._whole(scaled, step)), scaled))

    def _whole(self, scaled: Tensor, step: Tensor) -> Tensor:
        """The nearest multiple of a step, from the centre, in units of the spread."""
        return torch.round((self.centre + torch.sinh(scaled)) / step) * step - self.centre

    def codes(self, unit: Tensor) -> Tensor:
        """The class that each cell is in, int64; 0 for numbers."""
        return torch.round(unit.clamp(0, 1) * (self.classes - 1).clamp_min(0)).long()

    def log_width(self, unit: Tensor) -> Tensor:
        """Log of how much of its column's scale a number stands for; 0 for classes."""
        lower, upper = self.edges(unit)
        return torch.where(self.classes > 0, 0.0, (upper - lower).log())

    def edges(self, unit: Tensor) -> tuple[Tensor, Tensor]:
        """Edges, scaled, of the quantisation bin of a number: a step wide, or the finest that is distinguished."""
        scaled = self.scaled(unit).clamp(-_FARTHEST, _FARTHEST)
        lower, upper = scaled - self.finest / 2, scaled + self.finest / 2
        if self.step is not None:
            stepped, step = self.step > 0, torch.where(self.step > 0, self.step, 1.0)
            whole = self._whole(scaled, step)
            lower = torch.where(stepped, torch.asinh(whole - step / 2), lower)
            upper = torch.where(stepped, torch.asinh(whole + step / 2), upper)
        return lower, torch.maximum(upper, lower + _NARROWEST)


@lru_cache(maxsize=16)
def _support(schema: TableSchema, dtype: torch.dtype, device: torch.device, finest: float) -> Support:
    classes, low, extent, centre, step = schema.support
    steps = np.where(step >= finest, step, 0.0) if (step >= finest).any() else None

    def tensor(part: np.ndarray) -> Tensor:
        return torch.tensor(part, dtype=dtype, device=device).view(1, 1, 1, -1)

    with torch.inference_mode(False):
        return Support(
            classes=tensor(classes),
            low=tensor(low),
            extent=tensor(extent),
            centre=tensor(centre),
            step=None if steps is None else tensor(steps),
            finest=tensor(np.full(len(low), finest)),
            states=None,
        )


@final
class ColumnLikelihood(Likelihood):
    """Cells of columns, independent given z: numbers as mixtures of logistics, classes with a probability each.

    The logistics are cut into cells (Salimans et al. 2017, arXiv:1701.05517, eq. 2): a number has the probability of
    its quantisation bin, of its column's step or a 64th of its spread. So every column's log probability is bounded, and
    none drowns the others.

    Parameters
    ----------
    log_weights, locations, scales : of a number's logistics, `(n, k, h, w)`, on its column's scale
    log_classes : log probability of each class, `(n, classes, h, w)`; or None if there are numbers only
    support : of the elements, broadcastable to `(n, 1, h, w)`
    """

    def __init__(
        self, log_weights: Tensor, locations: Tensor, scales: Tensor, log_classes: Tensor | None, support: Support
    ) -> None:
        self.log_weights, self.locations, self.scales = log_weights, locations, scales
        self.log_classes, self.support = log_classes, support

    @staticmethod
    def count_parameters(schema: TableSchema) -> int:
        """How many numbers `of` takes per cell."""
        return 3 * COMPONENTS + max(column.classes for column in schema.columns)

    @staticmethod
    def of(parameters: Tensor, support: Support, log_scales: tuple[float, float] = LOG_SCALES) -> ColumnLikelihood:
        """From parameters `(n, p, h, w)` as networks give them, and the bounds of log scales."""
        k = COMPONENTS
        logits, locations, logs, classes = parameters.tensor_split((k, 2 * k, 3 * k), dim=1)
        scales = torch.exp(logs.clamp(*log_scales))
        log_classes = None
        if classes.shape[1]:
            number = torch.arange(classes.shape[1], device=classes.device).view(-1, 1, 1)
            none = number >= support.classes.clamp_min(1)
            log_classes = F.log_softmax(classes.masked_fill(none, -math.inf), dim=1)
        return ColumnLikelihood(F.log_softmax(logits, dim=1), locations, scales, log_classes, support)

    @staticmethod
    def mixture(parts: Sequence[ColumnLikelihood]) -> ColumnLikelihood:
        """The even mixture of distributions of the same cells."""
        share = math.log(len(parts))
        log_weights = torch.cat([part.log_weights for part in parts], dim=1) - share
        locations, scales = (torch.cat([getattr(p, name) for p in parts], dim=1) for name in ("locations", "scales"))
        classes = [part.log_classes for part in parts if part.log_classes is not None]
        log_classes = torch.logsumexp(torch.stack(classes), dim=0) - share if classes else None
        return ColumnLikelihood(log_weights, locations, scales, log_classes, parts[0].support)

    def members(self, count: int) -> ColumnLikelihood:
        """The even mixture of so many members, whose rows are one member's after the other's."""
        if count == 1:
            return self
        n = self.log_weights.shape[0] // count
        of_members = [self._rows(slice(number * n, (number + 1) * n)) for number in range(count)]
        return self.mixture(of_members)

    def smoothed(self, width: float) -> ColumnLikelihood:
        """The same with numbers spread by `width` of their columns' spreads."""
        scales = torch.sqrt(self.scales.square() + width**2)
        return ColumnLikelihood(self.log_weights, self.locations, scales, self.log_classes, self.support)

    def at(self, items: Tensor, elements: Tensor) -> ColumnLikelihood:
        def choose(name: str) -> Tensor:
            tensor: Tensor = getattr(self, name)
            return tensor.flatten(2)[items, :, elements[:, None]].transpose(1, 2).unsqueeze(3)

        return self._map(choose, self.support.at(elements))

    def _rows(self, rows: slice) -> ColumnLikelihood:
        return self._map(lambda name: getattr(self, name)[rows], self.support)

    def _map(self, change: Callable[[str], Tensor], support: Support) -> ColumnLikelihood:
        """With each parameter changed, by its name."""
        log_classes = None if self.log_classes is None else change("log_classes")
        return ColumnLikelihood(change("log_weights"), change("locations"), change("scales"), log_classes, support)

    def log_prob(self, x: Tensor) -> Tensor:
        numbers = self._number_log_prob(x)
        if self.log_classes is None:
            return numbers
        codes = self.support.codes(x).expand_as(numbers)
        return torch.where(self.support.classes > 0, self.log_classes.gather(1, codes), numbers)

    def _number_log_prob(self, x: Tensor) -> Tensor:
        """Of numbers; anything for classes."""
        return mixtures.log_prob(self.log_weights, self.locations, self.scales, *self.support.edges(x))

    def _costs(self, places: Sequence[Tensor]) -> Sequence[Tensor]:
        """Minus log probability of numbers at several places, those of few cells at once."""
        few = self.locations.numel() * len(places) <= _AT_ONCE and self.locations.shape[2:] == (1, 1)
        if not few:
            return [-self._number_log_prob(x) for x in places]
        return torch.split(-self._number_log_prob(torch.cat(list(places), dim=3)), 1, dim=3)

    def information(self) -> tuple[Tensor, Tensor]:
        """Of numbers by quadrature over each logistic's quantiles; the spread is the standard deviation.

        Of classes the spread is the root mean square: their information content has a natural zero, and what is determined is
        to stand out from what is merely even.
        """
        logistics = (torch.split(part, 1, dim=1) for part in (self.log_weights.exp(), self.locations, self.scales))
        nodes = list(zip(*logistic_nodes(mixtures.NODES), strict=True))
        places = [
            (weight * share, self.support.unit(location + scale * node))
            for weight, location, scale in zip(*logistics, strict=True)
            for node, share in nodes
        ]
        entropy, spread = moments(self._costs([x for _, x in places]), [weight for weight, _ in places])
        if self.log_classes is None:
            return entropy, spread
        shares, costs = self.log_classes.exp(), -self.log_classes.clamp_min(_LEAST_LOG_PROB)
        expected = (shares * costs).sum(1, keepdim=True)
        root_mean_square = (shares * costs.square()).sum(1, keepdim=True).sqrt()
        of_classes = self.support.classes > 0
        return torch.where(of_classes, expected, entropy), torch.where(of_classes, root_mean_square, spread)

    def point(self, weight: Tensor | None = None) -> Tensor:
        """The expected number, in the data's own units, and the likeliest class or state."""
        numbers = self._expected(weight)
        if self.support.states is not None:
            numbers = torch.where(self.support.states > 0, self._likeliest_state(weight), numbers)
        if self.log_classes is None:
            return numbers
        classes = self.log_classes.exp()
        if weight is not None:
            classes = (weight * classes).sum(2, keepdim=True)
        likeliest = classes.argmax(1, keepdim=True) / (self.support.classes - 1).clamp_min(1)
        return torch.where(self.support.classes > 0, likeliest, numbers)

    def _expected(self, weight: Tensor | None = None) -> Tensor:
        """Of numbers."""
        low, extent = self.support.low, self.support.extent
        reached = mixtures.expected_sinh(self.locations, self.scales, low, low + extent)
        expected = (self.log_weights.exp() * reached).sum(1, keepdim=True)
        if weight is not None:
            expected = (weight * expected).sum(2, keepdim=True)
        return self.support.unit(torch.asinh(expected))

    def _likeliest_state(self, weight: Tensor | None) -> Tensor:
        """Of codes; what lies beyond the first and the last counts for these."""
        support, like = self.support, self.log_weights[:, :1]
        assert support.states is not None
        assert support.step is not None
        below, most, likeliest = torch.zeros_like(like), None, None
        for code in range(int(support.states.max())):
            x = support.unit(torch.asinh(code * support.step - support.centre))
            up_to = self.cdf(torch.where(code >= support.states - 1, 1.0, x).expand_as(like))
            share, below = up_to - below, up_to
            if weight is not None:
                share = (weight * share).sum(2, keepdim=True)
            x = x.expand_as(share)
            if most is None or likeliest is None:
                most, likeliest = share, x
            else:
                likeliest, most = torch.where(share > most, x, likeliest), torch.maximum(share, most)
        assert likeliest is not None
        return likeliest

    def cdf(self, x: Tensor) -> Tensor:
        """P(X ≤ x), classes being ordered by their numbers."""
        upper = self.support.edges(x)[1]
        inside = self.log_weights.exp() * torch.sigmoid((upper - self.locations) / self.scales)
        numbers = torch.where(x >= 1, 1.0, inside.sum(1, keepdim=True))
        if self.log_classes is None:
            return numbers
        codes = torch.floor(x * (self.support.classes - 1).clamp_min(0) + _CLASS_EDGE).long().expand_as(numbers)
        below = self.log_classes.exp().cumsum(1).gather(1, codes)
        return torch.where(self.support.classes > 0, below, numbers)

    def quantile(self, probability: Tensor) -> Tensor:
        support = self.support
        edge = mixtures.quantile(self.log_weights.exp(), self.locations, self.scales, probability)
        least = edge - support.finest / 2
        if support.step is not None:
            stepped, step = support.step > 0, torch.where(support.step > 0, support.step, 1.0)
            whole = torch.ceil((support.centre + torch.sinh(edge.clamp(-_FARTHEST, _FARTHEST))) / step - 0.5)
            least = torch.where(stepped, torch.asinh((whole - 0.5) * step - support.centre), least)
        near = support.unit(least)
        if self.log_classes is not None:
            code = (self.log_classes.exp().cumsum(1) < probability).sum(1, keepdim=True)
            of_class = ((code - _CLASS_EDGE) / (support.classes - 1).clamp_min(1)).clamp(0, 1)
            near = torch.where(support.classes > 0, of_class, near)
        return bisect(self.cdf, probability, None, near)

    def draw(self, chance: Tensor) -> Tensor:
        """A cell for each uniform number in (0, 1), `(n, 1, h, w)`, which says both which logistic it is of and where there.

        Cheaper than `quantile`, and not monotonic.
        """
        weights = self.log_weights.exp()
        up_to = weights.cumsum(1)
        chosen = (up_to < chance).sum(1, keepdim=True).clamp_max(weights.shape[1] - 1)
        weight, end, location, scale = (
            part.gather(1, chosen) for part in (weights, up_to, self.locations, self.scales)
        )
        inner = (1 - (end - chance) / weight).clamp(*mixtures.PROBABILITIES)
        numbers = self.support.nearest(location + scale * torch.logit(inner))
        if self.log_classes is None:
            return numbers
        code = (self.log_classes.exp().cumsum(1) < chance).sum(1, keepdim=True)
        classes = (code / (self.support.classes - 1).clamp_min(1)).clamp(0, 1)
        return torch.where(self.support.classes > 0, classes, numbers)

    def moments(self) -> tuple[Tensor, Tensor]:
        """Of numbers on their column's scale: means and variances, likewise."""
        weights = self.log_weights.exp()
        mean = (weights * self.locations).sum(1, keepdim=True)
        square = self.locations.square() + (math.pi**2 / 3) * self.scales.square()
        return mean, (weights * square).sum(1, keepdim=True) - mean.square()

    def error(self, x: Tensor) -> Tensor:
        """How far the best single number is from `x`, on its column's scale; 0 for classes."""
        return (x - self._expected()) * self.support.extent * (self.support.classes == 0)


class Cells(nn.Module):
    """Features of rows, `(n, features)`: what is visible; of numbers how large they are, piecewise linearly (Gorishniy et
    al. 2022, arXiv:2203.05556); of classes which one, one-hot. All 0 where hidden.
    """

    def __init__(self, schema: TableSchema) -> None:
        super().__init__()
        self._schema, self.columns = schema, schema.columns
        classes = [column.classes for column in schema.columns]
        self.numbers = [place for place, count in enumerate(classes) if not count]
        self.number_places = {place: number for number, place in enumerate(self.numbers)}
        self._classes = [place for place, count in enumerate(classes) if count]
        self.places, self.features = feature_places(classes)
        self._total = sum(classes)
        self._first = [self.places[column].start - (self.features - self._total) for column in self._classes]

    def forward(self, x: Tensor, visible: Tensor) -> Tensor:
        """`x` on the unit scale and `visible`, both `(n, 1, 1, d)`."""
        seen, support = visible.flatten(1), Support.of(self._schema, x)
        parts = [seen.to(x.dtype)]
        if self.numbers:
            shown = _pieces(self.scaled(x)) * self.of_numbers(seen).unsqueeze(2)
            parts.append(shown.flatten(1))
        if self._classes:
            classes, first = (constant(tuple(part), torch.int64, x.device) for part in (self._classes, self._first))
            shown = torch.zeros((x.shape[0], self._total), dtype=x.dtype, device=x.device)
            codes = support.codes(x)[:, 0, 0, classes] + first
            parts.append(shown.scatter_(1, codes, seen[:, classes].to(x.dtype)))
        return torch.cat(parts, dim=1)

    def features_of(self, columns: Sequence[int]) -> list[int]:
        """Where the features of columns are: whether they are visible, and what they are."""
        return [
            *columns,
            *(place for column in columns for place in range(*self.places[column].indices(self.features))),
        ]

    def of_column(self, column: int, x: Tensor, visible: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The features of one column's cells, `(n, at its place)`; how large they are, scaled, if they are numbers, and whether
        they are visible, 0 or 1: both `(n,)`."""
        support = Support.of(self._schema, x).columns(torch.tensor([column], device=x.device))
        seen = visible[:, 0, 0, column].to(x.dtype)
        cells = torch.where(visible[..., column], x[..., column], 0.0)
        if classes := self.columns[column].classes:
            features = F.one_hot(support.codes(cells.unsqueeze(3)).flatten(), classes).to(x.dtype)
            return features * seen.unsqueeze(1), seen, seen
        scaled = support.scaled(cells.unsqueeze(3)).flatten().clamp(-FARTHEST_CELL, FARTHEST_CELL)
        return _pieces(scaled) * seen.unsqueeze(1), scaled, seen

    def of_numbers(self, cells: Tensor) -> Tensor:
        """Those of cells `(n, d)` that are in columns of numbers: `(n, numbers)`."""
        return cells[:, constant(tuple(self.numbers), torch.int64, cells.device)]

    def scaled(self, x: Tensor) -> Tensor:
        """The numbers of `x`, whether visible or not, on their columns' scale: `(n, numbers)`."""
        support = Support.of(self._schema, x)
        return self.of_numbers(support.scaled(x)[:, 0, 0]).clamp(-FARTHEST_CELL, FARTHEST_CELL)


def _pieces(scaled: Tensor) -> Tensor:
    """Scaled numbers `(…)`, and how far they are along each stretch between knots: `(…, 13)`."""
    knots = constant(KNOTS, scaled.dtype, scaled.device)
    pieces = ((scaled.unsqueeze(-1) - knots[:-1]) / knots.diff()).clamp(0, 1)
    return torch.cat((scaled.unsqueeze(-1), pieces), dim=-1)


class MemberLinear(nn.Module):
    """As many linear layers as there are members, side by side: `(members, n, inputs)` → `(members, n, outputs)`."""

    def __init__(self, members: int, inputs: int, outputs: int) -> None:
        super().__init__()
        bound = 1 / math.sqrt(inputs)
        self.weight = nn.Parameter(torch.empty(members, inputs, outputs).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(members, 1, outputs).uniform_(-bound, bound))

    def forward(self, x: Tensor) -> Tensor:
        return torch.baddbmm(self.bias, x, self.weight)


class ColumnHeads(nn.Module):
    """Hidden units `(members, n, width)` → the cells' likelihood, of each member by itself."""

    def __init__(self, schema: TableSchema, width: int, members: int = 1) -> None:
        super().__init__()
        self._schema, self._columns = schema, len(schema.columns)
        self._per_cell = ColumnLikelihood.count_parameters(schema)
        self.linear = MemberLinear(members, width, self._per_cell * self._columns)
        with torch.no_grad():
            self.linear.weight.mul_(0.1)
            bias = self.linear.bias.zero_().view(members, self._columns, self._per_cell)
            bias[..., COMPONENTS : 2 * COMPONENTS] = torch.tensor(FIRST_LOCATIONS)
            bias[..., 2 * COMPONENTS : 3 * COMPONENTS] = -1.0

    @torch.no_grad()
    def follow(self, numbers: list[int], weights: Tensor, mean: Tensor, log_spread: Tensor) -> None:
        """Begin, in the columns `numbers`, with linear functions of the first units and a spread about them: weights
        `(numbers, units)`, means and log spreads `(numbers,)`; one member."""
        k, (weight, bias) = COMPONENTS, (part[0] for part in self._by_column())
        locations = mean[:, None] + log_spread.exp()[:, None] * torch.tensor(FIRST_LOCATIONS)
        weight[: weights.shape[1], numbers, k : 2 * k] = weights.T[..., None].expand(-1, -1, k)
        bias[0, numbers, k : 2 * k] = locations
        bias[0, numbers, 2 * k : 3 * k] = -1.0 + log_spread[:, None]

    def forward(self, hidden: Tensor, columns: Tensor | None = None, shift: Tensor | None = None) -> ColumnLikelihood:
        """Of c columns (default: all), one member's rows after the other's: `(members * n, ·, 1, c)`.

        `shift` `(n, d)` moves the locations.
        """
        return self.of(columns)(hidden, shift)

    def of(self, columns: Tensor | None = None) -> SelectedHeads:
        """Those of the cells of `columns` `(c,)`."""
        weight, bias = self._by_column()
        support = Support.of(self._schema, weight)
        if columns is not None:
            weight, bias, support = weight[:, :, columns], bias[:, :, columns], support.columns(columns)
        return SelectedHeads(weight.flatten(2), bias.flatten(2), support, columns, self._per_cell)

    def each(self, hidden: Tensor, columns: Tensor, shift: Tensor | None = None) -> Tensor:
        """Parameters of the cells of `columns` `(c,)`, each from hidden units of its own `(members, c, n, width)`:
        `(members, c, n, p)`; `shift` `(c, n)`."""
        weight, bias = (part[:, :, columns].transpose(1, 2) for part in self._by_column())
        parts = (part.flatten(0, 1) for part in (bias, hidden, weight))
        parameters = torch.unflatten(torch.baddbmm(*parts), 0, hidden.shape[:2])
        return _shifted(parameters, None if shift is None else shift.unsqueeze(-1))

    def _by_column(self) -> tuple[Tensor, Tensor]:
        """Weights `(members, width, d, p)`, and biases."""
        weight, bias = self.linear.weight, self.linear.bias
        return torch.unflatten(weight, 2, (self._columns, -1)), torch.unflatten(bias, 2, (self._columns, -1))


@dataclass(frozen=True)
class SelectedHeads:
    """Heads of c columns: `weight` `(members, width, c * p)`, `bias`, their `support` and numbers, None for all."""

    weight: Tensor
    bias: Tensor
    support: Support
    columns: Tensor | None
    per_cell: int

    def __call__(self, hidden: Tensor, shift: Tensor | None = None) -> ColumnLikelihood:
        """See `ColumnHeads.forward`."""
        parameters = self.outputs(hidden, shift).flatten(0, 1)
        return ColumnLikelihood.of(parameters.transpose(1, 2).unsqueeze(2), self.support)

    def outputs(self, hidden: Tensor, shift: Tensor | None = None) -> Tensor:
        """What `ColumnLikelihood.of` takes for the cells, `(members, n, c, p)`."""
        if shift is not None:
            shift = (shift if self.columns is None else shift[:, self.columns]).unsqueeze(2)
        parameters = torch.baddbmm(self.bias, hidden, self.weight)
        return _shifted(torch.unflatten(parameters, 2, (-1, self.per_cell)), shift)


def _shifted(parameters: Tensor, shift: Tensor | None) -> Tensor:
    """With the locations moved."""
    if shift is None:
        return parameters
    parameters[..., COMPONENTS : 2 * COMPONENTS] += shift
    return parameters
