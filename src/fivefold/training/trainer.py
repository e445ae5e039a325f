"""A fit's epochs: quiet, with a progress bar, its state kept for resuming."""

from __future__ import annotations

import time
import warnings
from pathlib import Path

from fivefold.config import LoggerName
from fivefold.errors import FivefoldWarning
from fivefold.progress import Bar, progress_bar
from fivefold.training.batches import Batches
from fivefold.training.logs import open_log
from fivefold.training.module import VAETraining
from fivefold.training.recipe import STATE_FILE
from fivefold.training.state import read_state, write_state

_BETWEEN_TEXTS = 0.5  # seconds, as often as the bar is drawn
_BETWEEN_SAVES = 9.0  # times what the last one took


def train(
    module: VAETraining,
    batches: Batches,
    held_out: Batches | None,
    workdir: Path | None,
    *,
    resume: bool,
    logger: LoggerName | None,
) -> None:
    """Run a training, or go on with the one whose state is in `workdir`; of a team the first process writes there."""
    if resume and workdir is not None:
        module.restore(read_state(workdir / STATE_FILE))
    workdir = workdir if module.team.rank == 0 else None
    keep = None if workdir is None else _Keeper(workdir / STATE_FILE)
    module.team.begin_alike(module.networks.parameters())
    epochs = module.config.training.epochs
    module.networks.train()
    with progress_bar("fit", epochs * len(batches)) as bar, open_log(logger, workdir) as log:
        bar.advance(steps=module.progress.steps)
        report = _Report(bar, module)
        while module.epoch == 0 or not module.over:
            for x, visible in batches.epoch(module.epoch):
                loss = module.step((x.to(module.device), visible.to(module.device)))
                report(loss)
                if module.fraction_done >= 1.0:
                    break
            if held_out is not None:
                module.look((x.to(module.device), visible.to(module.device)) for x, visible in held_out.epoch(0))
            log(module.end_epoch())
            if keep is not None:
                keep(module)
    if resume and module.epoch == module.epochs_before:
        text = f"nothing was left to train: the fit had ended, after {module.epoch} epochs; go on with more `epochs`"
        warnings.warn(text, FivefoldWarning, stacklevel=2)


class _Report:
    """Moves the progress bar and shows the losses in it."""

    def __init__(self, bar: Bar, module: VAETraining) -> None:
        self._bar, self._module, self._due = bar, module, 0.0

    def __call__(self, loss: object) -> None:
        if (now := time.monotonic()) < self._due:
            self._bar.advance()
            return
        self._due, module = now + _BETWEEN_TEXTS, self._module
        text = f"fit epoch {module.epoch + 1}/{module.config.training.epochs}, loss {loss:.1f}"
        history = module.progress.history
        if history and "validation_negative_elbo" in history[-1]:
            text += f", held-out {history[-1]['validation_negative_elbo']:.1f}"
        self._bar.advance(text)


class _Keeper:
    """Writes the state after the first epoch, after the last, and between as often as that takes a tenth of the time."""

    def __init__(self, path: Path) -> None:
        self.path, self._due = path, 0.0

    def __call__(self, module: VAETraining) -> None:
        began = time.monotonic()
        if module.over or began >= self._due:
            write_state(self.path, module.state())
            ended = time.monotonic()
            self._due = ended + _BETWEEN_SAVES * (ended - began)
