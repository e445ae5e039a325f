"""Jobs and fits on a Ray cluster: of Ray's datasets, and of files; the package is an extra."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from fivefold.archive.pool import Pool
from fivefold.archive.write import ArchiveOptions
from fivefold.atomic import locked
from fivefold.batches import address, batch_function, loaded
from fivefold.config import JobNumbers
from fivefold.errors import FivefoldError, UsageError
from fivefold.jobs.detect import flag_by_fdr
from fivefold.jobs.generate import new_items
from fivefold.modality import modality_of, modality_taking
from fivefold.progress import silence
from fivefold.seeds import derive_seed
from fivefold.storage import check_model_path, fingerprint, load, read, save
from fivefold.training.fit import fit as fit_alone
from fivefold.training.recipe import STATE_FILE
from fivefold.training.team import Team
from fivefold.verbs.shards import Shards, run

try:
    import ray
    import ray.data
    import ray.train
    from ray.exceptions import RayError, RayTaskError
    from ray.train import FailureConfig, RunConfig, ScalingConfig, TrainingFailedError
    from ray.train.torch import TorchTrainer
    from ray.util import ActorPool
except ModuleNotFoundError as error:
    raise UsageError(f"Ray needs {error.name}, an extra: pip install fivefold[ray]") from None

if TYPE_CHECKING:
    from ray.data import Dataset

    from fivefold.model.fitted import FittedModel

_BATCH = 4096  # rows
_PART = 10_000  # items that are drawn at once
_RETRIES = 3  # of a task whose worker was lost


def map(
    model: str | Path,
    data: Any,
    job: str,
    *,
    output: str | Path | None = None,
    workers: int | None = None,
    gpus: float = 0,
    ordered: bool = False,
    fdr: float | None = None,
    keep: pa.Schema | None = None,
    force: bool = False,
    **options: Any,
) -> Any:
    """A job of a Ray dataset, or of many files, by actors that load the model once each.

    A dataset gives another one, streamed, in the columns of `batch_function`. Files, by a pattern or the folder that they are in,
    give files in `output`. A task whose worker is lost is done again, by another.

    Parameters
    ----------
    model : a model's folder, which all nodes must reach, or its address on the Hub
    data : a `ray.data.Dataset`; text, for files that all nodes must reach; or how many items `generate` is to draw
    job : `detect`, `encode`, `impute`, `denoise` or `surprise`; of files also `compress`; of a number `generate`
    output : of files, the folder of results, one for each, and of `shards.json`, by which another run goes on
    workers : actors, at most; by default as many as the cluster has processors
    gpus : of each actor
    ordered : of a dataset, results in its order
    fdr : of `detect`, instead of a false alarm rate: the share of normal rows among all that are flagged. The p-values of all
        are gathered, 8 bytes each, and it is decided once
    keep : of a dataset, columns that come along; see `batch_function`
    force : overwrite other results in `output`
    options : of the job

    Returns a `ray.data.Dataset`, or of files their figures, a dict.

    Raises
    ------
    UsageError : for a job or option that there is not
    FivefoldError : what a file raises, in one line; of a dataset, Ray raises it with its own when the dataset is consumed
    """
    JobNumbers(workers=workers, fdr=fdr, false_alarm_rate=options.get("false_alarm_rate"))
    if fdr is not None and job != "detect":
        raise UsageError(f"`fdr` goes with detect, not with {job}")
    if isinstance(data, str | Path) != (output is not None):
        raise UsageError("`output` must be given, a folder, for files; a dataset gives a dataset, which Ray writes")
    if output is not None:
        options |= {} if fdr is None else {"fdr": fdr}
        return _of_files(model, str(data), job, Path(output), partial(Actors, gpus=gpus), workers, force, options)
    if job == "generate":
        function, rows = _Drawing.of(model, data, **options), ray.data.range(-(-data // _PART))
        return _mapped(rows, function, 1, workers, gpus, ordered)
    mapped = _mapped(data, batch_function(model, job, keep=keep, **options), _BATCH, workers, gpus, ordered)
    return mapped if fdr is None else _decided(mapped, fdr)


def fit(
    data: Any,
    output: str | Path,
    *,
    workers: int = 2,
    gpus: int = 0,
    resume: bool = False,
    force: bool = False,
    **settings: Any,
) -> FittedModel:
    """Fit one VAE by several workers, by Ray Train, and write it to a folder.

    Each worker has all items, and learns from its share of each batch; gradients are averaged (by gloo, or nccl between GPUs). So
    a fit takes the steps that `fivefold.fit` takes, and what is found in the items before and fitted after training is found in
    all of them. The state after an epoch is in the folder `OUTPUT.fitting`; if a worker is lost, all go on from there.

    Parameters
    ----------
    data : a `ray.data.Dataset` of rows of a table, or what `fivefold.fit` takes; files must be reached by all nodes
    output : the model's folder, likewise
    workers : how many processes
    gpus : of each
    resume : go on from the state of a fit to the same that was stopped
    force : overwrite a model
    settings : of `fivefold.fit`, but for `max_minutes`, as clocks differ

    Raises
    ------
    UsageError, DataError, TrainingError : as `fivefold.fit`, once the workers are there
    FivefoldError : if workers are lost time and again
    """
    JobNumbers(workers=workers)
    if settings.get("max_minutes") is not None or "workdir" in settings:
        raise UsageError("a fit by several workers takes no `max_minutes`, as their clocks differ, and no `workdir`")
    output = check_model_path(Path(output).absolute(), force)
    workdir = output.with_name(f"{output.name}.fitting")
    if isinstance(data, ray.data.Dataset):
        data.context.execution_options.preserve_order = True  # the same rows in the same order give the same fit
        data = _Parts(data.to_arrow_refs())
    elif isinstance(data, str | Path) and Path(data).exists():
        data = Path(data).absolute()
    with locked(output):
        if workdir.exists() and not resume:
            shutil.rmtree(workdir)
        given = {"data": data, "output": output, "workdir": workdir / "training", "settings": settings}
        _train(given, workers, gpus, workdir)
        shutil.rmtree(workdir)
    return load(output)


def _train(given: Mapping[str, Any], workers: int, gpus: int, workdir: Path) -> None:
    """`_fit_together`, by so many workers."""
    resources = {"GPU": gpus} if gpus else None
    trainer = TorchTrainer(
        _fit_together,
        train_loop_config=given,
        scaling_config=ScalingConfig(num_workers=workers, use_gpu=gpus > 0, resources_per_worker=resources),
        run_config=RunConfig(storage_path=str(workdir / "ray"), failure_config=FailureConfig(max_failures=_RETRIES)),
    )
    try:
        trainer.fit()
    except TrainingFailedError as error:
        if not (given["workdir"] / STATE_FILE).exists():
            shutil.rmtree(workdir)
        raise _plain(error) from None


@dataclass(frozen=True)
class _Parts:
    """A table that is in the cluster's memory."""

    references: list[Any]

    def table(self) -> pa.Table:
        return pa.concat_tables(ray.get(self.references))


def _fit_together(given: Mapping[str, Any]) -> None:
    """What each worker does; the first one keeps the state, and writes the model."""
    context = ray.train.get_context()
    team = Team(context.get_world_rank(), context.get_world_size())
    data, workdir = given["data"], given["workdir"]
    silence()
    with team.working():
        resume = (workdir / STATE_FILE).exists()
        data = data.table() if isinstance(data, _Parts) else data
        model = fit_alone(data, workdir=workdir, resume=resume, **given["settings"])
    if team.rank == 0:
        save(model, given["output"], force=True, training=workdir)


def _plain(error: Exception) -> FivefoldError:
    """What a worker raised, if that is meant for users; else that workers were lost."""
    causes = [getattr(cause, "cause", cause) for cause in getattr(error, "worker_failures", {}).values()]
    lost = FivefoldError(f"workers were lost {_RETRIES + 1} times ({str(error).strip().splitlines()[-1]})")
    return next((cause for cause in causes if isinstance(cause, FivefoldError)), lost)


def _of_files(
    model: str | Path,
    data: str,
    job: str,
    output: Path,
    pool: Callable[..., Pool],
    workers: int | None,
    force: bool,
    options: dict[str, Any],
) -> dict[str, Any]:
    """As the command line does."""
    if job == "compress":
        fields = {name: options.pop(name) for name in ArchiveOptions.__dataclass_fields__ if name in options}
        options["options"] = ArchiveOptions(**fields)
    shards = Shards.among(data, modality_of(read(model).schema))
    if shards is None:
        raise UsageError(f"`data` must be a dataset, a pattern, or a folder of files, got {data}")
    how: dict[str, Any] = {"workers": workers or count_processors(), "pool": pool, "force": force}
    return run(job, Path(model), shards, output, **how, **options)


def count_processors() -> int:
    """Those of the cluster, which is connected to if none is."""
    if not ray.is_initialized():
        ray.init()
    return max(1, int(ray.cluster_resources().get("CPU", 1)))


@contextmanager
def connected(address: str) -> Iterator[None]:
    """A connection to the cluster at an address, or to one of this machine alone, `local`.

    Raises `UsageError` if there is none.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        ray.init(
            address, log_to_driver=False, logging_level="error", include_dashboard=False if address == "local" else None
        )
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise UsageError(f"`ray` {address}: can't be reached ({str(error).splitlines()[0]})") from None
    try:
        yield
    finally:
        ray.shutdown()


class Actors(Pool):
    """Actors of the cluster in the place of processes of this machine; see `Pool`. Lost ones are replaced.

    Parameters
    ----------
    gpus : of each
    """

    def __init__(self, shared: Any, workers: int, tasks: int, gpus: float = 0) -> None:
        super().__init__(shared, workers, tasks)
        self._kind = ray.remote(_Process).options(num_cpus=1, num_gpus=gpus, max_restarts=-1, max_task_retries=_RETRIES)

    def __enter__(self) -> Actors:
        self._actors = [self._kind.remote(self._shared, Path.cwd()) for _ in range(self._workers)]
        return self

    def __exit__(self, *_: object) -> None:
        for actor in self._actors:
            ray.kill(actor)

    def map(self, work: Callable[..., Any], tasks: Iterator[tuple[Any, ...]]) -> Iterator[Any]:
        """`work(shared, *task)` for each task, in order. Raises `FivefoldError` if a task's workers are lost time and again."""
        pool = ActorPool(self._actors)
        try:
            yield from pool.map(lambda actor, task: actor.call.remote(work, task), tasks)
        except RayTaskError as error:
            raise error.cause from None
        except RayError as error:
            raise FivefoldError(
                f"workers were lost {_RETRIES + 1} times at one task, perhaps for want of memory ({type(error).__name__})"
            ) from None


class _Process:
    """An actor that does as a process of the driver would."""

    def __init__(self, shared: Any, folder: Path) -> None:
        os.chdir(folder)  # paths may be relative
        self._shared = shared

    def call(self, work: Callable[..., Any], task: tuple[Any, ...]) -> Any:
        return work(self._shared, *task)


class _Actor:
    """A function of record batches as Ray's datasets call it."""

    def __init__(self, function: Any) -> None:
        self._function = function

    def __call__(self, table: pa.Table) -> pa.Table:
        batches = table.combine_chunks().to_batches()
        return pa.Table.from_batches([self._function(batch) for batch in batches], self._function.schema)


@dataclass(frozen=True)
class _Drawing:
    """New items, as a function of record batches with a part's number in the column `id`.

    Attributes
    ----------
    model, fingerprint : see `BatchFunction`
    schema : of the items
    n : how many in all
    seed, options : of `generate`
    """

    model: str
    fingerprint: str
    schema: pa.Schema
    n: int
    seed: int
    options: dict[str, Any]

    @classmethod
    def of(cls, model: str | Path, n: int, seed: int = 0, **options: Any) -> _Drawing:
        """Raises `UsageError` for options that there are not."""
        JobNumbers(n=n, seed=seed, temperature=options.get("temperature"))
        stored = read(model)
        modality = modality_taking(stored, "generate", **options)
        fields = modality.batches.fields(stored.schema, replace=True)
        return cls(address(model), fingerprint(stored), pa.schema(fields), n, seed, options)

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        number = batch["id"][0].as_py()
        model = loaded(self.model, self.fingerprint, "auto")
        room, count = modality_of(model.schema), min(_PART, self.n - number * _PART)
        seed = derive_seed(self.seed, "part", number) if number else self.seed
        found = room.data.new(model.schema, new_items(model, count, seed, **self.options).values)
        columns = room.batches.columns(model.schema, found)
        arrays = [pa.chunked_array(columns[field.name]).cast(field.type).combine_chunks() for field in self.schema]
        return pa.RecordBatch.from_arrays(arrays, schema=self.schema)


def _mapped(rows: Dataset, function: Any, size: int, workers: int | None, gpus: float, ordered: bool) -> Dataset:
    """A function of record batches of so many rows, over a dataset."""
    most = workers or count_processors()
    mapped: Dataset = rows.map_batches(
        _Actor,
        fn_constructor_args=(function,),
        batch_size=size,
        batch_format="pyarrow",
        compute=ray.data.ActorPoolStrategy(
            min_size=1, max_size=most
        ),  # not all at once: who reads needs processors, too
        num_gpus=gpus or None,
    )
    if ordered:
        mapped.context.execution_options.preserve_order = True
    return mapped


def _decided(scored: Dataset, fdr: float) -> Dataset:
    """Scores, with anomalies flagged by the p-values of all rows."""
    scored = scored.materialize()
    batches = scored.iter_batches(batch_size=None, batch_format="pyarrow")
    p_values = np.concatenate([batch["p_value"].to_numpy() for batch in batches])
    highest = max(p_values[flag_by_fdr(p_values, fdr)], default=-1.0)

    def flag(table: pa.Table) -> pa.Table:
        at = table.schema.get_field_index("anomaly")
        return table.set_column(at, "anomaly", pa.array(table["p_value"].to_numpy() <= highest))

    return scored.map_batches(flag, batch_format="pyarrow")
