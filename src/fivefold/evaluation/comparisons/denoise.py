"""Denoising beside filters, BM3D and a U-Net; no method is told the level of the noise."""

from __future__ import annotations

import torch
from torch import Tensor

from fivefold.evaluation.comparison import OURS, Measure, contest
from fivefold.evaluation.material import Damage, Material
from fivefold.evaluation.metrics import psnr, ssim
from fivefold.evaluation.section import Section
from fivefold.items import Items
from fivefold.jobs.denoise import denoise
from fivefold.model.corruption import add_gaussian, draw_strength, replace_uniform, salt_and_pepper

_KINDS: dict[str, tuple[Damage, tuple[float, ...]]] = {
    "uniform": (replace_uniform, (0.05, 0.1, 0.25, 0.5)),
    "gaussian": (add_gaussian, (0.1, 0.2, 0.4)),
    "salt and pepper": (salt_and_pepper, (0.05, 0.1, 0.25)),
}
_MOST_ITEMS = {"median": 10_000, "non-local means": 1_000, "total variation": 1_000, "BM3D": 200}  # by their speed


def compare(material: Material) -> Section:
    """PSNR in dB by kind and level of noise, blind; slow methods on the first of the items only."""
    networks = _train_networks(material) if material.against else {}
    figures: dict[str, dict] = {}
    rows: dict[str, dict[str, float | None]] = {}
    for kind, (damage, levels) in _KINDS.items():
        main = kind == "uniform"
        some = material if main else material.fewer()
        for level in levels if material.against or main else ():
            noisy = some.noisy(damage, level, kind)
            measured, similarity = _measure(some, noisy, networks if main else {})
            figures.setdefault(kind, {})[f"{level:g}"] = {"psnr": measured, "ssim": similarity}
            rows[f"{kind} {level:g}"] = dict(measured)
    measure = Measure("PSNR", " dB")
    table, sentences = contest(measure, rows, "noise")
    minutes = {name: network.seconds / 60 for name, network in networks.items()}
    if material.against:
        figures["about"] = {"most_items": _MOST_ITEMS, "minutes": minutes}
        sentences.append(
            "Filters estimate the level of the noise where they need it; the U-Nets were trained on uniform replacement "
            f"only. Non-local means and total variation ran on {_MOST_ITEMS['non-local means']:,} items, BM3D on "
            f"{_MOST_ITEMS['BM3D']:,}; noise other than uniform replacement, on {len(material.fewer().items):,}."
        )
    return Section("denoise", "Noise reduction", figures, sentences, [table])


def _measure(material: Material, noisy: Items, networks: dict) -> tuple[dict[str, float], dict[str, float]]:
    truth, seen = material.truth, material.seen
    unit = noisy.unit()[0]
    ours = material.model.schema.to_unit(denoise(material.model, noisy).items)
    found = {"noisy": unit, OURS: ours}
    for name, network in networks.items():
        found[name] = network.restore(unit, seen)
    if material.against:
        from fivefold.evaluation.specialists.denoisers import DENOISERS

        found |= {name: clean(unit[: _MOST_ITEMS[name]]) for name, clean in DENOISERS.items()}
    levels, similarities = {}, {}
    for name, images in found.items():
        few = slice(0, len(images))
        levels[name] = float(psnr(truth[few], images, seen[few]).mean())
        if len(images) == len(truth):
            similarities[name] = float(ssim(truth, images, seen).mean())
    return levels, similarities


def _train_networks(material: Material) -> dict:
    """U-Nets trained on the noise of the table, at random levels: for a third of the fit's time, and for all of it."""
    from fivefold.evaluation.baselines.unet import fit_unet

    assert material.train is not None

    def damage(x: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        return replace_uniform(x, draw_strength("uniform", len(x), generator), generator), torch.ones_like(
            x, dtype=torch.bool
        )

    networks = {}
    for name, minutes in (("U-Net", material.peer_minutes), ("U-Net, full time", material.fit_minutes)):
        networks[name] = fit_unet(
            material.train, like=material.model, damage=damage, minutes=minutes, seed=material.seed
        )
    return networks
