"""The VAE against a GAN with the same decoder."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from fivefold.evaluation.baselines.gan import fit_gan
from fivefold.evaluation.drawing import image_rows
from fivefold.evaluation.material import Material
from fivefold.evaluation.metrics import ManifoldOverlap, sharpness
from fivefold.evaluation.section import Picture, Section, Table
from fivefold.jobs.generate import generate

_SEEDS = 3
_PER_ROW = 16
_ROWS = {
    "train_seconds": "training (s)",
    "fid": "FID",
    "precision": "precision",
    "recall": "recall",
    "density": "density",
    "coverage": "coverage",
    "classes_covered": "classes covered",
    "sharpness": "sharpness (test items: 1)",
}


def make(material: Material) -> Section | None:
    """The section `gan`; None without training items."""
    if material.train is None:
        return None
    seeds = range(material.seed, material.seed + (_SEEDS if material.thorough else 1))
    gan_items, gan_runs = zip(*(_run_gan(material, seed) for seed in seeds), strict=True)
    vae_items, vae_runs = zip(*(_run_vae(material, seed) for seed in seeds), strict=True)
    unit = material.model.schema.to_unit
    rows = [("test items", material.truth[_spread(len(material.truth))])]
    for name, drawn in (("VAE", vae_items[0]), ("GAN", gan_items[0])):
        starts = range(0, min(2 * _PER_ROW, len(drawn)), _PER_ROW)
        rows += [(name, unit(drawn[start : start + _PER_ROW])) for start in starts]
    image_rows(material.folder / "gan.png", rows)
    figures: dict[str, Any] = {**gan_runs[0], "reconstruction": None, "vae": vae_runs[0]}
    if material.thorough:
        figures |= {"seeds": list(gan_runs), "vae_seeds": list(vae_runs)}
    table_rows = [
        (label, *(_text([run[name] for run in runs]) for runs in (vae_runs, gan_runs)))
        for name, label in _ROWS.items()
        if name in gan_runs[0]
    ]
    spread = f"; mean ± deviation over {len(seeds)} seeds" if material.thorough else ", of one seed"
    return Section(
        "gan",
        "The VAE against a GAN",
        figures,
        [
            "The GAN's generator has the layers of the VAE's decoder, its discriminator the encoder's convolutions, "
            f"both batch-normalised; trained for {material.effort.gan} epochs with DCGAN's settings{spread}. The GAN has "
            "no encoder: it can't reconstruct, compress, denoise, detect or impute."
        ],
        [Table(("", "VAE", "GAN"), [*table_rows, ("reconstruction", "yes", "none")])],
        [Picture("gan.png", "Real items, and draws from either.")],
        [
            (
                "GAN",
                f"FID {_text([run.get('fid') for run in gan_runs])}, {_text([r['train_seconds'] for r in gan_runs])} s",
            )
        ],
    )


def _run_gan(material: Material, seed: int) -> tuple[np.ndarray, dict[str, Any]]:
    assert material.train is not None
    gan = fit_gan(material.model, material.train, epochs=material.effort.gan, seed=seed)
    generated = gan.generate(len(material.items), seed)
    figures = _measure(material, generated, material.likeness(generated))
    return generated, {"seed": seed, "train_seconds": gan.seconds, **figures}


def _run_vae(material: Material, seed: int) -> tuple[np.ndarray, dict[str, Any]]:
    """The model under report, and for the seeds after the first another fit like it."""
    model, generated = material.model, material.generated
    if seed == material.seed:
        likeness = material.generated_likeness
    else:
        model = material.fit_like(seed=model.config.training.seed + seed - material.seed)
        generated = generate(model, len(material.items), seed)
        likeness = material.likeness(generated)
    figures = _measure(material, generated, likeness)
    return generated, {"seed": seed, "train_seconds": model.record["train_seconds"], **figures}


def _measure(
    material: Material, generated: np.ndarray, likeness: tuple[float, ManifoldOverlap] | None
) -> dict[str, Any]:
    figures: dict[str, Any] = {}
    if (real := sharpness(material.truth)) > 0:
        figures["sharpness"] = sharpness(material.model.schema.to_unit(generated)) / real
    if likeness is not None:
        figures |= {"fid": likeness[0], **dataclasses.asdict(likeness[1])}
        figures["classes_covered"] = material.classes_covered(generated)[0]
    return figures


def _spread(n: int) -> np.ndarray:
    return np.linspace(0, n - 1, min(n, _PER_ROW)).astype(int)


def _text(values: list[float | None]) -> str:
    numbers = [value for value in values if value is not None]
    if not numbers:
        return "–"
    if len(numbers) == 1:
        return f"{numbers[0]:.3g}" if numbers[0] < 100 else f"{numbers[0]:.0f}"
    return f"{np.mean(numbers):.3g} ± {np.std(numbers, ddof=1):.2g}"
