"""`fit`: from data to a fitted model."""

from __future__ import annotations

import dataclasses
import logging
import signal
import tempfile
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger

from fivefold.config import FitConfig, LoggerName
from fivefold.dataset import ItemSet, open_data
from fivefold.errors import UsageError
from fivefold.items import Items, split_rows
from fivefold.modality import modality_for, modality_of, options_of
from fivefold.model.calibrations import FittedPrior, fit_prior
from fivefold.model.fitted import FittedModel
from fivefold.model.scoring import encode_items, evaluate_elbo
from fivefold.progress import Bar, progress_bar
from fivefold.seeds import derive_seed
from fivefold.system import environment
from fivefold.training.batches import make_loader
from fivefold.training.checkpoint import SafetensorsCheckpointIO
from fivefold.training.module import VAETraining
from fivefold.training.recipe import STATE_FILE

_MOST_CODES = 20_000


def fit(
    data: Any,
    *,
    preset: str = "default",
    kind: str | None = None,
    test: Any = None,
    accelerator: str = "auto",
    workdir: Path | None = None,
    resume: bool = False,
    logger: LoggerName | None = None,
    **settings: Any,
) -> FittedModel:
    """Fit one VAE.

    Parameters
    ----------
    data : images: an array `(n, h, w[, c])`, a folder, a file or a built-in set, `mnist` being its training split; a table: a
        frame, an array `(n, d)`, a list of rows, a dict of columns, a file; or, with `kind="series"` or `time`, series
    preset : `default` (one model for all five jobs), `archive` (the same with a wider context decoder) or `paper` (the
        publication's); tables and series have `default` only
    kind : `images`, `tables` or `series`; by default what the data look like
    test : items to report figures on, never trained on; for `mnist` its test split
    accelerator : Lightning's: `auto`, `cpu`, `gpu`, `mps`, …
    workdir : folder for the training state and the logs (default: none are kept)
    resume : continue from the state in `workdir`
    logger : write logs to `workdir` as `csv` or for `tensorboard`
    settings : how the data are read: of images `mask` and `resize`, of tables and series `schema` (see `infer_table_schema`), of
        series `time`, `ids`, `window` (steps of a window; 0 for no context decoder) and `stride`; and any field of
        `NetworkConfig`, `ContextConfig`, `TrainingConfig` and the modality's own configuration; and `corruption` as
        `CorruptionConfig` or text

    Raises
    ------
    UsageError, DataError, TrainingError : with one line that says what to mend
    """
    data = ItemSet(data) if isinstance(data, Items) else data
    modality = modality_of(data.schema) if hasattr(data, "examples") else modality_for(data, kind, settings)
    modality.refuse("fit", **{name: settings.get(name) for name in options_of("fit")})
    asked = {name for name, value in settings.items() if value is not None}
    reading, settings = modality.settings.split_reading(settings)
    as_is = hasattr(data, "examples") and not asked & reading.keys()
    dataset = data if as_is else modality.data.open(data, **reading)
    items = dataset.examples()
    config = modality.settings.configure(preset, items=len(items), **settings)
    if test is None:
        test = modality.data.TEST_SETS.get(items.source)
    size = {"resize": reading["resize"]} if "resize" in reading and isinstance(test, str | Path) else {}
    test_items = None if test is None else open_data(test, items.schema, **size).all_items()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) if workdir is None else workdir
        model = fit_items(items, config, place, test_items, accelerator, resume=resume, logger=logger)
    if (form := getattr(dataset, "form", None)) is not None:
        model.record["data"]["form"] = form
    return model


def fit_items(
    items: Items,
    config: FitConfig,
    workdir: Path,
    test: Items | None = None,
    accelerator: str = "auto",
    *,
    resume: bool = False,
    logger: LoggerName | None = None,
) -> FittedModel:
    """`fit` for items and a configuration that are at hand."""
    model = train_networks(items, config, workdir, accelerator, resume=resume, logger=logger)
    training = config.training
    train, held_out = split_rows(items, training.validation, training.seed)
    validation = items.select(held_out)
    model.calibrations["prior"] = _fit_prior(model, items.select(_code_rows(train, training.seed)), validation)
    modality_of(items.schema).networks.calibrate(model, items, train, held_out)
    if len(held_out):
        model.record["figures"]["held_out"] = dataclasses.asdict(evaluate_elbo(model, validation))
    if test is not None:
        model.record["figures"]["test"] = dataclasses.asdict(evaluate_elbo(model, test))
    return model


def train_networks(
    items: Items,
    config: FitConfig,
    workdir: Path,
    accelerator: str = "auto",
    *,
    resume: bool = False,
    logger: LoggerName | None = None,
) -> FittedModel:
    """`fit_items` without what is fitted to the networks' results afterwards: prior, statistics, figures."""
    training = config.training
    train, held_out = split_rows(items, training.validation, training.seed)
    room = modality_of(items.schema).networks
    networks = room.build(items.schema, config, training.seed)
    room.prepare(networks, items, train, held_out)
    recipe = room.recipe(items.schema, config)
    module = VAETraining(networks, config, recipe, _describe(items))
    state = workdir / STATE_FILE
    if resume and not state.exists():
        raise UsageError(f"`resume`: there is no training state in {workdir}")
    train_loader = make_loader(items, train, training.batch_size, training.seed, recipe.steps)
    validation_loader = None
    if len(held_out):
        batch_size, steps = recipe.held_out_batches(len(held_out), training.batch_size)
        validation_loader = make_loader(items, held_out, batch_size, steps=steps)
    total = training.epochs * len(train_loader)
    with _quiet_lightning(), progress_bar("fit", total) as bar:
        callbacks = [_Report(bar, module), _SaveState(state)]
        trainer = _make_trainer(config, workdir, accelerator, logger, callbacks)
        on_interrupt = signal.getsignal(signal.SIGINT)
        try:
            trainer.fit(module, train_loader, validation_loader, ckpt_path=state if resume else None)
        except SystemExit:  # what Lightning makes of Ctrl-C, having switched it off for good
            signal.signal(signal.SIGINT, on_interrupt)
            raise KeyboardInterrupt from None
    networks.load_state_dict(module.progress.best_weights)
    networks.to(trainer.strategy.root_device).eval()  # Lightning brings them back to the CPU
    model = FittedModel(module.vae, items.schema, config, module.context)
    model.record = {
        "data": {"source": items.source, "items": len(train), "held_out": len(held_out)},
        "history": module.progress.history,
        "best_epoch": module.progress.best_epoch,
        "train_seconds": module.progress.history[-1]["seconds"],
        "figures": {},
        "environment": environment(),
    }
    return model


def _code_rows(rows: np.ndarray, seed: int) -> np.ndarray:
    """A random share of the rows, in random order: enough for a density of codes."""
    return np.random.default_rng(derive_seed(seed, "codes")).permutation(rows)[:_MOST_CODES]


def _fit_prior(model: FittedModel, train: Items, held_out: Items) -> FittedPrior:
    """To a draw from the posterior of each item, which is what the decoder is used to."""
    seed = model.config.training.seed

    def draw(items: Items, stream: str) -> np.ndarray:
        if len(items) == 0:
            return np.empty((0, model.latent_dim))
        mu, std = encode_items(model, items)
        return mu + std * np.random.default_rng(derive_seed(seed, f"prior {stream}")).standard_normal(mu.shape)

    return fit_prior(draw(train, "train"), draw(held_out, "held out"), derive_seed(seed, "prior"))


def _describe(items: Items) -> str:
    """How many items, of what kind, and a checksum of their values and of what is hidden."""
    checksum = 0 if items.hidden is None else zlib.crc32(np.ascontiguousarray(items.hidden).data)
    for rows in items.batches(1000):
        checksum = zlib.crc32(np.ascontiguousarray(items.values[rows]).data, checksum)
    return f"{len(items)} items, {items.schema.describe()}, checksum {checksum:08x}"


class _Report(pl.Callback):
    """Moves the progress bar and shows the losses in it."""

    def __init__(self, bar: Bar, module: VAETraining) -> None:
        self._bar, self._module = bar, module

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._bar.advance(steps=self._module.steps_done)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        text = f"fit epoch {trainer.current_epoch + 1}/{trainer.max_epochs}, loss {outputs['loss']:.1f}"
        history = self._module.progress.history
        if history and "validation_negative_elbo" in history[-1]:
            text += f", held-out {history[-1]['validation_negative_elbo']:.1f}"
        self._bar.advance(text)


class _SaveState(Checkpoint):
    """Being a `Checkpoint`, it is called after the module has finished its epoch."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        trainer.save_checkpoint(self._path)


def _make_trainer(
    config: FitConfig, workdir: Path, accelerator: str, logger: LoggerName | None, callbacks: list[pl.Callback]
) -> pl.Trainer:
    try:
        return pl.Trainer(
            max_epochs=config.training.epochs,
            accelerator=accelerator,
            devices=1,
            logger=_make_logger(logger, workdir),
            callbacks=callbacks,
            plugins=[SafetensorsCheckpointIO()],
            default_root_dir=workdir,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
        )
    except (ValueError, ModuleNotFoundError, MisconfigurationException) as error:
        raise UsageError(f"`accelerator` {accelerator}: {str(error).splitlines()[0]}") from None


def _make_logger(name: LoggerName | None, workdir: Path) -> Logger | bool:
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
