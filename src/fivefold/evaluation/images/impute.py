"""Imputation beside fills, regressions, inpainting and a U-Net: random pixels and a block hidden."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fivefold.evaluation.contest import OURS, Measure, Picture, Section, contest
from fivefold.evaluation.drawing import image_rows
from fivefold.evaluation.images.material import Damage, ImageMaterial
from fivefold.evaluation.metrics import root_mean_square
from fivefold.evaluation.rivals.imputers import MOST_TRAIN_ITEMS, impute_images
from fivefold.evaluation.rivals.networks import FittedUNet
from fivefold.items import Items
from fivefold.jobs.impute import Imputed
from fivefold.model.corruption import draw_strength, hide_at_random, hide_block

_CASES: dict[str, tuple[Damage, float, str]] = {
    "random_0.5": (hide_at_random, 0.5, "half of it"),
    "block": (hide_block, 0.25, "a block"),
}
_Coverage = dict[str, float | None]
_INTERVAL = 0.9
_MOST_ITEMS = {"k-nearest neighbours": 1_000, "IterativeImputer": 1_000, "biharmonic inpainting": 1_000}  # by speed
_NARROW, _CONSTANT = 1e-6, 1e-12
_DRAWS = 2


def compare(material: ImageMaterial) -> Section:
    """RMSE over the hidden elements on the scale from 0 to 1, and the coverage of intervals."""
    network = _train_network(material) if material.against else None
    figures: dict[str, Any] = {}
    rows: dict[str, dict[str, float | None]] = {}
    sentences = []
    for name, (hide, strength, label) in _CASES.items():
        errors, coverage = _measure(material, material.holey(hide, strength, name), network)
        rows[f"{label} hidden"] = dict(errors)
        figures[name] = {"rmse": errors, "coverage": coverage}
        sentences += _sentences(label, coverage)
    table, losses = contest(Measure("RMSE", digits=4, higher_is_better=False), rows, "hidden")
    if network is not None:
        figures["about"] = {"most_items": _MOST_ITEMS, "unet_minutes": network.seconds / 60}
    return Section("impute", "Missing data", figures, losses + sentences, [table])


def _measure(material: ImageMaterial, holey: Items, network: FittedUNet | None) -> tuple[dict[str, float], _Coverage]:
    """RMSE by method, and the coverage of our intervals."""
    seen, unit = holey.visible(), holey.unit()[0]
    hidden = material.seen & ~seen
    imputed = material.impute(holey, interval=_INTERVAL)
    filled = {OURS: material.unit(imputed.data), "mean": np.where(seen, unit, material.moments[0].astype(np.float32))}
    if network is not None:
        filled["U-Net"] = np.where(seen, unit, network.restore(unit, seen))
        filled |= _rivals(material, unit, seen)
    errors = {}
    for name, images in filled.items():
        part = slice(len(images))
        errors[name] = root_mean_square((material.truth[part] - images)[hidden[part]])
    return errors, _coverage(material, hidden, imputed)


def _rivals(material: ImageMaterial, unit: np.ndarray, seen: np.ndarray) -> dict[str, np.ndarray]:
    assert material.train is not None
    rows = material.rng("imputers").permutation(len(material.train))[:MOST_TRAIN_ITEMS]
    train = np.where(material.train.visible(rows), material.train.unit(rows)[0], np.nan)
    sizes, seed = _MOST_ITEMS.items(), material.seed
    return {name: impute_images(name, train, unit[:most], seen[:most], seed) for name, most in sizes}


def _coverage(material: ImageMaterial, hidden: np.ndarray, imputed: Imputed) -> _Coverage:
    """Share of hidden elements inside their intervals: of those that vary, and of those with an open interval.

    A value at an end of its interval may be one of many, all at that value; then the interval has more than its share.
    """
    assert imputed.lower is not None
    assert imputed.upper is not None
    lower, upper = material.unit(imputed.lower), material.unit(imputed.upper)
    inside = (material.truth >= lower - _NARROW) & (material.truth <= upper + _NARROW)
    varying = hidden & (material.moments[1] > _CONSTANT)
    open_ = varying & (upper - lower > _NARROW)
    return {"varying": _share(inside, varying), "open": _share(inside, open_), "open_share": _share(open_, varying)}


def _share(chosen: np.ndarray, among: np.ndarray) -> float | None:
    return float(chosen[among].mean()) if among.any() else None


def _sentences(label: str, coverage: _Coverage) -> list[str]:
    """One on the coverage; none where nothing that varies is hidden."""
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


def _train_network(material: ImageMaterial) -> FittedUNet:
    """A U-Net trained on what the table hides, at random amounts."""

    def damage(x: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        visible = torch.empty_like(x[:, :1], dtype=torch.bool)
        half = len(x) // 2
        for rows, kind, hide in ((slice(0, half), "hide", hide_at_random), (slice(half, None), "block", hide_block)):
            visible[rows] = hide(x[rows], draw_strength(kind, len(x[rows]), generator), generator)
        return torch.where(visible, x, 0.0), visible

    return material.fit_unet(damage, material.peer_minutes)


def report(material: ImageMaterial) -> Section:
    """The section `impute`, with the expected items and draws."""
    material = material.quick()
    compared = compare(material)
    _draw(material)
    source = "training" if material.train is not None else "report's own"
    opening = (
        "Root mean squared error over the hidden pixels, on the scale from 0 to 1, beside filling them with the mean of "
        f"the {source} items at that place. The block covers a quarter of the area, anywhere."
    )
    errors = {label: compared.figures[name]["rmse"] for name, (_, _, label) in _CASES.items()}
    summary = "; ".join(
        f"{label} hidden: RMSE {row[OURS]:.3f} (mean fill {row['mean']:.3f})" for label, row in errors.items()
    )
    return replace(
        compared,
        sentences=[opening, *compared.sentences],
        pictures=[Picture("impute.png", "What is left of the items (white: hidden), the expected items, and draws.")],
        summary=[("impute", summary)],
    )


def _draw(material: ImageMaterial) -> None:
    truth = material.truth[material.shown]
    rows = [("original", truth)]
    for name, (hide, strength, label) in _CASES.items():
        holey = material.holey(hide, strength, name).select(material.shown)
        imputed = material.impute(holey, n_draws=_DRAWS)
        visible = np.where(holey.visible(), truth, np.nan)
        rows += [(f"{label} hidden", visible), ("expected", material.unit(imputed.data))]
        rows += [("drawn", material.unit(draw)) for draw in imputed.draws]
    image_rows(material.folder / "impute.png", rows)
