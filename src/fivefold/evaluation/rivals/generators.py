"""Generators of images: autoencoders of Pythae (Chadebec, Vincent, Allassonnière 2022, arXiv:2206.08309), and a GAN."""

from __future__ import annotations

import dataclasses
import logging
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fivefold.errors import DataError, UsageError
from fivefold.evaluation.rivals import TimeUpError, require, seeded, short_seed
from fivefold.evaluation.rivals.networks import descend, train_network
from fivefold.images.networks import ConvDecoder, ConvEncoder
from fivefold.images.schema import ImageSchema
from fivefold.items import Items
from fivefold.model.fitted import FittedModel, channels_first
from fivefold.seeds import derive_seed

_VAE, _RAE = "Pythae VAE + GMM", "Pythae RAE-L2 + GMM"
GENERATORS: tuple[str, ...] = (_VAE, _RAE)
_EPOCHS, _BATCH_SIZE, _LEARNING_RATE = 100, 100, 1e-3
_EMBEDDING_WEIGHT, _DECODER_DECAY = 1e-2, 1e-4
_SAMPLING_BATCH = 500
_GAN_RATE, _GAN_BETAS = 2e-4, (0.5, 0.999)


def fit_generator(
    name: str, train: Items, *, latent_dim: int, minutes: float, seed: int, convolutional: bool | None = None
) -> Callable[[int, int], np.ndarray]:
    """Train an autoencoder of Pythae's, and fit a mixture of 10 Gaussians to the codes of the training items.

    The VAE (Kingma, Welling 2013, arXiv:1312.6114) or the autoencoder with an L2 penalty on codes and decoder (Ghosh et
    al. 2019, arXiv:1903.12436); the settings are those of Pythae's scripts for MNIST. Training stops in the middle of an
    epoch when `minutes` are over, after at least one step; the last state counts. Hidden elements count as 0.

    `convolutional` is with the networks of Pythae's benchmark, for 28×28×1 only, else with its default, one hidden layer of
    512 units. If None, the former where they fit and there is a GPU: they have 17 million weights.

    Returns the generator: the number of images and a seed to `(n, h, w, c)` float32 in [0, 1], in random order. Raises
    `DataError` for fewer than two items.
    """
    if name not in GENERATORS:
        raise UsageError(f"the generator must be one of {', '.join(GENERATORS)}, got {name!r}")
    fits = train.schema.shape == (28, 28, 1)
    if convolutional is None:
        convolutional = fits and torch.cuda.is_available()
    if convolutional and not fits:
        raise UsageError("Pythae's convolutional networks are for images of 28×28×1")
    if len(train) < 2:
        raise DataError(f"{train.source}: a generator needs at least two training items")
    images = channels_first(train.unit()[0])
    require("pythae.pipelines")  # makes all of Pythae's loggers
    with seeded(seed, "generator"), _quiet():
        model = _build_autoencoder(name, tuple(images.shape[1:]), latent_dim, convolutional)
        _train(model, images, minutes, seed)
        sampler = require("pythae.samplers").GaussianMixtureSampler(model)
        if images.max() < 1:  # which Pythae's sampler refuses
            images = images.clone()
            images[0, 0, 0, 0] = 1
        sampler.fit(images)

    def generate(n: int, seed: int) -> np.ndarray:
        with seeded(seed, "generated"), torch.inference_mode():
            drawn = sampler.sample(n, batch_size=_SAMPLING_BATCH).cpu().numpy()
        order = np.random.default_rng(derive_seed(seed, "generated")).permutation(n)  # it comes sorted by component
        return np.ascontiguousarray(drawn[order].transpose(0, 2, 3, 1))

    return generate


def _build_autoencoder(name: str, shape: tuple[int, ...], latent_dim: int, convolutional: bool) -> Any:
    models = require("pythae.models")
    size = {"input_dim": shape, "latent_dim": latent_dim}
    if name == _VAE:
        kind, config = models.VAE, models.VAEConfig(**size)
    else:
        weights = {"embedding_weight": _EMBEDDING_WEIGHT, "reg_weight": _DECODER_DECAY}
        kind, config = models.RAE_L2, models.RAE_L2_Config(**size, **weights)
    if not convolutional:
        return kind(config)
    networks = require("pythae.models.nn.benchmarks.mnist")
    encoder = networks.Encoder_Conv_VAE_MNIST if name == _VAE else networks.Encoder_Conv_AE_MNIST
    return kind(config, encoder(config), networks.Decoder_Conv_AE_MNIST(config))


def _train(model: Any, images: Tensor, minutes: float, seed: int) -> None:
    """Train in place, with Pythae's trainer but without its bars, copies and saved models."""
    callback = require("pythae.trainers.training_callbacks").TrainingCallback()

    def end_in_time(training_config: Any, **_: Any) -> None:
        if time.monotonic() > deadline:
            raise TimeUpError

    callback.on_train_step_end = end_in_time
    with tempfile.TemporaryDirectory() as folder:
        trainer = _trainer(model, images, folder, seed)
        trainer.prepare_training()
        trainer.callback_handler.callbacks = [callback]
        deadline = time.monotonic() + 60 * minutes
        with suppress(TimeUpError):
            for epoch in range(_EPOCHS):
                trainer.train_step(epoch + 1)
    model.eval()


def _trainer(model: Any, images: Tensor, folder: str, seed: int) -> Any:
    trainers = require("pythae.trainers")
    alone = len(images) % _BATCH_SIZE == 1  # the last batch would be one item, too few to normalise over
    data = images[: len(images) - alone]
    dataset = require("pythae.data.datasets").BaseDataset(data, torch.ones(len(data)))
    settings: dict[str, Any] = {"output_dir": folder, "num_epochs": _EPOCHS, "seed": short_seed(seed, "trainer")}
    settings["per_device_train_batch_size"] = _BATCH_SIZE
    if model.model_name == "VAE":
        kind, config = trainers.BaseTrainer, trainers.BaseTrainerConfig(learning_rate=_LEARNING_RATE, **settings)
    else:
        settings |= {"encoder_learning_rate": _LEARNING_RATE, "decoder_learning_rate": _LEARNING_RATE}
        settings["decoder_optimizer_params"] = {"weight_decay": _DECODER_DECAY}
        kind, config = trainers.CoupledOptimizerTrainer, trainers.CoupledOptimizerTrainerConfig(**settings)
    return kind(model, dataset, training_config=config)


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence Pythae's loggers, each of which has a handler of its own, and leave them as they were."""
    named = [logger for name, logger in logging.root.manager.loggerDict.items() if name.startswith("pythae.")]
    before = [
        (logger, logger.disabled, list(logger.handlers)) for logger in named if isinstance(logger, logging.Logger)
    ]
    for logger, _, _ in before:
        logger.disabled = True
    try:
        yield
    finally:
        for logger, disabled, handlers in before:
            logger.disabled, logger.handlers = disabled, handlers


@dataclass
class FittedGAN:
    """A trained generator of DCGAN's size; a GAN has no encoder, hence no reconstruction.

    Goodfellow et al. 2014, arXiv:1406.2661; batch normalisation, activations and settings of Radford et al. 2015 (DCGAN),
    arXiv:1511.06434, sections 3 and 4.
    """

    generator: nn.Module
    like: FittedModel
    seconds: float

    @torch.inference_mode()
    def generate(self, n: int, seed: int = 0) -> np.ndarray:
        """`n` items decoded from normal noise: `(n, h, w, c)` in the data's dtype."""
        draws = np.random.default_rng(derive_seed(seed, "gan")).standard_normal((n, self.like.latent_dim))
        z = torch.from_numpy(draws.astype(np.float32)).to(self.like.device)
        return np.concatenate([self.like.values(self.generator(part)) for part in torch.split(z, self.like.batch_size)])


def fit_gan(
    like: FittedModel, items: Items, *, epochs: int | None = None, minutes: float = 5, seed: int = 0
) -> FittedGAN:
    """Train a generator with the layers of `like`'s decoder against a discriminator with its encoder's convolutions.

    For so many epochs; if they are None, for `minutes`.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(seed, "gan"))
        generator, discriminator = _build_gan(like)
    train_generator, train_discriminator = (
        torch.optim.Adam(module.parameters(), lr=_GAN_RATE, betas=_GAN_BETAS, fused=True)
        for module in (generator, discriminator)
    )

    def step(x: Tensor, visible: Tensor, rows: np.ndarray, random: torch.Generator, passed: float) -> None:
        if len(x) < 2:  # too few to normalise over
            return
        fake = generator(torch.randn((len(x), like.latent_dim), generator=random, device=x.device))
        loss = F.softplus(-discriminator(x)).mean() + F.softplus(discriminator(fake.detach())).mean()
        descend(train_discriminator, loss)
        discriminator.requires_grad_(False)
        descend(train_generator, F.softplus(-discriminator(fake)).mean())
        discriminator.requires_grad_(True)

    limit = {"minutes": minutes} if epochs is None else {"epochs": epochs}
    seconds = train_network("GAN", items, step, seed=seed, device=like.device, **limit)
    return FittedGAN(generator.eval(), like, seconds)


def _build_gan(like: FittedModel) -> tuple[nn.Module, nn.Module]:
    """Codes `(n, latent_dim)` → images in [0, 1]; and images → the logit of being real `(n, 1)`."""
    network = dataclasses.replace(like.config.network, visibility=False, likelihood="bernoulli", activation="relu")
    generator: list[nn.Module] = []
    for layer in ConvDecoder(cast(ImageSchema, like.schema), network).layers:
        generator.append(layer)
        if isinstance(layer, nn.Linear):
            generator.append(nn.BatchNorm1d(layer.out_features))
        elif isinstance(layer, nn.ConvTranspose2d):
            generator.append(nn.BatchNorm2d(layer.out_channels))
    discriminator: list[nn.Module] = []
    encoder = ConvEncoder(cast(ImageSchema, like.schema), network).features
    for layer in encoder:
        if isinstance(layer, nn.Conv2d):
            normalised = [nn.BatchNorm2d(layer.out_channels)] if discriminator else []
            discriminator += [layer, *normalised, nn.LeakyReLU(0.2)]
    flat_size = next(layer.in_features for layer in encoder if isinstance(layer, nn.Linear))
    discriminator += [nn.Flatten(), nn.Linear(flat_size, 1)]
    device = like.device
    generator[-1] = nn.Sigmoid()  # in the place of the output's normalisation
    return nn.Sequential(*generator).to(device), nn.Sequential(*discriminator).to(device)
