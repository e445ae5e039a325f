"""Generation beside a GAN and Pythae's models with fitted priors; whether items were learnt by heart; and the latent space."""

from __future__ import annotations

import dataclasses
from dataclasses import replace
from typing import Any

import numpy as np

from fivefold.errors import UsageError
from fivefold.evaluation.contest import OURS, Measure, Picture, Section, Table, contest
from fivefold.evaluation.drawing import figure, image_rows, image_sheet, show, tile
from fivefold.evaluation.images.material import ImageMaterial, Likeness
from fivefold.evaluation.metrics import ManifoldOverlap, sharpness
from fivefold.evaluation.rivals.generators import GENERATORS, fit_gan, fit_generator
from fivefold.images.dataset import make_items
from fivefold.items import Items
from fivefold.jobs.codes import decode_items, encode
from fivefold.jobs.generate import generate, morph, nearest_items
from fivefold.model.fitted import FittedModel
from fivefold.model.scoring import evaluate_elbo

_PYTHAE_LATENT_DIM = 16
_MOST_NEIGHBOURS = 2_000
_MORPHS, _STEPS, _TRAVERSED, _NEAREST = 5, 12, 8, 10
_SEEDS = 3
_PER_ROW = 16
_GAN_ROWS = {
    "train_seconds": "training (s)",
    "fid": "FID",
    **{name: name for name in ("precision", "recall", "density", "coverage")},
    "classes_covered": "classes covered",
    "sharpness": "sharpness (test items: 1)",
}


def compare(material: ImageMaterial) -> Section:
    """FID, precision, recall, density and coverage in a classifier's features; distances to the training items."""
    if material.classifier is None or material.train is None:
        return Section("generate", "Generation", {}, ("Without labelled training items there is no measure.",))
    drawn = {f"{OURS}, standard normal": material.generated}
    if material.model.prior is not None:
        drawn[f"{OURS}, fitted prior"] = material.generate("fitted")
    drawn[OURS] = material.best_generated
    if material.against:
        drawn |= _rivals(material, material.train)
    figures: dict[str, Any] = {}
    for name, images in drawn.items():
        if (likeness := material.likeness(images)) is not None:
            figures[name] = {"fid": likeness[0], **dataclasses.asdict(likeness[1])}
    tables, sentences = [], []
    for name in ("fid", *(part.name for part in dataclasses.fields(ManifoldOverlap))):
        measure = Measure("FID", digits=1, higher_is_better=False) if name == "fid" else Measure(name, digits=3)
        table, losses = contest(measure, {measure.name: {peer: row[name] for peer, row in figures.items()}}, "")
        tables.append(table)
        sentences += losses
    merged = [replace(tables[0], rows=[row for table in tables for row in table.rows])] if figures else []
    figures["fid_floor"] = material.fid_floor
    figures["nearest"] = nearest = _nearest(material, material.train)
    by_heart = "" if nearest["generated"] >= nearest["items"] else ": generated ones are closer"
    sentences.append(
        f"The distance to the nearest training item has a median of {nearest['generated']:.2f} for generated items and "
        f"{nearest['items']:.2f} for the items themselves{by_heart}."
    )
    return Section("generate", "Generation", figures, sentences, merged)


def _nearest(material: ImageMaterial, train: Items) -> dict[str, float]:
    """Median distances to the nearest training item."""
    made = make_items(material.best_generated[:_MOST_NEIGHBOURS], material.schema, "generated")
    real = material.items.select(slice(0, _MOST_NEIGHBOURS))
    sets = {"generated": made, "items": real}
    return {name: float(np.median(nearest_items(items, train)[1])) for name, items in sets.items()}


def _rivals(material: ImageMaterial, train: Items) -> dict[str, np.ndarray]:
    count, minutes, seed = len(material.items), material.peer_minutes, material.seed
    drawn = {"DCGAN": fit_gan(material.model, train, minutes=minutes, seed=seed).generate(count, seed)}
    for name in GENERATORS:
        draw = fit_generator(name, train, latent_dim=_PYTHAE_LATENT_DIM, minutes=minutes, seed=seed)
        drawn[name] = material.schema.from_unit(draw(count, seed))
    return drawn


def report(material: ImageMaterial) -> Section:
    """The section `generate`: the comparison, draws from the prior, morphs, traversals, the 2-D plane."""
    compared = compare(material)
    figures: dict[str, Any] = {**compared.figures, "classifier_accuracy": material.classifier_accuracy}
    for name, generated in (("generate", material.generated), ("sharp", material.best_generated)):
        image_sheet(material.folder / f"{name}.png", material.unit(generated[:80]), columns=16)
    pictures = [
        Picture("generate.png", "New items: draws from the standard normal prior, decoded."),
        Picture("sharp.png", "New items: codes from the fitted prior, elements drawn through the context decoder."),
    ]
    if material.train is not None:
        pictures.append(_draw_nearest(material, material.train))
    sentences, summary = list(compared.sentences), []
    if OURS in figures:
        ours, floor = figures[OURS], material.fid_floor
        figures["classes_covered"], classes = material.classes_covered(material.best_generated)
        sentences.insert(
            0,
            "Generated items are compared with the test items in the features of a small classifier. "
            f"Training items get an FID of {floor:.2f}, which is the floor. {OURS} draws codes from the fitted prior and "
            f"the elements through the context decoder; {figures['classes_covered']} of {classes} classes are covered.",
        )
        if material.classifier_accuracy is not None:
            sentences.append(f"The classifier is right on {material.classifier_accuracy:.2%} of the test items.")
        summary.append(("generate", f"FID {ours['fid']:.1f} (floor {floor:.1f}), coverage {ours['coverage']:.2f}"))
    pictures += [_draw_morphs(material), _draw_traversals(material)]
    plane = material.model if material.model.latent_dim == 2 else None
    if plane is None and material.train is not None:
        plane = material.fit_like(latent_dim=2, epochs=material.effort.plane)
    if plane is not None:
        pictures.append(_draw_plane(material, plane))
        epochs = len(plane.record["history"])
        beside = "." if plane is material.model else f", trained for {epochs} epochs beside this one."
        sentences.append(f"The plane shows a model of 2 latent numbers{beside}")
    return replace(compared, figures=figures, sentences=sentences, pictures=pictures, summary=summary)


def _draw_nearest(material: ImageMaterial, train: Items) -> Picture:
    drawn = make_items(material.best_generated[:_NEAREST], material.schema, "generated")
    index, distance = nearest_items(drawn, train)
    rows = [("generated", drawn.unit()[0]), ("nearest in training", train.unit(index)[0])]
    image_rows(material.folder / "nearest.png", rows, [f"{value:.1f}" for value in distance])
    return Picture("nearest.png", "Generated items, the nearest training items, and their distances.")


def _draw_morphs(material: ImageMaterial) -> Picture:
    codes, _ = encode(material.model, material.items.select(material.shown))
    pairs = [(start, (start + 1) % len(codes)) for start in range(0, len(codes), 2)][:_MORPHS]
    rows = [("", material.unit(morph(material.model, codes[start], codes[end], _STEPS))) for start, end in pairs]
    image_rows(material.folder / "morph.png", rows)
    return Picture("morph.png", "Morphing: along the line between the codes of two test items (left and right end).")


def _draw_traversals(material: ImageMaterial) -> Picture:
    model = material.model
    information = evaluate_elbo(model, material.items.select(slice(0, 1000)), material.seed).kl_per_unit
    units = np.argsort(information)[::-1][:_TRAVERSED]
    walked = traverse(model, encode(model, material.items.select(material.shown[:1]))[0][0], units)
    rows = [
        (f"unit {unit} ({information[unit]:.1f} nats)", material.unit(images))
        for unit, images in zip(units, walked, strict=True)
    ]
    image_rows(
        material.folder / "traverse.png", rows, [f"{value:.1f}" for value in np.linspace(-3, 3, walked.shape[1])]
    )
    return Picture("traverse.png", "One latent unit at a time from −3 to 3, the others fixed; by information (KL).")


def _draw_plane(material: ImageMaterial, plane: FittedModel) -> Picture:
    grid = plane.schema.to_unit(latent_grid(plane))
    with figure(material.folder / "plane.png", 10.5, 5) as drawn:
        left, right = drawn.subplots(1, 2)
        show(left, tile(grid.reshape(-1, *grid.shape[2:]), len(grid)))
        left.set(xlabel="z₁ from −3 to 3", ylabel="z₂ from −3 to 3", title="decoded from the grid")
        codes, _ = encode(plane, material.items)
        labels = material.items.labels
        if labels is None:
            right.scatter(*codes.T, s=3, linewidths=0, alpha=0.5)
        else:
            for index, label in enumerate(np.unique(labels)[:20]):
                style = {"color": f"C{index % 10}", "label": str(label)}
                right.scatter(*codes[labels == label].T, s=4, linewidths=0, alpha=0.6, **style)
            right.legend(markerscale=4, frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
        right.set(xlabel="z₁", ylabel="z₂", title="codes of the test items", xlim=(-4, 4), ylim=(-4, 4), aspect="equal")
    return Picture("plane.png", "A 2-D latent space: images over −3 to 3 on both axes, and where the test items lie.")


def report_gan(material: ImageMaterial) -> Section | None:
    """The section `gan`, a generator with the VAE's decoder's layers; None without training items."""
    if material.train is None:
        return None
    seeds = range(material.seed, material.seed + (_SEEDS if material.thorough else 1))
    gan_items, gan_runs = zip(*(_run_gan(material, material.train, seed) for seed in seeds), strict=True)
    vae_items, vae_runs = zip(*(_run_vae(material, seed) for seed in seeds), strict=True)
    _draw_gan(material, vae_items[0], gan_items[0])
    figures: dict[str, Any] = {**gan_runs[0], "reconstruction": None, "vae": vae_runs[0]}
    if material.thorough:
        figures |= {"seeds": list(gan_runs), "vae_seeds": list(vae_runs)}
    rows = [
        (label, *(_text([run[name] for run in runs]) for runs in (vae_runs, gan_runs)))
        for name, label in _GAN_ROWS.items()
        if name in gan_runs[0]
    ]
    spread = f"; mean ± deviation over {len(seeds)} seeds" if material.thorough else ", of one seed"
    opening = (
        "The GAN's generator has the layers of the VAE's decoder, its discriminator the encoder's convolutions, "
        f"both batch-normalised; trained for {material.effort.gan} epochs with DCGAN's settings{spread}. The GAN has "
        "no encoder: it can't reconstruct, compress, denoise, detect or impute."
    )
    fid, seconds = (_text([run.get(name) for run in gan_runs]) for name in ("fid", "train_seconds"))
    return Section(
        "gan",
        "The VAE against a GAN",
        figures,
        [opening],
        [Table(("", "VAE", "GAN"), [*rows, ("reconstruction", "yes", "none")])],
        [Picture("gan.png", "Real items, and draws from either.")],
        [("GAN", f"FID {fid}, {seconds} s")],
    )


def _run_gan(material: ImageMaterial, train: Items, seed: int) -> tuple[np.ndarray, dict[str, Any]]:
    gan = fit_gan(material.model, train, epochs=material.effort.gan, seed=seed)
    generated = gan.generate(len(material.items), seed)
    figures = _measure(material, generated, material.likeness(generated))
    return generated, {"seed": seed, "train_seconds": gan.seconds, **figures}


def _run_vae(material: ImageMaterial, seed: int) -> tuple[np.ndarray, dict[str, Any]]:
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


def _measure(material: ImageMaterial, generated: np.ndarray, likeness: Likeness | None) -> dict[str, Any]:
    figures: dict[str, Any] = {}
    if (real := sharpness(material.truth)) > 0:
        figures["sharpness"] = sharpness(material.unit(generated)) / real
    if likeness is not None:
        figures |= {"fid": likeness[0], **dataclasses.asdict(likeness[1])}
        figures["classes_covered"] = material.classes_covered(generated)[0]
    return figures


def _draw_gan(material: ImageMaterial, vae_items: np.ndarray, gan_items: np.ndarray) -> None:
    spread = np.linspace(0, len(material.truth) - 1, min(len(material.truth), _PER_ROW)).astype(int)
    rows = [("test items", material.truth[spread])]
    for name, drawn in (("VAE", vae_items), ("GAN", gan_items)):
        starts = range(0, min(2 * _PER_ROW, len(drawn)), _PER_ROW)
        rows += [(name, material.unit(drawn[start : start + _PER_ROW])) for start in starts]
    image_rows(material.folder / "gan.png", rows)


def _text(values: list[float | None]) -> str:
    numbers = [value for value in values if value is not None]
    if not numbers:
        return "–"
    if len(numbers) == 1:
        return f"{numbers[0]:.3g}" if numbers[0] < 100 else f"{numbers[0]:.0f}"
    return f"{np.mean(numbers):.3g} ± {np.std(numbers, ddof=1):.2g}"


def latent_grid(model: FittedModel, side: int = 20, reach: float = 3.0) -> np.ndarray:
    """Items at the points of a square grid over a 2-D latent space.

    Returns `(side, side, h, w, c)`: rows from `z[1] = reach` down to `-reach`, columns from `z[0] = -reach` up.
    Raises `UsageError` unless the model has 2 latent dimensions.
    """
    if model.latent_dim != 2:
        raise UsageError(f"a latent grid needs a model with `latent_dim` 2, this one has {model.latent_dim}")
    along = np.linspace(-reach, reach, side)
    across, down = np.meshgrid(along, along[::-1])
    codes = np.stack([across.ravel(), down.ravel()], axis=1)
    return decode_items(model, codes).reshape(side, side, *model.schema.shape)


def traverse(
    model: FittedModel, code: np.ndarray, units: np.ndarray, steps: int = 11, reach: float = 3.0
) -> np.ndarray:
    """Items with one unit of `code` at a time moved from `-reach` to `reach`: `(units, steps, h, w, c)`."""
    codes = np.tile(code, (len(units), steps, 1)).astype(np.float64)
    for row, unit in enumerate(units):
        codes[row, :, unit] = np.linspace(-reach, reach, steps)
    items = decode_items(model, codes.reshape(-1, model.latent_dim))
    return items.reshape(len(units), steps, *model.schema.shape)
