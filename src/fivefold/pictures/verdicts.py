"""Compression beside PNG; denoising beside filters, though no clean picture is known: what one half of each says of the other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import numpy as np
import torch

from fivefold.images.verdicts import FILTERS, compare_with_png, denoise_simply
from fivefold.items import Items
from fivefold.model.fitted import FittedModel, channels_last
from fivefold.model.verdicts import Trial, Verdict, compare_losses
from fivefold.pictures.networks import PictureVAE
from fivefold.pictures.schema import PictureSchema
from fivefold.pictures.splitting import split

MOST_ITEMS, MOST_ELEMENTS = 200, 1 << 20  # that jobs are tried on
_MOST_PATCHES = 50  # that are compressed
_UNIT = "mean squared error of the other half of the noisy pictures, on the scale from 0 to 1"

__all__ = ["MOST_ELEMENTS", "MOST_ITEMS", "TRIALS", "denoise_simply"]


@torch.inference_mode()
def _try_denoising(model: FittedModel, items: Items, train: Items, rng: np.random.Generator) -> Verdict:
    """The halves have independent noise (see `splitting`): whatever is nearer to the other one is nearer to the signal."""
    vae, generator = cast(PictureVAE, model.vae), torch.Generator(model.device).manual_seed(int(rng.integers(1 << 31)))
    ours, others = list[np.ndarray](), {name: list[np.ndarray]() for name in FILTERS}
    for _, x, visible in model.batches(items):
        halves = split(x, visible, vae.noise, generator)
        signal = cast(Any, model.context)(halves.seen, halves.visible, vae.coarse(halves.seen, halves.visible))
        target, known = channels_last(halves.target[:, :-1]), channels_last(halves.known)
        unit, seen = channels_last(halves.seen[:, :-1]), channels_last(halves.visible)
        ours.append(_loss(channels_last(signal.mean), target, known))
        for name, apply in FILTERS.items():
            others[name].append(_loss(apply(unit, seen), target, known))
    losses = {name: np.concatenate(parts) for name, parts in others.items()}
    return compare_losses("denoise", np.concatenate(ours), losses, _UNIT)


def _loss(images: np.ndarray, target: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Mean squared error of each item where the target is known, `(n,)`."""
    square = np.where(known, np.square(images - target, dtype=np.float64), 0).sum((1, 2, 3))
    return np.asarray(square / np.maximum(known.sum((1, 2, 3)), 1))


def _try_compression(model: FittedModel, items: Items, train: Items, rng: np.random.Generator) -> Verdict | None:
    schema = cast(PictureSchema, model.schema)
    if "coder" not in model.calibrations or schema.dtype not in ("uint8", "uint16"):
        return None
    return compare_with_png(model, items.values[:_MOST_PATCHES])


TRIALS: Mapping[str, Trial] = {"compress": _try_compression, "denoise": _try_denoising}
