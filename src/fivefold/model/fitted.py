"""A fitted model: what `fit` returns, `load` opens, and every job is a function of."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from fivefold.config import FitConfig
from fivefold.errors import ModelError
from fivefold.images.context import ContextDecoder
from fivefold.images.schema import ImageSchema
from fivefold.items import Items, open_data
from fivefold.modality import Schema, modality_of
from fivefold.model.conditioning import Window
from fivefold.model.prior import FittedPrior
from fivefold.model.scores import Calibrated
from fivefold.model.vae import VAE
from fivefold.series.context import SeriesContext
from fivefold.series.schema import SeriesSchema
from fivefold.tables.context import RowContext
from fivefold.tables.marginals import Marginals
from fivefold.tables.schema import TableSchema

if TYPE_CHECKING:
    from fivefold.model.intervals import Coverage

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
    prior : fitted to the codes of the training items; or None
    normality : how the statistics of normal items lie, from the items held out in the fit; or None
    marginals : how the cells of each column of a table lie; None for others
    coverage : how wide intervals must be, of a table or series; or None
    record : JSON values: `data` (its source and size), `history` (a row per epoch), `figures` (of the held-out
        items, and of the test set if there was one), `environment`
    """

    vae: VAE
    schema: Schema
    config: FitConfig
    context: ContextDecoder | RowContext | SeriesContext | None = None
    prior: FittedPrior | None = None
    normality: Calibrated | None = None
    marginals: Marginals | None = None
    coverage: Coverage | None = None
    record: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if isinstance(self.schema, TableSchema) and self.device.type != "mps":  # which has no float64
            self.networks.double()  # a row's score does then not depend on the batch that it comes in

    @property
    def image_schema(self) -> ImageSchema:
        """The schema of images; raises `ModelError` if the model is of something else."""
        if not isinstance(self.schema, ImageSchema):
            raise ModelError(f"that takes a model of images, this one is of {self.schema.describe()}")
        return self.schema

    @property
    def table_schema(self) -> TableSchema:
        """The schema of rows; raises `ModelError` if the model is of something else."""
        if not isinstance(self.schema, TableSchema):
            raise ModelError(f"that takes a model of a table, this one is of {self.schema.describe()}")
        return self.schema

    @property
    def series_schema(self) -> SeriesSchema:
        """The schema of series' windows; raises `ModelError` if the model is of something else."""
        if not isinstance(self.schema, SeriesSchema):
            raise ModelError(f"that takes a model of series, this one is of {self.schema.describe()}")
        return self.schema

    @property
    def latent_dim(self) -> int:
        """Numbers per code."""
        return self.vae.latent_dim

    @property
    def parameters(self) -> int:
        """Number of trained weights."""
        return sum(weight.numel() for weight in self.networks.parameters())

    @property
    def networks(self) -> nn.ModuleDict:
        """All trained networks by name."""
        modules: dict[str, nn.Module] = {"vae": self.vae}
        if self.context is not None:
            modules["context"] = self.context
        return nn.ModuleDict(modules)

    def has_learnt(self, window: Window) -> bool:
        """Whether the context decoder met this kind of window in the fit."""
        damage = {"causal": 1.0, **self.config.damage}
        met = {
            Window.CAUSAL: ("causal",),
            Window.MISSING: ("hide", "block", "gap"),
            Window.NOISY: ("uniform", "gaussian", "salt_and_pepper", "swap", "white"),
        }
        return self.context is not None and any(damage.get(kind, 0.0) > 0 for kind in met[window])

    @property
    def device(self) -> torch.device:
        """Where the networks are."""
        return next(self.vae.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """Of the weights: float32, of tables float64."""
        return next(self.vae.parameters()).dtype

    @property
    def batch_size(self) -> int:
        """Items per batch that keep memory bounded."""
        return max(1, min(500, _BATCH_ELEMENTS // self.schema.size))

    @property
    def form(self) -> str | None:
        """In which the data of the fit came, where there are several."""
        form: str | None = self.record.get("data", {}).get("form")
        return form

    def read(self, data: Any, mask: Any = None) -> Items:
        """`data` as items that fit the model; raises as the modality's `open` does, `UsageError` for masks of rows or series."""
        modality_of(self.schema).refuse("encode", mask=mask)
        return open_data(data, self.schema, mask=mask).all_items()

    def batches(self, items: Items) -> Iterator[tuple[slice, Tensor, Tensor]]:
        """`(rows, x, visible)` for all items in turn; the tensors `(b, c, h, w)` on the model's device."""
        for rows in items.batches(self.batch_size):
            unit, visible = items.unit(rows)
            yield rows, self.tensor(unit), self.tensor(visible)

    def tensor(self, array: np.ndarray) -> Tensor:
        """Items `(n, h, w, c)` as a tensor `(n, c, h, w)` on the model's device."""
        tensor = channels_first(array).to(self.device)
        return tensor if tensor.dtype is torch.bool else tensor.to(self.dtype)

    def codes(self, z: np.ndarray) -> Tensor:
        """Codes `(n, latent_dim)` likewise."""
        return torch.from_numpy(z).to(self.device, self.dtype)

    def values(self, unit: Tensor, dtype: np.dtype | str | None = None) -> np.ndarray:
        """The inverse of `tensor`, in the data's range and `dtype` (default: the training data's)."""
        return self.schema.from_unit(unit.detach().cpu().numpy().transpose(0, 2, 3, 1), dtype)


def channels_first(array: np.ndarray) -> Tensor:
    """`(n, h, w, c)` as a tensor `(n, c, h, w)`."""
    return torch.from_numpy(np.ascontiguousarray(array.transpose(0, 3, 1, 2)))


def standard_normal(generator: np.random.Generator, shape: tuple[int, ...], device: torch.device) -> Tensor:
    """Normal draws that do not depend on how they are cut into batches (NumPy fills in order, PyTorch doesn't)."""
    return torch.from_numpy(generator.standard_normal(shape).astype(np.float32)).to(device)


def uniform(generator: np.random.Generator, shape: tuple[int, ...], device: torch.device) -> Tensor:
    """Uniform draws in (0, 1), likewise."""
    draws = generator.random(shape, np.float32)
    return torch.from_numpy(draws.clip(2.0**-24, 1 - 2.0**-24)).to(device)
