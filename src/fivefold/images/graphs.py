"""Jobs on images as networks, for other runtimes."""

from __future__ import annotations

from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from fivefold.config import Conditioning
from fivefold.errors import UsageError
from fivefold.images.jobs import denoise
from fivefold.images.schema import ImageSchema
from fivefold.items import Items
from fivefold.jobs.codes import decode_items, encode
from fivefold.model.fitted import FittedModel
from fivefold.model.graph import Graph

_IMAGE = "image"
_WHY = {
    "detect": "its statistics are of each pixel given those before, in a loop over pieces of the images",
    "impute": "it draws codes at random",
}


def graph(model: FittedModel, job: str, free: bool = False) -> Graph:
    """A job from `image` `(n, h, w, c)`, float32 in the data's range, NaN where missing; or from codes.

    Raises `UsageError` for a job, or a model, that a graph can't hold.
    """
    schema = cast(ImageSchema, model.schema)
    why = _WHY.get(job)
    if job == "denoise" and model.has_learnt(Conditioning.NOISY):
        why = "it averages over codes that are drawn at random"
    if why is not None:
        raise UsageError(f"{job} of images by this model can't be exported: {why}")
    steps = {_IMAGE: 1.0} if schema.levels is not None else {}
    given = {_IMAGE: (schema.shape, torch.float32)}
    if job == "encode":
        return Graph(_Encode(model), given, ("mean", "std"))
    if job == "decode":
        return Graph(_Decode(model), {"z": ((model.latent_dim,), torch.float32)}, (_IMAGE,), steps=steps)
    return Graph(_Denoise(model), given, (_IMAGE,), steps=steps)


def feeds(model: FittedModel, job: str, items: Items, free: bool = False) -> dict[str, np.ndarray]:
    """Images, or of `decode` their codes, as graphs take them."""
    if job == "decode":
        return {"z": encode(model, items)[0]}
    return {_IMAGE: np.where(items.visible(), items.values, np.nan).astype(np.float32)}


def results(model: FittedModel, job: str, items: Items, free: bool = False) -> dict[str, np.ndarray]:
    """What the job itself gives for images."""
    if job == "encode":
        return dict(zip(("mean", "std"), encode(model, items), strict=True))
    return {_IMAGE: decode_items(model, encode(model, items)[0]) if job == "decode" else denoise(model, items)[""][0]}


class _Encode(nn.Module):
    """Images to posterior means and deviations, both `(n, latent_dim)` float32."""

    def __init__(self, model: FittedModel) -> None:
        super().__init__()
        self._schema, self.vae = cast(ImageSchema, model.schema), model.vae

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        low, high = self._schema.low, self._schema.high
        visible = ~torch.isnan(image)
        unit = torch.where(visible, ((image - low) / (high - low)).clamp(0, 1), 0.0)
        posterior = self.vae.posterior(unit.permute(0, 3, 1, 2), visible.permute(0, 3, 1, 2))
        return posterior.mu, posterior.std


class _Decode(nn.Module):
    """Codes to images `(n, h, w, c)` in the data's range and dtype."""

    def __init__(self, model: FittedModel) -> None:
        super().__init__()
        self._schema, self.vae = cast(ImageSchema, model.schema), model.vae
        self._kind = torch.from_numpy(np.empty(0, self._schema.dtype)).dtype

    def forward(self, z: Tensor) -> tuple[Tensor]:
        schema, unit = self._schema, self.vae.likelihood(z).point().permute(0, 2, 3, 1)
        values = unit.clamp(0, 1) * (schema.high - schema.low) + schema.low
        return ((values if schema.levels is None else torch.round(values)).to(self._kind),)


class _Denoise(nn.Module):
    """Images to the means given their posterior means."""

    def __init__(self, model: FittedModel) -> None:
        super().__init__()
        self.encode, self.decode = _Encode(model), _Decode(model)

    def forward(self, image: Tensor) -> tuple[Tensor]:
        image_of_code: tuple[Tensor] = self.decode(self.encode(image)[0])
        return image_of_code
