"""The context decoder of tables, p(cell | z, what is visible of its row).

Several small networks, the members, are averaged: on tables of some hundred rows each alone would say too much. They see
the visible cells, what the decoder makes of z, and what a linear-Gaussian model of the row makes of the visible cells.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fivefold.config import Conditioning, ContextConfig
from fivefold.model.context import (
    ContextDecoder,
    ElementLikelihood,
    ParameterGroup,
    Surroundings,
    TrainingBatch,
    chunk_size,
)
from fivefold.model.corruption import draw_strength
from fivefold.tables.likelihood import Cells, ColumnHeads, ColumnLikelihood, MemberLinear, Support
from fivefold.tables.schema import TableSchema
from fivefold.tables.settings import LOG_NOISE, TableConfig

_WITHOUT_Z = 0.25  # of the rows: z must pay for itself
_WIDE = 64  # columns from which several are asked for at once
_OUTPUTS = 1 << 22  # numbers that heads give at once, where not all of them are wanted
_ROUNDS, _LEAST_VARIANCE = 30, 1e-4  # of the linear model's fit
_FACTORS_FASTER = 5.0
_HEADS_FASTER = 8.0  # narrow distributions are far from those that training begins with


class Factors(nn.Module):
    """Numbers as a linear function of few normal factors, with noise: given any of them, the expected others.

    Factor analysis; E[f | visible] in closed form, for each row's own visible cells (Ghahramani & Hinton 1996, eq. 4).
    """

    def __init__(self, numbers: int, factors: int) -> None:
        super().__init__()
        weights = torch.empty(numbers, factors)
        if not weights.is_meta:  # for which PyTorch would import its compiler, which takes longer than a small job
            weights.normal_(std=0.3 / factors**0.5)
        self.weights = nn.Parameter(weights)
        self.log_noise = nn.Parameter(torch.zeros(numbers))
        self.mean = nn.Parameter(torch.zeros(numbers))

    def forward(self, scaled: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
        """`(n, numbers)` twice → the expected numbers `(n, numbers)` and factors `(n, factors)`."""
        if not (self.training or torch.compiler.is_exporting()) and bool((seen == seen[:1]).all()):
            seen = seen[:1]
        precision = torch.exp(-self.log_noise.clamp(*LOG_NOISE)) * seen
        weighted = self.weights * precision.unsqueeze(2)
        off = (weighted * (scaled - self.mean)[..., None]).sum(1)
        factors = self.expect(weighted.transpose(1, 2) @ self.weights, off)
        return factors @ self.weights.T + self.mean, factors

    @torch.no_grad()
    def fit(self, scaled: Tensor, seen: Tensor) -> None:
        """To numbers `(n, numbers)` where they are `seen`, by expectation maximisation (Rubin & Thayer 1982, section 2)."""
        count = seen.sum(0).clamp_min(1)
        self.mean.copy_((scaled * seen).sum(0) / count)
        off = (scaled - self.mean) * seen
        square = off.square().sum(0)
        spread = (square / count + _LEAST_VARIANCE).sqrt()
        self._follow_principal_components(off / spread, spread)
        for _ in range(_ROUNDS):
            weighted = self.weights * (torch.exp(-self.log_noise) * seen).unsqueeze(2)
            own = torch.eye(self.weights.shape[1], dtype=off.dtype, device=off.device)
            covariance = torch.linalg.inv(weighted.transpose(1, 2) @ self.weights + own)
            factors = (covariance @ (weighted.transpose(1, 2) @ off.unsqueeze(2)))[..., 0]
            moments = factors.unsqueeze(2) * factors.unsqueeze(1) + covariance
            by_number = (seen.T @ moments.flatten(1)).view(-1, *own.shape) + _LEAST_VARIANCE * own
            products = off.T @ factors
            self.weights.copy_(torch.linalg.solve(by_number, products))
            left = (square - (self.weights * products).sum(1)) / count
            self.log_noise.copy_(left.clamp_min(_LEAST_VARIANCE).log().clamp(*LOG_NOISE))

    def _follow_principal_components(self, rows: Tensor, spread: Tensor) -> None:
        """The weights of rows `(n, numbers)` with deviations of 1, by subspace iteration from those that are there."""
        directions = self.weights
        for _ in range(_ROUNDS):
            directions = torch.linalg.qr(rows.T @ (rows @ directions)).Q
        self.weights.copy_(directions * (rows @ directions).std(0, correction=0) * spread.unsqueeze(1))
        self.log_noise.copy_((0.5 * spread.square()).log().clamp(*LOG_NOISE))

    def model(self) -> tuple[Tensor, Tensor, Tensor]:
        """Weights `(numbers, factors)`, means and log variances of the noise `(numbers,)`, without gradients."""
        return self.weights.detach(), self.mean.detach(), self.log_noise.detach().clamp(*LOG_NOISE)

    def loadings(self) -> Tensor:
        """Weights of the numbers in units of their deviations, `(numbers, factors)`."""
        variance = self.weights.square().sum(1) + torch.exp(self.log_noise.clamp(*LOG_NOISE))
        return self.weights / variance.sqrt().unsqueeze(1)

    def evidence(self, number: int, scaled: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
        """What one number `(n,)` adds to the arguments of `expect`: precision, of all rows at once if all are `seen`, and
        weighted sum."""
        weighted = self.weights[number] * (torch.exp(-self.log_noise[number].clamp(*LOG_NOISE)) * seen)[:, None]
        alike = weighted[:1] if bool((seen == 1).all()) else weighted
        return alike[:, :, None] * self.weights[number], weighted * (scaled - self.mean[number])[:, None]

    @staticmethod
    def expect(precision: Tensor, weighted: Tensor) -> Tensor:
        """The factors `(…, n, f)`, from the visible numbers' evidence: precisions `(…, n, f, f)`, n = 1 if all rows have the
        same, and the sums weighted by them."""
        own = precision + torch.eye(weighted.shape[-1], dtype=weighted.dtype, device=weighted.device)
        if own.shape[-3] == 1:
            factors: Tensor = weighted @ torch.linalg.inv(own.squeeze(-3))  # which is symmetric
        else:
            factors = torch.linalg.solve(own, weighted.unsqueeze(-1)).squeeze(-1)
        return factors


class TableSurroundings(Surroundings):
    """A batch of rows, of which the cells are asked for; see `Surroundings`."""

    observed: _Observed | None = None  # while columns are asked for in their order

    @property
    def coarse(self) -> Tensor | None:
        """h(z) of the codes, `(n, codes, features)`."""
        return None if self.z_features is None else self.z_features.coarse.view(len(self), self.codes, -1)

    def put(self, items: Tensor, elements: Tensor, values: Tensor) -> None:
        self.x[items, 0, 0, elements] = values
        self.visible[items, 0, 0, elements] = True
        if self.observed is not None and (elements < self.observed.columns).any():
            self.observed = None

    def shown(self, items: Tensor, elements: Tensor) -> Tensor:
        """Which cells of the rows `items` their cells `elements` are conditioned on: bool `(m, 1, 1, d)`.

        Causal: the visible cells of earlier columns; else all but the cell itself.
        """
        column = torch.arange(self.x.shape[3], device=items.device)
        others = column < elements[:, None] if self.conditioning is Conditioning.CAUSAL else column != elements[:, None]
        return self.visible[items] & others[:, None, None]


class TableContext(ContextDecoder):
    """Surroundings and numbers of cells → `ColumnLikelihood` of those cells, as tensors `(m, ·, codes, 1)`."""

    surroundings_class = TableSurroundings

    def __init__(self, schema: TableSchema, config: ContextConfig, rows: TableConfig, coarse_channels: int) -> None:
        super().__init__()
        self.schema, self._coarse, self._members, self.linear = schema, coarse_channels, rows.members, rows.linear
        self.cells = Cells(schema)
        numbers = len(self.cells.numbers)
        size = self.cells.features + coarse_channels + 1 + len(Conditioning)
        self._factor_count = min(rows.factors, numbers) if numbers > 1 else 0
        self.factors = Factors(numbers, self._factor_count) if self._factor_count else None
        size += self._factor_count
        self._dropout, width = rows.dropout, config.context_width
        self.first = MemberLinear(rows.members, size, width)
        self.later = nn.ModuleList([MemberLinear(rows.members, width, width) for _ in range(config.context_depth - 1)])
        self.heads = ColumnHeads(schema, width, rows.members)

    def fit_factors(self, x: Tensor, visible: Tensor) -> None:
        """The linear model beneath to rows, `(n, 1, 1, d)`: where training begins."""
        if self.factors is not None:
            seen = self.cells.of_numbers(visible.flatten(1)).to(x.dtype)
            self.factors.fit(self.cells.scaled(x), seen)

    def parameter_groups(self, peak: float) -> list[ParameterGroup]:
        """The heads learn faster; or the linear model beneath, if it is not there first."""
        fast, times = (self.heads, _HEADS_FASTER) if self.linear else (self.factors, _FACTORS_FASTER)
        faster = [] if fast is None else list(fast.parameters())
        chosen = {id(weight) for weight in faster}
        groups = [ParameterGroup([weight for weight in self.parameters() if id(weight) not in chosen], peak)]
        return [*groups, ParameterGroup(faster, times * peak)] if faster else groups

    def loss(self, batch: TrainingBatch) -> Tensor:
        """Mean loss over hidden cells of at most `positions` columns, and over the members, nats: a number; see `ContextDecoder`.

        It is minus the log probability, plus the squared error of the expected number on the column's own scale. What a row
        shows follows from what was done to it: nothing: the cells of its first columns, as many as chance has it; cells
        hidden: the others; cells swapped: a random choice of what the encoder saw. Masks so follow the data's own
        (Kim et al. 2024, arXiv:2412.19152): only known cells are ever hidden on top.
        """
        z_features, seen, x, generator = batch.z_features, batch.seen, batch.x, batch.generator
        n, columns = len(x), x.shape[3]
        earlier = (batch.uniform(n, 1, 1, 1) * columns).floor()
        causal = torch.arange(columns, device=x.device) < earlier
        strength = draw_strength("hide", n, generator).view(-1, 1, 1, 1)
        at_random = batch.uniform(*x.shape) >= strength
        uses_z = batch.uniform(n) >= _WITHOUT_Z
        clean = ~(seen.hidden | seen.noisy).view(-1, 1, 1, 1)
        shown = seen.visible & torch.where(clean, causal, at_random | ~seen.noisy.view(-1, 1, 1, 1))
        kinds = Conditioning.MISSING * seen.hidden + Conditioning.NOISY * (seen.noisy & ~seen.hidden)
        asked = torch.randperm(columns, generator=generator, device=x.device)[: batch.positions]
        first, shift = self._first(seen.x, shown, kinds, z_features.coarse.view(n, 1, -1), uses_z.to(x.dtype))
        hidden = self._later(first, generator if self.training else None)
        likelihood = self.heads(hidden.squeeze(2), asked, shift)
        targets, wanted = (part[..., asked].repeat(self._members, 1, 1, 1) for part in (x, batch.visible & ~shown))
        loss = likelihood.error(targets).square() - likelihood.log_prob(targets)
        return torch.where(wanted, loss, 0.0).sum() / wanted.sum().clamp_min(1)

    def every(self, around: TableSurroundings) -> Iterator[ElementLikelihood]:
        """The distributions of all cells, some columns at a time.

        Given those of the columns before, if conditioning is causal; else all others of the row.
        """
        observed = _Observed(self, around)
        items = torch.arange(len(around), device=around.device)
        causal = around.conditioning is Conditioning.CAUSAL
        if not causal:
            for column in range(around.size):
                observed.observe(column)
        at_once = 1 if causal or around.size < _WIDE else chunk_size(around.codes * len(around))
        for start in range(0, around.size, at_once):
            columns = torch.arange(start, min(start + at_once, around.size), device=around.device)
            yield (
                observed.distribution(columns, without=not causal),
                items.repeat(len(columns)),
                columns.repeat_interleave(len(items)),
            )
            if causal:
                observed.observe(start)

    def first_of_nothing(self, conditioning: Conditioning) -> Tensor:
        """The first layer of a row without cells or code, before its activation: `(members, 1, width)`."""
        device, dtype = self.first.weight.device, self.first.weight.dtype
        x = torch.zeros((1, 1, 1, len(self.cells.columns)), dtype=dtype, device=device)
        kinds, known = torch.full((1,), conditioning, device=device), x.new_zeros(1)
        return self._first(x, torch.zeros_like(x, dtype=torch.bool), kinds, None, known)[0].squeeze(2)

    def last(self, first: Tensor) -> Tensor:
        """From the first layer of rows `(members, n, width)` to the last hidden one, likewise."""
        return self._later(first.unsqueeze(2)).squeeze(2)

    @torch.inference_mode()
    def loadings(self) -> np.ndarray:
        """Of the columns on the linear model's factors, `(d, factors)`: their products are correlations; 0 for classes."""
        loadings = np.zeros((len(self.cells.columns), max(self._factor_count, 1)))
        if self.factors is not None:
            loadings[self.cells.numbers] = self.factors.loadings().cpu().numpy()
        return loadings

    def given_visible(self, x: Tensor, visible: Tensor, conditioning: Conditioning, coarse: Tensor) -> ColumnLikelihood:
        """All cells of rows `(n, 1, 1, d)` given those that are visible, and h(z) of a code each, `(n, features)`."""
        kinds = visible[:, 0, 0, 0].long() * 0 + conditioning
        first, shift = self._first(x, visible, kinds, coarse.unsqueeze(1), torch.ones_like(kinds, dtype=x.dtype))
        likelihood: ColumnLikelihood = self.heads(self._later(first).squeeze(2), shift=shift)
        return likelihood.members(self._members)

    @property
    def outputs(self) -> int:
        """Numbers that the members' heads give for a cell."""
        return self._members * ColumnLikelihood.count_parameters(self.schema)

    @property
    def of_cells(self) -> Tensor:
        """The first layer's weights of the cells' features, `(members, features, width)`."""
        return self.first.weight[:, : self.cells.features]

    @property
    def of_factors(self) -> Tensor:
        """The first layer's weights of the factors, `(members, factors, width)`."""
        start = self.cells.features + len(Conditioning)
        return self.first.weight[:, start : start + self._factor_count]

    def linear_part(self, x: Tensor, shown: Tensor) -> tuple[Tensor, Tensor]:
        """The expected factors `(n, factors)`, and how far they move cells, `(n, d)`."""
        assert self.factors is not None
        expected, factors = self.factors(self.cells.scaled(x), self.cells.of_numbers(shown.flatten(1)).to(x.dtype))
        shift = expected.new_zeros(x.shape[0], shown.shape[3])
        shift[:, self.cells.numbers] = expected
        return factors, shift

    def forward(self, around: TableSurroundings, items: Tensor, elements: Tensor) -> ColumnLikelihood:
        if around.conditioning is Conditioning.CAUSAL and _is_column(around, items, elements):
            return self._next(around, int(elements[0]))
        rows, place, at_once = items, torch.arange(len(items), device=items.device), 1
        if around.conditioning is not Conditioning.CAUSAL and not around.visible[items, 0, 0, elements].any():
            rows, place = torch.unique(items, return_inverse=True)  # all of a row's hidden cells see the same
            shown = around.visible[rows]
            at_once = min(max(_OUTPUTS // (len(rows) * around.codes * self.outputs), 1), _WIDE)
        else:
            shown = around.shown(items, elements)
        kinds = torch.full_like(rows, around.conditioning)
        coarse = None if around.coarse is None else around.coarse[rows]
        first, shift = self._first(around.x[rows], shown, kinds, coarse, around.z_known[rows])
        hidden = self._later(first)
        codes, parts, order = hidden.shape[2], [], []
        for block in torch.unique(elements // at_once).tolist():
            asked = (elements // at_once == block).nonzero()[:, 0]
            own, at = torch.unique(place[asked], return_inverse=True)
            columns = torch.arange(block * at_once, min((block + 1) * at_once, around.size), device=items.device)
            moved = None if shift is None else shift[own].repeat_interleave(codes, 0)
            found = self.heads.of(columns).outputs(hidden[:, own].flatten(1, 2), moved)
            parts.append(torch.unflatten(found, 1, (-1, codes))[:, at, :, elements[asked] - block * at_once])
            order.append(asked)
        parameters = torch.cat(parts)[torch.cat(order).argsort()].permute(1, 0, 3, 2)
        support = Support.of(self.schema, hidden).at(elements)
        return ColumnLikelihood.mixture([ColumnLikelihood.of(own.unsqueeze(3), support) for own in parameters])

    def _next(self, around: TableSurroundings, column: int) -> ColumnLikelihood:
        """Of a column of all rows, given those before it, whose sums are kept."""
        if around.observed is None or around.observed.columns > column:
            around.observed = _Observed(self, around)
        for earlier in range(around.observed.columns, column):
            around.observed.observe(earlier)
        return around.observed.distribution(torch.tensor([column], device=around.device), without=False)

    def _columns(self, hidden: Tensor, columns: Tensor, shift: Tensor | None) -> ColumnLikelihood:
        """Of the cells of `columns` `(c,)`, from last hidden layers `(members, c, n, codes, width)`; `shift` `(c, n)`."""
        n, codes = hidden.shape[2:4]
        moved = None if shift is None else shift.repeat_interleave(codes, dim=1)
        parameters = torch.unflatten(self.heads.each(hidden.flatten(2, 3), columns, moved), 2, (n, codes)).flatten(1, 2)
        support = Support.of(self.schema, hidden).at(columns.repeat_interleave(n))
        members = [ColumnLikelihood.of(member.transpose(1, 2).unsqueeze(3), support) for member in parameters]
        return ColumnLikelihood.mixture(members)

    def _first(
        self, x: Tensor, shown: Tensor, kinds: Tensor, coarse: Tensor | None, known: Tensor
    ) -> tuple[Tensor, Tensor | None]:
        """The first layer before its activation, `(members, n, codes, width)`, and how far the factors move cells, `(n, d)`.

        Parameters
        ----------
        x, shown : rows `(n, 1, 1, d)`, and which of their cells the members see
        kinds : `(n,)` int64, the `Conditioning` of each row
        coarse, known : h(z) of each row's codes, `(n, codes, features)`, and whether they count, `(n,)`, 0 or 1
        """
        parts, shift = [self.cells(x, shown), F.one_hot(kinds, len(Conditioning)).to(x.dtype)], None
        if self.factors is not None:
            factors, shift = self.linear_part(x, shown)
            parts.append(factors)
        coarse = x.new_zeros((x.shape[0], 1, self._coarse)) if coarse is None else coarse
        switch = known.view(-1, 1, 1).expand(-1, coarse.shape[1], 1)
        common = torch.cat(parts, dim=1).unsqueeze(1).expand(-1, coarse.shape[1], -1)
        features = torch.cat((common, coarse * switch, switch), dim=2)
        hidden = self.first(features.flatten(0, 1).expand(self._members, -1, -1))
        return torch.unflatten(hidden, 1, features.shape[:2]), shift

    def _later(self, first: Tensor, dropout: torch.Generator | None = None) -> Tensor:
        """From the first layer to the last hidden one; `dropout` is its generator in training."""
        hidden = self._activate(first.flatten(1, 2), dropout)
        for layer in self.later:
            hidden = self._activate(layer(hidden), dropout)
        return torch.unflatten(hidden, 1, first.shape[1:3])

    def _activate(self, hidden: Tensor, generator: torch.Generator | None) -> Tensor:
        hidden = F.silu(hidden)
        if generator is not None and self._dropout:
            units = torch.rand(hidden.shape, generator=generator, device=hidden.device) >= self._dropout
            hidden = hidden * units / (1 - self._dropout)
        return hidden


class _Observed:
    """The sums that the first layer and the factors make of the cells observed so far, of a batch of rows."""

    def __init__(self, context: TableContext, around: TableSurroundings) -> None:
        self._context, x, visible = context, around.x, around.visible
        self.columns = 0  # that were observed, the first ones
        kinds = torch.full((len(x),), around.conditioning, device=x.device)
        self._around, self._features = around, dict[int, tuple[Tensor, Tensor, Tensor]]()
        self._hidden, _ = context._first(x, torch.zeros_like(visible), kinds, around.coarse, around.z_known)
        f = context._factor_count
        self._sums = [x.new_zeros(1, f, f), x.new_zeros(len(x), f)]

    def observe(self, column: int) -> None:
        """Add a column's visible cells."""
        cells, x, visible = self._context.cells, self._around.x, self._around.visible
        self._features[column] = cells.of_column(column, x, visible)
        self._hidden, self._sums = self._moved(column, 1)
        self.columns = column + 1

    def _moved(self, column: int, sign: int) -> tuple[Tensor, list[Tensor]]:
        cells, weight, sums = self._context.cells, self._context.first.weight, self._sums
        features, scaled, seen = self._features[column]
        added = torch.cat((seen[:, None], features), dim=1) @ weight[:, cells.features_of([column])]
        if self._context.factors is not None and (number := cells.number_places.get(column)) is not None:
            evidence = self._context.factors.evidence(number, scaled, seen)
            sums = [total + sign * change for total, change in zip(sums, evidence, strict=True)]
        return self._hidden.add(added.unsqueeze(2), alpha=sign), sums

    def distribution(self, columns: Tensor, without: bool) -> ColumnLikelihood:
        """The distributions of the cells of columns `(c,)`, one column's after the other's.

        Given what was observed, `without` the column itself.
        """
        moved = [self._moved(column, -1) if without else (self._hidden, self._sums) for column in columns.tolist()]
        hidden, shift = torch.stack([own for own, _ in moved], dim=1), None
        if self._context.factors is not None:
            linear, places = self._context.factors, self._context.cells.number_places
            factors = linear.expect(*map(torch.stack, zip(*(sums for _, sums in moved), strict=True)))
            hidden = hidden + (factors @ self._context.of_factors.unsqueeze(1)).unsqueeze(3)
            at = [places.get(column, 0) for column in columns.tolist()]  # classes are moved by nothing
            shift = (factors @ linear.weights[at].unsqueeze(2)).squeeze(2) + linear.mean[at].unsqueeze(1)
        hidden = torch.unflatten(self._context._later(hidden.flatten(1, 2)), 1, hidden.shape[1:3])
        return self._context._columns(hidden, columns, shift)


def _is_column(around: TableSurroundings, items: Tensor, elements: Tensor) -> bool:
    """Whether the cells asked for are those of one column, of all rows in order."""
    rows = torch.arange(len(around), device=items.device)
    return len(items) > 0 and torch.equal(items, rows) and bool((elements == elements[0]).all())
