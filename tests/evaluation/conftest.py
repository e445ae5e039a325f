"""What keeps the evaluation of small models short."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="module", autouse=True)
def _short(_few_letters):
    """All modules here look at letters."""
