"""A fourth modality: items are directions, some angles each, in radians from 0 to 2 pi. This one module is all its rooms."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import nn

from fivefold.archive.layers import RAW, EncodedBlock, Encoding
from fivefold.config import FitConfig, NetworkConfig, TrainingConfig
from fivefold.dataset import ItemSet
from fivefold.items import Items
from fivefold.jobs.detect import apart, by_itself, excess, unwatched
from fivefold.jobs.drift import compared_channels, remembered
from fivefold.jobs.generate import Generated, draw_items
from fivefold.jobs.impute import by_codes
from fivefold.jobs.known import known_by_codes
from fivefold.jobs.strangest import strangest_pixels
from fivefold.modality import Words
from fivefold.model.calibrations import FittedPrior, JointScore
from fivefold.model.context import assemble
from fivefold.model.likelihoods import Gaussian
from fivefold.model.vae import VAE, Posterior
from fivefold.training.recipe import Recipe

WORDS, CONFIG, USAGE, FLAGS, REPORTS = Words("direction", "directions", "angle", "angles"), None, (), {}, ("",)
OPTIONS, REFUSED, IMPLIED_BY, BUFFERS, TEST_SETS, SHARDS = {}, {}, frozenset(), (), {}, ()
EXTRA_ROLE, surprise, watcher, filling, in_context = "std", excess, unwatched, by_codes(10), by_itself
strangest, known, compared = strangest_pixels, known_by_codes, compared_channels
__all__ = ["apart", "remembered"]
MOST_ITEMS, MOST_ELEMENTS, TRIALS = 100, 1000, {}
CALIBRATIONS, PRECISION = {"prior": FittedPrior, "normality": JointScore}, torch.float32


def configure(preset="default", *, items=None, size=None, **overrides):
    network, training = NetworkConfig(likelihood="gaussian", hidden=16), TrainingConfig(batch_size=16)
    return FitConfig(network=network, training=training).with_settings(field=0, **overrides)


def split_reading(settings):
    return {}, dict(settings)


@dataclass(frozen=True)
class AngleSchema:
    angles: int
    kind: ClassVar[str] = "angle"
    dtype: ClassVar[str] = "float64"
    levels: ClassVar[None] = None
    numbers: ClassVar[np.ndarray] = np.ones(1, bool)
    shape = property(lambda self: (1, self.angles, 1))
    size = property(lambda self: self.angles)
    to_unit = staticmethod(lambda values: (values / (2 * np.pi)).astype(np.float32))
    from_unit = staticmethod(lambda unit, dtype=None: np.mod(2 * np.pi * unit.astype(np.float64), 2 * np.pi))
    snap = staticmethod(lambda values: values)
    from_json = classmethod(lambda cls, fields: cls(fields["angles"]))

    def describe(self):
        return f"{self.angles} angles"

    def to_json(self):
        return {"kind": self.kind, "angles": self.angles}


SCHEMA = AngleSchema


def recognises(source):
    return False  # arrays are angles only if the user says so


def open(source, schema=None):
    values = np.asarray(source, float)
    return ItemSet(Items(values[:, None, :, None], schema or AngleSchema(values.shape[1]), "angles"))


def new(schema, values, record=None):
    return values[:, 0, :, 0]


class Encoder(nn.Module):
    def __init__(self, schema, config):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(2 * schema.size, config.hidden), nn.SiLU(), nn.Linear(config.hidden, 2 * config.latent_dim)
        )

    def forward(self, x, visible):
        return Posterior(*self.layers(torch.cat((x * visible, visible), 1).flatten(1)).chunk(2, dim=1))


class Decoder(nn.Module):
    def __init__(self, schema, config):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(config.latent_dim, config.hidden), nn.SiLU(), nn.Linear(config.hidden, 2 * schema.size)
        )

    def forward(self, z):
        return Gaussian(self.layers(z).view(len(z), 2, 1, -1))

    def likelihood_and_features(self, z):
        return self(z), None  # there is no context decoder


def build(schema, config, seed):
    network = config.network
    return assemble(
        config, seed, lambda: VAE(Encoder(schema, network), Decoder(schema, network), network.latent_dim), None
    )


def prepare(networks, items, train, held_out):
    pass


def recipe(schema, config):
    return Recipe()


def calibrate(model, items, train, held_out):
    model.calibrations["normality"] = JointScore.fit(statistics(model, items.select(held_out)))


def count_statistics(model):
    return 2


@torch.inference_mode()
def statistics(model, items):
    parts = []
    for _, x, visible in model.batches(items):
        posterior = model.vae.posterior(x, visible)
        log_prob = model.vae.likelihood(posterior.mu).item_log_prob(x, visible)
        parts.append(torch.stack((log_prob, posterior.kl_per_unit().sum(1)), dim=1).double().numpy())
    return np.concatenate(parts)


@torch.inference_mode()
def denoise(model, items, *, seed=0):
    likelihoods = (model.vae.likelihood(model.vae.posterior(x, seen).mu) for _, x, seen in model.batches(items))
    moments = [(model.values(p.mean), 2 * np.pi * p.variance.sqrt().numpy().transpose(0, 2, 3, 1)) for p in likelihoods]
    values, std = (np.concatenate(parts) for parts in zip(*moments, strict=True))
    return {"": (values, None), "std": (std, None)}


def consistent(model, items, filled):
    return filled


def generate(model, n, seed, *, temperature=1.0):
    return Generated(draw_items(model, n, seed, prior="fitted", sharp=False, temperature=temperature))


class AngleCodec:
    """Angles verbatim."""

    def encode(self, angles):
        return EncodedBlock(len(angles), RAW, [b"", angles.tobytes()], self.digest(angles))

    def digest(self, values):
        return hashlib.sha256(values.tobytes()).digest()

    def decode(self, items, method, layers, lossy):
        values = np.frombuffer(layers[1])
        return values.reshape(items, -1) if len(values) and len(values) % items == 0 else "it has another size"


class AngleDecoding:
    def codec(self, model, lossy):
        return AngleCodec()

    def restore(self, parts, rows):
        return np.concatenate(list(parts))

    def describe(self, items, sizes):
        return {"angles": f"{items}"}


def encoding(model, stored, source, options):
    size, values = options.items_per_block(4, 100), np.asarray(source, float)
    tasks = ((values[first : first + size],) for first in range(0, len(values), size))
    return Encoding(AngleCodec(), tasks, lambda name: {"kind": "angle", "model": name}, 1, values.nbytes, len(values))


def decoding(reader, limits):
    return AngleDecoding()
