"""What keeps the evaluation of small models short."""

from __future__ import annotations

import pytest

from fivefold.evaluation.images.material import Effort


@pytest.fixture
def _least_effort(monkeypatch):
    """Networks beside the model are trained for an epoch."""
    monkeypatch.setattr(Effort, "like", classmethod(lambda cls, _: cls(1, 1, 1, 1, 1)))


@pytest.fixture(scope="module", autouse=True)
def _short(_few_letters):
    """All modules here look at letters."""
