"""Remove noise of unknown kind and level."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fivefold.config import JobNumbers
from fivefold.dataset import open_data
from fivefold.items import Block
from fivefold.jobs import Results, collect
from fivefold.modality import modality_taking
from fivefold.model.fitted import FittedModel
from fivefold.model.verdicts import warn_if_worse
from fivefold.notebook import table


@dataclass(frozen=True)
class Denoised:
    """Data without their noise, in the form in which they came.

    Attributes
    ----------
    data : the clean data that the noisy ones stand for; of tables those cells replaced that do not belong into their rows
    std : of images and series, how sure that is: a standard deviation per element, in the data's units; else None
    changes : of tables, a table with a row for each replaced cell: `row`, `column`, what it `was` and `is`, and the `probability`
        that it was wrong; else None
    changed : how many elements were replaced

    Examples
    --------
    >>> clean = fivefold.denoise(image_model, images)
    >>> clean.data.dtype, clean.std.shape, clean.changes is None
    (dtype('uint8'), (12, 8, 6, 3), True)
    """

    data: Any
    std: Any
    changes: Any
    changed: int

    def _repr_html_(self) -> str:
        given = ("std", "changes")
        rows = [(name, "yes" if getattr(self, name) is not None else "no") for name in given]
        return table("Denoised", [("replaced", f"{self.changed:,}"), *rows])


def denoise(
    model: FittedModel,
    data: Any,
    *,
    n_samples: int | None = None,
    threshold: float | None = None,
    seed: int = 0,
    strict: bool = False,
    **reading: Any,
) -> Denoised:
    """The clean data that noisy ones stand for; see the modality's `denoise`.

    Where a filter did better on the items held out in the fit, that is used instead, with a `FivefoldWarning`.

    Parameters
    ----------
    data : whatever the model's modality reads, or `Items`, or a dataset
    n_samples : of images, codes that the result is averaged over; by default 2
    threshold : of tables, replace cells that are wrong with a higher probability; by default 0.5
    strict : raise `ModelError` instead of warning
    reading : how the data are read, such as `mask`; see the modality's `open`

    Raises
    ------
    UsageError : for an option that is out of its range, or that the modality doesn't take
    DataError : if the data can't be read, or are unlike those of the fit

    Examples
    --------
    >>> noisy = trees.copy()
    >>> noisy.loc[0, "girth"] = 500.0
    >>> fivefold.denoise(tree_model, noisy, threshold=0.9).data.shape
    (300, 7)
    """
    modality = modality_taking(model, "denoise", n_samples=n_samples, threshold=threshold, **reading)
    JobNumbers(n_samples=n_samples, threshold=threshold, seed=seed)
    worse = warn_if_worse(model, "denoise", strict)
    options = {name: value for name, value in (("n_samples", n_samples), ("threshold", threshold)) if value is not None}

    def clean(block: Block) -> Results:
        if worse is not None:
            return modality.verdicts.denoise_simply(block.items, worse.name)
        return modality.jobs.denoise(model, block.items, seed=block.seed(seed), **options)

    extra: str = modality.jobs.EXTRA_ROLE
    found = collect(open_data(data, model.schema, **reading), "denoise", clean, ("",), (extra,))
    std, changes = (found[extra] if extra == role else None for role in ("std", "changes"))
    return Denoised(found[""], std, changes, found.changed)
