"""The convolutional encoder and decoder for images of any size and number of channels; how they are trained and calibrated.

For 28×28×1 with ReLU and without the visibility channel they are the publication's networks, layer for layer.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from fivefold.config import FitConfig, NetworkConfig
from fivefold.errors import DataError
from fivefold.images.context import ImageContext
from fivefold.images.jobs import count_statistics as count_statistics
from fivefold.images.jobs import statistics
from fivefold.images.schema import ImageSchema
from fivefold.images.settings import output_padding, stages
from fivefold.images.surprise import PixelScale
from fivefold.items import Items
from fivefold.model.calibrations import FittedPrior, JointScore
from fivefold.model.context import assemble, seeded
from fivefold.model.fitted import FittedModel
from fivefold.model.likelihoods import FAMILIES, Likelihood
from fivefold.model.reference import Reference
from fivefold.model.scoring import calibration_rows
from fivefold.model.vae import ACTIVATIONS, VAE, CodeFeatures, Posterior
from fivefold.training.recipe import Recipe

CALIBRATIONS: dict[str, type[Any]] = {
    "prior": FittedPrior,
    "normality": JointScore,
    "surprise": PixelScale,
    "reference": Reference,
}
PRECISION = torch.float32
_FEWEST = 2  # items of a fit: from one, its mean is all that can be learnt


class ConvEncoder(nn.Module):
    """`(x, visible)`, both `(n, c, h, w)`, → `Posterior`."""

    def __init__(self, schema: ImageSchema, config: NetworkConfig) -> None:
        super().__init__()
        sides, widths = stages(schema, config)
        activation = ACTIVATIONS[config.activation]
        self.sees_visibility = config.visibility
        layers: list[nn.Module] = []
        channels = schema.channels * (2 if config.visibility else 1)
        for width in widths:
            layers += [nn.Conv2d(channels, width, 3, stride=2, padding=1), activation()]
            channels = width
        flat = channels * sides[-1][0] * sides[-1][1]
        self.features = nn.Sequential(*layers, nn.Flatten(), nn.Linear(flat, config.hidden), activation())
        self.mu = nn.Linear(config.hidden, config.latent_dim)
        self.logvar = nn.Linear(config.hidden, config.latent_dim)

    def forward(self, x: Tensor, visible: Tensor) -> Posterior:
        seen = torch.cat((x, visible.to(x.dtype)), dim=1) if self.sees_visibility else x
        features = self.features(seen)
        return Posterior(self.mu(features), self.logvar(features))


class ConvDecoder(nn.Module):
    """`z` `(n, latent_dim)` → `Likelihood` of images `(n, c, h, w)`; the encoder's mirror image."""

    def __init__(self, schema: ImageSchema, config: NetworkConfig) -> None:
        super().__init__()
        sides, widths = stages(schema, config)
        activation = ACTIVATIONS[config.activation]
        self._family = FAMILIES[config.likelihood]
        self._levels = schema.levels
        channels, (height, width) = widths[-1], sides[-1]
        layers: list[nn.Module] = [nn.Linear(config.latent_dim, config.hidden), activation()]
        layers += [nn.Linear(config.hidden, channels * height * width), activation()]
        layers += [nn.Unflatten(1, (channels, height, width))]
        outputs = [*widths[-2::-1], schema.channels * self._family.parameters_per_element]
        for out, side, larger in zip(outputs, sides[:0:-1], sides[-2::-1], strict=True):
            padding = (output_padding(side[0], larger[0]), output_padding(side[1], larger[1]))
            layers += [nn.ConvTranspose2d(channels, out, 3, 2, padding=1, output_padding=padding), activation()]
            self.coarse_channels, channels = channels, out
        self.layers = nn.Sequential(*layers[:-1])

    def forward(self, z: Tensor) -> Likelihood:
        return self.likelihood_and_features(z)[0]

    def likelihood_and_features(self, z: Tensor) -> tuple[Likelihood, CodeFeatures]:
        """The likelihood, and z's features for the context decoder; no gradient flows back through the latter."""
        coarse = self.layers[:-1](z)
        likelihood = self._family(self.layers[-1](coarse), self._levels)
        return likelihood, CodeFeatures(coarse.detach(), likelihood.mean.detach())


def build(schema: ImageSchema, config: FitConfig, seed: int) -> nn.ModuleDict:
    """Freshly initialised networks for images of `schema`; see `assemble`."""
    make_context = partial(ImageContext, schema, config.context)
    return assemble(config, seed, lambda: _make_vae(schema, config.network), make_context)


def build_vae(schema: ImageSchema, config: NetworkConfig, seed: int) -> VAE:
    """A freshly initialised VAE for images of `schema`; the same seed gives the same weights."""
    return seeded(seed, lambda: _make_vae(schema, config))


def _make_vae(schema: ImageSchema, config: NetworkConfig) -> VAE:
    return VAE(ConvEncoder(schema, config), ConvDecoder(schema, config), config.latent_dim)


def prepare(networks: nn.ModuleDict, items: Items, train: np.ndarray, held_out: np.ndarray) -> None:
    """Nothing but to refuse what is too little to learn from."""
    if len(items) < _FEWEST:
        raise DataError(f"{items.source}: one picture is too few to fit to; cut it into tiles, or give more")


def recipe(schema: ImageSchema, config: FitConfig) -> Recipe:
    """Every image once an epoch; the best has the highest held-out ELBO."""
    return Recipe()


def calibrate(model: FittedModel, items: Items, train: np.ndarray, held_out: np.ndarray) -> None:
    """A joint density of the held-out images' statistics, and what is usual of their pixels."""
    if len(held_out):
        normal = items.select(calibration_rows(held_out, model.config.training.seed))
        model.calibrations["normality"] = JointScore.fit(statistics(model, normal))
        if model.context is not None:
            model.calibrations["surprise"] = PixelScale.fit(model, normal)
    model.calibrations["reference"] = Reference.fit(model, items, (held_out, train), axes=(1, 2))
