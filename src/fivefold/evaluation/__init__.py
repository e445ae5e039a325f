"""Measuring the five jobs beside their rivals, and the report. A package per modality, and what all of them share."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

from fivefold.items import Schema
from fivefold.modality import modality_of


def evaluation_of(schema: Schema) -> ModuleType:
    """The evaluation of the schema's modality, loaded when first asked for. Every one of these packages has

    - `Material`: the model under report, and the data to report on, as `material.Material`
    - `COMPARISONS`: by job, a function of the material that measures it beside its rivals, and gives a `Section`
    - `SECTIONS`: by name, those of a report after the model's, likewise; None where one doesn't apply
    - `NEEDED`: by job, the packages that its rivals take
    """
    return import_module(f"{__name__}.{modality_of(schema).name}")
