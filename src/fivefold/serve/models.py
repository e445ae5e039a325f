"""The models that are served, and their replacement while requests go on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from fivefold.atomic import MODEL_FILES
from fivefold.errors import FivefoldError
from fivefold.model.figures import describe_units, figure_rows
from fivefold.modelcard import render_card
from fivefold.serve.weights import forget_weights, share_weights
from fivefold.storage import fingerprint
from fivefold.verbs.archives import describe_model
from fivefold.verbs.opened import OpenModel

_SHOWN = 12  # digits of a fingerprint
Stamp = tuple[tuple[int, int, int], ...]


@dataclass(frozen=True)
class ServedModel:
    """A model that is loaded.

    Attributes
    ----------
    name : under which it is served
    model
    stamp : of its files, by which a replaced one is known
    """

    name: str
    model: OpenModel
    stamp: Stamp

    @classmethod
    def load(cls, name: str, path: Path, shared: Path | None = None) -> ServedModel:
        """Read a folder, and make its networks; their weights are in `shared`, if there are other processes to share them."""
        stamp = stamp_of(path)
        model = OpenModel.read(path)
        if shared is not None:
            model = share_weights(model, shared)
        model.fitted.networks.requires_grad_(False)
        return cls(name, model, stamp)

    @cached_property
    def summary(self) -> dict[str, Any]:
        """What it is, in a few words."""
        modality, schema = self.model.modality, self.model.schema
        words = modality.settings.WORDS
        return {
            "name": self.name,
            "modality": modality.name,
            "describes": schema.describe(),
            "latent_dim": self.model.fitted.latent_dim,
            "fingerprint": self.fingerprint[:_SHOWN],
            "words": {"item": words.item, "items": words.items, "element": words.element, "elements": words.elements},
        }

    @cached_property
    def fingerprint(self) -> str:
        """Of its schema, settings and weights."""
        return fingerprint(self.model.stored)

    @cached_property
    def description(self) -> dict[str, Any]:
        """All that is known of it."""
        stored = self.model.stored
        return {
            **self.summary,
            **describe_model(stored),
            "findings": stored.schema.findings(),
            "figure_rows": [{"label": label, "text": text} for label, text in figure_rows(stored)],
            "latent_units": describe_units(stored),
            "card": render_card(stored),
        }


def stamp_of(path: Path) -> Stamp:
    """What changes when a model's files do; nothing of files that are not there."""
    found = []
    for name in MODEL_FILES:
        try:
            about = (path / name).stat()
        except OSError:
            continue
        found.append((about.st_ino, about.st_mtime_ns, about.st_size))
    return tuple(found)


class Models:
    """Models by name; each is replaced as a whole, so that a request has one from its start to its end."""

    def __init__(self, paths: Mapping[str, Path], shared: Path | None = None) -> None:
        self._paths, self._shared = dict(paths), shared
        self._loaded: dict[str, ServedModel] = {}

    def load(self) -> None:
        """Read all of them; raises `FivefoldError` for the first that can't be."""
        self._loaded = {name: ServedModel.load(name, path, self._shared) for name, path in self._paths.items()}

    @property
    def ready(self) -> bool:
        """Whether all are loaded."""
        return len(self._loaded) == len(self._paths)

    def __iter__(self) -> Any:
        return iter(list(self._loaded.values()))

    def get(self, name: str) -> ServedModel | None:
        """The model of that name, as it is now."""
        return self._loaded.get(name)

    @property
    def paths(self) -> Mapping[str, Path]:
        """Folders by name; for messages, which are not to show them."""
        return self._paths

    def changed(self) -> list[str]:
        """Names of those whose files are others than those that were loaded."""
        found = ((name, stamp_of(self._paths[name])) for name in self._loaded)
        return [name for name, stamp in found if len(stamp) == len(MODEL_FILES) and stamp != self._loaded[name].stamp]

    def reload(self, name: str) -> FivefoldError | None:
        """Read a model anew; what was wrong if it can't be, and the old one stays."""
        try:
            fresh = ServedModel.load(name, self._paths[name], self._shared)
        except FivefoldError as error:
            return error
        old, self._loaded[name] = self._loaded[name], fresh
        if self._shared is not None and old.fingerprint not in {served.fingerprint for served in self}:
            forget_weights(self._shared, old.fingerprint)
        return None
