"""Measuring the five jobs beside their rivals, and the report. A package per modality, and what all of them share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol, cast

if TYPE_CHECKING:
    from fivefold.evaluation.contest import Section
    from fivefold.evaluation.material import Material
    from fivefold.modality import Schema

_PACKAGES = {"image": "images", "table": "tables", "series": "series"}


class Evaluation(Protocol):
    """What a modality's package of evaluation has.

    Attributes
    ----------
    Material : the model under report, and the data to report on
    COMPARISONS : by job, how it is measured beside its rivals
    SECTIONS : by name, the sections of a report after that of the model, in order; None where one doesn't apply
    NEEDED : by job, the packages that its rivals take
    """

    Material: Callable[..., Material[Any]]
    COMPARISONS: Mapping[str, Callable[[Any], Section]]
    SECTIONS: Mapping[str, Callable[[Any], Section | None]]
    NEEDED: Mapping[str, tuple[str, ...]]


def evaluation_of(schema: Schema) -> Evaluation:
    """The package of the schema's modality, loaded when first asked for."""
    kind = schema.to_json()["kind"]
    return cast(Evaluation, import_module(f"{__name__}.{_PACKAGES[kind]}"))
