"""p(xᵢ | z, what is known around i) of a fitted model: by its context decoder, or p(xᵢ | z) where it has none for the purpose."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from fivefold.config import Conditioning
from fivefold.model.context import ElementLikelihood, by_element, chunk_size, code_rows, column, element_chunks
from fivefold.model.fitted import FittedModel
from fivefold.model.likelihoods import Likelihood

Measure = Callable[[Likelihood, Tensor, Tensor], Tensor]


class Conditional:
    """The distributions of single elements of a batch of items.

    Elements are numbered in raster order, channels last.

    Parameters
    ----------
    x, visible : `(n, c, h, w)` float in [0, 1] and bool: what the context decoder sees
    z : `(n, latent_dim)`, or s codes for each item `(n, s, latent_dim)`; or None to do without z, which takes a context
        decoder
    """

    def __init__(
        self, model: FittedModel, conditioning: Conditioning, x: Tensor, visible: Tensor, z: Tensor | None
    ) -> None:
        n, c, h, w = x.shape
        self.shape, self.size, self.device = (n, h, w, c), c * h * w, x.device
        self.codes = 1 if z is None or z.dim() == 2 else z.shape[1]
        self._context, self._around, self._likelihood = model.context, None, None
        if model.context is not None and model.has_learnt(conditioning):
            z_features = None if z is None else model.vae.likelihood_and_features(z.flatten(0, -2))[1]
            self._around = model.context.surroundings(x, visible, conditioning, z_features)
        elif z is not None:
            self._likelihood = model.vae.likelihood(z.flatten(0, -2))
        else:
            raise ValueError("without z there must be a context decoder that has learnt the conditioning")

    def __call__(self, items: Tensor, elements: Tensor) -> Likelihood:
        """The distribution of `elements` `(m,)` of `items` `(m,)` given each code, as tensors `(m, 1, s, 1)`."""
        if self._context is not None and self._around is not None:
            likelihood: Likelihood = self._context(self._around, items, elements)
            return likelihood
        assert self._likelihood is not None
        return self._likelihood.at(code_rows(items, self.codes), elements)

    @property
    def chunk(self) -> int:
        """How many elements to ask for at once."""
        return chunk_size(self.codes)

    def put(self, items: Tensor, elements: Tensor, values: Tensor) -> None:
        """Make elements visible as `values` `(m,)`."""
        if self._around is not None:
            self._around.put(items, elements, values)

    def map(self, measure: Measure) -> Tensor:
        """`measure(likelihood, items, elements)` of all elements, k numbers `(m, k)` each: `(k, n, c, h, w)`."""
        n, h, w, c = self.shape
        places, parts = list[Tensor](), list[Tensor]()
        for likelihood, items, elements in self._every():
            places.append(items * self.size + elements)
            parts.append(measure(likelihood, items, elements))
        measured = torch.cat(parts)
        ordered = torch.empty_like(measured).index_copy_(0, torch.cat(places), measured)
        return ordered.view(n, h, w, c, -1).permute(4, 0, 3, 1, 2)

    def _every(self) -> Iterator[ElementLikelihood]:
        if self._context is not None and self._around is not None:
            return self._context.every(self._around)
        chunks = element_chunks(self.shape[0], self.size, self.codes, self.device)
        return ((self(items, elements), items, elements) for items, elements in chunks)

    def log_prob(self, x: Tensor) -> Tensor:
        """Log probability of each element of `x` `(n, c, h, w)`, nats, likewise."""
        values = by_element(x)
        return self.map(lambda p, items, elements: p.log_prob(column(values[items, elements])).view(-1, 1))[0]

    def excess(self, x: Tensor) -> Tensor:
        """How far each element of `x` costs more than is expected of it, in spreads; see `Likelihood.excess`."""
        values = by_element(x)
        return self.map(lambda p, items, elements: p.excess(column(values[items, elements])).view(-1, 1))[0]
