"""The five jobs in numbers, each beside its specialists."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fivefold.data import Items
from fivefold.evaluation.comparisons import COMPARISONS
from fivefold.evaluation.material import Material
from fivefold.evaluation.section import Section
from fivefold.evaluation.specialists.extra import require
from fivefold.model.fitted import FittedModel
from fivefold.progress import progress_bar
from fivefold.system import environment

_NEEDED = {"denoise": ("bm3d", "pywt", "skimage"), "detect": ("pyod",), "generate": ("pythae",), "impute": ("skimage",)}


def check_specialists(jobs: Sequence[str]) -> None:
    """Raise `UsageError` if a package that the comparison takes isn't installed."""
    for job in jobs:
        for package in _NEEDED.get(job, ()):
            require(package)


def evaluate(
    model: FittedModel,
    items: Items,
    jobs: Sequence[str] = tuple(COMPARISONS),
    *,
    train: Items | None = None,
    against: bool = False,
    seed: int = 0,
) -> tuple[dict[str, Any], list[Section]]:
    """Measure `jobs` on test items.

    Parameters
    ----------
    train : the training items, without which generation can't be measured, nor specialists be trained
    against : compare with specialists

    Returns
    -------
    Figures by job and the environment, for JSON; and a section per job with its tables and sentences.
    """
    start = time.monotonic()
    material = Material(model, items, train, Path(), seed, against=against)
    comparisons, figures = [], {}
    with progress_bar("evaluate", len(jobs)) as bar:
        for job in jobs:
            bar.advance(f"evaluate: {job}", steps=0)
            begun = time.monotonic()
            comparison = COMPARISONS[job](material)
            comparisons.append(comparison)
            sentences = list(comparison.sentences)
            figures[job] = {**comparison.figures, "sentences": sentences, "seconds": time.monotonic() - begun}
            bar.advance()
    about = {"seed": seed, "items": len(material.items), "source": items.source, "seconds": time.monotonic() - start}
    return {**figures, "fit_minutes": material.fit_minutes, "environment": {**environment(), **about}}, comparisons
