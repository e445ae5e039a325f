"""The VAE against the plain autoencoder: the same networks without KL and sampling."""

from __future__ import annotations

import dataclasses

import numpy as np

from fivefold.evaluation.baselines.autoencoder import fit_autoencoder
from fivefold.evaluation.drawing import image_rows
from fivefold.evaluation.material import Material
from fivefold.evaluation.metrics import ManifoldOverlap, psnr
from fivefold.evaluation.section import Picture, Section, Table
from fivefold.evaluation.sections.compress import reconstruct
from fivefold.jobs.codes import decode, encode
from fivefold.jobs.generate import generate, morph
from fivefold.model.fitted import FittedModel
from fivefold.model.scoring import reconstruction_scores

_ROWS = {
    "psnr": "reconstruction, PSNR (dB)",
    "reconstruction": "reconstruction error (nats)",
    "code_deviation": "spread of the codes over items",
    "fid": "decoded from N(0, I), FID",
    "coverage": "decoded from N(0, I), coverage",
    "interpolation_fid": "half-way between two items, FID",
    "interpolation_precision": "half-way between two items, precision",
    "train_seconds": "training (s)",
}


def make(material: Material) -> Section | None:
    """The section `autoencoder`; None without training items."""
    if material.train is None:
        return None
    model = material.model
    plain, seconds = fit_autoencoder(model, material.train, epochs=material.effort.autoencoder, seed=material.seed)
    drawn = material.likeness(generate(plain, len(material.items), material.seed))
    theirs = {**_measure(material, plain, drawn), "train_seconds": seconds}
    ours = {**_measure(material, model, material.generated_likeness), "train_seconds": model.record["train_seconds"]}
    _draw(material, plain)
    rows = [(label, *(_text(each.get(name)) for each in (ours, theirs))) for name, label in _ROWS.items()]
    epochs = material.effort.autoencoder, len(model.record["history"])
    return Section(
        "autoencoder",
        "The VAE against the plain autoencoder",
        {**theirs, "vae": ours},
        [
            f"The same networks, trained for the reconstruction alone ({epochs[0]} epochs, the VAE {epochs[1]}), make a "
            "point of each item instead of a distribution; nothing keeps those points near the prior."
        ],
        [Table(("", "VAE", "autoencoder"), rows)],
        [Picture("autoencoder.png", "Reconstructions, draws from N(0, I) decoded, and a morph by either.")],
        [("autoencoder", f"{theirs['psnr']:.1f} dB; from N(0, I) FID {_text(theirs.get('fid'))}")],
    )


def _measure(material: Material, model: FittedModel, drawn: tuple[float, ManifoldOverlap] | None) -> dict[str, float]:
    """`drawn` is the likeness of what it decodes from N(0, I)."""
    codes, _ = encode(model, material.items)
    restored = reconstruct(model, material)
    figures = {
        "psnr": float(psnr(material.truth, restored, material.seen).mean()),
        "reconstruction": float(-reconstruction_scores(model, material.items).mean()),
        "code_deviation": float(codes.std(axis=0).mean()),
    }
    if drawn is not None:
        figures |= {"fid": drawn[0], **dataclasses.asdict(drawn[1])}
    half_way = (codes + codes[material.rng("pairs").permutation(len(codes))]) / 2
    if (likeness := material.likeness(decode(model, half_way))) is not None:
        figures |= {"interpolation_fid": likeness[0], "interpolation_precision": likeness[1].precision}
    return figures


def _draw(material: Material, plain: FittedModel) -> None:
    shown = material.items.select(material.shown)
    models = {"VAE": material.model, "autoencoder": plain}
    rows = [("test items", material.truth[material.shown])]
    for name, model in models.items():
        codes, _ = encode(model, shown)
        drawn = {
            "reconstructed": decode(model, codes),
            "from N(0, I)": generate(model, len(codes), material.seed),
            "morph": morph(model, codes[0], codes[-1], max(2, len(codes))),
        }
        rows += [(f"{name}: {kind}", model.schema.to_unit(images)) for kind, images in drawn.items()]
    image_rows(material.folder / "autoencoder.png", rows)


def _text(value: float | None) -> str:
    return "–" if value is None else f"{np.round(value, 3):g}" if abs(value) < 1 else f"{value:.2f}"
