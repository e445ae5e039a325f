"""Checking: what is understood of data before anything is fitted to them."""

from __future__ import annotations

from typing import Any

from fivefold.findings import Check
from fivefold.modality import modality_for, options_of


def check(data: Any, *, kind: str | None = None, **reading: Any) -> Check:
    """What a fit would take the data for, column by column or picture by picture, and what is doubtful.

    Parameters
    ----------
    data : anything that `fit` takes
    kind : `images`, `tables`, `series`, `pictures`, `parts`; by default what they look like
    reading : how they are to be read, as for `fit`

    Raises
    ------
    DataError : if they can't be read
    UsageError : for a parameter that their modality does not take

    Examples
    --------
    >>> import fivefold
    >>> found = fivefold.check({"bill": [39.1, 39.5, 40.3, None], "species": ["Adelie", "Adelie", "Gentoo", "Gentoo"]})
    >>> list(found.findings)
    ['bill', 'species']
    """
    modality = modality_for(data, kind, reading)
    modality.refuse("check", **{name: reading.get(name) for name in options_of("check") | set(reading)})
    parameters, _ = modality.settings.split_reading(reading)
    return modality.data.open(data, **parameters).check()
