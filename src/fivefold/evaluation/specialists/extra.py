"""Packages that only the comparison with specialists needs."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

from fivefold.errors import UsageError


def require(module: str) -> ModuleType:
    """Import `module` (`package` or `package.module`); raises `UsageError` if it isn't installed."""
    try:
        return import_module(module)
    except ModuleNotFoundError:
        package = module.partition(".")[0]
        raise UsageError(f"the comparison with {package} needs an extra: pip install fivefold[bench]") from None
