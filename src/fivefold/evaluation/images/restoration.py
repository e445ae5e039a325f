"""Denoising and imputation of images beside filters, regressions, inpainting and U-Nets; no method knows the noise's level."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fivefold.evaluation.contest import OURS, Measure, Picture, Section, contest
from fivefold.evaluation.drawing import image_rows
from fivefold.evaluation.images.material import Damage, ImageMaterial
from fivefold.evaluation.metrics import psnr, root_mean_square, ssim
from fivefold.evaluation.rivals.denoisers import DENOISERS, denoise_images
from fivefold.evaluation.rivals.imputers import MOST_TRAIN_ITEMS, impute_images
from fivefold.evaluation.rivals.networks import FittedUNet
from fivefold.items import Items
from fivefold.jobs.impute import Imputed
from fivefold.model.corruption import (
    add_gaussian,
    draw_strength,
    hide_at_random,
    hide_block,
    replace_uniform,
    salt_and_pepper,
)

_NOISE: dict[str, tuple[Damage, tuple[float, ...]]] = {
    "uniform": (replace_uniform, (0.05, 0.1, 0.25, 0.5)),
    "gaussian": (add_gaussian, (0.1, 0.2, 0.4)),
    "salt and pepper": (salt_and_pepper, (0.05, 0.1, 0.25)),
}
_Row = dict[str, float]
_MOST_NOISY = {"median": 10_000, "non-local means": 1_000, "total variation": 1_000, "BM3D": 200}  # by their speed
_CASES: dict[str, tuple[Damage, float, str]] = {
    "random_0.5": (hide_at_random, 0.5, "half of it"),
    "block": (hide_block, 0.25, "a block"),
}
_Coverage = dict[str, float | None]
_INTERVAL = 0.9
_MOST_HOLEY = {"k-nearest neighbours": 1_000, "IterativeImputer": 1_000, "biharmonic inpainting": 1_000}  # by speed
_NARROW, _CONSTANT = 1e-6, 1e-12
_DRAWS = 2


def compare_denoising(material: ImageMaterial) -> Section:
    """PSNR in dB by kind and level of noise, blind; slow methods on the first of the items only."""
    networks = _train_denoisers(material) if material.against else {}
    figures: dict[str, dict[str, Any]] = {}
    rows: dict[str, dict[str, float | None]] = {}
    for kind, (damage, levels) in _NOISE.items():
        main = kind == "uniform"
        part = material if main else material.fewer()
        for level in levels if material.against or main else ():
            noisy = part.noisy(damage, level, kind)
            quality, similarity = _denoising(part, noisy, networks if main else {})
            figures.setdefault(kind, {})[f"{level:g}"] = {"psnr": quality, "ssim": similarity}
            rows[f"{kind} {level:g}"] = dict(quality)
    table, sentences = contest(Measure("PSNR", " dB"), rows, "noise")
    if material.against:
        minutes = {name: network.seconds / 60 for name, network in networks.items()}
        figures["about"] = {"most_items": _MOST_NOISY, "minutes": minutes}
        sentences.append(
            "Filters estimate the level of the noise where they need it; the U-Nets were trained on uniform replacement "
            f"only. Non-local means and total variation ran on {_MOST_NOISY['non-local means']:,} items, BM3D on "
            f"{_MOST_NOISY['BM3D']:,}; noise other than uniform replacement, on {len(material.fewer().items):,}."
        )
    return Section("denoise", "Noise reduction", figures, sentences, [table])


def _denoising(material: ImageMaterial, noisy: Items, networks: dict[str, FittedUNet]) -> tuple[_Row, _Row]:
    """PSNR and structural similarity by method, the latter of those that took all items."""
    truth, seen, unit = material.truth, material.seen, noisy.unit()[0]
    cleaned = {"noisy": unit, OURS: material.denoise(noisy)}
    cleaned |= {name: network.restore(unit, seen) for name, network in networks.items()}
    if material.against:
        cleaned |= {name: denoise_images(name, unit[: _MOST_NOISY[name]]) for name in DENOISERS}
    quality, similarity = {}, {}
    for name, images in cleaned.items():
        count = len(images)
        quality[name] = float(psnr(truth[:count], images, seen[:count]).mean())
        if count == len(truth):
            similarity[name] = float(ssim(truth, images, seen).mean())
    return quality, similarity


def _train_denoisers(material: ImageMaterial) -> dict[str, FittedUNet]:
    """U-Nets trained on the noise of the table, at random levels: for a third of the fit's time, and for all of it."""

    def damage(x: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        strengths = draw_strength("uniform", len(x), generator)
        return replace_uniform(x, strengths, generator), torch.ones_like(x, dtype=torch.bool)

    minutes = {"U-Net": material.peer_minutes, "U-Net, full time": material.fit_minutes}
    return {name: material.fit_unet(damage, limit) for name, limit in minutes.items()}


def report_denoising(material: ImageMaterial) -> Section:
    """The section `denoise`: the publication's noise at its four levels."""
    material = material.quick()
    compared = compare_denoising(material)
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


def compare_imputation(material: ImageMaterial) -> Section:
    """RMSE over the hidden elements on the scale from 0 to 1, and the coverage of intervals."""
    network = _train_imputer(material) if material.against else None
    figures: dict[str, Any] = {}
    rows: dict[str, dict[str, float | None]] = {}
    sentences = []
    for name, (hide, strength, label) in _CASES.items():
        errors, coverage = _imputation(material, material.holey(hide, strength, name), network)
        rows[f"{label} hidden"] = dict(errors)
        figures[name] = {"rmse": errors, "coverage": coverage}
        sentences += _sentences(label, coverage)
    table, losses = contest(Measure("RMSE", digits=4, higher_is_better=False), rows, "hidden")
    if network is not None:
        figures["about"] = {"most_items": _MOST_HOLEY, "unet_minutes": network.seconds / 60}
    return Section("impute", "Missing data", figures, losses + sentences, [table])


def _imputation(
    material: ImageMaterial, holey: Items, network: FittedUNet | None
) -> tuple[dict[str, float], _Coverage]:
    """RMSE by method, and the coverage of our intervals."""
    seen, unit = holey.visible(), holey.unit()[0]
    hidden = material.seen & ~seen
    imputed = material.impute(holey, interval=_INTERVAL)
    filled = {OURS: material.unit(imputed.data), "mean": np.where(seen, unit, material.moments[0].astype(np.float32))}
    if network is not None:
        filled["U-Net"] = np.where(seen, unit, network.restore(unit, seen))
        filled |= _rivals(material, unit, seen)
    errors = {}
    for name, images in filled.items():
        part = slice(len(images))
        errors[name] = root_mean_square((material.truth[part] - images)[hidden[part]])
    return errors, _coverage(material, hidden, imputed)


def _rivals(material: ImageMaterial, unit: np.ndarray, seen: np.ndarray) -> dict[str, np.ndarray]:
    assert material.train is not None
    rows = material.rng("imputers").permutation(len(material.train))[:MOST_TRAIN_ITEMS]
    train = np.where(material.train.visible(rows), material.train.unit(rows)[0], np.nan)
    sizes, seed = _MOST_HOLEY.items(), material.seed
    return {name: impute_images(name, train, unit[:most], seen[:most], seed) for name, most in sizes}


def _coverage(material: ImageMaterial, hidden: np.ndarray, imputed: Imputed) -> _Coverage:
    """Share of hidden elements inside their intervals: of those that vary, and of those with an open interval.

    A value at an end of its interval may be one of many, all at that value; then the interval has more than its share.
    """
    assert imputed.lower is not None
    assert imputed.upper is not None
    lower, upper = material.unit(imputed.lower), material.unit(imputed.upper)
    inside = (material.truth >= lower - _NARROW) & (material.truth <= upper + _NARROW)
    varying = hidden & (material.moments[1] > _CONSTANT)
    open_ = varying & (upper - lower > _NARROW)
    return {"varying": _share(inside, varying), "open": _share(inside, open_), "open_share": _share(open_, varying)}


def _share(chosen: np.ndarray, among: np.ndarray) -> float | None:
    return float(chosen[among].mean()) if among.any() else None


def _sentences(label: str, coverage: _Coverage) -> list[str]:
    """One on the coverage; none where nothing that varies is hidden."""
    if coverage["varying"] is None:
        return []
    sentence = (
        f"With {label} hidden, {coverage['varying']:.1%} of the hidden elements that are not the same in all items "
        f"lie in their {_INTERVAL:.0%} intervals"
    )
    if coverage["open"] is None:
        return [sentence + ", each of which is a single value."]
    return [
        f"{sentence}; {coverage['open']:.1%} of the {coverage['open_share']:.0%} whose interval is more than a single "
        "value."
    ]


def _train_imputer(material: ImageMaterial) -> FittedUNet:
    """A U-Net trained on what the table hides, at random amounts."""

    def damage(x: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        visible = torch.empty_like(x[:, :1], dtype=torch.bool)
        half = len(x) // 2
        for rows, kind, hide in ((slice(0, half), "hide", hide_at_random), (slice(half, None), "block", hide_block)):
            visible[rows] = hide(x[rows], draw_strength(kind, len(x[rows]), generator), generator)
        return torch.where(visible, x, 0.0), visible

    return material.fit_unet(damage, material.peer_minutes)


def report_imputation(material: ImageMaterial) -> Section:
    """The section `impute`, with the expected items and draws."""
    material = material.quick()
    compared = compare_imputation(material)
    _draw(material)
    source = "training" if material.train is not None else "report's own"
    opening = (
        "Root mean squared error over the hidden pixels, on the scale from 0 to 1, beside filling them with the mean of "
        f"the {source} items at that place. The block covers a quarter of the area, anywhere."
    )
    errors = {label: compared.figures[name]["rmse"] for name, (_, _, label) in _CASES.items()}
    summary = "; ".join(
        f"{label} hidden: RMSE {row[OURS]:.3f} (mean fill {row['mean']:.3f})" for label, row in errors.items()
    )
    return replace(
        compared,
        sentences=[opening, *compared.sentences],
        pictures=[Picture("impute.png", "What is left of the items (white: hidden), the expected items, and draws.")],
        summary=[("impute", summary)],
    )


def _draw(material: ImageMaterial) -> None:
    truth = material.truth[material.shown]
    rows = [("original", truth)]
    for name, (hide, strength, label) in _CASES.items():
        holey = material.holey(hide, strength, name).select(material.shown)
        imputed = material.impute(holey, n_draws=_DRAWS)
        visible = np.where(holey.visible(), truth, np.nan)
        rows += [(f"{label} hidden", visible), ("expected", material.unit(imputed.data))]
        rows += [("drawn", material.unit(draw)) for draw in imputed.draws]
    image_rows(material.folder / "impute.png", rows)
