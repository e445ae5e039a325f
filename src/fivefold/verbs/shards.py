"""Many files, each to one of its own name in a folder: by several processes, and where a run was interrupted the next goes on.

The folder has an index, `shards.json`: of which model and options its files are, and of which files. A file that is in it, and
whose source has the same size and time as then, is not made anew.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from glob import glob, has_magic
from pathlib import Path
from typing import Any

from fivefold.archive.pool import Pool
from fivefold.atomic import atomic_file, check_free, locked
from fivefold.config import JobNumbers
from fivefold.errors import DataError, FivefoldError, ModelError, UsageError
from fivefold.modality import Modality
from fivefold.progress import progress_bar, silence, silenced
from fivefold.storage import fingerprint
from fivefold.verbs import archives, jobs
from fivefold.verbs.opened import OpenModel, is_strict, said, strictly

INDEX = "shards.json"
_FORMAT = {"format": "fivefold-shards", "version": 1}
_SCORED = ".scored"  # tables of scores of which it is not decided yet which are anomalies
_VERBS: Mapping[str, Callable[..., Any]] = {
    "compress": archives.compress,
    "denoise": jobs.denoise,
    "detect": jobs.detect,
    "encode": jobs.encode,
    "impute": jobs.impute,
    "surprise": jobs.surprise,
}
_ENDINGS = {"compress": ".ff", "encode": ".npy"}
_COUNTED = frozenset({"images", "rows", "steps", "items", "missing", "replaced", "anomalies", "events", "bytes"})
Figures = dict[str, Any]


@dataclass(frozen=True)
class Shards:
    """Files that are worked on one by one.

    Attributes
    ----------
    root : the folder that their names are relative to
    paths : of the files, or of folders that are data each, in order
    """

    root: Path
    paths: tuple[Path, ...]

    @classmethod
    def among(cls, data: str, modality: Modality) -> Shards | None:
        """Those that a pattern matches, or that are in a folder, if that is not one set of items; else None.

        Raises `DataError` if there are none.
        """
        if has_magic(data) and not Path(data).exists():
            parts = Path(data).parts
            plain = next(at for at, part in enumerate(parts) if has_magic(part))
            root, found = Path(*parts[:plain]), [Path(path) for path in glob(data, recursive=True)]  # noqa: PTH207  (that finds hidden ones)
            if modality.data.SHARDS:
                found = [path for path in found if path.is_file()]
        elif modality.data.SHARDS and Path(data).is_dir():
            root = Path(data)
            found = [path for path in root.iterdir() if path.name.lower().endswith(modality.data.SHARDS)]
            found = [path for path in found if not path.name.startswith(".")]
        else:
            return None
        if not found and Path(data).is_dir():
            raise DataError(f"{data}: holds no files that end in {', '.join(sorted(modality.data.SHARDS))}")
        if not found:
            raise DataError(f"{data}: there is no such file")
        return cls(root, tuple(sorted(found)))

    def name(self, path: Path) -> str:
        """Of one of them, with `/` between folders."""
        return path.relative_to(self.root).as_posix()


@dataclass
class Index:
    """What is in a folder of results.

    Attributes
    ----------
    path : its file
    made_by : what else would give others: the job, the model and the options
    shards : by name, the source's `size` and `modified` time in ns, and the figures of its result
    """

    path: Path
    made_by: Mapping[str, Any]
    shards: dict[str, Figures] = field(default_factory=dict)

    @classmethod
    def of(cls, folder: Path, made_by: Mapping[str, Any], force: bool) -> Index:
        """That of a folder, or a new one; raises `UsageError` if other things are there, unless `force`."""
        index = cls(folder / INDEX, json.loads(json.dumps(made_by, default=_plain)))
        if not index.path.exists():
            if any(not path.name.startswith(".") for path in folder.iterdir()):
                check_free(folder, force)
            return index
        try:
            found = json.loads(index.path.read_text(encoding="utf-8"))
            same = found["made_by"] == index.made_by and _FORMAT.items() <= found.items()
            shards = dict(found["shards"])
        except (ValueError, LookupError, TypeError, AttributeError):
            same, shards = False, {}
        if not same and not force:
            raise UsageError(
                f"{folder} has results of another model or other options; choose another place, or give `force`"
            )
        return dataclasses.replace(index, shards=shards if same and not force else {})

    def has(self, name: str, source: Path, result: Path) -> bool:
        """Whether a shard's result is there, made of the source as it is."""
        wanted = {**_state(source), "output": self._named(result)}
        return wanted.items() <= self.shards.get(name, {}).items() and result.exists()

    def add(self, name: str, result: Path, figures: Figures) -> None:
        """What is known of a shard's result, and the whole index to its file."""
        self.shards[name] = {**self.shards.get(name, {}), **figures, "output": self._named(result)}
        self.write()

    def _named(self, result: Path) -> str:
        return result.relative_to(self.path.parent).as_posix()

    def write(self) -> None:
        """To its file, whole or not at all."""
        content = {**_FORMAT, "made_by": self.made_by, "shards": dict(sorted(self.shards.items()))}
        with atomic_file(self.path) as temporary:
            temporary.write_text(json.dumps(content, indent=1), encoding="utf-8")


def run(
    verb: str,
    model: Path,
    shards: Shards,
    output: Path,
    *,
    workers: int = 1,
    pool: Callable[..., Pool] = Pool,
    force: bool = False,
    **options: Any,
) -> Figures:
    """A verb of each of the files, by so many processes of a `pool`; the sums of their figures.

    Rates of false discoveries are of all files together: once they are all scored it is decided what is flagged.

    Raises
    ------
    UsageError : for options that name one file more, a place that holds other things, or one among the files
    FivefoldError : what a file raises, which the message names; results that are complete stay
    """
    opened, fdr = OpenModel.read(model), options.get("fdr")
    for name in ("std", "report", "heatmaps"):
        if isinstance(options.get(name), Path):
            raise UsageError(f"`{name}` goes with one file, not with {len(shards.paths)}")
    if fdr is not None and len(opened.modality.settings.REPORTS) > 1:
        raise UsageError("`fdr` goes with one file of series: its events are of that alone")
    if inside := [path for path in shards.paths if path.resolve().is_relative_to(output.resolve())]:
        raise UsageError(f"{output} can't be written: {inside[0]} is in it; choose another place")
    if output.is_file():
        raise UsageError(f"`output` must be a folder for several files, got {output}")
    check_free(output, force=True)
    known = fingerprint(opened.stored)
    with locked(output / INDEX):
        index = Index.of(output, {"job": verb, "model": known, "options": options}, force)
        finished = {path: output / _result(verb, shards.name(path)) for path in shards.paths}
        left = [path for path, place in finished.items() if not index.has(shards.name(path), path, place)]
        undecided = fdr is not None and (left or len(index.shards) > len(finished))
        places = (
            {path: output / _SCORED / f"{shards.name(path)}.parquet" for path in finished} if undecided else finished
        )
        left = [path for path, place in places.items() if not index.has(shards.name(path), path, place)]
        tasks = [(verb, path, places[path], options, is_strict()) for path in left]
        worker = Worker(model, known, min(workers, max(1, len(left))))
        with pool(worker, worker.processes, len(tasks)) as processes:
            _work(processes, tasks, shards, index)
        if fdr is not None and undecided:
            _decide(shards, index, places, finished, fdr)
    entries = [index.shards[shards.name(path)] for path in shards.paths]
    return {"shards": len(entries), "made_before": len(entries) - len(left), **_summed(entries), "output": str(output)}


def strangest(
    opened: OpenModel,
    shards: Shards,
    output: Path,
    *,
    top: int,
    false_alarm_rate: float | None = None,
    normal: Any = None,
    force: bool = False,
    **reading: Any,
) -> Figures:
    """The `top` strangest of all files in one table, which says of which file each is; files are read one after the other."""
    JobNumbers(top=top, false_alarm_rate=false_alarm_rate)
    from fivefold.tables.files import TableOutput

    place = TableOutput.at(output, force)
    import pyarrow as pa
    import pyarrow.compute as pc

    from fivefold.jobs.detect import USUAL_RATE, strangest_in

    rate, lowest = false_alarm_rate or USUAL_RATE, list[pa.Table]()
    known = None if normal is None else opened.modality.data.open(normal, opened.schema)
    for path in shards.paths:
        try:
            dataset = opened.open(str(path), "detect", {}, **reading)
            found = strangest_in(opened.fitted, dataset, top, rate, known).strangest
        except FivefoldError as error:
            raise error if str(path) in str(error) else type(error)(f"{path}: {error}") from None
        found = found.add_column(0, "file", pa.array([shards.name(path)] * len(found), pa.string()))
        lowest = [pa.concat_tables([*lowest, found], promote_options="permissive").sort_by("score").slice(0, top)]
    place.write(lowest)
    return {
        "shards": len(shards.paths),
        "strangest": len(lowest[0]),
        "anomalies": pc.sum(lowest[0]["anomaly"]).as_py() or 0,
        "false_alarm_rate": rate,
        "output": str(output),
    }


@dataclass(frozen=True)
class Worker:
    """What a process gets: the model's place and fingerprint, and how many processes there are."""

    model: Path
    fingerprint: str
    processes: int


def _work(pool: Pool, tasks: Sequence[tuple[Any, ...]], shards: Shards, index: Index) -> None:
    """Work on shards, and enter them into the index one by one; what they warn of is said once."""
    known = set[str]()
    bar = progress_bar(tasks[0][0] if tasks else "", len(tasks))
    with bar as shown, silenced(on=True):
        for (_, path, place, *_), (figures, remarks) in zip(tasks, pool.map(_one, iter(tasks)), strict=True):
            index.add(shards.name(path), place, figures)
            shown.advance()
            for text in remarks:
                if text not in known:
                    warnings.warn(text, stacklevel=3)
            known.update(remarks)


def _one(
    worker: Worker, verb: str, path: Path, place: Path, options: Mapping[str, Any], strict: bool
) -> tuple[Figures, list[str]]:
    """One shard, in whatever process: its figures, with the state of its file, and what was warned of."""
    opened, state = _opened(worker), _state(path)
    place.parent.mkdir(parents=True, exist_ok=True)
    with said() as remarks:
        try:
            with strictly(strict):
                figures = _VERBS[verb](opened, str(path), place, force=True, **options)
        except FivefoldError as error:
            raise error if str(path) in str(error) else type(error)(f"{path}: {error}") from None
    return figures | state, remarks


@lru_cache(1)
def _opened(worker: Worker) -> OpenModel:
    """The model of a process."""
    opened = OpenModel.read(worker.model)
    if fingerprint(opened.stored) != worker.fingerprint:
        raise ModelError(f"{worker.model}: was changed meanwhile")
    if worker.processes > 1:
        import torch

        silence()
        share = max(1, (os.cpu_count() or 1) // worker.processes)
        torch.set_num_threads(min(torch.get_num_threads(), share))
    return opened


def _decide(
    shards: Shards, index: Index, scored: Mapping[Path, Path], finished: Mapping[Path, Path], fdr: float
) -> None:
    """Flag anomalies by the p-values of all shards, and write their tables in the place of those without."""
    import numpy as np
    import pyarrow.parquet as pq

    from fivefold.jobs.detect import flag_by_fdr
    from fivefold.tables.files import TableOutput

    names = {path: shards.name(path) for path in scored}
    index.shards = {name: figures for name, figures in index.shards.items() if name in names.values()}
    p_values = [pq.read_table(place, columns=["p_value"])["p_value"].to_numpy() for place in scored.values()]
    flagged = np.split(flag_by_fdr(np.concatenate(p_values), fdr), np.cumsum([len(part) for part in p_values])[:-1])
    for (path, place), anomaly in zip(scored.items(), flagged, strict=True):
        table = pq.read_table(place)
        finished[path].parent.mkdir(parents=True, exist_ok=True)
        at = table.schema.get_field_index("anomaly")
        TableOutput.at(finished[path], force=True).write([table.set_column(at, "anomaly", [anomaly])])
    for path, anomaly in zip(
        scored, flagged, strict=True
    ):  # once all are written: a run that is stopped before decides again
        index.add(names[path], finished[path], {"anomalies": int(anomaly.sum())})
    shutil.rmtree(index.path.parent / _SCORED)


def _result(verb: str, name: str) -> str:
    """What the result of a shard is called: as the shard, with another ending behind if it is of another kind."""
    from fivefold.tables.files import OUTPUT_ENDINGS

    if verb == "detect":
        return name if name.lower().endswith(OUTPUT_ENDINGS) else f"{name}.csv"
    return name + _ENDINGS.get(verb, "")


def _state(path: Path) -> dict[str, int]:
    """By which a file is known to be the same; of a folder those of all that is in it together."""
    found = [file.stat() for file in ([path] if path.is_file() else path.rglob("*"))]
    return {
        "size": sum(file.st_size for file in found),
        "modified": max((file.st_mtime_ns for file in found), default=0),
    }


def _summed(parts: Sequence[Figures]) -> Figures:
    """Sums of what is counted, and what all figures say alike."""
    first = parts[0]
    alike = {name: value for name, value in first.items() if all(part.get(name) == value for part in parts)}
    sums = {name: sum(part[name] for part in parts) for name in first if name in _COUNTED}
    known = {name: sums.get(name, alike.get(name)) for name in first if name in sums or name in alike}
    return {name: value for name, value in known.items() if name not in ("output", "size", "modified")}


def _plain(value: Any) -> Any:
    """Options as JSON has them."""
    return dataclasses.asdict(value) if dataclasses.is_dataclass(value) and not isinstance(value, type) else str(value)
