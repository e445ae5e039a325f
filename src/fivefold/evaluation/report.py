"""The report: report.html with everything in it, report.json with the figures, and the pictures as PNG."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from fivefold.evaluation.material import Material
from fivefold.evaluation.rows.material import RowMaterial
from fivefold.evaluation.rows.sections import ROW_SECTIONS
from fivefold.evaluation.section import Section
from fivefold.evaluation.sections import SECTIONS
from fivefold.evaluation.series.material import SeriesMaterial
from fivefold.evaluation.series.sections import SERIES_SECTIONS
from fivefold.items import Items
from fivefold.model.fitted import FittedModel
from fivefold.progress import progress_bar
from fivefold.series.dataset import SeriesSet
from fivefold.system import environment
from fivefold.tables.schema import TableSchema

HTML, JSON = "report.html", "report.json"


def make_report(
    model: FittedModel,
    items: Items | SeriesSet,
    folder: Path,
    *,
    train: Items | SeriesSet | None = None,
    seed: int = 0,
    thorough: bool = False,
    against: bool = False,
) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    """Measure the five jobs and write the report into `folder`.

    Parameters
    ----------
    items : test items
    train : training items; with them the model is compared with an autoencoder and a GAN, and, if they have labels,
        generated items are compared with real ones
    thorough : three seeds, and the quality by size of code; of images
    against : compare each job with specialists

    Returns
    -------
    The content of report.json, and a summary as rows of name and text.
    """
    start = time.monotonic()
    folder.mkdir(parents=True, exist_ok=True)
    makers: dict[str, Callable[[], Section | None]]
    if isinstance(items, SeriesSet):
        assert isinstance(train, SeriesSet | None)
        series = SeriesMaterial(model, items, train, folder, seed, against)
        makers, measured = {name: partial(make, series) for name, make in SERIES_SECTIONS.items()}, len(series.items)
    elif isinstance(model.schema, TableSchema):
        assert isinstance(train, Items | None)
        rows = RowMaterial(model, items, train, folder, seed, against)
        makers, measured = {name: partial(make, rows) for name, make in ROW_SECTIONS.items()}, len(rows.items)
    else:
        assert isinstance(train, Items | None)
        material = Material(model, items, train, folder, seed, thorough, against)
        makers, measured = {name: partial(make, material) for name, make in SECTIONS.items()}, len(material.items)
    sections: list[Section] = []
    with progress_bar("report", len(makers)) as bar:
        for name, make in makers.items():
            bar.advance(f"report: {name}", steps=0)
            if (section := make()) is not None:
                sections.append(section)
            bar.advance()
    figures = {section.key: section.figures for section in sections}
    about = {"seed": seed, "items": measured, "source": items.source, "seconds": time.monotonic() - start}
    figures["environment"] = {**environment(), **about}
    _write(folder, figures, sections)
    return figures, [row for section in sections for row in section.summary]


def _write(folder: Path, figures: dict[str, Any], sections: Sequence[Section]) -> None:
    environment = Environment(loader=PackageLoader("fivefold.evaluation"), autoescape=True, undefined=StrictUndefined)
    environment.filters["inline"] = lambda file: base64.b64encode((folder / file).read_bytes()).decode()
    page = environment.get_template("report.html.j2").render(sections=sections, about=figures["environment"])
    (folder / HTML).write_text(page, encoding="utf-8")
    (folder / JSON).write_text(json.dumps(figures, indent=1), encoding="utf-8")
