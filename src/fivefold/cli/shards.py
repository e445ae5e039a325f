"""Many files: by processes of this machine or, with `--ray`, by actors of a cluster."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fivefold.cli.app import cluster
from fivefold.errors import UsageError
from fivefold.modality import Modality
from fivefold.verbs.shards import Shards, run


def shards_among(data: str, modality: Modality) -> Shards | None:
    """See `Shards.among`; raises `UsageError` for one file with `--ray`."""
    found = Shards.among(data, modality)
    if found is None and cluster.get() is not None:
        raise UsageError(f"--ray goes with a pattern in quotes, or a folder of files, not with {data} alone")
    return found


def run_each(
    verb: str, model: Path, shards: Shards, output: Path, workers: int | None, *, usual_workers: int = 1, **options: Any
) -> dict[str, Any]:
    """A verb of each of the files; see `fivefold.verbs.shards.run`. Actors are as many as the cluster has processors."""
    if (address := cluster.get()) is None:
        return run(verb, model, shards, output, workers=workers or usual_workers, **options)
    from fivefold.ray import Actors, connected, count_processors

    with connected(address):
        return run(verb, model, shards, output, workers=workers or count_processors(), pool=Actors, **options)
