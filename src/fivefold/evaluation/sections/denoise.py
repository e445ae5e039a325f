"""Noise reduction: the publication's noise at its four levels."""

from __future__ import annotations

from fivefold.evaluation.drawing import image_rows
from fivefold.evaluation.material import Material
from fivefold.evaluation.metrics import psnr, ssim
from fivefold.evaluation.section import Picture, Section, Table
from fivefold.jobs.denoise import denoise
from fivefold.model.corruption import replace_uniform

_LEVELS = (0.05, 0.1, 0.25, 0.5)


def make(material: Material) -> Section:
    """The section `denoise`."""
    model, truth, seen = material.model, material.truth, material.seen
    figures, rows = {}, [("original", truth[material.shown])]
    for level in _LEVELS:
        noisy = material.noisy(replace_uniform, level, "noise")
        seen_noisy, clean = noisy.unit()[0], model.schema.to_unit(denoise(model, noisy))
        figures[f"{level:g}"] = {
            "psnr_noisy": float(psnr(truth, seen_noisy, seen).mean()),
            "psnr": float(psnr(truth, clean, seen).mean()),
            "ssim_noisy": float(ssim(truth, seen_noisy, seen).mean()),
            "ssim": float(ssim(truth, clean, seen).mean()),
        }
        rows += [(f"{level:.0%} noise", seen_noisy[material.shown]), ("denoised", clean[material.shown])]
    image_rows(material.folder / "denoise.png", rows)
    worse = [f"{float(level):.0%}" for level, row in figures.items() if row["psnr"] < row["psnr_noisy"]]
    sentences = [
        "Pixels are replaced at random by uniform values; the one model is told neither the kind nor the level."
    ]
    if worse:
        sentences.append(
            f"At {', '.join(worse)} the noisy image itself is closer to the original than the denoised one."
        )
    return Section(
        "denoise",
        "Noise reduction",
        figures,
        sentences,
        [
            Table(
                ("replaced", "PSNR noisy", "PSNR denoised", "SSIM noisy", "SSIM denoised"),
                [
                    (
                        f"{float(level):.0%}",
                        f"{row['psnr_noisy']:.2f} dB",
                        f"{row['psnr']:.2f} dB",
                        f"{row['ssim_noisy']:.3f}",
                        f"{row['ssim']:.3f}",
                    )
                    for level, row in figures.items()
                ],
            )
        ],
        [Picture("denoise.png", "Noisy and denoised, the same items at all levels.")],
        [
            (
                "denoise",
                ", ".join(f"{float(k):.0%}: {r['psnr_noisy']:.1f}→{r['psnr']:.1f} dB" for k, r in figures.items()),
            )
        ],
    )
