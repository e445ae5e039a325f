"""Compiled inner loops, where numba is installed."""

from __future__ import annotations

from functools import cache
from types import ModuleType


@cache
def kernels() -> ModuleType | None:
    """`codec/kernels.py`, compiled on first use and cached; None without numba."""
    try:
        from fivefold.codec import kernels
    except ImportError:
        return None
    return kernels
