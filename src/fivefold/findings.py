"""What was understood of data, and what of it is doubtful."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from fivefold.notebook import table


@dataclass(frozen=True)
class Doubt:
    """Something in the data that may be meant otherwise than it was taken.

    Attributes
    ----------
    place : the column, channel, picture or file
    text : what was seen, and how it is taken
    remedy : the parameter that settles it, with a value, as in ``"`missing` price=-999"``; empty if there is none

    Examples
    --------
    >>> from fivefold.findings import Doubt
    >>> print(Doubt("price", "-999 stands apart", "`missing` price=-999"))
    price: -999 stands apart (`missing` price=-999)
    """

    place: str
    text: str
    remedy: str = ""

    def __str__(self) -> str:
        return f"{self.place}: {self.text}" + (f" ({self.remedy})" if self.remedy else "")


@dataclass(frozen=True)
class Check:
    """What was understood of a data set.

    Attributes
    ----------
    summary : what the data are, in a line
    findings : what each column, channel or group of pictures was taken for, by name
    doubts : the most important first

    Examples
    --------
    >>> found = fivefold.check({"bill": [39.1, 39.5, 40.3, 41.2]})
    >>> found.summary
    'table: 1 column (1 real)'
    >>> list(found.findings)
    ['bill']
    """

    summary: str
    findings: Mapping[str, str] = field(default_factory=dict)
    doubts: Sequence[Doubt] = ()

    def _repr_html_(self) -> str:
        found = [(name, text, "") for name, text in self.findings.items()]
        doubtful = [(doubt.place, doubt.text, doubt.remedy) for doubt in self.doubts]
        return table(self.summary, [*found, *doubtful], ("of", "what was understood", "what settles it"))
