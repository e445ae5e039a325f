"""What comparisons and sections work on, whatever the modality."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np

from fivefold.items import Items
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

    @property
    def fit_minutes(self) -> float:
        """How long the model was trained."""
        return self.model.record["train_seconds"] / 60

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
