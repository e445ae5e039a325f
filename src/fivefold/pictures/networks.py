"""The VAE of noisy pictures, whose codes form a map; how it and the context decoder are trained."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fivefold.codec.mixtures import MOST_SYMBOLS
from fivefold.config import FitConfig
from fivefold.errors import UsageError
from fivefold.items import Items
from fivefold.model.context import seeded
from fivefold.model.corruption import Corrupted
from fivefold.model.fitted import FittedModel
from fivefold.model.vae import VAE, CodeFeatures, Elbo, Posterior
from fivefold.pictures.coder import PixelCoder
from fivefold.pictures.context import SignalDecoder
from fivefold.pictures.dataset import sample_units
from fivefold.pictures.learning import learn
from fivefold.pictures.noise import Noise, estimate_noise
from fivefold.pictures.patches import Patches
from fivefold.pictures.schema import PictureSchema
from fivefold.pictures.settings import PLACE, PictureConfig
from fivefold.pictures.splitting import NoiseModel, split, with_share
from fivefold.seeds import derive_seed
from fivefold.training.recipe import Recipe

CALIBRATIONS: Mapping[str, type[Any]] = {"coder": PixelCoder}
PRECISION = torch.float32
COARSE = 32  # channels of the decoder's last hidden map, at a quarter of the resolution
_WIDTH = 48
STEPS = 250  # of an epoch
CODER_STEPS = 100  # for each
_STEPS_PER_PATCH = 10
CODER_SHARE = 0.2  # of the minutes
_LONGEST = 1.0  # gradient of the context decoder
_LEAST_LOGVAR, _MOST_LOGVAR = -12.0, 2.0


class MapEncoder(nn.Module):
    """Pictures with shares `(n, c + 1, h, w)`, and what is visible, → `Posterior` of a map of codes, a place per 16×16 pixels."""

    def __init__(self, channels: int, codes: int) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.PixelUnshuffle(2)]
        width = 4 * (2 * channels + 1)
        for _ in range(int(math.log2(PLACE)) - 1):
            layers += [nn.Conv2d(width, _WIDTH, 3, stride=2, padding=1), nn.SiLU()]
            width = _WIDTH
        self.layers = nn.Sequential(*layers, nn.Conv2d(_WIDTH, 2 * codes, 1))

    def maps(self, x: Tensor, visible: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log variance of the codes, each `(n, codes, h / 16, w / 16)`."""
        mu, logvar = self.layers(torch.cat((x, visible.to(x.dtype)), dim=1)).chunk(2, dim=1)
        return mu, logvar

    def forward(self, x: Tensor, visible: Tensor) -> Posterior:
        mu, logvar = self.maps(x, visible)
        return Posterior(mu.flatten(1), logvar.flatten(1))


class SignalGaussian:
    """The signal's density, independent normals, `mean` and `variance` `(n, c, h, w)`; and that of pictures under noise."""

    def __init__(self, mean: Tensor, variance: Tensor, noise: NoiseModel) -> None:
        self.mean, self.variance, self._noise = mean, variance, noise

    def point(self) -> Tensor:
        """The expected signal."""
        return self.mean

    def item_log_prob(self, x: Tensor, visible: Tensor) -> Tensor:
        """Log density of noisy pictures with shares `(n, c + 1, h, w)`, where `visible`: `(n,)`, nats."""
        values, share = x[:, :-1], x[:, -1:]
        total = self.variance + self._noise.variance(self.mean.detach(), share)
        log_prob = -0.5 * ((values - self.mean).square() / total + total.log() + math.log(2 * math.pi))
        return torch.where(visible, log_prob, 0.0).flatten(1).sum(1)


class MapDecoder(nn.Module):
    """A map of codes → density of the signal, computed at a quarter of the resolution."""

    def __init__(self, channels: int, codes: int, noise: NoiseModel) -> None:
        super().__init__()
        self.codes = codes
        self.noise = noise
        self.first = nn.Sequential(nn.Conv2d(codes, _WIDTH, 3, padding=1), nn.SiLU(), nn.Upsample(scale_factor=2))
        self.second = nn.Sequential(nn.Conv2d(_WIDTH, COARSE, 3, padding=1), nn.SiLU(), nn.Upsample(scale_factor=2))
        self.third = nn.Sequential(nn.Conv2d(COARSE, COARSE, 3, padding=1), nn.SiLU())
        self.out = nn.Conv2d(COARSE, 2 * channels, 3, padding=1)

    def coarse(self, codes: Tensor) -> Tensor:
        """The last hidden map `(n, f, h / 4, w / 4)` of a map of codes."""
        features: Tensor = self.third(self.second(self.first(codes)))
        return features

    def likelihood_and_features(self, z: Tensor) -> tuple[SignalGaussian, CodeFeatures]:
        """Of codes `(n, latent_dim)` of square patches; no gradient flows back through the features."""
        side = math.isqrt(z.shape[1] // self.codes)
        coarse = self.coarse(z.view(len(z), self.codes, side, side))
        mean, logvar = F.interpolate(self.out(coarse), scale_factor=4, mode="bilinear").chunk(2, dim=1)
        variance = logvar.clamp(_LEAST_LOGVAR, _MOST_LOGVAR).exp()
        return SignalGaussian(0.5 + mean, variance, self.noise), CodeFeatures(coarse.detach(), None)

    def forward(self, z: Tensor) -> SignalGaussian:
        return self.likelihood_and_features(z)[0]


class PictureVAE(VAE):
    """A VAE that learns from noisy pictures alone: it explains one half of each from the other, see `splitting`."""

    def __init__(self, schema: PictureSchema, config: FitConfig) -> None:
        places = (schema.patch // PLACE) ** 2
        codes, rest = divmod(config.network.latent_dim, places)
        if rest:
            raise UsageError(f"`latent_dim` must be a multiple of {places} here, got {config.network.latent_dim}")
        noise = NoiseModel()
        super().__init__(
            MapEncoder(schema.channels, codes), MapDecoder(schema.channels, codes, noise), config.network.latent_dim
        )
        self.noise, self.noise_config = noise, cast(PictureConfig, config.own)

    def training_pair(
        self, x: Tensor, visible: Tensor, damage: Mapping[str, float], generator: torch.Generator
    ) -> tuple[Corrupted, Tensor, Tensor]:
        """See `VAE.training_pair`; what is damaged is no matter here."""
        halves = split(x, visible, self.noise, generator)
        some = halves.visible.new_ones(len(x))
        return Corrupted(halves.seen, halves.visible, some, some), halves.target, halves.known

    def posterior(self, x: Tensor, visible: Tensor | None = None) -> Posterior:
        """q(z | x, visible) of pictures with shares, or without, as they are."""
        channels = x.shape[1] if visible is None else visible.shape[1]
        x = with_share(x) if x.shape[1] == channels else x
        return super().posterior(x, torch.ones_like(x[:, :-1], dtype=torch.bool) if visible is None else visible)

    def elbo(self, x: Tensor, noise: Tensor, visible: Tensor | None = None) -> Elbo:
        """Of noisy pictures as they are."""
        seen = torch.ones_like(x, dtype=torch.bool) if visible is None else visible
        posterior = self.posterior(x, seen)
        signal = cast(MapDecoder, self.decoder)(posterior.at(noise))
        return Elbo(signal.item_log_prob(with_share(x), seen), posterior.kl_per_unit())

    def coarse(self, x: Tensor, visible: Tensor) -> Tensor:
        """What z's expectation says of pictures with shares, of sides that are multiples of 16; see `MapDecoder.coarse`."""
        mu, _ = cast(MapEncoder, self.encoder).maps(x, visible)
        return cast(MapDecoder, self.decoder).coarse(mu)


def build(schema: PictureSchema, config: FitConfig, seed: int) -> nn.ModuleDict:
    """Freshly initialised networks; the same seed gives the same weights."""
    vae = seeded(derive_seed(seed, "weights"), lambda: PictureVAE(schema, config))
    width = config.context.context_width
    context = seeded(derive_seed(seed, "context weights"), lambda: SignalDecoder(schema.channels, width, COARSE))
    return nn.ModuleDict({"vae": vae, "context": context})


def prepare(networks: nn.ModuleDict, items: Items, train: np.ndarray, held_out: np.ndarray) -> None:
    """Find the noise in the pictures, if it is not known."""
    patches, schema = cast(Patches, items.values), cast(PictureSchema, items.schema)
    own = cast(PictureVAE, networks["vae"]).noise_config
    if own.noise_level is None:
        noise = estimate_noise(sample_units(patches.pictures, schema), own.noise)
    else:
        noise = Noise(floor=(own.noise_level / (schema.high - schema.low)) ** 2)
    for network in networks.values():
        cast(NoiseModel, network.noise).set(noise)


def recipe(schema: PictureSchema, config: FitConfig) -> Recipe:
    """Epochs of as many steps for any number of pictures; the best has the lowest loss of the context decoder."""
    share = 1.0 if schema.values is None else 1 - CODER_SHARE
    return Recipe(steps=(STEPS, STEPS), prior=False, share=share, context_norm=_LONGEST, score=_context_loss)


def _context_loss(row: dict[str, float]) -> float:
    return row.get("validation_context", -row["epoch"])


def calibrate(model: FittedModel, items: Items, train: np.ndarray, held_out: np.ndarray) -> None:
    """Record what the noise was taken for; and fit the coder of pictures, if they are of whole numbers."""
    schema = cast(PictureSchema, model.schema)
    noise = cast(PictureVAE, model.vae).noise.noise
    model.record["data"]["noise"] = noise.describe(schema.high - schema.low)
    if schema.values is not None and schema.values <= MOST_SYMBOLS:
        _fit_coder(model, cast(Patches, items.values), train, schema)


def _fit_coder(model: FittedModel, patches: Patches, train: np.ndarray, schema: PictureSchema) -> None:
    """To some of the patches that the networks were trained on, those without missing pixels."""
    training = model.config.training
    steps = CODER_STEPS * training.epochs
    rows = np.random.default_rng(derive_seed(training.seed, "coder")).permutation(train)
    chosen = patches.unturned(rows[: -(-steps // (_STEPS_PER_PATCH * schema.channels))])
    levels = [patch.astype(np.int64) - int(schema.low) for patch in chosen if np.isfinite(patch).all()]
    seconds = math.inf if training.max_minutes is None else 60 * CODER_SHARE * training.max_minutes
    if levels:
        model.calibrations["coder"] = learn(levels, cast(int, schema.values), steps, seconds, training.seed)


def count_statistics(model: FittedModel) -> int:
    """None: such models do not detect anomalies."""
    return 0
