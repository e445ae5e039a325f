"""The interface of context decoders: p(xᵢ | z, what is known around i).

The VAE says what; the context decoder says exactly where. Elements of items `(c, h, w)` are numbered in raster order, channels
last.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar, final

import torch
from torch import Tensor, nn

from fivefold.config import Conditioning, FitConfig
from fivefold.model.corruption import Corrupted
from fivefold.model.likelihoods import Likelihood
from fivefold.model.vae import VAE, CodeFeatures
from fivefold.seeds import derive_seed

_CHUNK = 1 << 13  # elements evaluated at once: more would not stay in the cache
_Module = TypeVar("_Module", bound=nn.Module)

ElementLikelihood = tuple[Likelihood, Tensor, Tensor]
"""Distributions `(m, 1, s, 1)` of single elements given each of s codes; their items `(m,)` and numbers `(m,)`."""


class Surroundings(ABC):
    """A batch of items as a context decoder sees them.

    Parameters
    ----------
    x, visible : `(n, c, h, w)` float in [0, 1] and bool
    conditioning : which other elements an element is given
    z_features : h(z) of each item's codes, as many for each item, one item's after the other's; or None to do without z
    uses_z : `(n,)` bool, which items' features count (default: all)
    """

    def __init__(
        self,
        x: Tensor,
        visible: Tensor,
        conditioning: Conditioning,
        z_features: CodeFeatures | None,
        uses_z: Tensor | None,
    ) -> None:
        n = len(x)
        self.x, self.visible, self.conditioning, self.z_features = x.clone(), visible.clone(), conditioning, z_features
        self.size = x.shape[1:].numel()
        self.codes = 1 if z_features is None else len(z_features.coarse) // n
        known = torch.full((n,), z_features is not None, device=x.device)
        self.z_known = (known if uses_z is None else known & uses_z).to(x.dtype)  # 0 or 1

    @final
    def __len__(self) -> int:
        return len(self.z_known)

    @property
    def device(self) -> torch.device:
        """Where the items are."""
        return self.z_known.device

    @abstractmethod
    def put(self, items: Tensor, elements: Tensor, values: Tensor) -> None:
        """Make elements visible as `values`; all three `(m,)`."""


@dataclass(frozen=True)
class ParameterGroup:
    """Weights that one optimizer moves at one rate, whose highest is `peak`; by Muon if they are `hidden` matrices."""

    weights: Sequence[Tensor]
    peak: float
    hidden: bool = False


@dataclass(frozen=True)
class TrainingBatch:
    """What a context decoder learns from in one step.

    Attributes
    ----------
    z_features : h(z), z drawn from the posterior of what was `seen`
    seen : the items as the encoder saw them
    x, visible : the clean items `(n, c, h, w)`, and which of their elements are known
    positions : how many elements of an item to ask for
    generator : of all random numbers
    """

    z_features: CodeFeatures
    seen: Corrupted
    x: Tensor
    visible: Tensor
    positions: int
    generator: torch.Generator

    def uniform(self, *shape: int) -> Tensor:
        """Random numbers in [0, 1), where the items are."""
        return torch.rand(shape, generator=self.generator, device=self.x.device)


class ContextDecoder(nn.Module, ABC):
    """A network that all elements of an item share, each seeing what is around it: the modality's own `Surroundings`."""

    surroundings_class: ClassVar[type[Surroundings]]

    def surroundings(
        self,
        x: Tensor,
        visible: Tensor,
        conditioning: Conditioning,
        z_features: CodeFeatures | None,
        uses_z: Tensor | None = None,
    ) -> Surroundings:
        """Items as this network sees them; see `Surroundings`."""
        return self.surroundings_class(x, visible, conditioning, z_features, uses_z)

    @abstractmethod
    def forward(self, around: Any, items: Tensor, elements: Tensor) -> Likelihood:
        """The distribution of each of `elements` `(m,)` of `items` `(m,)`, given each of the item's codes: `(m, 1, s, 1)`."""

    def every(self, around: Any) -> Iterator[ElementLikelihood]:
        """The distributions of all elements, part by part, in whatever order is cheap."""
        for items, elements in element_chunks(len(around), around.size, around.codes, around.device):
            yield self(around, items, elements), items, elements

    @abstractmethod
    def loss(self, batch: TrainingBatch) -> Tensor:
        """Mean loss over random elements of a training batch, nats: a number."""

    def parameter_groups(self, peak: float) -> list[ParameterGroup]:
        """All weights, by how they are to move; `peak` is the highest of the configured learning rate."""
        return [ParameterGroup(list(self.parameters()), peak)]


def assemble(
    config: FitConfig, seed: int, make_vae: Callable[[], VAE], make_context: Callable[[int], ContextDecoder]
) -> nn.ModuleDict:
    """Freshly initialised networks: `vae`, and `context` if the configuration has one.

    The same seed gives the same weights, and the VAE's do not depend on whether there is a context decoder.

    Parameters
    ----------
    make_context : takes the number of channels of `CodeFeatures.coarse`
    """
    vae = seeded(derive_seed(seed, "weights"), make_vae)
    if not config.context.field:
        return nn.ModuleDict({"vae": vae})
    channels: int = vae.decoder.coarse_channels  # type: ignore[assignment]  # a module's attributes have no types
    return nn.ModuleDict({"vae": vae, "context": seeded(derive_seed(seed, "context weights"), make_context, channels)})


def seeded(seed: int, make: Callable[..., _Module], *arguments: int) -> _Module:
    """What `make` makes from its arguments with PyTorch's global generator, from which layers initialise themselves, seeded."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make(*arguments)


def element_chunks(n: int, size: int, codes: int, device: torch.device) -> Iterator[tuple[Tensor, Tensor]]:
    """All elements of `n` items as `(items, elements)`, item after item, as many at once as memory is to hold."""
    chunk = chunk_size(codes)
    for start in range(0, n * size, chunk):
        index = torch.arange(start, min(start + chunk, n * size), device=device)
        yield index // size, index % size


def chunk_size(codes: int) -> int:
    """How many elements to ask for at once, given so many codes of each."""
    return max(1, _CHUNK // codes)


def code_rows(items: Tensor, codes: int) -> Tensor:
    """Where the codes of items `(m,)` are if each has as many, one item's after the other's: `(m, codes)`."""
    return items[:, None] * codes + torch.arange(codes, device=items.device)


def by_element(x: Tensor) -> Tensor:
    """`(n, c, h, w)` as `(n, h * w * c)`, in the order in which elements are numbered."""
    return x.permute(0, 2, 3, 1).flatten(1)


def as_items(values: Tensor, like: Tensor) -> Tensor:
    """The inverse of `by_element`, in the shape of `like`."""
    n, c, h, w = like.shape
    return values.view(n, h, w, c).permute(0, 3, 1, 2)


def column(values: Tensor) -> Tensor:
    """`(m,)` values in the shape of single elements' likelihoods, `(m, 1, 1, 1)`."""
    return values.view(-1, 1, 1, 1)
