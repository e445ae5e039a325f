"""A model as verbs need it: what is stored first, its networks once all else is checked."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fivefold.dataset import open_data
from fivefold.errors import FivefoldWarning, ModelError
from fivefold.items import Schema
from fivefold.modality import Dataset, Modality, modality_of
from fivefold.storage import StoredModel, build, read
from fivefold.verbs.options import parse_reading

if TYPE_CHECKING:
    from fivefold.model.fitted import FittedModel


class OpenModel:
    """A stored model, whose networks are made when they are first asked for.

    Parameters
    ----------
    stored : as it was read
    check : is given each dataset before work begins on it, and may raise
    """

    def __init__(self, stored: StoredModel, check: Callable[[Dataset], None] | None = None) -> None:
        self.stored = stored
        self._check = check

    @classmethod
    def read(cls, path: Path) -> OpenModel:
        """That of a folder; raises `ModelError`."""
        return cls(read(path))

    def checking(self, check: Callable[[Dataset], None]) -> OpenModel:
        """The same model, with another `check` and the same networks."""
        other = OpenModel(self.stored, check)
        other.fitted = self.fitted
        return other

    @property
    def schema(self) -> Schema:
        """Of its items."""
        return self.stored.schema

    @property
    def modality(self) -> Modality:
        """What kind of data it is of."""
        return modality_of(self.stored.schema)

    @property
    def data_record(self) -> dict[str, Any]:
        """What is recorded of the data of the fit."""
        record: dict[str, Any] = self.stored.record.get("data", {})
        return record

    @cached_property
    def fitted(self) -> FittedModel:
        """With its networks; loads torch, which takes seconds."""
        return build(self.stored)

    @property
    def at_hand(self) -> FittedModel | StoredModel:
        """With its networks if they were made before, else as stored."""
        loaded: FittedModel | StoredModel = vars(self).get("fitted", self.stored)
        return loaded

    def open(self, data: Any, verb: str, places: Mapping[str, Any], **reading: Any) -> Dataset:
        """Data whose results are to go to `places`; raises `UsageError` for options that the modality doesn't take."""
        how = parse_reading(reading)
        self.modality.refuse(verb, **how)
        dataset = open_data(data, self.schema, **how)
        if self._check is not None:
            self._check(dataset)
        return dataset.to(places) if places else dataset


@contextmanager
def strictly(strict: bool) -> Iterator[None]:
    """Raise `ModelError` for what is otherwise warned of, if `strict`."""
    with warnings.catch_warnings():
        if strict:
            warnings.simplefilter("error", FivefoldWarning)
        try:
            yield
        except FivefoldWarning as warning:
            raise ModelError(str(warning)) from None


def is_strict() -> bool:
    """Whether what is warned of is raised at present."""
    with warnings.catch_warnings(record=True):
        try:
            warnings.warn("", FivefoldWarning, stacklevel=2)
        except FivefoldWarning:
            return True
    return False


@contextmanager
def said() -> Iterator[list[str]]:
    """What is warned of meanwhile: each once."""
    texts: list[str] = []
    with warnings.catch_warnings(record=True) as met:
        warnings.simplefilter("always", UserWarning)
        try:
            yield texts
        finally:
            texts += dict.fromkeys(str(warning.message) for warning in met if issubclass(warning.category, UserWarning))
