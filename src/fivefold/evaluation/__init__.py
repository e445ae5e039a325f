"""Measuring the five jobs beside their rivals, and the report. A package per modality, and what all of them share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Generic, TypeVar

import numpy as np

from fivefold.items import Items, Schema
from fivefold.jobs.codes import encode
from fivefold.modality import modality_of
from fivefold.model.fitted import FittedModel
from fivefold.seeds import derive_seed

Data = TypeVar("Data")


@dataclass
class Material(ABC, Generic[Data]):
    """The model under report, and the data to report on.

    Attributes
    ----------
    data : test data, of which a part is looked at if it is large
    train : the training data, for rivals and comparisons with other models; or None
    folder : for the PNG files
    against : compare with rivals, those trained for the purpose included
    thorough : repeat over seeds, train other networks as long as the model, and more; of images
    """

    model: FittedModel
    data: Data
    train: Data | None
    folder: Path = Path()
    seed: int = 0
    against: bool = False
    thorough: bool = False

    @property
    @abstractmethod
    def items(self) -> Items:
        """What the networks see of the test data."""

    @cached_property
    def codes(self) -> np.ndarray:
        """Posterior means of the test items, `(n, latent_dim)`."""
        return encode(self.model, self.items)[0]

    @property
    def fit_minutes(self) -> float:
        """How long the model was trained."""
        return float(self.model.record["train_seconds"]) / 60

    @property
    def peer_minutes(self) -> float:
        """How long a rival is trained: the one fit replaces at least three of them."""
        return self.fit_minutes / 3

    def rng(self, purpose: str) -> np.random.Generator:
        """Random numbers for one purpose."""
        return np.random.default_rng(derive_seed(self.seed, purpose))

    def sample(self, items: Items, most: int, purpose: str) -> Items:
        """At most so many of the items, in their order."""
        if len(items) <= most:
            return items
        return items.select(np.sort(self.rng(purpose).choice(len(items), most, replace=False)))


def evaluation_of(schema: Schema) -> ModuleType:
    """The evaluation of the schema's modality, loaded when first asked for. Every one of these packages has

    - `Material`: the model under report, and the data to report on, a `Material` of its own
    - `COMPARISONS`: by job, a function of the material that measures it beside its rivals, and gives a `Section`
    - `SECTIONS`: by name, those of a report after the model's, likewise; None where one doesn't apply
    - `NEEDED`: by job, the packages that its rivals take
    """
    return import_module(f"{__name__}.{modality_of(schema).name}")
