"""Generation: draws from the prior, morphs, traversals, the 2-D plane."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from fivefold.evaluation.comparison import OURS
from fivefold.evaluation.comparisons import generate as comparison
from fivefold.evaluation.drawing import figure, image_rows, image_sheet, show, tile
from fivefold.evaluation.material import Material
from fivefold.evaluation.section import Picture, Section
from fivefold.items import Items, make_items
from fivefold.jobs.codes import encode
from fivefold.jobs.generate import latent_grid, morph, nearest_items, traverse
from fivefold.model.fitted import FittedModel
from fivefold.model.scoring import evaluate_elbo

_MORPHS = 5
_STEPS = 12
_TRAVERSED = 8
_NEAREST = 10


def make(material: Material) -> Section:
    """The section `generate`."""
    model, unit = material.model, material.model.image_schema.to_unit
    compared = comparison.compare(material)
    figures: dict[str, Any] = {**compared.figures, "classifier_accuracy": material.classifier_accuracy}
    for name, generated in (("generate", material.generated), ("sharp", material.best_generated)):
        image_sheet(material.folder / f"{name}.png", unit(generated[:80]), columns=16)
    pictures = [
        Picture("generate.png", "New items: draws from the standard normal prior, decoded."),
        Picture("sharp.png", "New items: codes from the fitted prior, elements drawn through the context decoder."),
    ]
    if material.train is not None:
        pictures.append(_draw_nearest(material, material.train))
    sentences, summary = list(compared.sentences), []
    if OURS in figures:
        ours = figures[OURS]
        covered, classes = material.classes_covered(material.best_generated)
        figures |= {"classes_covered": covered}
        sentences.insert(
            0,
            "Generated items are compared with the test items in the features of a small classifier. "
            f"Training items get an FID of {material.fid_floor:.2f}, which is the floor. {OURS} draws codes from the "
            f"fitted prior and the elements through the context decoder; {covered} of {classes} classes are covered.",
        )
        if material.classifier_accuracy is not None:
            sentences.append(f"The classifier is right on {material.classifier_accuracy:.2%} of the test items.")
        floor = material.fid_floor
        summary.append(("generate", f"FID {ours['fid']:.1f} (floor {floor:.1f}), coverage {ours['coverage']:.2f}"))
    pictures += [_draw_morphs(material), _draw_traversals(material)]
    plane = _plane_model(material)
    if plane is not None:
        pictures.append(_draw_plane(material, plane))
        sentences.append(
            "The plane shows a model of 2 latent numbers"
            + ("." if plane is model else f", trained for {len(plane.record['history'])} epochs beside this one.")
        )
    return replace(compared, figures=figures, sentences=sentences, pictures=pictures, summary=summary)


def _draw_nearest(material: Material, train: Items) -> Picture:
    drawn = make_items(material.best_generated[:_NEAREST], material.model.image_schema, "generated")
    index, distance = nearest_items(drawn, train)
    rows = [("generated", drawn.unit()[0]), ("nearest in training", train.unit(index)[0])]
    image_rows(material.folder / "nearest.png", rows, [f"{value:.1f}" for value in distance])
    return Picture("nearest.png", "Generated items, the nearest training items, and their distances.")


def _draw_morphs(material: Material) -> Picture:
    model = material.model
    codes, _ = encode(model, material.items.select(material.shown))
    pairs = [(start, (start + 1) % len(codes)) for start in range(0, len(codes), 2)][:_MORPHS]
    rows = [("", model.image_schema.to_unit(morph(model, codes[start], codes[end], _STEPS))) for start, end in pairs]
    image_rows(material.folder / "morph.png", rows)
    return Picture("morph.png", "Morphing: along the line between the codes of two test items (left and right end).")


def _draw_traversals(material: Material) -> Picture:
    model = material.model
    information = evaluate_elbo(model, material.items.select(slice(0, 1000)), material.seed).kl_per_unit
    units = np.argsort(information)[::-1][:_TRAVERSED]
    code = encode(model, material.items.select(material.shown[:1]))[0][0]
    walked = traverse(model, code, units)
    rows = [
        (f"unit {unit} ({information[unit]:.1f} nats)", model.image_schema.to_unit(walked[i]))
        for i, unit in enumerate(units)
    ]
    titles = [f"{value:.1f}" for value in np.linspace(-3, 3, walked.shape[1])]
    image_rows(material.folder / "traverse.png", rows, titles)
    return Picture("traverse.png", "One latent unit at a time from −3 to 3, the others fixed; by information (KL).")


def _plane_model(material: Material) -> FittedModel | None:
    """A model of 2 latent dimensions: this one, or one trained for the purpose."""
    if material.model.latent_dim == 2:
        return material.model
    if material.train is None:
        return None
    return material.fit_like(latent_dim=2, epochs=material.effort.plane)


def _draw_plane(material: Material, plane: FittedModel) -> Picture:
    grid = plane.schema.to_unit(latent_grid(plane))
    side, _, h, w, c = grid.shape
    with figure(material.folder / "plane.png", 10.5, 5) as drawn:
        left, right = drawn.subplots(1, 2)
        show(left, tile(grid.reshape(-1, h, w, c), side))
        left.set(xlabel="z₁ from −3 to 3", ylabel="z₂ from −3 to 3", title="decoded from the grid")
        codes, _ = encode(plane, material.items)
        labels = material.items.labels
        if labels is None:
            right.scatter(*codes.T, s=3, linewidths=0, alpha=0.5)
        else:
            for index, label in enumerate(np.unique(labels)[:20]):
                mine = codes[labels == label]
                right.scatter(*mine.T, s=4, linewidths=0, alpha=0.6, color=f"C{index % 10}", label=str(label))
            right.legend(markerscale=4, frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
        right.set(xlabel="z₁", ylabel="z₂", title="codes of the test items", xlim=(-4, 4), ylim=(-4, 4), aspect="equal")
    return Picture("plane.png", "A 2-D latent space: images over −3 to 3 on both axes, and where the test items lie.")
