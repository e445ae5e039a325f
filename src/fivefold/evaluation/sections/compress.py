"""Compression: items beside what their latent numbers give back."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from fivefold.evaluation.comparisons import compress as comparison
from fivefold.evaluation.drawing import figure, image_rows
from fivefold.evaluation.material import Material
from fivefold.evaluation.metrics import psnr, ssim
from fivefold.evaluation.section import Picture, Section
from fivefold.jobs.codes import decode, encode
from fivefold.model.fitted import FittedModel

_SIZES = (2, 4, 8, 16, 32)


def make(material: Material) -> Section:
    """The section `compress`."""
    model, schema = material.model, material.model.schema
    compared = comparison.compare(material.quick())
    restored = reconstruct(model, material)
    quality = psnr(material.truth, restored, material.seen)
    figures: dict[str, Any] = {
        **compared.figures,
        "latent_fraction": model.latent_dim / schema.size,
        "psnr": float(quality.mean()),
        "ssim": float(ssim(material.truth, restored, material.seen).mean()),
    }
    shown = material.shown
    image_rows(
        material.folder / "compress.png",
        [("original", material.truth[shown]), (f"from {model.latent_dim} numbers", restored[shown])],
        [f"{quality[index]:.1f} dB" for index in shown],
    )
    pictures = [Picture("compress.png", "Items, and what comes back; the PSNR of each above it.")]
    if material.thorough and material.train is not None:
        figures["psnr_by_latent_dim"] = by_size = _psnr_by_size(material)
        with figure(material.folder / "latent_dim.png", 5, 3) as drawn:
            ax = drawn.subplots()
            ax.plot([int(size) for size in by_size], list(by_size.values()), "o-")
            ax.set_xscale("log", base=2)
            ax.set_xticks(_SIZES, [str(size) for size in _SIZES])
            ax.set(xlabel="latent numbers", ylabel="PSNR (dB)")
        pictures.append(Picture("latent_dim.png", "Quality against the size of the code; short fits of equal length."))
    opening = (
        f"{model.latent_dim} numbers stand for {schema.size} values: {figures['latent_fraction']:.2%} of them. What comes "
        f"back has a mean PSNR of {figures['psnr']:.2f} dB and an SSIM of {figures['ssim']:.3f}."
    )
    return replace(
        compared,
        figures=figures,
        sentences=[opening, *compared.sentences],
        pictures=pictures,
        summary=[("compress", f"{figures['latent_fraction']:.2%} of the numbers, {figures['psnr']:.1f} dB")],
    )


def reconstruct(model: FittedModel, material: Material) -> np.ndarray:
    """The material's items back from their codes, in [0, 1]."""
    return model.schema.to_unit(decode(model, encode(model, material.items)[0]))


def _psnr_by_size(material: Material) -> dict[str, float]:
    found = {}
    for size in _SIZES:
        model = material.fit_like(latent_dim=size, epochs=material.effort.sizes)
        found[str(size)] = float(psnr(material.truth, reconstruct(model, material), material.seen).mean())
    return found
