"""How the networks of a fit are trained, where modalities differ."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from fivefold.errors import UsageError

STATE_FILE = "state.safetensors"  # in the folder that a fit works in
_MOST_LOOKS = 20


def check_resumable(*folders: Path) -> None:
    """Raise `UsageError` if none of the folders has the state of a fit that could go on."""
    if not any((folder / STATE_FILE).is_file() for folder in folders):
        where = " or ".join(map(str, folders))
        raise UsageError(f"`resume`: there is no training state in {where}; begin the fit without `resume`")


def held_out_elbo(row: dict[str, float]) -> float:
    """The negative ELBO of held-out items; without any, later is better."""
    return row.get("validation_negative_elbo", -row["epoch"])


@dataclass(frozen=True)
class Recipe:
    """Epochs' length, early stopping, averaging, clipping, augmentation, and the score of the best epoch.

    Attributes
    ----------
    steps : the least and the most batches of an epoch: items come more than once, or not all of them; None: each once
    held_out : at least so many held-out items are looked at, few ones several times with other masks, lest the best epoch be
        one of chance; 0: each once
    at_once : look at up to so many of them in one batch
    patience : epochs without a better one after which to stop; None: never
    averaged : keep averages of the weights over the steps: of few items, each step says too much
    gradient_norm : the longest gradient of the VAE, whose densities may be steep; None: of any length
    context_norm : likewise of the context decoder
    share : of the minutes, for the networks; the rest is for what is fitted afterwards
    folds : where few items are held out for detection to compare with, so many fits hold out all in turn; 1: no further fits
    jitter : deviations of random shifts of each channel's level; None: none
    prior : whether a density is fitted to the codes of the items afterwards
    score : of a row of the history, least for the best epoch
    """

    steps: tuple[int, int] | None = None
    held_out: int = 0
    at_once: int = 0
    patience: int | None = None
    averaged: bool = False
    gradient_norm: float | None = None
    context_norm: float | None = None
    share: float = 1.0
    folds: int = 1
    jitter: Sequence[float] | None = None
    prior: bool = True
    score: Callable[[dict[str, float]], float] = held_out_elbo

    def held_out_batches(self, items: int, batch_size: int) -> tuple[int, tuple[int, int] | None]:
        """Items per batch of so many held-out ones, and the least and the most batches to look at."""
        if not self.held_out or self.steps is None:
            return batch_size, None
        looks = min(_MOST_LOOKS, -(-self.held_out // items)) * items
        if looks <= self.at_once:
            batch_size = looks
        return batch_size, (-(-looks // batch_size), self.steps[1])
