"""A fitted model: what `fit` returns, `load` opens, and every job is a function of."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from fivefold.config import Conditioning, FitConfig
from fivefold.dataset import open_data
from fivefold.items import Items, Schema
from fivefold.modality import modality_of
from fivefold.model.calibrations import AnomalyScore, FittedPrior, IntervalCalibration
from fivefold.model.context import ContextDecoder
from fivefold.model.corruption import TAUGHT_BY
from fivefold.model.figures import figure_rows
from fivefold.model.vae import VAE
from fivefold.notebook import table

_BATCH_ELEMENTS = 1 << 19  # bounds the memory of a batch whatever the items' size


@dataclass
class FittedModel:
    """A trained VAE with all that using it takes.

    Attributes
    ----------
    vae : the networks, in evaluation mode
    schema : what an item is
    config : how it was fitted
    context : the context decoder, in evaluation mode; or None
    calibrations : what was fitted to the networks' results afterwards, by the name that it has on disk; None or left out
        where there was too little data
    precision : of the weights; None: the modality's own
    record : JSON values: `data` (its source and size), `history` (a row per epoch), `figures` (of the held-out
        items, and of the test set if there was one), `environment`

    Examples
    --------
    >>> tree_model.latent_dim, tree_model.config.training.epochs
    (3, 6)
    """

    vae: VAE
    schema: Schema
    config: FitConfig
    context: ContextDecoder | None = None
    calibrations: dict[str, Any] = field(default_factory=dict)
    record: dict[str, Any] = field(default_factory=dict)
    precision: torch.dtype | None = None
    _derived: dict[str, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        precision = self.precision or modality_of(self.schema).networks.PRECISION
        if precision is torch.float64 and self.device.type != "mps":  # which has no float64
            self.networks.to(precision)

    def derived(self, name: str, make: Callable[[FittedModel], Any]) -> Any:
        """What is made of the model, once: its weights stay as they are.

        >>> tree_model.derived("size", lambda model: model.parameters) == tree_model.parameters
        True
        """
        if name not in self._derived:
            self._derived[name] = make(self)
        return self._derived[name]

    def single(self) -> FittedModel:
        """The model in single precision.

        >>> tree_model.single().dtype, tree_model.dtype
        (torch.float32, torch.float64)
        """
        single: FittedModel = self.derived("single", FittedModel._copied)
        return single

    def _copied(self) -> FittedModel:
        """A copy in single precision."""
        vae, context = deepcopy((self.vae, self.context))
        own = dataclasses.replace(self, vae=vae, context=context, precision=torch.float32)
        own.networks.float()
        return own

    @property
    def prior(self) -> FittedPrior | None:
        """Density fitted to the codes of the training items; None without.

        >>> tree_model.prior.sample(2, np.random.default_rng(0)).shape
        (2, 3)
        """
        return self.calibrations.get("prior")

    @property
    def normality(self) -> AnomalyScore | None:
        """How the statistics of normal items lie, from the items held out in the fit; None if those were too few.

        >>> tree_model.normality.calibration.shape
        (45,)
        """
        return self.calibrations.get("normality")

    @property
    def coverage(self) -> IntervalCalibration | None:
        """How wide intervals must be, from the items held out; None where they are not calibrated, as of images.

        >>> tree_model.coverage is None, image_model.coverage is None
        (False, True)
        """
        return self.calibrations.get("coverage")

    @property
    def latent_dim(self) -> int:
        """Numbers per code.

        >>> image_model.latent_dim
        3
        """
        return self.vae.latent_dim

    def _repr_html_(self) -> str:
        if "history" in self.record:
            return table("A Fivefold model", figure_rows(self))
        return table("A Fivefold model", [("items", self.schema.describe()), ("latent numbers", self.latent_dim)])

    @property
    def parameters(self) -> int:
        """Number of trained weights.

        >>> load_model.parameters
        6174
        """
        return sum(weight.numel() for weight in self.networks.parameters())

    @property
    def networks(self) -> nn.ModuleDict:
        """All trained networks by name.

        >>> list(tree_model.networks)
        ['vae', 'context']
        """
        modules: dict[str, nn.Module] = {"vae": self.vae}
        if self.context is not None:
            modules["context"] = self.context
        return nn.ModuleDict(modules)

    def has_learnt(self, conditioning: Conditioning) -> bool:
        """Whether the context decoder met this kind of conditioning in the fit.

        >>> from fivefold.config import Conditioning
        >>> tree_model.has_learnt(Conditioning.MISSING)
        True
        """
        damage = {kind for kind, share in self.config.damage.items() if share > 0}
        return self.context is not None and (
            conditioning is Conditioning.CAUSAL or not damage.isdisjoint(TAUGHT_BY[conditioning])
        )

    @property
    def device(self) -> torch.device:
        """Where the networks are.

        >>> tree_model.device
        device(type='cpu')
        """
        return next(self.vae.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """Of the weights: float32, of tables float64.

        >>> image_model.dtype, tree_model.dtype
        (torch.float32, torch.float64)
        """
        return next(self.vae.parameters()).dtype

    @property
    def batch_size(self) -> int:
        """Items per batch that keep memory bounded.

        >>> image_model.batch_size
        500
        """
        return max(1, min(500, _BATCH_ELEMENTS // self.schema.size))

    @property
    def data_record(self) -> dict[str, Any]:
        """What is recorded of the data of the fit: their source, number and, where there are several, form and layout.

        >>> tree_model.data_record["items"], tree_model.data_record["held_out"]
        (255, 45)
        """
        record: dict[str, Any] = self.record.get("data", {})
        return record

    def read(self, data: Any, mask: Any = None) -> Items:
        """`data` as items that fit the model; raises as the modality's `open` does, and `UsageError` for a `mask` it lacks.

        >>> image_model.read(images).values.shape, tree_model.read(trees).values.shape
        ((12, 8, 6, 3), (300, 1, 6, 1))
        """
        modality_of(self.schema).refuse("encode", mask=mask)
        return open_data(data, self.schema, mask=mask).all_items()

    def batches(self, items: Items, at_most: int | None = None) -> Iterator[tuple[slice, Tensor, Tensor]]:
        """`(rows, x, visible)` for all items in turn, `at_most` so many at once; tensors `(b, c, h, w)` on the model's device.

        >>> [(rows, x.shape, visible.dtype) for rows, x, visible in image_model.batches(image_model.read(images))]
        [(slice(0, 12, None), torch.Size([12, 3, 8, 6]), torch.bool)]
        """
        for rows in items.batches(min(self.batch_size, at_most or self.batch_size)):
            unit, visible = items.unit(rows)
            yield rows, self.tensor(unit), self.tensor(visible)

    def tensor(self, array: np.ndarray) -> Tensor:
        """Items `(n, h, w, c)` as a tensor `(n, c, h, w)` on the model's device, in its `dtype`, or bool.

        >>> image_model.tensor(np.zeros((2, 8, 6, 3))).shape
        torch.Size([2, 3, 8, 6])
        """
        tensor = channels_first(array).to(self.device)
        return tensor if tensor.dtype is torch.bool else tensor.to(self.dtype)

    def codes(self, z: np.ndarray) -> Tensor:
        """Codes `(n, latent_dim)` likewise.

        >>> image_model.codes(np.zeros((2, 3))).dtype
        torch.float32
        """
        return torch.from_numpy(z).to(self.device, self.dtype)

    def values(self, unit: Tensor, dtype: np.dtype | str | None = None) -> np.ndarray:
        """Elements on the unit scale `(n, c, h, w)` as `(n, h, w, c)` in the data's range and `dtype`, by default the fit's.

        >>> values = image_model.values(image_model.tensor(np.ones((2, 8, 6, 3))))
        >>> values.shape, values.dtype, values.max()
        ((2, 8, 6, 3), dtype('uint8'), np.uint8(255))
        """
        return self.schema.from_unit(channels_last(unit.detach()), dtype)


def channels_first(array: np.ndarray) -> Tensor:
    """`(n, h, w, c)` as a tensor `(n, c, h, w)`."""
    return torch.from_numpy(np.ascontiguousarray(array.transpose(0, 3, 1, 2)))


def channels_last(tensor: Tensor) -> np.ndarray:
    """The inverse: `(n, c, h, w)` as an array `(n, h, w, c)`."""
    return tensor.cpu().numpy().transpose(0, 2, 3, 1)


def standard_normal(generator: np.random.Generator, shape: tuple[int, ...], device: torch.device) -> Tensor:
    """Normal draws that do not depend on how they are cut into batches (NumPy fills in order, PyTorch doesn't)."""
    return torch.from_numpy(generator.standard_normal(shape).astype(np.float32)).to(device)


def uniform(generator: np.random.Generator, shape: tuple[int, ...], device: torch.device) -> Tensor:
    """Uniform draws in (0, 1), likewise."""
    draws = generator.random(shape, np.float32)
    return torch.from_numpy(draws.clip(2.0**-24, 1 - 2.0**-24)).to(device)
