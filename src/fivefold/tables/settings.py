"""Settings of fits to tables: their preset, by the number of rows, and what options they take."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from fivefold.config import (
    ContextConfig,
    CorruptionConfig,
    FitConfig,
    ModalityConfig,
    NetworkConfig,
    TrainingConfig,
    setting,
)
from fivefold.errors import UsageError
from fivefold.modality import Words


@dataclass(frozen=True)
class TableConfig(ModalityConfig):
    """What a fit to the rows of a table has besides."""

    KEY: ClassVar[str] = "rows"
    members: int = setting(4, "Networks that the context decoder averages.", at_least=1, below=256)
    factors: int = setting(8, "Factors of the linear model beneath; 0 for none.", at_least=0, below=1024)
    dropout: float = setting(0.05, "Share of the context decoder's units left out in training.", at_least=0, below=1)
    swap: float = setting(0.1, "Share of the rows that have cells of others.", at_least=0, below=1)
    patience: int = setting(10, "Stop after so many epochs without a better one.", at_least=1)
    folds: int = setting(
        4, "Fits that hold out all rows in turn, if few are held out; 1: one fit.", at_least=1, below=256, later=True
    )
    linear: bool = setting(
        True, "Begin with a linear model of the rows, and let what comes out learn faster.", later=True
    )
    exact: bool = setting(
        True, "Score each cell given all others, and fill in and draw in double precision: slower.", later=True
    )
    looks: int = setting(
        6, "Looks at a row by which it is scored, each at a share of its cells, if not `exact`.", at_least=1, later=True
    )
    memory: int = setting(
        1024,
        "Rows of the fit that the model keeps to compare others with, at most; 0 for none.",
        at_least=0,
        later=True,
    )
    shortest_epoch: int = setting(50, "Steps of an epoch, at least.", at_least=1)
    longest_epoch: int = setting(150, "Steps of an epoch, at most.", at_least=1)

    @property
    def damage(self) -> dict[str, float]:
        """Cells of other rows."""
        return {"swap": self.swap}


WORDS = Words("row", "rows", "cell", "cells")
CONFIG = TableConfig
DIALECT = frozenset({"separator", "decimal", "encoding", "header", "sheet"})
READING = DIALECT | {"missing", "schema"}
OPTIONS: dict[str, frozenset[str]] = {
    "check": READING,
    "export": frozenset({"free"}),
    "fit": READING | {"context_depth", "positions", "folds"},
    "generate": frozenset({"given", "temperature", "free", "complete"}),
    "denoise": DIALECT | {"report", "threshold"},
    "impute": DIALECT | {"n_samples", "free"},
    **dict.fromkeys(("compress", "detect", "encode", "evaluate", "morph", "surprise"), DIALECT),
}
USAGE = (
    "fivefold info MODEL",
    "fivefold generate MODEL -n 100 -o new.csv",
    "fivefold denoise MODEL TABLE -o mended.csv --report changes.csv",
    "fivefold impute MODEL HOLEY -o whole.csv",
    "fivefold detect MODEL TABLE -o scores.csv",
    "fivefold encode MODEL TABLE -o z.npy",
)
REFUSED: Mapping[str, str] = {}
IMPLIED_BY: frozenset[str] = frozenset()
FLAGS: dict[str, str] = {"folds": "folds"}
REPORTS: tuple[str, ...] = ("",)
BUFFERS: tuple[str, ...] = ()
KNOTS = (-4.0, -2.5, -1.6, -1.0, -0.6, -0.3, 0.0, 0.3, 0.6, 1.0, 1.6, 2.5, 4.0)  # on a number's own scale
FARTHEST_CELL = 10.0  # likewise: what lies beyond is shown as this
COMPONENTS = 5  # logistics of a number
LOG_SCALES = (-5.5, 4.0)  # bounds of theirs
LOG_NOISE = (-6.0, 4.0)  # bounds of the log variance of the factors' noise
_OWN = TableConfig(members=2, exact=False, looks=3)
_ROWS = FitConfig(
    "default",
    NetworkConfig(latent_dim=8, likelihood="columns", hidden=64),
    ContextConfig(field=1, context_width=128, context_learning_rate=4e-3, positions=16),
    CorruptionConfig(hide=0.6),
    TrainingConfig(epochs=12, batch_size=128, learning_rate=4e-3, validation=0.15),
    _OWN,
)
_FEW_ROWS, _MANY_ROWS = 200, 5000
_ENOUGH, _ENOUGH_HELD_OUT = 500, 100  # rows, from which on enough are held out for detection to compare with
_FEW = dataclasses.replace(
    _ROWS,
    context=dataclasses.replace(_ROWS.context, context_learning_rate=6e-3),
    training=dataclasses.replace(_ROWS.training, epochs=9, learning_rate=6e-3),
    own=dataclasses.replace(_OWN, shortest_epoch=25),
)
_FEW_COLUMNS, _WIDE = 32, 100
_LITTLE_PATIENCE = 4
_MANY_COLUMNS = dataclasses.replace(
    _ROWS,
    context=dataclasses.replace(_ROWS.context, context_learning_rate=2e-3),
    training=dataclasses.replace(_ROWS.training, epochs=30, batch_size=64, learning_rate=2e-3),
    own=dataclasses.replace(_OWN, dropout=0.2, linear=False),
)


def configure(
    preset: str = "default", *, items: int | None = None, size: int | None = None, **overrides: Any
) -> FitConfig:
    """The preset with single settings replaced; see `FitConfig.with_settings`. Its sizes follow the number of rows, `items`,
    and of columns, `size`.

    Raises `UsageError` for another preset than `default`, an unknown setting, or a value out of bounds.
    """
    if preset != "default":
        raise UsageError(f"`preset` must be default for tables, got {preset!r}")
    return (_ROWS if items is None else _sized(items, size or 1)).with_settings(**overrides)


def _sized(rows: int, columns: int) -> FitConfig:
    """One network, a larger VAE and larger batches for many rows; fewer and larger steps for few; more and smaller ones for many
    columns."""
    if rows >= _MANY_ROWS:
        network = dataclasses.replace(_ROWS.network, hidden=128)
        training = dataclasses.replace(_ROWS.training, epochs=10, batch_size=256, validation=0.1)
        alone = dataclasses.replace(_OWN, members=1, dropout=0.1, shortest_epoch=100, longest_epoch=100)
        return dataclasses.replace(_ROWS, network=network, training=training, own=alone)
    if rows < _FEW_ROWS:
        return _FEW
    validation = max(_ROWS.training.validation, _ENOUGH_HELD_OUT / rows if rows >= _ENOUGH else 0)
    sized = _MANY_COLUMNS if columns > _FEW_COLUMNS else _ROWS
    if columns > _WIDE:  # whose rows are soon learnt by heart
        sized = dataclasses.replace(sized, own=dataclasses.replace(table_config(sized), patience=_LITTLE_PATIENCE))
    return dataclasses.replace(sized, training=dataclasses.replace(sized.training, validation=validation))


def table_config(config: FitConfig) -> TableConfig:
    """What a configuration has for tables alone."""
    assert isinstance(config.own, TableConfig)
    return config.own


def split_reading(settings: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """How the data are to be read, and the settings of the fit."""
    others = {name: value for name, value in settings.items() if name not in READING}
    reading = {name: settings[name] for name in READING - {"schema"} if settings.get(name) is not None}
    return {"overrides": settings.get("schema"), **reading}, others


def describe_context(config: FitConfig) -> str:
    """What a cell sees through the context decoder."""
    return f"the other cells of the row, {table_config(config).members} networks"


def feature_places(classes: Sequence[int]) -> tuple[list[slice], int]:
    """Where the features that say what a column's cells are stand, and how many features there are in all.

    `classes` of each column, 0 for numbers. First of all columns whether a cell is visible, then those of numbers, then of
    classes.
    """
    first, places = len(classes), [slice(0)] * len(classes)
    for wanted in (False, True):
        for column, count in enumerate(classes):
            if bool(count) is wanted:
                places[column] = slice(first, first + (count or len(KNOTS)))
                first = places[column].stop
    return places, first
