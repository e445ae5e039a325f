"""`fit`: from data to a fitted model."""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fivefold.config import FitConfig, LoggerName
from fivefold.dataset import ItemSet, open_data
from fivefold.errors import UsageError
from fivefold.items import Items, split_rows
from fivefold.modality import Dataset as DataSet
from fivefold.modality import Modality, modality_for, modality_of, options_of
from fivefold.model.calibrations import FittedPrior, fit_prior
from fivefold.model.fitted import FittedModel
from fivefold.model.scoring import encode_items, evaluate_elbo
from fivefold.seeds import derive_seed
from fivefold.system import environment, find_device
from fivefold.training import examination
from fivefold.training.batches import Batches
from fivefold.training.module import VAETraining
from fivefold.training.recipe import check_resumable
from fivefold.training.team import current_team
from fivefold.training.trainer import train

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
    verdicts: bool = True,
    **settings: Any,
) -> FittedModel:
    """Fit one VAE.

    Parameters
    ----------
    data : images: an array `(n, h, w[, c])`, a folder, a file or a built-in set, `mnist` being its training split; a table: a
        frame, an array `(n, d)`, a list of rows, a dict of columns, a file; or, with `kind="series"` or `time`, series
    preset : `default` (one model for all five jobs), `archive` (the same with a wider context decoder) or `paper` (the
        publication's); tables and series have `default` only
    kind : `images`, `tables`, `series`, `pictures` of any size, or `parts`; by default what the data look like
    test : items to report figures on, never trained on; for `mnist` its test split
    accelerator : `auto`: the one that there is, or the processor; `gpu`, `cpu`, or any device of PyTorch's, `cuda:1`, `mps`, …
    workdir : folder for the training state and the logs (default: none are kept)
    resume : continue from the state in `workdir`
    logger : write logs to `workdir` as `csv` or for `tensorboard`
    verdicts : try each job on held-out items afterwards, beside its simplest alternative, which takes seconds; see `Verdict`
    settings : how the data are read: of images `mask` and `resize`, of tables and series `schema` (see `infer_table_schema`), of
        series `time`, `ids`, `window` (its steps) and `stride`; `noise` and `noise_level` of pictures that are noisy themselves
        (see docs/pictures.md); `context`, False for no context decoder; `corruption` as `CorruptionConfig` or text; and any field
        of `NetworkConfig`, `ContextConfig`, `TrainingConfig` and the modality's own configuration

    Raises
    ------
    UsageError, DataError, TrainingError : with one line that says what to mend

    Warns
    -----
    FivefoldWarning : of what can't work, such as detection with too few items to compare with, and what would help

    >>> model = fivefold.fit(trees, latent_dim=2, epochs=1, shortest_epoch=8, seed=0)
    >>> model.schema.describe()
    '6 columns (1 category, 2 real, 1 integer, 1 datetime, 1 boolean)'
    """
    if workdir is None and (resume or logger):
        raise UsageError(f"`{'resume' if resume else 'logger'}` needs a `workdir`")
    if resume and workdir is not None:
        check_resumable(workdir)
    modality, dataset, reading, settings = _open(data, kind, settings)
    items = dataset.examples()
    config = modality.settings.configure(preset, items=len(items), size=items.schema.size, **settings)
    test = modality.data.TEST_SETS.get(items.source) if test is None else test
    alike = _alike(modality, reading) if isinstance(test, str | Path) else {}
    test_items = None if test is None else open_data(test, items.schema, **alike).all_items()
    how: dict[str, Any] = {"resume": resume, "logger": logger, "verdicts": verdicts}
    model = fit_items(items, config, workdir, test_items, accelerator, **how)
    about = {name: getattr(dataset, name, None) for name in ("form", "layout")}
    model.record["data"] |= {name: value for name, value in about.items() if value is not None}
    return model


def _open(
    data: Any, kind: str | None, settings: Mapping[str, Any]
) -> tuple[Modality, DataSet, dict[str, Any], dict[str, Any]]:
    """The modality, the data as a dataset of it, how they were read, and the settings that are left."""
    data = ItemSet(data) if isinstance(data, Items) else data
    modality = modality_of(data.schema) if hasattr(data, "examples") else modality_for(data, kind, settings)
    modality.refuse("fit", **{name: settings.get(name) for name in options_of("fit")})
    asked = {name for name, value in settings.items() if value is not None}
    reading, others = modality.settings.split_reading(settings)
    as_is = hasattr(data, "examples") and not asked & reading.keys()
    dataset = data if as_is else modality.data.open(data, **reading)
    return modality, dataset, reading, others


def _alike(modality: Modality, reading: Mapping[str, Any]) -> dict[str, Any]:
    """How other files of the same kind are to be read."""
    names = modality.settings.OPTIONS.get("evaluate", frozenset()) - {"mask"}
    return {name: value for name, value in reading.items() if name in names}


def fit_items(
    items: Items,
    config: FitConfig,
    workdir: Path | None = None,
    test: Items | None = None,
    accelerator: str = "auto",
    *,
    resume: bool = False,
    logger: LoggerName | None = None,
    verdicts: bool = False,
) -> FittedModel:
    """`fit` for items and a configuration that are at hand."""
    training = config.training
    rows, held_out = split_rows(items, training.validation, training.seed)
    model = train_networks(items, config, workdir, accelerator, resume=resume, logger=logger)
    room = modality_of(items.schema).networks
    if room.recipe(items.schema, config).prior:
        model.calibrations["prior"] = _fit_prior(model, items, rows, held_out)
    room.calibrate(model, items, rows, held_out)
    if len(held_out) < examination.FEWEST_TO_COMPARE:
        _compare_with_all(model, items, rows, held_out, accelerator)
    if len(held_out):
        model.record["figures"]["held_out"] = dataclasses.asdict(evaluate_elbo(model, items.select(held_out)))
    if test is not None:
        model.record["figures"]["test"] = dataclasses.asdict(evaluate_elbo(model, test))
    if verdicts:
        examination.examine(model, items, rows, held_out)
    return model


def _compare_with_all(
    model: FittedModel, items: Items, train: np.ndarray, held_out: np.ndarray, accelerator: str
) -> None:
    """Cross-conformal calibration (Vovk 2015): scores of all items, each by a fit that did not see it.

    Those of the items held out are there already; the others are held out in turn, in further fits, until there are enough.
    """
    room, config, normality = modality_of(items.schema).networks, model.config, model.normality
    folds = room.recipe(items.schema, config).folds
    if folds < 2 or normality is None:
        return
    everything = np.arange(len(items))
    seen = len(normality.calibration) != len(held_out)  # so few were held out that it is of all items
    order = np.random.default_rng(derive_seed(config.training.seed, "folds")).permutation(everything if seen else train)
    scores = [] if seen else [normality.calibration]
    parts = max(folds - 1, 2) if seen else folds - 1  # what is not held out is trained on
    for fold in np.array_split(order, min(parts, len(order))):
        if sum(map(len, scores)) >= examination.FEWEST_TO_COMPARE:
            break
        split = np.setdiff1d(everything, fold), np.sort(fold)
        other = train_networks(items, config, None, accelerator, split=split)
        room.calibrate(other, items, *split)
        assert other.normality is not None
        scores.append(other.normality.score(modality_of(items.schema).jobs.statistics(other, items.select(split[1]))))
    model.calibrations["normality"] = normality.recalibrated(np.concatenate(scores))


def train_networks(
    items: Items,
    config: FitConfig,
    workdir: Path | None = None,
    accelerator: str = "auto",
    *,
    resume: bool = False,
    logger: LoggerName | None = None,
    split: tuple[np.ndarray, np.ndarray] | None = None,
) -> FittedModel:
    """`fit_items` without what is fitted to the networks' results afterwards: prior, statistics, figures.

    `split` is the numbers of the items to train on and of those held out; by default a random one.
    """
    training = config.training
    rows, held_out = split or split_rows(items, training.validation, training.seed)
    device, room = find_device(accelerator, "accelerator"), modality_of(items.schema).networks
    networks = room.build(items.schema, config, training.seed)
    room.prepare(networks, items, rows, held_out)
    recipe = room.recipe(items.schema, config)
    team = current_team()
    batches = Batches(items, rows, training.batch_size, training.seed, recipe.steps, team)
    held_out_batches = None
    if len(held_out):
        batch_size, steps = recipe.held_out_batches(len(held_out), training.batch_size)
        held_out_batches = Batches(items, held_out, batch_size, steps=steps, team=team)
    module = VAETraining(networks.to(device), config, recipe, _describe(items), len(batches), team)
    train(module, batches, held_out_batches, workdir, resume=resume, logger=logger)
    networks.load_state_dict(module.progress.best_weights)
    networks.eval()
    model = FittedModel(module.vae, items.schema, config, module.context)
    model.record = {
        "data": {"source": items.source, "items": len(rows), "held_out": len(held_out)},
        "history": module.progress.history,
        "best_epoch": module.progress.best_epoch,
        "train_seconds": module.progress.history[-1]["seconds"],
        "figures": {},
        "environment": environment(),
    }
    return model


def _fit_prior(model: FittedModel, items: Items, train: np.ndarray, held_out: np.ndarray) -> FittedPrior:
    """To a draw from the posterior of each item, which is what the decoder is used to."""
    seed = model.config.training.seed
    chosen = np.random.default_rng(derive_seed(seed, "codes")).permutation(train)[:_MOST_CODES]

    def draw(rows: np.ndarray, stream: str) -> np.ndarray:
        mu, std = encode_items(model, items.select(rows))
        return mu + std * np.random.default_rng(derive_seed(seed, f"prior {stream}")).standard_normal(mu.shape)

    return fit_prior(draw(chosen, "train"), draw(held_out, "held out"), derive_seed(seed, "prior"))


def _describe(items: Items) -> str:
    """How many items, of what kind, and a checksum of their values and of what is hidden."""
    checksum = 0 if items.hidden is None else zlib.crc32(np.ascontiguousarray(items.hidden).data)
    for rows in items.batches(1000):
        checksum = zlib.crc32(np.ascontiguousarray(items.values[rows]).data, checksum)
    return f"{len(items)} items, {items.schema.describe()}, checksum {checksum:08x}"
