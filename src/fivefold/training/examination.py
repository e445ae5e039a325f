"""What is looked at after training: each job is tried on held-out items, and what can't work is said, with what to do."""

from __future__ import annotations

import dataclasses
import warnings

import numpy as np

from fivefold.errors import FivefoldError, FivefoldWarning
from fivefold.items import Items
from fivefold.modality import modality_of
from fivefold.model.fitted import FittedModel
from fivefold.model.verdicts import too_few_to_flag
from fivefold.progress import progress_bar
from fivefold.seeds import derive_seed

FEWEST_TO_COMPARE = 100  # held-out items, for detection
_FEWEST_ITEMS = 10
_MOST_KNOWN = 2000  # items of the fit that alternatives learn from
_USUAL_RATE = 0.01  # of false alarms


def examine(model: FittedModel, items: Items, train: np.ndarray, held_out: np.ndarray) -> None:
    """Put the verdicts on all jobs into the model's record, and warn of what can't work.

    `train` and `held_out` are item numbers; if none are held out, jobs are tried on items of the fit.
    """
    model.record["verdicts"] = _try_jobs(model, items, train, held_out)
    for remark in remarks(model):
        warnings.warn(remark, FivefoldWarning, stacklevel=4)
    warn_of_few(model, _USUAL_RATE, stacklevel=5)


def _try_jobs(model: FittedModel, items: Items, train: np.ndarray, held_out: np.ndarray) -> list[dict[str, object]]:
    room, seed = modality_of(model.schema).verdicts, model.config.training.seed
    rng = np.random.default_rng(derive_seed(seed, "verdicts"))
    most = max(1, min(room.MOST_ITEMS, room.MOST_ELEMENTS // model.schema.size))
    tried = items.select(np.sort(rng.permutation(held_out if len(held_out) else train)[:most]))
    most = max(most, min(_MOST_KNOWN, _MOST_KNOWN * room.MOST_ELEMENTS // (room.MOST_ITEMS * model.schema.size)))
    known = items.select(np.sort(rng.permutation(train)[:most]))
    found = []
    with progress_bar("try the jobs", len(room.TRIALS)) as bar, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for job, trial in room.TRIALS.items():
            try:
                verdict = trial(model, tried, known, np.random.default_rng(derive_seed(seed, f"verdict on {job}")))
            except FivefoldError:  # such as of data that an archive can't hold: the job itself will say so
                verdict = None
            if verdict is not None:
                found.append(dataclasses.asdict(verdict) | {"held_out": len(held_out) > 0})
            bar.advance()
    return found


def remarks(model: FittedModel) -> list[str]:
    """What can't work with this model, and what would help."""
    words, data = modality_of(model.schema).settings.WORDS, model.record["data"]
    count, found = data["items"] + data["held_out"], []
    if count < _FEWEST_ITEMS:
        found.append(
            f"{count} {words.item if count == 1 else words.items} can't say what others are like: "
            f"fit to {_FEWEST_ITEMS} at least, better to hundreds"
        )
    figures = model.record["figures"].get("held_out") or {}
    if figures.get("items", 0) > 1 and len(figures["inactive_units"]) == model.latent_dim:
        found.append(
            f"the posterior has collapsed: codes say nothing about the {words.items}; "
            "fit for more `epochs`, with a longer `kl_warmup`, or to more data"
        )
    return found


def warn_of_few(model: FittedModel, rate: float, stacklevel: int = 3) -> None:
    """Warn if nothing can be flagged at a rate of false alarms, and say what would help; not of what does not detect at all."""
    if "normality" not in modality_of(model.schema).networks.CALIBRATIONS:
        return
    if (remark := too_few_to_flag(model, "false_alarm_rate", rate)) is not None:
        warnings.warn(remark, FivefoldWarning, stacklevel=stacklevel)
