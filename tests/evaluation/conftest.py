"""What keeps the evaluation of small models short."""

from __future__ import annotations

import numpy as np
import pytest

from fivefold.data import letters
from fivefold.evaluation import material


@pytest.fixture(scope="module", autouse=True)
def _few_letters():
    """Three of each letter."""
    values, labels = letters.render_letters()
    few = np.concatenate([np.flatnonzero(labels == label)[::13] for label in np.unique(labels)])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(letters, "render_letters", lambda: (values[few], labels[few]))
        yield


@pytest.fixture
def _blurry(monkeypatch):
    """Items are not drawn element by element, which takes seconds."""
    generate = material.generate
    monkeypatch.setattr(material, "generate", lambda *words, sharp=False, **settings: generate(*words, **settings))
