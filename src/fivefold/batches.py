"""Jobs as functions of Arrow's record batches, for engines that have the data already: Spark, Dask, DuckDB.

A function holds where its model is, not the model: each process that it is sent to loads that once.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from fivefold.config import JobNumbers
from fivefold.errors import DataError, ModelError, UsageError, suggest
from fivefold.hub import is_address
from fivefold.modality import Batches, modality_of, modality_taking, options_of
from fivefold.storage import StoredModel, build, fingerprint, read

if TYPE_CHECKING:
    from fivefold.model.fitted import FittedModel

Columns = Mapping[str, Any]
OPTIONS = {
    "detect": ("false_alarm_rate", "strict"),
    "denoise": ("threshold", "n_samples", "seed", "strict"),
    "encode": (),
    "impute": ("free", "n_samples", "seed", "strict"),
    "surprise": (),
}
_MODELS = 4  # that a process keeps
_lock = threading.Lock()  # engines call from several threads; a model works with several itself


@dataclass(frozen=True)
class BatchFunction:
    """A job of a model, as a function of `pyarrow.RecordBatch`; see `batch_function`. It can be pickled.

    Attributes
    ----------
    model : where the model is: an absolute path, or an address on the Hub
    fingerprint : of the model that it was made with
    job, options : what is done
    device : where
    schema : of the batches that it gives, `pyarrow.Schema`
    """

    model: str
    fingerprint: str
    job: str
    schema: pa.Schema
    device: str = "auto"
    options: dict[str, Any] = field(default_factory=dict)

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Results of a batch's rows, in their order.

        Raises `DataError` if they don't fit the model, `ModelError` if that is another one by now.
        """
        if batch.num_rows == 0:
            return pa.RecordBatch.from_pylist([], self.schema)
        with _lock:
            model = loaded(self.model, self.fingerprint, self.device)
            room = modality_of(model.schema).batches
            found = _RUN[self.job](model, room, room.read(model.schema, batch), self.options)
        return pa.RecordBatch.from_arrays(
            [
                _of_type(found[column.name] if column.name in found else _kept(batch, column), column)
                for column in self.schema
            ],
            schema=self.schema,
        )


def batch_function(
    model: str | Path, job: str, *, keep: pa.Schema | None = None, device: str = "auto", **options: Any
) -> BatchFunction:
    """A job as a picklable function from `pyarrow.RecordBatch` to `pyarrow.RecordBatch`, with the `schema` of its results.

    That is what Spark's `mapInArrow` maps, Dask's `map_partitions`, and DuckDB's record batches go through. Each batch is taken
    for itself. Of tables all results are those of one call with all rows, but for rounding: p-values are the same, scores to the
    last digit of double precision, expected values to those of single precision. Two things are not: a row that repeats the
    value of a column which in the fit had none twice is only strange within its batch; and where codes are drawn (images are
    imputed and denoised so, and tables by models fitted with `exact`) each batch draws the same ones.

    Parameters
    ----------
    model : a model's folder, which all processes must reach, or its address on the Hub
    job : `detect` gives `score`, `p_value` and `anomaly`; `encode` lists `mean` and `std`; `impute` and `denoise` the modelled
        columns; `surprise` a number for each of these. Images are lists of numbers in the column `image`
    keep : fields of the batches that come along, before the results. A modelled column that is named there keeps its type
    device : see `load`
    options : of the job, such as `false_alarm_rate`; no rate of false discoveries, which only all rows together have

    Raises
    ------
    UsageError : for another job or option, a column of two meanings, series (whose steps do not stand for themselves), or a
        model that is not in a folder
    ModelError : if the folder can't be read

    Examples
    --------
    >>> import pyarrow as pa
    >>> detect = fivefold.batch_function("tree-model", "detect", keep=pa.schema([("id", pa.string())]))
    >>> batch = pa.RecordBatch.from_pandas(trees)
    >>> detect(batch).schema.names == detect.schema.names
    True
    >>> detect.schema.names
    ['id', 'score', 'p_value', 'anomaly']
    """
    if job not in OPTIONS:
        raise UsageError(f"`job` must be one of {', '.join(OPTIONS)}; got {job!r}")
    if unknown := [name for name in options if name not in OPTIONS[job]]:
        raise UsageError(
            f"`{unknown[0]}` is no option of {job} by batches{suggest(unknown[0], OPTIONS[job], complete=False)}"
        )
    JobNumbers(**{name: value for name, value in options.items() if name not in ("strict", "free")})
    stored = read(model)
    modality_taking(stored, job, **{name: value for name, value in options.items() if name in options_of(job)})
    schema = _combined(keep, _fields(stored, job), replace=job in ("impute", "denoise"))
    return BatchFunction(address(model), fingerprint(stored), job, schema, device, options)


def address(model: str | Path) -> str:
    """As it is understood everywhere."""
    return str(model) if is_address(model) else str(Path(model).resolve())


def _fields(stored: StoredModel, job: str) -> list[pa.Field]:
    """The columns that a job gives."""
    room = modality_of(stored.schema).batches
    if job == "detect":
        return [pa.field("score", pa.float64()), pa.field("p_value", pa.float64()), pa.field("anomaly", pa.bool_())]
    if job == "encode":
        code = pa.list_(pa.float32(), stored.config.network.latent_dim)
        return [pa.field("mean", code), pa.field("std", code)]
    return room.fields(stored.schema, replace=job != "surprise")


def _combined(keep: pa.Schema | None, results: list[pa.Field], replace: bool) -> pa.Schema:
    """Kept fields before results; raises `UsageError` where one name is both, unless results `replace` what is there."""
    kept = list(keep or ())
    names = {column.name for column in kept}
    if twice := [column.name for column in results if column.name in names and not replace]:
        raise UsageError(f"`keep` can't have {twice[0]!r}, which the results have, too; rename it")
    return pa.schema([*kept, *(column for column in results if column.name not in names)])


@lru_cache(_MODELS)
def loaded(model: str, expected: str, device: str) -> FittedModel:
    """The model of a process; raises `ModelError` if it isn't the expected one."""
    stored = read(model)
    if fingerprint(stored) != expected:
        raise ModelError(f"{model}: has changed since the function was made; make it anew")
    return build(stored, device)


def _detect(model: FittedModel, room: Batches, data: Any, options: Columns) -> Columns:
    from fivefold.jobs.detect import detect

    found = detect(model, data, **options)
    return {name: pa.array(getattr(found, name)) for name in ("score", "p_value", "anomaly")}


def _encode(model: FittedModel, room: Batches, data: Any, options: Columns) -> Columns:
    from fivefold.jobs.codes import encode

    codes = zip(("mean", "std"), encode(model, data), strict=True)
    return {
        name: pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), model.latent_dim)
        for name, values in codes
    }


def _impute(model: FittedModel, room: Batches, data: Any, options: Columns) -> Columns:
    from fivefold.jobs.impute import impute

    return room.columns(model.schema, impute(model, data, **options).data)


def _denoise(model: FittedModel, room: Batches, data: Any, options: Columns) -> Columns:
    from fivefold.jobs.denoise import denoise

    return room.columns(model.schema, denoise(model, data, **options).data)


def _surprise(model: FittedModel, room: Batches, data: Any, options: Columns) -> Columns:
    from fivefold.jobs.detect import surprise

    return room.columns(model.schema, surprise(model, data))


_RUN: Mapping[str, Callable[[FittedModel, Batches, Any, Columns], Columns]] = {
    "detect": _detect,
    "denoise": _denoise,
    "encode": _encode,
    "impute": _impute,
    "surprise": _surprise,
}


def _kept(batch: pa.RecordBatch, column: pa.Field) -> pa.Array:
    """A column of a batch; raises `DataError` if it lacks."""
    if column.name not in batch.schema.names:
        raise DataError(
            f"batches must have the column {column.name!r}, which is to be kept; got {', '.join(batch.schema.names)}"
        )
    return batch.column(column.name)


def _of_type(values: pa.Array | pa.ChunkedArray, column: pa.Field) -> pa.Array:
    """Values in the type of their column; raises `DataError`."""
    try:
        found = values.cast(column.type)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise DataError(f"column {column.name!r} must be {column.type}: {str(error).splitlines()[0]}") from None
    return found.combine_chunks() if isinstance(found, pa.ChunkedArray) else found
