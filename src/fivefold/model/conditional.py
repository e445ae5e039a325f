"""p(xᵢ | z, what is around i) of a fitted model: by its context decoder, or p(xᵢ | z) where it has none for the purpose."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from fivefold.images.context import by_element, code_rows, column
from fivefold.model.conditioning import Conditioning
from fivefold.model.fitted import FittedModel
from fivefold.model.likelihoods import Likelihood
from fivefold.tables.context import TableContext, TableSurroundings

_CHUNK = 1 << 13  # elements evaluated at once: more would not stay in the cache

Measure = Callable[[Likelihood, Tensor, Tensor], Tensor]


class Conditional:
    """The distributions of single elements of a batch of items.

    Elements are numbered in raster order, channels last.

    Parameters
    ----------
    x, visible : `(n, c, h, w)` float in [0, 1] and bool: what the windows show
    z : `(n, latent_dim)`, or s codes for each item `(n, s, latent_dim)`; or None to do without z, which takes a context
        decoder
    """

    def __init__(self, model: FittedModel, window: Conditioning, x: Tensor, visible: Tensor, z: Tensor | None) -> None:
        n, c, h, w = x.shape
        self.shape, self.size, self.device = (n, h, w, c), c * h * w, x.device
        self.codes = 1 if z is None or z.dim() == 2 else z.shape[1]
        self._context, self._around, self._likelihood = model.context, None, None
        if model.context is not None and model.has_learnt(window):
            guide = None if z is None else model.vae.guided(z.flatten(0, -2))[1]
            self._around = model.context.surroundings(x, visible, window, guide)
        elif z is not None:
            self._likelihood = model.vae.likelihood(z.flatten(0, -2))
        else:
            raise ValueError("without z there must be a context decoder that has learnt the window")

    def __call__(self, items: Tensor, elements: Tensor) -> Likelihood:
        """The distribution of `elements` `(m,)` of `items` `(m,)` given each code, as tensors `(m, 1, s, 1)`."""
        if self._context is not None and self._around is not None:
            return self._context(self._around, items, elements)
        assert self._likelihood is not None
        return self._likelihood.at(code_rows(items, self.codes), elements)

    @property
    def chunk(self) -> int:
        """How many elements to ask for at once."""
        return max(1, _CHUNK // self.codes)

    def put(self, items: Tensor, elements: Tensor, values: Tensor) -> None:
        """Let the windows show `values` `(m,)`."""
        if self._around is not None:
            self._around.put(items, elements, values)

    def map(self, measure: Measure) -> Tensor:
        """`measure(likelihood, items, elements)` of all elements, k numbers `(m, k)` each: `(k, n, c, h, w)`."""
        n, h, w, c = self.shape
        if isinstance(self._around, TableSurroundings):
            assert isinstance(self._context, TableContext)
            items, columns = torch.arange(n, device=self.device), self._context.columns(self._around)
            parts = [measure(told, items, torch.full_like(items, number)) for number, told in enumerate(columns)]
            found = torch.stack(parts, dim=1)
        else:
            found = torch.cat([measure(self(*pairs), *pairs) for pairs in self._pairs()])
        return found.view(n, h, w, c, -1).permute(4, 0, 3, 1, 2)

    def _pairs(self) -> Iterator[tuple[Tensor, Tensor]]:
        """All items and elements, item after item, as many at once as memory is to hold."""
        total = self.shape[0] * self.size
        for start in range(0, total, self.chunk):
            index = torch.arange(start, min(start + self.chunk, total), device=self.device)
            yield index // self.size, index % self.size

    def log_prob(self, x: Tensor) -> Tensor:
        """Log probability of each element of `x` `(n, c, h, w)`, nats, likewise."""
        values = by_element(x)
        return self.map(lambda p, items, elements: p.log_prob(column(values[items, elements])).view(-1, 1))[0]
