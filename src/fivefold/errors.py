"""What can go wrong, and with which exit code the command line ends."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

_LISTED = 40  # names in one message, at most


class FivefoldError(Exception):
    """Base of all errors that are the user's to mend; its text is one clear line."""

    exit_code = 1


class FivefoldWarning(UserWarning):
    """What should be known before a result is relied on."""


class UsageError(FivefoldError, ValueError):
    """An argument or option can't be what it is."""

    exit_code = 2


class DataError(FivefoldError, ValueError):
    """The data can't be read, or doesn't fit the model."""


class ModelError(FivefoldError, ValueError):
    """A model folder is damaged, foreign, or from a newer version; or the model was fitted without what a job needs."""


class TrainingError(FivefoldError):
    """Training can't go on."""


class ArchiveError(FivefoldError):
    """An archive can't be read; the kinds below say why."""


class NotAnArchiveError(ArchiveError):
    """The file is something else."""


class NewerArchiveError(ArchiveError):
    """It was written by a newer version of the package."""


class WrongModelError(ArchiveError):
    """It was written with another model."""


class TruncatedArchiveError(ArchiveError):
    """It ends too early."""


class DamagedArchiveError(ArchiveError):
    """Its bytes are not those that were written."""


class ArchiveLimitError(ArchiveError):
    """What it says it holds is more than the reader allows."""


def suggest(name: str, names: Iterable[str], *, complete: bool = True) -> str:
    """How an error about an unknown name goes on: `; did you mean …?`, or what names there are, if `names` is `complete`."""
    known = list(names)
    if near := difflib.get_close_matches(name, known, 1):
        return f"; did you mean {near[0]}?"
    if not complete:
        return ""
    return f"; there are {', '.join(known[:_LISTED])}" + (
        f" and {len(known) - _LISTED} more" if known[_LISTED:] else ""
    )
