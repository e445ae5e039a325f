"""Lightning's trainer as fits use it: quiet, with a progress bar, its checkpoints as safetensors."""

from __future__ import annotations

import json
import logging
import signal
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger
from lightning.pytorch.plugins.io import CheckpointIO
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch.utils.data import DataLoader

from fivefold.atomic import atomic_file
from fivefold.config import LoggerName
from fivefold.errors import FivefoldWarning, ModelError, UsageError
from fivefold.progress import Bar, progress_bar
from fivefold.training.module import Batch, VAETraining
from fivefold.training.recipe import STATE_FILE

_BETWEEN_TEXTS = 0.5  # seconds, as often as the bar is drawn
_BETWEEN_SAVES = 9.0  # times what the last one took


def train(
    module: VAETraining,
    train_loader: DataLoader[Batch],
    held_out_loader: DataLoader[Batch] | None,
    workdir: Path | None,
    accelerator: str,
    *,
    resume: bool,
    logger: LoggerName | None,
) -> torch.device:
    """Run a training, or go on with the one whose state is in `workdir`; returns the device that it ran on."""
    state = None if workdir is None else workdir / STATE_FILE
    epochs = module.config.training.epochs
    with _quiet_lightning(), progress_bar("fit", epochs * len(train_loader)) as bar:
        callbacks: list[pl.Callback] = [_Report(bar, module), *([] if state is None else [_SaveState(state)])]
        trainer = _make_trainer(epochs, workdir, accelerator, logger, callbacks)
        on_interrupt = signal.getsignal(signal.SIGINT)
        try:
            trainer.fit(module, train_loader, held_out_loader, ckpt_path=state if resume else None)
        except SystemExit:  # what Lightning makes of Ctrl-C, having switched it off for good
            signal.signal(signal.SIGINT, on_interrupt)
            raise KeyboardInterrupt from None
    if resume and len(module.progress.history) == module.epochs_before:
        text = (
            f"nothing was left to train: the fit had all of its {module.epochs_before} epochs; go on with more `epochs`"
        )
        warnings.warn(text, FivefoldWarning, stacklevel=2)
    return trainer.strategy.root_device


class _Report(pl.Callback):
    """Moves the progress bar and shows the losses in it."""

    def __init__(self, bar: Bar, module: VAETraining) -> None:
        self._bar, self._module, self._due = bar, module, 0.0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._bar.advance(steps=self._module.steps_done)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if (now := time.monotonic()) < self._due:
            self._bar.advance()
            return
        self._due = now + _BETWEEN_TEXTS
        text = f"fit epoch {trainer.current_epoch + 1}/{trainer.max_epochs}, loss {outputs['loss']:.1f}"
        history = self._module.progress.history
        if history and "validation_negative_elbo" in history[-1]:
            text += f", held-out {history[-1]['validation_negative_elbo']:.1f}"
        self._bar.advance(text)


class _SaveState(Checkpoint):
    """After the first epoch, after the last, and between as often as that takes a tenth of the time.

    Being a `Checkpoint`, it is called after the module has finished its epoch.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._due = path, 0.0

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        began, last = time.monotonic(), trainer.current_epoch + 1 == trainer.max_epochs
        if trainer.should_stop or last or began >= self._due:
            trainer.save_checkpoint(self._path)
            ended = time.monotonic()
            self._due = ended + _BETWEEN_SAVES * (ended - began)


def _make_trainer(
    epochs: int, workdir: Path | None, accelerator: str, logger: LoggerName | None, callbacks: list[pl.Callback]
) -> pl.Trainer:
    try:
        return pl.Trainer(
            max_epochs=epochs,
            accelerator=accelerator,
            devices=1,
            logger=_make_logger(logger, workdir),
            callbacks=callbacks,
            plugins=[SafetensorsCheckpointIO()],
            default_root_dir=workdir,
            enable_checkpointing=workdir is not None,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
        )
    except (ValueError, ModuleNotFoundError, MisconfigurationException) as error:
        raise UsageError(f"`accelerator` {accelerator}: {str(error).splitlines()[0]}") from None


def _make_logger(name: LoggerName | None, workdir: Path | None) -> Logger | bool:
    if workdir is None:
        return False
    if name == "csv":
        return CSVLogger(workdir, name="logs")
    if name == "tensorboard":
        try:
            return TensorBoardLogger(workdir, name="logs")
        except ModuleNotFoundError:
            raise UsageError("`logger` tensorboard needs an extra: pip install fivefold[tensorboard]") from None
    return False


@contextmanager
def _quiet_lightning() -> Iterator[None]:
    """No chatter about accelerators, loggers, and workers that arrays in memory don't need."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="lightning")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


_TREE = "tree"


class SafetensorsCheckpointIO(CheckpointIO):
    """Writes atomically; restores tensors, numbers, text, lists and dicts with any plain keys."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        tensors: dict[str, torch.Tensor] = {}
        tree = json.dumps(_detach(checkpoint, tensors))
        with atomic_file(Path(path)) as temporary:
            temporary.write_bytes(save(tensors, {_TREE: tree}))  # not `save_file`, whose errors are all of one kind

    def load_checkpoint(
        self, path: str | Path, map_location: Any = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        try:
            with safe_open(path, "pt") as file:
                tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
                checkpoint: dict[str, Any] = _attach(json.loads(file.metadata()[_TREE]), tensors)
                return checkpoint
        except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
            raise ModelError(f"{path}: the training state is damaged ({error}); fit without `resume`") from None

    def remove_checkpoint(self, path: str | Path) -> None:
        Path(path).unlink(missing_ok=True)


def _detach(node: Any, tensors: dict[str, torch.Tensor]) -> Any:
    """`node` as JSON: a dict as `{"d": [[key, value], …]}`, a tensor as `{"t": its name}`."""
    if isinstance(node, torch.Tensor):
        name = f"t{len(tensors)}"
        tensors[name] = node.detach().clone().contiguous()
        return {"t": name}
    if isinstance(node, dict):
        return {"d": [[key, _detach(value, tensors)] for key, value in node.items()]}
    if isinstance(node, (list, tuple)):
        return [_detach(value, tensors) for value in node]
    return node


def _attach(node: Any, tensors: dict[str, torch.Tensor]) -> Any:
    if isinstance(node, dict):
        return tensors[node["t"]] if "t" in node else {key: _attach(value, tensors) for key, value in node["d"]}
    if isinstance(node, list):
        return [_attach(value, tensors) for value in node]
    return node
