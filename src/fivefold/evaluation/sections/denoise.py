"""Noise reduction: the publication's noise at its four levels."""

from __future__ import annotations

from dataclasses import replace

from fivefold.evaluation.comparison import OURS
from fivefold.evaluation.comparisons import denoise as comparison
from fivefold.evaluation.drawing import image_rows
from fivefold.evaluation.material import Material
from fivefold.evaluation.section import Picture, Section
from fivefold.jobs.denoise import denoise
from fivefold.model.corruption import replace_uniform

_LEVELS = (0.05, 0.1, 0.25, 0.5)


def make(material: Material) -> Section:
    """The section `denoise`."""
    material = material.quick()
    compared = comparison.compare(material)
    _draw(material)
    uniform = compared.figures["uniform"]
    sentence = "Pixels are replaced at random by uniform values; the one model is told neither the kind nor the level."
    summary = ", ".join(
        f"{float(level):.0%}: {row['psnr']['noisy']:.1f}→{row['psnr'][OURS]:.1f} dB" for level, row in uniform.items()
    )
    return replace(
        compared,
        sentences=[sentence, *compared.sentences],
        pictures=[Picture("denoise.png", "Noisy and denoised, the same items at all levels.")],
        summary=[("denoise", summary)],
    )


def _draw(material: Material) -> None:
    shown, unit = material.shown, material.model.schema.to_unit
    rows = [("original", material.truth[shown])]
    for level in _LEVELS:
        noisy = material.noisy(replace_uniform, level, "uniform").select(shown)
        rows += [(f"{level:.0%} noise", noisy.unit()[0]), ("denoised", unit(denoise(material.model, noisy).items))]
    image_rows(material.folder / "denoise.png", rows)
