"""The five jobs in numbers, each beside its rivals."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from fivefold.dataset import open_data
from fivefold.evaluation import evaluation_of
from fivefold.evaluation.contest import Section
from fivefold.evaluation.rivals import require
from fivefold.items import Schema
from fivefold.model.fitted import FittedModel
from fivefold.progress import progress_bar
from fivefold.system import environment


def check_rivals(jobs: Sequence[str], schema: Schema) -> None:
    """Raise `UsageError` if a package that the comparison takes isn't installed."""
    needed = evaluation_of(schema).NEEDED
    for job in jobs:
        for package in needed.get(job, ()):
            require(package)


def evaluate(
    model: FittedModel,
    data: Any,
    jobs: Sequence[str] | None = None,
    *,
    train: Any = None,
    against: bool = False,
    seed: int = 0,
) -> tuple[dict[str, Any], list[Section]]:
    """Measure `jobs`, by default all, on test items (of series, what `read_series` gives), `against` rivals or alone.

    Without training data generation can't be measured, nor rivals be trained.

    Returns figures by job and the environment, for JSON; and a section per job with its tables and sentences.
    """
    start = time.monotonic()
    evaluation = evaluation_of(model.schema)
    data, train = (None if part is None else open_data(part, model.schema) for part in (data, train))
    material = evaluation.Material(model, data, train, seed=seed, against=against)
    jobs = tuple(evaluation.COMPARISONS) if jobs is None else jobs
    sections, figures = [], {}
    with progress_bar("evaluate", len(jobs)) as bar:
        for job in jobs:
            bar.advance(f"evaluate: {job}", steps=0)
            begun = time.monotonic()
            section = evaluation.COMPARISONS[job](material)
            sections.append(section)
            about = {"sentences": list(section.sentences), "seconds": time.monotonic() - begun}
            figures[job] = {**section.figures, **about}
            bar.advance()
    about = {"seed": seed, "items": len(material.items), "source": data.source, "seconds": time.monotonic() - start}
    return {**figures, "fit_minutes": material.fit_minutes, "environment": {**environment(), **about}}, sections
