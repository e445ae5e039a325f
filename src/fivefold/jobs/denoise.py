"""Remove noise of unknown kind and level."""

from __future__ import annotations

from fivefold.jobs.codes import reconstruct as denoise

__all__ = ["denoise"]
