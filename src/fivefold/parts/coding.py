"""There are no archives of parts."""

from __future__ import annotations

from typing import Any, NoReturn

from fivefold.errors import ModelError


def decoding(*arguments: Any) -> NoReturn:
    """Raise `ModelError`, since no program writes such an archive."""
    raise ModelError("there are no archives of parts")
