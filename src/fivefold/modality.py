"""What a kind of data must be: one narrow protocol per layer, and the registry of modalities. No torch here.

A modality is a package whose rooms are modules of fixed names. Data load and archives decode without torch, so each room is
imported when it is first asked for, and what the rest of the package knows of it is its protocol. Models and recipes lie above
this page, so they are `Any` here; the protocol of `coding.py` is in `archive/layers.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

from fivefold.atomic import is_model
from fivefold.config import FitConfig, ModalityConfig
from fivefold.errors import DataError, ModelError, UsageError, suggest
from fivefold.findings import Check
from fivefold.items import Block, Collector, Items, Schema

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    import torch
    from torch import nn


@dataclass(frozen=True)
class Words:
    """What to call things in messages and figures: an item and its elements, singular and plural."""

    item: str
    items: str
    element: str
    elements: str


class Settings(Protocol):
    """`settings.py`: what can be chosen of fits and jobs."""

    WORDS: Words
    CONFIG: type[ModalityConfig] | None  # what fits of this modality alone have
    OPTIONS: Mapping[str, frozenset[str]]  # by verb, those that not all modalities take
    USAGE: Sequence[str]  # commands, for the model card
    REFUSED: Mapping[str, str]  # by verb that can't be done with such data, why
    IMPLIED_BY: frozenset[str]  # options that say that the data are of this modality
    FLAGS: Mapping[str, str]  # fields of CONFIG that the command line offers, and under which name
    REPORTS: tuple[str, ...]  # roles of the tables that detection gives
    BUFFERS: tuple[str, ...]  # prefixes of weights that are not trained

    def configure(
        self, preset: str = "default", *, items: int | None = None, size: int | None = None, **overrides: Any
    ) -> FitConfig: ...

    def split_reading(self, settings: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """What a user says of a fit, as how the data are to be read, and the settings of the fit."""

    def describe_context(self, config: FitConfig) -> str:
        """What an element sees through the context decoder."""


class ScoreCollector(Protocol):
    """Takes the scores of each block's items or steps."""

    def add(self, block: Block, numbers: np.ndarray) -> None: ...

    def result(self) -> tuple[np.ndarray, np.ndarray | None]:
        """Scores `(len,)`; and the worst of each window, where items are windows of steps."""


class Place(Protocol):
    """Where results go: a file or a folder, checked before any work is done."""

    @property
    def path(self) -> Path: ...

    def put(self, items: Items, values: np.ndarray, replace: bool) -> None:
        """Results `(n, h, w, c)` that `replace` the values of `items`; or numbers about them, such as standard deviations."""

    def write_new(self, schema: Any, values: np.ndarray, labels: Mapping[str, Any], record: Mapping[str, Any]) -> None:
        """New items `(n, h, w, c)`, encoded; `labels` go beside them where an item takes several rows: of each item `(n,)`, or
        as an Arrow array of each row.

        `record` is what is recorded of the data of the fit.
        """


class Dataset(Protocol):
    """Data of one schema, which cut themselves into blocks of items and put results together again.

    Attributes
    ----------
    source : what to call it in messages
    """

    @property
    def schema(self) -> Schema: ...

    @property
    def source(self) -> str: ...

    def __len__(self) -> int:
        """What results are counted in: images, rows, steps."""

    @property
    def elements(self) -> int:
        """How many numbers and classes there are in all, hidden ones too."""

    @property
    def summary(self) -> str:
        """What the data are, in a line."""

    def check(self) -> Check:
        """What was understood of the data, and what is doubtful."""

    def blocks(self, doing: str) -> Iterator[Block]:
        """All items, as many at once as memory is to hold; a progress bar says `doing` what."""

    def all_items(self) -> Items:
        """All items at once."""

    def examples(self) -> Items:
        """What a fit learns from."""

    def collector(self, role: str = "", *, replace: bool = True) -> Collector | None:
        """For results like the data; without `replace` for numbers about them, such as standard deviations.

        If results go to places, only roles that have one are collected; None for others.
        """

    def scores(self) -> ScoreCollector:
        """For numbers per item or step."""

    def in_form(self, scores: np.ndarray) -> Any:
        """One number per item or step `(len,)`, as the data came."""

    def adapted(self, anomaly: np.ndarray, p_values: Callable[[Any], np.ndarray]) -> Dataset | None:
        """The data to detect in once more, given which steps are flagged, `(len,)`: after a change of level or amplitude the rest
        of a series is brought back to those of the fit. None if nothing changed so, or that was not asked for.

        `p_values` of data, `(len,)`, say which of several explanations holds."""
        ...

    def report(
        self, scores: Mapping[str, np.ndarray], windows: Any = None, events: Any = None
    ) -> dict[str, Iterable[Any]]:
        """Scores as Arrow tables that say what each is of, by role; also those of windows and events, where there are some."""

    def named(self, numbers: np.ndarray) -> dict[str, Any]:
        """Which items or steps those numbered `(n,)` are, as columns of a table."""

    def to(self, places: Mapping[str, Any]) -> Dataset:
        """The same, with results going to `places` by role."""


class Data(Protocol):
    """`dataset.py`: from what users have to datasets, and new items to what users want."""

    TEST_SETS: Mapping[str, str]  # what built-in sets are tested on, by source
    TRAINING_SETS: Mapping[str, str]
    SHARDS: tuple[str, ...]  # endings of files in a folder that are data each; none where a folder is one set of items

    def recognises(self, source: Any) -> bool:
        """Whether `source` is data of this modality, if it is not said to be of another."""

    def open(self, source: Any, schema: Any = None, **reading: Any) -> Dataset: ...

    def place(self, path: Path, force: bool, role: str = "") -> Place:
        """Where results of a role go; raises `UsageError`."""

    def new(self, schema: Any, values: np.ndarray, record: Mapping[str, Any] | None = None) -> Any:
        """New items `(n, h, w, c)` in the form of the data of the fit, of which `record` is what the model has."""


class Batches(Protocol):
    """`batches.py`: items as rows of Arrow's record batches."""

    def read(self, schema: Any, batch: pa.RecordBatch) -> Any:
        """The items in the columns of a batch, as `Data.open` takes them; raises `DataError`."""

    def fields(self, schema: Any, *, replace: bool) -> list[pa.Field]:
        """The columns of results like the items; without `replace` of numbers about their elements."""

    def columns(self, schema: Any, found: Any) -> Mapping[str, pa.Array | pa.ChunkedArray]:
        """Results, in the form of what `read` gave, as columns by name."""


class Jobs(Protocol):
    """`jobs.py`: the mathematics of jobs that differs."""

    EXTRA_ROLE: str  # of what `denoise` gives beside the data: `std` of images and series, `changes` of tables

    def statistics(self, model: Any, items: Items) -> np.ndarray:
        """By which normal items are told from strange ones: `(n, k)`, or of windows `(n, t, k)`."""

    def filling(self, model: Any) -> tuple[Any, int]:
        """The model as it fills in, and how many codes it averages over by default; 0: the posterior's mean stands for all."""

    def watcher(self, model: Any) -> Callable[[Items], Items]:
        """A function that is given the items of a dataset, block after block, and marks in each what the blocks before tell."""

    def in_context(
        self, model: Any, data: Any, found: Any, false_alarm_rate: float, fdr: float | None, least: Any
    ) -> Any:
        """The `Detection` of items found strange or not by themselves, judged together with those around; steps with events.
        `least` are what their p-values are at least, `(len,)`, or None."""

    def strangest(self, model: Any, data: Any, top: int, false_alarm_rate: float, known: Any) -> Any:
        """The `Detection` of so many of the strangest items alone, with what is strange about each; of series of steps apart."""

    def known(self, model: Any, data: Any) -> Callable[[Items, np.ndarray], np.ndarray]:
        """Given data that are known to be normal, what the p-values of items with given scores are at least; 0 of those that are
        like none of the data."""

    def remembered(self, model: Any) -> Any:
        """Items of the fit, a `Reference`; raises `ModelError` if the model keeps none."""

    def apart(self, items: Items) -> Items:
        """Those that have no part of longer data in common."""

    def compared(self, items: Items) -> tuple[np.ndarray, Sequence[str], Sequence[int]]:
        """What of them is compared column by column: `(n, c)`, NaN where missing; the columns' names, and how many classes each
        has, 0 of numbers."""

    def surprise(self, model: Any, items: Items) -> np.ndarray:
        """How far each element costs more than expected: `(n, h, w, c)` float32; see `jobs.detect.surprise`."""

    def denoise(self, model: Any, items: Items, *, seed: int, **how: Any) -> Mapping[str, tuple[np.ndarray, Any]]:
        """Clean items, and what `EXTRA_ROLE` says; each with where it counts."""

    def generate(self, model: Any, n: int, seed: int, *, temperature: float, **how: Any) -> Any: ...

    def draw(self, model: Any, codes: np.ndarray, seed: int) -> np.ndarray:
        """Items `(n, h, w, c)` for codes `(n, latent_dim)`, drawn element by element."""

    def consistent(self, model: Any, items: Items, filled: np.ndarray) -> np.ndarray:
        """Completions `(m, n, h, w, c)` of items whose filled-in elements agree with what is known to hold between elements."""


class Graphs(Protocol):
    """`graphs.py`: jobs as networks that other runtimes can take."""

    def graph(self, model: Any, job: str, free: bool = False) -> Any:
        """A `Graph` of model/graph.py; raises `UsageError` for a job that there is none of."""

    def feeds(self, model: Any, job: str, items: Items, free: bool = False) -> Mapping[str, np.ndarray]:
        """What it takes, of items."""

    def results(self, model: Any, job: str, items: Items, free: bool = False) -> Mapping[str, np.ndarray]:
        """What the job itself gives for them."""


class Verdicts(Protocol):
    """`verdicts.py`: how each job is tried beside its simplest alternative.

    Attributes
    ----------
    MOST_ITEMS, MOST_ELEMENTS : that jobs are tried on
    TRIALS : by job, a `Trial` of `model/verdicts.py`
    """

    MOST_ITEMS: int
    MOST_ELEMENTS: int
    TRIALS: Mapping[str, Callable[..., Any]]

    def denoise_simply(self, items: Items, name: str) -> Mapping[str, tuple[np.ndarray, Any]]:
        """What `Jobs.denoise` gives, by the simple alternative of that name."""


class Networks(Protocol):
    """`networks.py`: what is trained, and how. `schema` is the modality's own.

    Attributes
    ----------
    CALIBRATIONS : classes of what `calibrate` fits, frozen dataclasses of arrays, by the names that they have on disk
    PRECISION : of the networks in use; float32 where the device has no other
    """

    @property
    def CALIBRATIONS(self) -> Mapping[str, type[Any]]: ...

    @property
    def PRECISION(self) -> torch.dtype: ...

    def build(self, schema: Any, config: FitConfig, seed: int) -> nn.ModuleDict:
        """Freshly initialised networks: `vae`, and `context` if the configuration has one."""

    def prepare(self, networks: nn.ModuleDict, items: Items, train: np.ndarray, held_out: np.ndarray) -> None:
        """What is fitted in closed form before training; of the items numbered `train` and `held_out`."""

    def recipe(self, schema: Any, config: FitConfig) -> Any:
        """The `Recipe` by which the networks are trained."""

    def calibrate(self, model: Any, items: Items, train: np.ndarray, held_out: np.ndarray) -> None:
        """Fit `model.calibrations` to the results of trained networks; all but the prior, which is there."""

    def count_statistics(self, model: Any) -> int:
        """How many statistics the model's anomaly score is of."""


class Modality:
    """A kind of data: the package of its rooms.

    Parameters
    ----------
    kind : what its schemas call it on disk
    package : its dotted name
    """

    def __init__(self, kind: str, package: str) -> None:
        self.kind, self.package = kind, package

    @property
    def name(self) -> str:
        """As users say it: `images`."""
        return self.package.rpartition(".")[2]

    @cached_property
    def settings(self) -> Settings:
        """What can be chosen; without torch."""
        return cast(Settings, self.room("settings"))

    @cached_property
    def data(self) -> Data:
        """What reads and writes; without torch."""
        return cast(Data, self.room("dataset"))

    @cached_property
    def networks(self) -> Networks:
        """What is trained, and how."""
        return cast(Networks, self.room("networks"))

    @cached_property
    def batches(self) -> Batches:
        """Items in Arrow's record batches; without torch. Raises `UsageError` where rows are no items."""
        try:
            return cast(Batches, self.room("batches"))
        except ModuleNotFoundError as error:
            if error.name != f"{self.package}.batches":
                raise
            raise UsageError(f"{self.name} can't be cut into batches of rows; give them whole") from None

    @cached_property
    def jobs(self) -> Jobs:
        """The mathematics of jobs that differs."""
        return cast(Jobs, self.room("jobs"))

    @cached_property
    def verdicts(self) -> Verdicts:
        """The jobs beside their simplest alternatives."""
        return cast(Verdicts, self.room("verdicts"))

    @cached_property
    def graphs(self) -> Graphs:
        """Jobs for other runtimes."""
        return cast(Graphs, self.room("graphs"))

    def room(self, name: str) -> Any:
        """The module `name` of the package."""
        return import_module(f"{self.package}.{name}")

    def refuse(self, verb: str, **options: object) -> None:
        """Raise `UsageError` for a verb that can't be done, or for options that are given and that this modality doesn't take."""
        if verb in self.settings.REFUSED:
            raise UsageError(self.settings.REFUSED[verb])
        for name in chosen(options):
            takers = [modality.name for modality in MODALITIES.values() if name in modality.options(verb)]
            if not takers:
                raise UsageError(f"`{name}` is no option of {verb}{suggest(name, self.options(verb), complete=False)}")
            if self.name not in takers:
                raise UsageError(f"`{name}` goes with {' and '.join(takers)}, not with {self.name}")

    def options(self, verb: str) -> frozenset[str]:
        """Those that this modality takes, and not all do."""
        return self.settings.OPTIONS.get(verb, frozenset())


MODALITIES: dict[str, Modality] = {  # images last to be asked for data of unknown kind: they recognise any path
    "image": Modality("image", "fivefold.images"),
    "table": Modality("table", "fivefold.tables"),
    "series": Modality("series", "fivefold.series"),
    "picture": Modality("picture", "fivefold.pictures"),
    "part": Modality("part", "fivefold.parts"),
}


def modality_for(source: Any, kind: str | None = None, options: Mapping[str, Any] | None = None) -> Modality:
    """The modality of data to fit: the one called `kind`, or that `options` imply, or that recognises the data.

    Raises `UsageError` if there is none of that name, `DataError` if none knows the data.
    """
    check_source(source)
    if kind is not None:
        for modality in MODALITIES.values():
            if kind == modality.name:
                return modality
        raise UsageError(
            f"`kind` must be one of {', '.join(modality.name for modality in MODALITIES.values())}; got {kind!r}"
        )
    given = {name for name, value in (options or {}).items() if value is not None}
    for modality in reversed(MODALITIES.values()):
        if given & modality.settings.IMPLIED_BY or modality.data.recognises(source):
            return modality
    shape = getattr(source, "shape", None)
    got = type(source).__name__ if shape is None else f"an array of shape {tuple(shape)}"
    if isinstance(source, Sized) and len(source) == 0:
        got = f"an empty {type(source).__name__}"
    raise DataError(
        "data must be a table (a frame, an array (n, d), a list of rows, a dict of columns), images (an array (n, h, w) or "
        f"(n, h, w, c)), a file or folder of these, or with `kind` series also an array (n, t) or a list of arrays; got {got}"
    )


def check_source(source: Any) -> None:
    """Raise `DataError` for a model's folder in the place of data."""
    if isinstance(source, str | Path) and is_model(Path(source)):
        raise DataError(f"{source}: must be data, got a model's folder; are the arguments in another order?")


def options_of(verb: str) -> frozenset[str]:
    """Those that not all modalities take."""
    return frozenset().union(*(modality.options(verb) for modality in MODALITIES.values()))


def chosen(options: Mapping[str, Any]) -> dict[str, Any]:
    """Those that are given: not None, nor off."""
    return {name: value for name, value in options.items() if value is not None and value is not False}


def modality_taking(model: Any, verb: str, **options: object) -> Modality:
    """The modality of a fitted model, which is to take `options` of a verb.

    Raises `UsageError` if `model` is anything else, or for an option that is given and that the modality does not take.
    """
    schema: Any = getattr(model, "schema", None)
    if not isinstance(getattr(model, "config", None), FitConfig) or not hasattr(schema, "kind"):
        raise UsageError(f"`model` must be a fitted model, as fit and load give; got {type(model).__name__}")
    modality = modality_of(schema)
    modality.refuse(verb, **options)
    return modality


def modality_of(schema: Schema) -> Modality:
    """The modality whose schema this is."""
    return MODALITIES[schema.kind]


def schema_from_json(fields: Any) -> Schema:
    """The inverse of a schema's `to_json`; raises `ModelError` for anything else."""
    kind = fields.get("kind") if isinstance(fields, dict) else None
    if not isinstance(kind, str) or kind not in MODALITIES:
        raise ModelError(
            f"the model's schema is damaged: its kind must be one of {', '.join(MODALITIES)}, got {kind!r}"
        )
    schema: Schema = MODALITIES[kind].room("schema").SCHEMA.from_json(fields)
    return schema
