"""Imputation beside fills, regressions, inpainting and a U-Net."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from fivefold.evaluation.comparison import OURS, Measure, contest
from fivefold.evaluation.material import Damage, Material
from fivefold.evaluation.metrics import root_mean_square
from fivefold.evaluation.section import Section
from fivefold.items import Items
from fivefold.jobs.impute import impute
from fivefold.model.corruption import draw_strength, hide_at_random, hide_block

CASES: dict[str, tuple[Damage, float, str]] = {
    "random_0.5": (hide_at_random, 0.5, "half of it"),
    "block": (hide_block, 0.25, "a block"),
}
_INTERVAL = 0.9
_MOST_ITEMS = {
    "k-nearest neighbours": 1_000,
    "IterativeImputer": 1_000,
    "biharmonic inpainting": 1_000,
}  # by their speed
_NARROW = 1e-6


def compare(material: Material) -> Section:
    """RMSE over the hidden elements on the scale from 0 to 1, and the coverage of intervals."""
    network = _train_network(material) if material.against else None
    figures: dict[str, Any] = {}
    rows: dict[str, dict[str, float | None]] = {}
    sentences = []
    for name, (hide, strength, label) in CASES.items():
        holey = material.holey(hide, strength, name)
        errors, coverage = _measure(material, holey, network)
        rows[f"{label} hidden"] = dict(errors)
        figures[name] = {"rmse": errors, "coverage": coverage}
        sentences += _tell(label, coverage)
    table, losses = contest(Measure("RMSE", digits=4, higher_is_better=False), rows, "hidden")
    if network is not None:
        figures["about"] = {"most_items": _MOST_ITEMS, "unet_minutes": network.seconds / 60}
    return Section("impute", "Missing data", figures, losses + sentences, [table])


def _measure(material: Material, holey: Items, network: Any) -> tuple[dict[str, float], dict[str, float | None]]:
    model, truth = material.model, material.truth
    seen = holey.visible()
    hidden = material.seen & ~seen
    completed = impute(model, holey, interval=_INTERVAL, seed=material.seed)
    unit = holey.unit()[0]
    found = {OURS: model.schema.to_unit(completed.items), "mean": np.where(seen, unit, material.mean_item)}
    if network is not None:
        found["U-Net"] = np.where(seen, unit, network.restore(unit, seen))
        found |= _specialists(material, unit, seen)
    errors = {}
    for name, images in found.items():
        few = slice(0, len(images))
        errors[name] = root_mean_square((truth[few] - images)[hidden[few]])
    return errors, _coverage(material, hidden, completed)


def _specialists(material: Material, unit: np.ndarray, seen: np.ndarray) -> dict[str, np.ndarray]:
    from fivefold.evaluation.specialists.imputers import IMPUTERS, MOST_TRAIN_ITEMS

    assert material.train is not None
    chosen = material.rng("imputers").permutation(len(material.train))[:MOST_TRAIN_ITEMS]
    train = np.where(material.train.visible(chosen), material.train.unit(chosen)[0], np.nan)
    return {name: IMPUTERS[name](train, unit[:most], seen[:most], material.seed) for name, most in _MOST_ITEMS.items()}


def _coverage(material: Material, hidden: np.ndarray, completed: Any) -> dict[str, float | None]:
    """Share of hidden elements inside their intervals: of those that vary, and of those with an open interval.

    A value at an end of its interval may be one of many, all at that value; then the interval has more than its share.
    """
    model = material.model
    lower, upper = (model.schema.to_unit(bound) for bound in (completed.lower, completed.upper))
    inside = (material.truth >= lower - _NARROW) & (material.truth <= upper + _NARROW)
    varying = hidden & material.varying
    open_ = varying & (upper - lower > _NARROW)
    return {"varying": _share(inside, varying), "open": _share(inside, open_), "open_share": _share(open_, varying)}


def _share(chosen: np.ndarray, among: np.ndarray) -> float | None:
    return float(chosen[among].mean()) if among.any() else None


def _tell(label: str, coverage: dict[str, float | None]) -> list[str]:
    """A sentence; none where nothing that varies is hidden."""
    if coverage["varying"] is None:
        return []
    sentence = (
        f"With {label} hidden, {coverage['varying']:.1%} of the hidden elements that are not the same in all items "
        f"lie in their {_INTERVAL:.0%} intervals"
    )
    if coverage["open"] is None:
        return [sentence + ", each of which is a single value."]
    return [
        f"{sentence}; {coverage['open']:.1%} of the {coverage['open_share']:.0%} whose interval is more than a single "
        "value."
    ]


def _train_network(material: Material) -> Any:
    """A U-Net trained on what the table hides, at random amounts."""
    from fivefold.evaluation.baselines.unet import fit_unet

    assert material.train is not None

    def damage(x: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        visible = torch.empty_like(x[:, :1], dtype=torch.bool)
        half = len(x) // 2
        for rows, kind, hide in ((slice(0, half), "hide", hide_at_random), (slice(half, None), "block", hide_block)):
            visible[rows] = hide(x[rows], draw_strength(kind, len(x[rows]), generator), generator)
        return torch.where(visible, x, 0.0), visible

    return fit_unet(
        material.train, like=material.model, damage=damage, minutes=material.peer_minutes, seed=material.seed
    )
