"""The five jobs in numbers, each beside its specialists."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from fivefold.evaluation.comparisons import COMPARISONS
from fivefold.evaluation.material import Material
from fivefold.evaluation.rows import ROW_COMPARISONS
from fivefold.evaluation.rows.material import RowMaterial
from fivefold.evaluation.section import Section
from fivefold.evaluation.series import SERIES_COMPARISONS
from fivefold.evaluation.series.material import SeriesMaterial
from fivefold.evaluation.specialists.extra import require
from fivefold.images.schema import ImageSchema
from fivefold.items import Items
from fivefold.modality import Schema
from fivefold.model.fitted import FittedModel
from fivefold.progress import progress_bar
from fivefold.series.dataset import SeriesSet
from fivefold.series.schema import SeriesSchema
from fivefold.system import environment
from fivefold.tables.schema import TableSchema

_NEEDED: dict[type[Schema], dict[str, tuple[str, ...]]] = {
    ImageSchema: {
        "denoise": ("bm3d", "pywt", "skimage"),
        "detect": ("pyod",),
        "generate": ("pythae",),
        "impute": ("skimage",),
    },
    TableSchema: {"detect": ("pyod",)},
    SeriesSchema: {"compress": ("pcodec", "soundfile"), "denoise": ("pywt",), "detect": ("stumpy",)},
}


def check_specialists(jobs: Sequence[str], schema: Schema) -> None:
    """Raise `UsageError` if a package that the comparison takes isn't installed."""
    needed = _NEEDED[type(schema)]
    for job in jobs:
        for package in needed.get(job, ()):
            require(package)


def evaluate(
    model: FittedModel,
    items: Items | SeriesSet,
    jobs: Sequence[str] | None = None,
    *,
    train: Items | SeriesSet | None = None,
    against: bool = False,
    seed: int = 0,
) -> tuple[dict[str, Any], list[Section]]:
    """Measure `jobs` on test items, by default all.

    Parameters
    ----------
    items : of a model of series, what `read_series` gives
    train : the training items, without which generation can't be measured, nor specialists be trained
    against : compare with specialists

    Returns
    -------
    Figures by job and the environment, for JSON; and a section per job with its tables and sentences.
    """
    start = time.monotonic()
    compare: dict[str, Callable[[], Section]]
    material: Material | RowMaterial | SeriesMaterial
    if isinstance(items, SeriesSet):
        assert isinstance(train, SeriesSet | None)
        material = series = SeriesMaterial(model, items, train, Path(), seed, against)
        compare = {job: partial(each, series) for job, each in SERIES_COMPARISONS.items()}
    elif isinstance(model.schema, TableSchema):
        assert isinstance(train, Items | None)
        material = rows = RowMaterial(model, items, train, Path(), seed, against)
        compare = {job: partial(each, rows) for job, each in ROW_COMPARISONS.items()}
    else:
        assert isinstance(train, Items | None)
        material = images = Material(model, items, train, Path(), seed, against=against)
        compare = {job: partial(each, images) for job, each in COMPARISONS.items()}
    jobs = tuple(compare) if jobs is None else jobs
    comparisons, figures = [], {}
    with progress_bar("evaluate", len(jobs)) as bar:
        for job in jobs:
            bar.advance(f"evaluate: {job}", steps=0)
            begun = time.monotonic()
            comparison = compare[job]()
            comparisons.append(comparison)
            sentences = list(comparison.sentences)
            figures[job] = {**comparison.figures, "sentences": sentences, "seconds": time.monotonic() - begun}
            bar.advance()
    about = {"seed": seed, "items": len(material.items), "source": items.source, "seconds": time.monotonic() - start}
    return {**figures, "fit_minutes": material.fit_minutes, "environment": {**environment(), **about}}, comparisons
