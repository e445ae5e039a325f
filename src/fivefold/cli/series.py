"""The five jobs on series, from file to file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fivefold.cli.tables import beside, place_table
from fivefold.errors import UsageError

_ROWS = 1 << 18

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from fivefold.model.fitted import FittedModel
    from fivefold.series.dataset import SeriesSet


def is_series(model: Path) -> bool:
    """Whether a model folder says that it is of series; what is wrong with it is told when it is opened."""
    try:
        schema = json.loads((model / "config.json").read_text(encoding="utf-8"))["schema"]
        return schema["kind"] == "series"
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return False


def refuse(**flags: object) -> None:
    """Raise `UsageError` for flags that series don't have."""
    for name, value in flags.items():
        if value is not None and value is not False:
            raise UsageError(f"--{name.replace('_', '-')} does not go with series")


def impute(
    model: Path, data: str, output: Path, draws: int, interval: float | None, seed: int, force: bool
) -> dict[str, Any]:
    """Fill in what is missing; further files beside: the draws, and the intervals' ends."""
    names = [f"draw{number}" for number in range(1, draws + 1)] + (["lower", "upper"] if interval is not None else [])
    places = [_Place(output, force), *(_Place(beside(output, name), force) for name in names)]
    fitted, series = _open(model, data)
    from fivefold.series.jobs import impute_series

    found = impute_series(fitted, series, n_draws=draws, interval=interval, seed=seed)
    ends = [each for each in (found.lower, found.upper) if each is not None]
    for place, values in zip(places, [found.values, *found.draws, *ends], strict=True):
        place.write(series, values)
    return {"steps": len(series.values), "missing": int((~series.visible).sum()), "output": str(output)}


def denoise(model: Path, data: str, output: Path, std: Path | None, force: bool) -> dict[str, Any]:
    """Remove white noise; `std`: the deviations too."""
    place, besides = _Place(output, force), None if std is None else _Place(std, force, "std")
    fitted, series = _open(model, data)
    from fivefold.series.jobs import denoise_series

    found = denoise_series(fitted, series)
    place.write(series, found.values)
    if besides is not None:
        besides.write(series, found.std)
    return {"steps": len(series.values), "output": str(output)}


def detect(
    model: Path, data: str, output: Path, rate: float, fdr: float | None, explain: Path | None, force: bool
) -> dict[str, Any]:
    """Score each step; beside, as OUT-windows and OUT-events, each window, and what the flagged steps make up."""
    place = place_table(output, force)
    windows, events = (place_table(beside(output, name), force) for name in ("windows", "events"))
    cells = None if explain is None else _Place(explain, force, "heatmaps")
    fitted, series = _open(model, data)

    import numpy as np

    from fivefold.series.jobs import detect_series, surprise_series

    found = detect_series(fitted, series, false_alarm_rate=rate, fdr=fdr)
    place.write(_step_by_step(series, score=found.score, p_value=found.p_value, anomaly=found.anomaly))
    cut = series.windows
    last = np.minimum(cut.starts + cut.steps, series.lengths[cut.series]) - 1
    named = {**_labels(series, cut.series, cut.starts, "start"), **_labels(series, cut.series, last, "end")}
    windows.write([_joined(named, score=found.window_score, p_value=found.window_p_value)])
    runs = found.events
    parts = {name: _labels(series, runs.series, getattr(runs, name), name) for name in ("start", "end", "peak")}
    named = {name: column for part in parts.values() for name, column in part.items()}
    events.write([_joined(named, steps=runs.end - runs.start + 1, score=runs.score, p_value=runs.p_value)])
    if cells is not None:
        cells.write(series, surprise_series(fitted, series), replace=False)
    aim = {"false_alarm_rate": rate} if fdr is None else {"fdr": fdr}
    figures = {"steps": len(found.score), "anomalies": int(found.anomaly.sum()), "events": len(runs.start), **aim}
    return {**figures, "calibrated_on": found.calibrated_on, "output": str(output)}


def generate(
    model: Path, output: Path, n: int, temperature: float, after: str | None, steps: int | None, seed: int, force: bool
) -> dict[str, Any]:
    """New windows, or `n` ways in which the series of `after` may go on."""
    if after is not None and temperature != 1:
        raise UsageError("--temperature does not go with --after")
    if steps is not None and after is None:
        raise UsageError("--steps goes with --after: a window that is drawn anew has the model's number of steps")
    place = _Place(output, force)
    from fivefold.storage import load

    fitted = load(model)
    schema = fitted.series_schema

    import numpy as np

    if after is None:
        from fivefold.jobs.generate import generate
        from fivefold.model.conditioning import Conditioning

        sharp = fitted.has_learnt(Conditioning.CAUSAL)
        drawn = generate(fitted, n, seed, prior="fitted", sharp=sharp, temperature=temperature)
        values = schema.snap(drawn)[..., 0]
        place.write_new(fitted, values, {"sample": np.arange(n)})
        return {"windows": n, "steps": schema.steps, "output": str(output)}
    from fivefold.series.dataset import read_series
    from fivefold.series.jobs import continue_series

    series, steps = read_series(after, schema), schema.steps if steps is None else steps
    drawn = continue_series(fitted, series, steps, n, seed)
    number = np.tile(np.arange(drawn.shape[1]), n)
    labels: dict[str, Any] = {"sample": np.repeat(np.arange(n), drawn.shape[1])}
    names = None if series.grid is None else series.grid.names
    if names is not None or drawn.shape[1] > 1:
        labels[schema.ids or "series"] = number if names is None else np.array(names.to_pylist(), object)[number]
    place.write_new(fitted, drawn.reshape(-1, *drawn.shape[2:]), labels)
    return {"continuations": n, "series": drawn.shape[1], "steps": steps, "output": str(output)}


def morph(fitted: FittedModel, values: np.ndarray, output: Path, force: bool) -> dict[str, Any]:
    """Windows `(n, t, c, 1)` on the way from one to another."""
    import numpy as np

    _Place(output, force).write_new(fitted, values[..., 0], {"sample": np.arange(len(values))})
    return {"items": len(values), "output": str(output)}


class _Place:
    """Where series go, checked before any work is done: a table, or an array."""

    def __init__(self, path: Path, force: bool, flag: str = "output") -> None:
        from fivefold.tables.rows import is_table_path

        self.path, self._table = path, None
        if is_table_path(path):
            self._table = place_table(path, force, flag)
            return
        if path.suffix.lower() != ".npy":
            raise UsageError(f"--{flag} must be .npy or a table (.csv, .parquet, …) for series, got {path}")
        from fivefold.atomic import check_free

        check_free(path, force)

    def write(self, series: SeriesSet, values: np.ndarray, *, replace: bool = True) -> None:
        """Values `(total, c)` as the series came; without `replace`, in a table of their own."""
        import pyarrow as pa

        from fivefold.series.dataset import as_table

        names = series.schema.channels.names
        if self._table is None:
            if series.shape is None:
                raise UsageError(f"--output must be a table for series from a table, got {self.path}")
            self._save(values.reshape(series.shape))
        elif series.table is not None and replace:
            self._table.write([as_table(series, values)])
        else:
            steps = _labels(series, series.numbers, series.steps)
            self._table.write([pa.table({**steps, **dict(zip(names, map(pa.array, values.T), strict=True))})])

    def write_new(self, fitted: FittedModel, values: np.ndarray, labels: dict[str, np.ndarray]) -> None:
        """New series `(n, t, c)`; in a table with a row per step, and what each series is called."""
        import numpy as np
        import pyarrow as pa

        from fivefold.tables.dataset import decode_rows

        n, steps, c = values.shape
        if self._table is None:
            self._save(values)
            return
        about = {name: pa.array(np.repeat(each, steps)) for name, each in labels.items()}
        rows = decode_rows(fitted.series_schema.channels, values.reshape(-1, c))
        columns = {**about, "step": pa.array(np.tile(np.arange(steps), n))}
        self._table.write([pa.table({**columns, **dict(zip(rows.column_names, rows.columns, strict=True))})])

    def _save(self, values: np.ndarray) -> None:
        import numpy as np

        from fivefold.atomic import atomic_file

        with atomic_file(self.path) as temporary, temporary.open("wb") as file:
            np.save(file, values)


def _labels(series: SeriesSet, number: np.ndarray, steps: np.ndarray, name: str | None = None) -> dict[str, pa.Array]:
    """Columns that say which series and which of its steps: the time stamp, if there are some, else a number."""
    import numpy as np
    import pyarrow as pa

    grid, schema, columns = series.grid, series.schema, dict[str, Any]()
    if grid is not None and grid.names is not None:
        columns[schema.ids or "series"] = grid.names.take(pa.array(number))
    elif len(series.lengths) > 1:
        columns["series"] = pa.array(number)
    stamps = series.stamps()
    if stamps is None:
        columns[name or "step"] = pa.array(steps)
    else:
        firsts = np.concatenate(([0], np.cumsum(series.lengths)[:-1]))
        columns[name or schema.time or "time"] = stamps.take(pa.array(firsts[number] + steps))
    return columns


def _step_by_step(series: SeriesSet, **columns: np.ndarray) -> Iterator[pa.Table]:
    """A row per step, so many at once that tables need little memory beside the columns."""
    import numpy as np

    ends = np.cumsum(series.lengths)
    for first in range(0, len(series.values), _ROWS):
        rows = np.arange(first, min(first + _ROWS, len(series.values)))
        number = np.searchsorted(ends, rows, side="right")
        labels = _labels(series, number, rows - (ends - series.lengths)[number])
        yield _joined(labels, **{name: column[rows] for name, column in columns.items()})


def _joined(labels: dict[str, Any], **columns: np.ndarray) -> pa.Table:
    import pyarrow as pa

    return pa.table({**labels, **{name: pa.array(column, from_pandas=True) for name, column in columns.items()}})


def _open(model: Path, data: str) -> tuple[FittedModel, SeriesSet]:
    from fivefold.series.dataset import read_series
    from fivefold.storage import load

    fitted = load(model)
    return fitted, read_series(data, fitted.series_schema)
