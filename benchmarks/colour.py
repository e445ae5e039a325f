"""The five jobs on colour: patches of two photographs that come with scikit-learn."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
from sklearn.datasets import load_sample_images

from fivefold.evaluation.images import Material
from fivefold.evaluation.metrics import psnr, root_mean_square
from fivefold.images.dataset import make_items
from fivefold.images.jobs import code_length
from fivefold.images.settings import configure
from fivefold.items import Items
from fivefold.jobs.codes import decode, encode
from fivefold.jobs.denoise import denoise
from fivefold.jobs.detect import detect
from fivefold.jobs.generate import generate
from fivefold.jobs.impute import impute
from fivefold.model.corruption import add_gaussian, hide_at_random
from fivefold.model.fitted import FittedModel
from fivefold.model.scoring import evaluate_elbo
from fivefold.system import environment
from fivefold.training.fit import fit_items

_SIDE, _STRIDE = 16, 8
_TRAIN = 0.75  # of each picture's width, from the left
_LEVEL, _HIDDEN = 0.1, 0.5
SETTINGS = {"likelihood": "pixels", "latent_dim": 32, "epochs": 30, "validation": 0.1}


def measure(model: FittedModel, test: Items, train: Items) -> dict[str, Any]:
    """Fit the left parts, measure on the right ones: the VAE alone, and with its context decoder."""
    pictures = load_sample_images().images
    cut = [round(_TRAIN * picture.shape[1]) for picture in pictures]
    left = make_items(np.concatenate([_patches(p[:, :x]) for p, x in zip(pictures, cut, strict=True)]))
    right = make_items(np.concatenate([_patches(p[:, x:]) for p, x in zip(pictures, cut, strict=True)]), left.schema)
    fitted = fit_items(left, configure(**SETTINGS))
    alone = dataclasses.replace(fitted, context=None)
    material = Material(fitted, right, left)
    noisy, holey = material.noisy(add_gaussian, _LEVEL, "noise"), material.holey(hide_at_random, _HIDDEN, "holes")
    hidden = ~holey.visible()
    unit, truth, bits = fitted.schema.to_unit, material.truth, math.log(2) * right.schema.size
    rows: dict[str, dict[str, float]] = {}
    for name, each in (("VAE alone", alone), ("with the context decoder", fitted)):
        filled = unit(impute(each, holey).data)
        rows[name] = {
            "denoised, dB": float(psnr(truth, unit(denoise(each, noisy).data), material.seen).mean()),
            "imputed, RMSE": root_mean_square((truth - filled)[hidden]),
        }
    rows["VAE alone"]["bits per element"] = evaluate_elbo(fitted, right).negative_elbo / bits
    rows["with the context decoder"]["bits per element"] = code_length(fitted, right, None).total / bits
    restored = unit(decode(fitted, encode(fitted, right)[0]))
    upside_down = make_items(np.ascontiguousarray(255 - right.values), fitted.schema, "negatives")
    about = (
        f"{len(left):,} patches of {_SIDE}×{_SIDE}×3 from the left of two photographs, {len(right):,} from the right to "
        f"test on; Gaussian noise of {_LEVEL:g}, half of the pixels hidden. From {fitted.latent_dim} numbers: "
        f"{float(psnr(truth, restored, material.seen).mean()):.1f} dB. Negatives flagged at a false-alarm rate of 5 %: "
        f"{detect(fitted, upside_down, false_alarm_rate=0.05).anomaly.mean():.0%}; patches from the right: "
        f"{detect(fitted, right, false_alarm_rate=0.05).anomaly.mean():.0%}. Drawn sharply: "
        f"{generate(fitted, 64, sharp=True, prior='fitted').shape[0]} patches."
    )
    return {
        "rows": rows,
        "about": about,
        "settings": SETTINGS,
        "fit_seconds": fitted.record["train_seconds"],
        "environment": environment(),
    }


def _patches(picture: np.ndarray) -> np.ndarray:
    windows = np.lib.stride_tricks.sliding_window_view(picture, (_SIDE, _SIDE), axis=(0, 1))[::_STRIDE, ::_STRIDE]
    return np.ascontiguousarray(windows.reshape(-1, 3, _SIDE, _SIDE).transpose(0, 2, 3, 1))
