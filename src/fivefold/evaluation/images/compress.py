"""Compression: the ideal code length beside the sizes of real files; what codes give back, beside a plain autoencoder's."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import replace
from typing import Any

import numpy as np

from fivefold.evaluation.contest import OURS, Measure, Picture, Section, Table, contest
from fivefold.evaluation.drawing import figure, image_rows
from fivefold.evaluation.images.material import ImageMaterial, Likeness
from fivefold.evaluation.metrics import psnr, ssim
from fivefold.evaluation.rivals.compressors import image_sizes
from fivefold.evaluation.rivals.networks import fit_autoencoder
from fivefold.images.jobs import STEPS, code_length
from fivefold.jobs.codes import decode, encode
from fivefold.jobs.generate import generate, morph
from fivefold.model.fitted import FittedModel
from fivefold.model.scoring import reconstruction_scores

_MOST_TUNING_ITEMS = 500
_SIZES = (2, 4, 8, 16, 32)
_AUTOENCODER_ROWS = {
    "psnr": "reconstruction, PSNR (dB)",
    "reconstruction": "reconstruction error (nats)",
    "code_deviation": "spread of the codes over items",
    "fid": "decoded from N(0, I), FID",
    "coverage": "decoded from N(0, I), coverage",
    "interpolation_fid": "half-way between two items, FID",
    "interpolation_precision": "half-way between two items, precision",
    "train_seconds": "training (s)",
}


def compare(material: ImageMaterial) -> Section:
    """Bits per element: ours as the code length that an ideal coder would reach, the rivals' as bytes written."""
    model, elements = material.model, int(material.seen.sum())
    figures: dict[str, Any] = {}
    ours: dict[str, float | None] = {}
    sentences = []
    if model.context is not None and model.schema.levels is not None:
        step = _best_step(material)
        lengths = {"without z": code_length(model, material.items, None)}
        lengths["with z"] = code_length(model, material.items, step, material.seed)
        bits = {name: length.total * len(material.items) / math.log(2) / elements for name, length in lengths.items()}
        z_bits = float(lengths["with z"].z.sum()) / math.log(2) / elements
        figures["ideal"] = {**bits, "z": z_bits, "z_step": step}
        ours[OURS] = min(bits.values())
        sentences.append(
            f"{OURS}'s figure is an ideal code length: {bits['without z']:.4f} bits without z, {bits['with z']:.4f} with "
            f"it, of which {z_bits:.4f} for z on a grid of {step:g} posterior deviations. The others' are bytes written, "
            "all items in one stream (images: on one sheet), or each item by itself."
        )
    sizes = image_sizes(material.items.values) if material.seen.all() else {}
    figures["sizes"] = {name: {way: 8 * size / elements for way, size in ways.items()} for name, ways in sizes.items()}
    rows = {
        label: ours | {name: ways[way] for name, ways in figures["sizes"].items()}
        for label, way in (("one stream", "one_stream"), ("item by item", "per_image"))
    }
    table, losses = contest(Measure("bits per element", digits=4, higher_is_better=False), rows)
    return Section("compress", "Compression", figures, losses + sentences, [table] if rows["one stream"] else [])


def _best_step(material: ImageMaterial) -> float:
    """Of the grid for z: the one with the shortest code on training items, else on the items themselves."""
    source = material.items if material.train is None else material.train
    tuning = source.select(np.sort(material.rng("steps").permutation(len(source))[:_MOST_TUNING_ITEMS]))
    return min(STEPS, key=lambda step: code_length(material.model, tuning, step, material.seed).total)


def report(material: ImageMaterial) -> Section:
    """The section `compress`: the comparison, and items beside what their latent numbers give back."""
    model, schema, shown = material.model, material.model.schema, material.shown
    compared = compare(material.quick())
    restored = material.reconstruct()
    quality = psnr(material.truth, restored, material.seen)
    figures: dict[str, Any] = {
        **compared.figures,
        "latent_fraction": model.latent_dim / schema.size,
        "psnr": float(quality.mean()),
        "ssim": float(ssim(material.truth, restored, material.seen).mean()),
    }
    rows = [("original", material.truth[shown]), (f"from {model.latent_dim} numbers", restored[shown])]
    image_rows(material.folder / "compress.png", rows, [f"{quality[index]:.1f} dB" for index in shown])
    pictures = [Picture("compress.png", "Items, and what comes back; the PSNR of each above it.")]
    if material.thorough and material.train is not None:
        figures["psnr_by_latent_dim"], picture = _by_size(material)
        pictures.append(picture)
    opening = (
        f"{model.latent_dim} numbers stand for {schema.size} values: {figures['latent_fraction']:.2%} of them. What comes "
        f"back has a mean PSNR of {figures['psnr']:.2f} dB and an SSIM of {figures['ssim']:.3f}."
    )
    summary = [("compress", f"{figures['latent_fraction']:.2%} of the numbers, {figures['psnr']:.1f} dB")]
    sentences = [opening, *compared.sentences]
    return replace(compared, figures=figures, sentences=sentences, pictures=pictures, summary=summary)


def _by_size(material: ImageMaterial) -> tuple[dict[str, float], Picture]:
    """PSNR by the number of latent numbers, and how it is drawn."""
    quality = {}
    for size in _SIZES:
        restored = material.reconstruct(model=material.fit_like(latent_dim=size, epochs=material.effort.sizes))
        quality[str(size)] = float(psnr(material.truth, restored, material.seen).mean())
    with figure(material.folder / "latent_dim.png", 5, 3) as drawn:
        ax = drawn.subplots()
        ax.plot(_SIZES, list(quality.values()), "o-")
        ax.set_xscale("log", base=2)
        ax.set_xticks(_SIZES, [str(size) for size in _SIZES])
        ax.set(xlabel="latent numbers", ylabel="PSNR (dB)")
    return quality, Picture("latent_dim.png", "Quality against the size of the code; short fits of equal length.")


def report_autoencoder(material: ImageMaterial) -> Section | None:
    """The section `autoencoder`, the same networks without KL and sampling; None without training items."""
    if material.train is None:
        return None
    model = material.model
    plain, seconds = fit_autoencoder(model, material.train, epochs=material.effort.autoencoder, seed=material.seed)
    drawn = material.likeness(generate(plain, len(material.items), material.seed))
    theirs = {**_measure(material, plain, drawn), "train_seconds": seconds}
    ours = {**_measure(material, model, material.generated_likeness), "train_seconds": model.record["train_seconds"]}
    _draw(material, plain)
    rows = [(label, _text(ours.get(name)), _text(theirs.get(name))) for name, label in _AUTOENCODER_ROWS.items()]
    epochs = material.effort.autoencoder, len(model.record["history"])
    opening = (
        f"The same networks, trained for the reconstruction alone ({epochs[0]} epochs, the VAE {epochs[1]}), make a "
        "point of each item instead of a distribution; nothing keeps those points near the prior."
    )
    return Section(
        "autoencoder",
        "The VAE against the plain autoencoder",
        {**theirs, "vae": ours},
        [opening],
        [Table(("", "VAE", "autoencoder"), rows)],
        [Picture("autoencoder.png", "Reconstructions, draws from N(0, I) decoded, and a morph by either.")],
        [("autoencoder", f"{theirs['psnr']:.1f} dB; from N(0, I) FID {_text(theirs.get('fid'))}")],
    )


def _measure(material: ImageMaterial, model: FittedModel, drawn: Likeness | None) -> dict[str, float]:
    """`drawn` is the likeness of what it decodes from N(0, I)."""
    codes, _ = encode(model, material.items)
    figures = {
        "psnr": float(psnr(material.truth, material.reconstruct(model=model), material.seen).mean()),
        "reconstruction": float(-reconstruction_scores(model, material.items).mean()),
        "code_deviation": float(codes.std(axis=0).mean()),
    }
    if drawn is not None:
        figures |= {"fid": drawn[0], **dataclasses.asdict(drawn[1])}
    half_way = (codes + codes[material.rng("pairs").permutation(len(codes))]) / 2
    if (likeness := material.likeness(decode(model, half_way))) is not None:
        figures |= {"interpolation_fid": likeness[0], "interpolation_precision": likeness[1].precision}
    return figures


def _draw(material: ImageMaterial, plain: FittedModel) -> None:
    shown = material.items.select(material.shown)
    rows = [("test items", material.truth[material.shown])]
    for name, model in (("VAE", material.model), ("autoencoder", plain)):
        codes, _ = encode(model, shown)
        drawn = {
            "reconstructed": decode(model, codes),
            "from N(0, I)": generate(model, len(codes), material.seed),
            "morph": morph(model, codes[0], codes[-1], max(2, len(codes))),
        }
        rows += [(f"{name}: {kind}", material.unit(images)) for kind, images in drawn.items()]
    image_rows(material.folder / "autoencoder.png", rows)


def _text(value: float | None) -> str:
    return "–" if value is None else f"{np.round(value, 3):g}" if abs(value) < 1 else f"{value:.2f}"
