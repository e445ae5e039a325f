"""Generation beside a GAN and Pythae's models with fitted priors; and whether items were learnt by heart."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from fivefold.evaluation.comparison import OURS, Measure, contest
from fivefold.evaluation.material import Material
from fivefold.evaluation.metrics import ManifoldOverlap
from fivefold.evaluation.section import Section
from fivefold.items import make_items
from fivefold.jobs.generate import generate, nearest_items

_PYTHAE_LATENT_DIM = 16
_MOST_NEIGHBOURS = 2_000


def compare(material: Material) -> Section:
    """FID, precision, recall, density and coverage in a classifier's features; distances to the training items."""
    if material.classifier is None or material.train is None:
        return Section("generate", "Generation", {}, ("Without labelled training items there is no measure.",))
    n = len(material.items)
    drawn = {f"{OURS}, standard normal": material.generated}
    if material.model.prior is not None:
        drawn[f"{OURS}, fitted prior"] = generate(material.model, n, material.seed, prior="fitted")
    drawn[OURS] = material.best_generated
    if material.against:
        drawn |= _specialists(material, n)
    likeness: dict[str, tuple[float, ManifoldOverlap]] = {}
    for name, images in drawn.items():
        if (found := material.likeness(images)) is not None:
            likeness[name] = found
    figures: dict[str, Any] = {
        name: {"fid": fid, **dataclasses.asdict(overlap)} for name, (fid, overlap) in likeness.items()
    }
    tables, sentences = [], []
    for name in ("fid", *(part.name for part in dataclasses.fields(ManifoldOverlap))):
        measure = Measure("FID", digits=1, higher_is_better=False) if name == "fid" else Measure(name, digits=3)
        table, losses = contest(measure, {measure.name: {peer: figures[peer][name] for peer in figures}}, "")
        tables.append(table)
        sentences += losses
    merged = dataclasses.replace(tables[0], rows=[row for table in tables for row in table.rows])
    figures["fid_floor"] = material.fid_floor
    figures["nearest"] = nearest = _nearest(material, drawn[OURS])
    by_heart = "" if nearest["generated"] >= nearest["items"] else ": generated ones are closer"
    sentences.append(
        f"The distance to the nearest training item has a median of {nearest['generated']:.2f} for generated items and "
        f"{nearest['items']:.2f} for the items themselves{by_heart}."
    )
    return Section("generate", "Generation", figures, sentences, [merged] if likeness else [])


def _nearest(material: Material, generated: np.ndarray) -> dict[str, float]:
    """Median distances to the nearest training item."""
    assert material.train is not None
    made = make_items(generated[:_MOST_NEIGHBOURS], material.model.image_schema, "generated")
    real = material.items.select(slice(0, _MOST_NEIGHBOURS))
    return {
        name: float(np.median(nearest_items(items, material.train)[1]))
        for name, items in (("generated", made), ("items", real))
    }


def _specialists(material: Material, n: int) -> dict[str, np.ndarray]:
    from fivefold.evaluation.baselines.gan import fit_gan
    from fivefold.evaluation.specialists.generators import GENERATORS, fit_generator

    assert material.train is not None
    gan = fit_gan(material.model, material.train, minutes=material.peer_minutes, seed=material.seed)
    drawn = {"DCGAN": gan.generate(n, material.seed)}
    for name in GENERATORS:
        draw = fit_generator(
            name, material.train, latent_dim=_PYTHAE_LATENT_DIM, minutes=material.peer_minutes, seed=material.seed
        )
        drawn[name] = material.model.image_schema.from_unit(draw(n, material.seed))
    return drawn
