"""Denoising beside filters, BM3D and a U-Net; no method knows the level of the noise."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from fivefold.evaluation.contest import OURS, Measure, Picture, Section, contest
from fivefold.evaluation.drawing import image_rows
from fivefold.evaluation.images.material import Damage, ImageMaterial
from fivefold.evaluation.metrics import psnr, ssim
from fivefold.evaluation.rivals.denoisers import DENOISERS, denoise_images
from fivefold.evaluation.rivals.networks import FittedUNet
from fivefold.items import Items
from fivefold.model.corruption import add_gaussian, draw_strength, replace_uniform, salt_and_pepper

_NOISE: dict[str, tuple[Damage, tuple[float, ...]]] = {
    "uniform": (replace_uniform, (0.05, 0.1, 0.25, 0.5)),
    "gaussian": (add_gaussian, (0.1, 0.2, 0.4)),
    "salt and pepper": (salt_and_pepper, (0.05, 0.1, 0.25)),
}
_Row = dict[str, float]
_MOST_ITEMS = {"median": 10_000, "non-local means": 1_000, "total variation": 1_000, "BM3D": 200}  # by their speed


def compare(material: ImageMaterial) -> Section:
    """PSNR in dB by kind and level of noise, blind; slow methods on the first of the items only."""
    networks = _train_networks(material) if material.against else {}
    figures: dict[str, dict[str, Any]] = {}
    rows: dict[str, dict[str, float | None]] = {}
    for kind, (damage, levels) in _NOISE.items():
        main = kind == "uniform"
        part = material if main else material.fewer()
        for level in levels if material.against or main else ():
            noisy = part.noisy(damage, level, kind)
            quality, similarity = _measure(part, noisy, networks if main else {})
            figures.setdefault(kind, {})[f"{level:g}"] = {"psnr": quality, "ssim": similarity}
            rows[f"{kind} {level:g}"] = dict(quality)
    table, sentences = contest(Measure("PSNR", " dB"), rows, "noise")
    if material.against:
        minutes = {name: network.seconds / 60 for name, network in networks.items()}
        figures["about"] = {"most_items": _MOST_ITEMS, "minutes": minutes}
        sentences.append(
            "Filters estimate the level of the noise where they need it; the U-Nets were trained on uniform replacement "
            f"only. Non-local means and total variation ran on {_MOST_ITEMS['non-local means']:,} items, BM3D on "
            f"{_MOST_ITEMS['BM3D']:,}; noise other than uniform replacement, on {len(material.fewer().items):,}."
        )
    return Section("denoise", "Noise reduction", figures, sentences, [table])


def _measure(material: ImageMaterial, noisy: Items, networks: dict[str, FittedUNet]) -> tuple[_Row, _Row]:
    """PSNR and structural similarity by method, the latter of those that took all items."""
    truth, seen, unit = material.truth, material.seen, noisy.unit()[0]
    cleaned = {"noisy": unit, OURS: material.denoise(noisy)}
    cleaned |= {name: network.restore(unit, seen) for name, network in networks.items()}
    if material.against:
        cleaned |= {name: denoise_images(name, unit[: _MOST_ITEMS[name]]) for name in DENOISERS}
    quality, similarity = {}, {}
    for name, images in cleaned.items():
        count = len(images)
        quality[name] = float(psnr(truth[:count], images, seen[:count]).mean())
        if count == len(truth):
            similarity[name] = float(ssim(truth, images, seen).mean())
    return quality, similarity


def _train_networks(material: ImageMaterial) -> dict[str, FittedUNet]:
    """U-Nets trained on the noise of the table, at random levels: for a third of the fit's time, and for all of it."""

    def damage(x: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        strengths = draw_strength("uniform", len(x), generator)
        return replace_uniform(x, strengths, generator), torch.ones_like(x, dtype=torch.bool)

    minutes = {"U-Net": material.peer_minutes, "U-Net, full time": material.fit_minutes}
    return {name: material.fit_unet(damage, limit) for name, limit in minutes.items()}


def report(material: ImageMaterial) -> Section:
    """The section `denoise`: the publication's noise at its four levels."""
    material = material.quick()
    compared = compare(material)
    rows = [("original", material.truth[material.shown])]
    for level in _NOISE["uniform"][1]:
        noisy = material.noisy(replace_uniform, level, "uniform").select(material.shown)
        rows += [(f"{level:.0%} noise", noisy.unit()[0]), ("denoised", material.denoise(noisy))]
    image_rows(material.folder / "denoise.png", rows)
    opening = "Pixels are replaced at random by uniform values; the one model is told neither the kind nor the level."
    summary = ", ".join(
        f"{float(level):.0%}: {row['psnr']['noisy']:.1f}→{row['psnr'][OURS]:.1f} dB"
        for level, row in compared.figures["uniform"].items()
    )
    return replace(
        compared,
        sentences=[opening, *compared.sentences],
        pictures=[Picture("denoise.png", "Noisy and denoised, the same items at all levels.")],
        summary=[("denoise", summary)],
    )
