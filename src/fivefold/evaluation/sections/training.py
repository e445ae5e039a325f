"""The model: its bound on the test items, how training went, which latent units are in use."""

from __future__ import annotations

import numpy as np

from fivefold.evaluation.drawing import figure
from fivefold.evaluation.material import Material
from fivefold.evaluation.rows.material import RowMaterial
from fivefold.evaluation.section import Picture, Section, Table
from fivefold.evaluation.series.material import SeriesMaterial
from fivefold.model.scoring import evaluate_elbo
from fivefold.modelcard import describe_units, figure_rows


def make(material: Material | RowMaterial | SeriesMaterial) -> Section:
    """The section `model`."""
    model, record = material.model, material.model.record
    elbo = evaluate_elbo(model, material.items, material.seed)
    seconds = record["train_seconds"]
    figures = {
        "negative_elbo": elbo.negative_elbo,
        "reconstruction": elbo.reconstruction,
        "kl": elbo.kl,
        "kl_per_unit": list(elbo.kl_per_unit),
        "inactive_units": list(elbo.inactive_units),
        "latent_dim": model.latent_dim,
        "parameters": model.parameters,
        "train_seconds": seconds,
        "train_items_per_second": record["data"]["items"] * len(record["history"]) / seconds,
    }
    _draw(material, elbo.kl_per_unit)
    return Section(
        "model",
        "The model",
        figures,
        [
            f"On {len(material.items):,} test items the negative ELBO is {elbo.negative_elbo:.2f} nats per item: "
            f"{elbo.reconstruction:.2f} to reconstruct, {elbo.kl:.2f} for the latent code.",
            describe_units(model),
        ],
        [Table(("", ""), figure_rows(model))],
        [Picture("training.png", "Left: negative ELBO by epoch. Right: information in each latent unit, in order.")],
        [("negative ELBO", f"{elbo.negative_elbo:.2f} nats"), ("training", f"{seconds:.0f} s")],
    )


def _draw(material: Material | RowMaterial | SeriesMaterial, kl_per_unit: tuple[float, ...]) -> None:
    history = material.model.record["history"]
    epochs = [row["epoch"] + 1 for row in history]
    with figure(material.folder / "training.png", 8, 2.8) as drawn:
        left, right = drawn.subplots(1, 2)
        left.plot(epochs, [row["negative_elbo"] for row in history], "o-", label="training (with corruption, if any)")
        if "validation_negative_elbo" in history[-1]:
            left.plot(epochs, [row["validation_negative_elbo"] for row in history], "o-", label="held out (clean)")
        left.set(xlabel="epoch", ylabel="negative ELBO (nats)")
        left.xaxis.get_major_locator().set_params(integer=True)
        left.legend(frameon=False)
        order = np.argsort(kl_per_unit)[::-1]
        right.bar([str(unit) for unit in order], np.array(kl_per_unit)[order], color="tab:green")
        right.set(xlabel="latent unit", ylabel="KL (nats)")
