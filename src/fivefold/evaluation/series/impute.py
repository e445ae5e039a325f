"""Missing steps beside interpolation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fivefold.evaluation.comparison import OURS, Measure, contest
from fivefold.evaluation.section import Section
from fivefold.evaluation.series.damage import hide_at_random, hide_gaps
from fivefold.evaluation.series.material import SeriesMaterial
from fivefold.evaluation.specialists.series_imputers import SERIES_IMPUTERS, impute_steps
from fivefold.series.jobs import impute_series

HIDDEN: dict[str, Callable[[np.ndarray, np.random.Generator], np.ndarray]] = {
    "20 % of the steps": hide_at_random,
    "gaps of 5–20 steps": hide_gaps,
}
_INTERVAL = 0.9


def compare(material: SeriesMaterial) -> Section:
    """Steps hidden at random, and in gaps: errors, and the coverage of intervals."""
    figures = {name: _measure(material, name) for name in HIDDEN}
    rows = {name: found["rmse"] for name, found in figures.items()}
    table, losses = contest(Measure("RMSE (standard deviations)", digits=4, higher_is_better=False), rows)
    sentences = [
        f"With {name} hidden, {found['coverage']:.1%} of the hidden values lie in their {_INTERVAL:.0%} intervals."
        for name, found in figures.items()
    ]
    return Section("impute", "Missing steps", figures, losses + sentences, [table])


def hide(material: SeriesMaterial, name: str) -> tuple[np.ndarray, np.ndarray]:
    """The test series with steps hidden in all channels, and which, both `(total, c)`."""
    hidden = HIDDEN[name](material.series.lengths, material.rng(f"hide {name}"))
    where = hidden[:, None] & material.series.visible
    return np.where(where, np.nan, material.series.values), where


def _measure(material: SeriesMaterial, name: str) -> dict[str, Any]:
    holey, where = hide(material, name)
    found = impute_series(material.model, material.of(holey), interval=_INTERVAL, seed=material.seed)
    assert found.lower is not None
    assert found.upper is not None
    inside = (found.lower <= material.series.values) & (material.series.values <= found.upper)
    filled = {OURS: found.values}
    for peer in SERIES_IMPUTERS if material.against else ("linear",):
        filled[peer] = impute_steps(peer, material.known.values, holey, material.series.lengths)
    if material.attention is not None:
        filled["SAITS"] = material.attention.impute(material.series.windows, holey)
    errors = {peer: material.rmse(values, where) for peer, values in filled.items()}
    return {"rmse": errors, "coverage": float(inside[where].mean()) if where.any() else float("nan")}
