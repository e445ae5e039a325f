"""The VAE and the context decoder of good parts; how they are trained and calibrated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from fivefold.config import FitConfig
from fivefold.errors import DataError
from fivefold.items import Items
from fivefold.model.context import seeded
from fivefold.model.corruption import Corrupted
from fivefold.model.fitted import FittedModel
from fivefold.parts.alterations import alter
from fivefold.parts.context import DefectDecoder
from fivefold.parts.jobs import log_odds
from fivefold.parts.regions import PeakScore, PixelLevels
from fivefold.parts.schema import PartSchema
from fivefold.pictures.networks import COARSE, PictureVAE
from fivefold.pictures.patches import Patches, PatchPlaces
from fivefold.pictures.splitting import first_guess, with_share
from fivefold.seeds import derive_seed
from fivefold.training.examination import FEWEST_TO_COMPARE
from fivefold.training.recipe import Recipe

CALIBRATIONS: Mapping[str, type[Any]] = {"normality": PeakScore, "surprise": PixelLevels}
PRECISION = torch.float32
STEPS = 250  # of an epoch
_LONGEST = 1.0  # gradient of the context decoder
_FEWEST = 10  # pictures of which whole ones can be held out
_MOST_PIXELS = 1 << 22  # of good parts, that are enough to compare with


class PartVAE(PictureVAE):
    """A VAE that explains good patches, given them with made-up defects: what its codes say is what should be there."""

    def training_pair(
        self, x: Tensor, visible: Tensor, damage: Mapping[str, float], generator: torch.Generator
    ) -> tuple[Corrupted, Tensor, Tensor]:
        """See `VAE.training_pair`; what else is damaged is no matter here."""
        x = torch.where(visible, x, first_guess(x, visible))
        some, everything = x.new_ones(len(x), dtype=torch.bool), torch.ones_like(visible)
        return Corrupted(with_share(alter(x, generator)), everything, some, some), with_share(x), visible


def build(schema: PartSchema, config: FitConfig, seed: int) -> nn.ModuleDict:
    """Freshly initialised networks; the same seed gives the same weights."""
    vae = seeded(derive_seed(seed, "weights"), lambda: PartVAE(schema, config))
    width = config.context.context_width
    context = seeded(derive_seed(seed, "context weights"), lambda: DefectDecoder(schema.channels, width, COARSE))
    return nn.ModuleDict({"vae": vae, "context": context})


def prepare(networks: nn.ModuleDict, items: Items, train: np.ndarray, held_out: np.ndarray) -> None:
    """Nothing but to refuse what is too little to calibrate with."""
    count = len(cast(PatchPlaces, items.origin).sizes)
    if count < _FEWEST:
        raise DataError(f"{items.source}: must be {_FEWEST} pictures of good parts at least, got {count}")


def recipe(schema: PartSchema, config: FitConfig) -> Recipe:
    """Epochs of as many steps for any number of pictures; the best has the lowest loss of the context decoder."""
    return Recipe(steps=(STEPS, STEPS), prior=False, context_norm=_LONGEST, score=_context_loss)


def _context_loss(row: dict[str, float]) -> float:
    return row.get("validation_context", -row["epoch"])


def calibrate(model: FittedModel, items: Items, train: np.ndarray, held_out: np.ndarray) -> None:
    """What is usual of the pixels, and of the strangest places, of whole pictures that were held out.

    If those are few, their strangest places are joined by those of the fit, made as much stranger as their median is less.
    """
    if not len(held_out):
        return
    places = cast(PatchPlaces, items.origin)
    pictures = cast(Patches, items.values).pictures[: len(places.sizes)]  # their smaller copies follow
    seen = np.isin(np.arange(len(pictures)), places.corners[train, 0])
    pixels, peaks = _summary(model, [pictures[number] for number in np.flatnonzero(~seen).tolist()])
    if len(peaks) < FEWEST_TO_COMPARE:
        _, known = _summary(model, [pictures[number] for number in np.flatnonzero(seen).tolist()])
        peaks = np.concatenate((peaks, known + max(0.0, np.median(peaks) - np.median(known))))
    levels = PixelLevels.fit(pixels)
    model.calibrations |= {"surprise": levels, "normality": PeakScore(np.sort(-levels.surprise(peaks)))}


def _summary(model: FittedModel, pictures: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """The log odds of so many of the pixels, and the highest of each picture."""
    pixels, peaks = list[np.ndarray](), list[float]()
    step = -(-sum(picture.size for picture in pictures) // _MOST_PIXELS)
    for picture in pictures:
        values = log_odds(model, picture)
        pixels.append(values.ravel()[::step])
        peaks.append(float(np.nanmax(values)))
    return np.concatenate(pixels).astype(np.float64), np.array(peaks)


def count_statistics(model: FittedModel) -> int:
    """One: how strange the strangest place is."""
    return 1
