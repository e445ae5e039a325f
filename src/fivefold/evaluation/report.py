"""The five jobs in numbers, each beside its rivals; and the report: report.html, report.json and pictures as PNG."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined

from fivefold.dataset import open_data
from fivefold.errors import UsageError
from fivefold.evaluation import Material, evaluation_of
from fivefold.evaluation.contest import Picture, Section, Table
from fivefold.evaluation.drawing import figure
from fivefold.evaluation.rivals import require
from fivefold.items import Schema
from fivefold.modality import modality_taking
from fivefold.model.figures import describe_units, figure_rows
from fivefold.model.fitted import FittedModel
from fivefold.model.scoring import evaluate_elbo
from fivefold.progress import progress_bar
from fivefold.system import environment

HTML, JSON = "report.html", "report.json"


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
    **reading: Any,
) -> tuple[dict[str, Any], list[Section]]:
    """Measure `jobs`, by default all, on test items (of series, what `read_series` gives), `against` rivals or alone.

    Without training data generation can't be measured, nor rivals be trained. `reading` is how the data, and but for `mask`
    the training data, are read, as for `fit`.

    Returns figures by job and the environment, for JSON; and a section per job with its tables and sentences.
    Raises `UsageError` for a rival whose package isn't installed, `DataError` for data unlike those of the fit.

    Examples
    --------
    >>> figures, sections = fivefold.evaluate(tree_model, trees, ["compress"])
    >>> sorted(figures["compress"]["sizes"])
    ['CSV, xz -9e', 'CSV, zstd -19', 'Fivefold', 'Parquet, zstd -19']
    >>> sections[0].title
    'Compression'
    """
    modality_taking(model, "evaluate", **reading)
    start = time.monotonic()
    evaluation = evaluation_of(model.schema)
    jobs = tuple(evaluation.COMPARISONS) if jobs is None else jobs
    if unknown := [job for job in jobs if job not in evaluation.COMPARISONS]:
        raise UsageError(f"`jobs` must be some of {', '.join(evaluation.COMPARISONS)}; got {unknown[0]!r}")
    data = open_data(data, model.schema, **reading)
    train = None if train is None else open_data(train, model.schema, **{**reading, "mask": None})
    material = evaluation.Material(model, data, train, seed=seed, against=against)
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


def make_report(
    model: FittedModel,
    data: Any,
    folder: Path,
    *,
    train: Any = None,
    seed: int = 0,
    thorough: bool = False,
    against: bool = False,
) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    """Measure the five jobs on test items (of series, what `read_series` gives) and write the report into `folder`.

    With training data images are compared with an autoencoder and a GAN, and, if they have labels, generated items with
    real ones. `thorough`, of images, is three seeds and the quality by size of code; `against` compares with rivals.

    Returns the content of report.json, and a summary as rows of name and text.
    """
    start = time.monotonic()
    folder.mkdir(parents=True, exist_ok=True)
    evaluation = evaluation_of(model.schema)
    data, train = (None if part is None else open_data(part, model.schema) for part in (data, train))
    material = evaluation.Material(model, data, train, folder, seed, against, thorough)
    makers = {"the model": describe_model, **evaluation.SECTIONS}
    sections: list[Section] = []
    with progress_bar("report", len(makers)) as bar:
        for name, make in makers.items():
            bar.advance(f"report: {name}", steps=0)
            if (section := make(material)) is not None:
                sections.append(section)
            bar.advance()
    figures = {section.key: section.figures for section in sections}
    about = {"seed": seed, "items": len(material.items), "source": data.source, "seconds": time.monotonic() - start}
    figures["environment"] = {**environment(), **about}
    _write(folder, figures, sections)
    return figures, [row for section in sections for row in section.summary]


def _write(folder: Path, figures: dict[str, Any], sections: Sequence[Section]) -> None:
    templates = Environment(loader=PackageLoader("fivefold.evaluation"), autoescape=True, undefined=StrictUndefined)
    templates.filters["inline"] = lambda file: base64.b64encode((folder / file).read_bytes()).decode()
    page = templates.get_template("report.html.j2").render(sections=sections, about=figures["environment"])
    (folder / HTML).write_text(page, encoding="utf-8")
    (folder / JSON).write_text(json.dumps(figures, indent=1), encoding="utf-8")


def describe_model(material: Material[Any]) -> Section:
    """The section `model`: its bound on the test items, how training went, which latent units are in use."""
    model, record = material.model, material.model.record
    elbo = evaluate_elbo(model, material.items, material.seed)
    seconds = record["train_seconds"]
    figures = {
        **{name: getattr(elbo, name) for name in ("negative_elbo", "reconstruction", "kl")},
        "kl_per_unit": list(elbo.kl_per_unit),
        "inactive_units": list(elbo.inactive_units),
        "latent_dim": model.latent_dim,
        "parameters": model.parameters,
        "train_seconds": seconds,
        "train_items_per_second": record["data"]["items"] * len(record["history"]) / seconds,
    }
    sentences = [
        f"On {len(material.items):,} test items the negative ELBO is {elbo.negative_elbo:.2f} nats per item: "
        f"{elbo.reconstruction:.2f} to reconstruct, {elbo.kl:.2f} for the latent code.",
        describe_units(model),
    ]
    picture = _draw_training(material, elbo.kl_per_unit)
    summary = [("negative ELBO", f"{elbo.negative_elbo:.2f} nats"), ("training", f"{seconds:.0f} s")]
    return Section("model", "The model", figures, sentences, [Table(("", ""), figure_rows(model))], [picture], summary)


def _draw_training(material: Material[Any], kl_per_unit: tuple[float, ...]) -> Picture:
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
    return Picture("training.png", "Left: negative ELBO by epoch. Right: information in each latent unit, in order.")
