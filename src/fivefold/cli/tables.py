"""The five jobs on tables, from file to file, part by part where a row's result is its own."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fivefold.errors import UsageError
from fivefold.modality import Schema
from fivefold.series.schema import SeriesSchema
from fivefold.tables.schema import TableSchema

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from fivefold.items import Items
    from fivefold.model.fitted import FittedModel
    from fivefold.tables.dataset import Table


def read_overrides(path: Path | None) -> dict[str, Any] | None:
    """What a user's schema.json holds; raises `UsageError`."""
    if path is None:
        return None
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"--schema {path}: can't be read as JSON ({error})") from None


def is_table(path: str | Path) -> bool:
    """Whether the path has the ending of a table's file."""
    from fivefold.tables.rows import is_table

    return is_table(path)


def tell_carried(schema: Schema) -> None:
    """Say which columns are not modelled, and why."""
    for name, why in schema.carried if isinstance(schema, TableSchema) else ():
        warnings.warn(f"column {name!r} is carried along, not modelled: {why}", stacklevel=2)


def describe_columns(fitted: FittedModel) -> list[str]:
    """A line per column of a table or channel of series, modelled or not; none of images."""
    schema = fitted.schema.channels if isinstance(fitted.schema, SeriesSchema) else fitted.schema
    if not isinstance(schema, TableSchema):
        return []
    return [column.describe() for column in schema.columns] + [
        f"{name}: carried along, not modelled ({why})" for name, why in schema.carried
    ]


def impute(
    model: Path, data: str, output: Path, draws: int, interval: float | None, seed: int, force: bool
) -> dict[str, Any]:
    """Fill in what is missing; further tables beside: the draws, and the intervals' ends."""
    names = [f"draw{number}" for number in range(1, draws + 1)] + (["lower", "upper"] if interval is not None else [])
    place, besides = place_table(output, force), [place_table(beside(output, name), force) for name in names]
    fitted = _load(model)
    from fivefold.jobs.impute import impute
    from fivefold.seeds import derive_seed

    rows = missing = 0
    kept: list[list[pa.Table]] = [[] for _ in names]

    def parts() -> Iterator[pa.Table]:
        nonlocal rows, missing
        for number, (table, items) in enumerate(_stream(fitted, data)):
            where = ~items.visible()[:, 0, :, 0]
            rows, missing = rows + len(items), missing + int(where.sum())
            if not where.any():
                filled = [items.values] * (1 + len(names))
            else:
                part = derive_seed(seed, "part", number)
                found = impute(fitted, items, n_draws=draws, interval=interval, seed=part)
                ends = [each for each in (found.lower, found.upper) if each is not None]
                filled = [found.items, *found.draws, *ends]
            whole, *others = (table.replace(fitted.table_schema, each[:, 0, :, 0], where) for each in filled)
            for tables, other in zip(kept, others, strict=True):
                tables.append(other)
            yield whole

    place.write(parts())
    for each, tables in zip(besides, kept, strict=True):
        each.write(tables)
    return {"rows": rows, "missing": missing, "output": str(output)}


def denoise(model: Path, data: str, output: Path, report: Path | None, threshold: float, force: bool) -> dict[str, Any]:
    """Replace the cells that do not belong into their rows; `report` says which, and why."""
    place, listed = place_table(output, force), None if report is None else place_table(report, force, "report")
    fitted = _load(model)
    from fivefold.tables.denoise import denoise_rows

    rows, replaced, changes = 0, 0, list[Any]()

    def parts() -> Iterator[pa.Table]:
        nonlocal rows, replaced
        for table, items in _stream(fitted, data):
            found = denoise_rows(fitted, items, threshold)
            where = found.replaced[:, 0, :, 0]
            if listed is not None:
                changes.append(_changes(fitted, table, found, rows))
            rows, replaced = rows + len(items), replaced + int(where.sum())
            yield table.replace(fitted.table_schema, found.items[:, 0, :, 0], where)

    place.write(parts())
    if listed is not None:
        listed.write(changes)
    return {"rows": rows, "replaced": replaced, "output": str(output)}


def _changes(fitted: FittedModel, table: Table, found: Any, first: int) -> pa.Table:
    """A line per replaced cell: where, what it was and became, and how probable it is that it was wrong."""
    import numpy as np
    import pyarrow as pa

    from fivefold.tables.dataset import decode_rows

    rows, columns = np.nonzero(found.replaced[:, 0, :, 0])
    became = decode_rows(fitted.table_schema, found.expected[:, 0, :, 0])
    names = fitted.table_schema.names
    return pa.table(
        {
            "row": pa.array(rows + first),
            "column": pa.array([names[column] for column in columns], pa.string()),
            "was": pa.array(
                [str(table.arrow[names[c]][int(r)].as_py()) for r, c in zip(rows, columns, strict=True)], pa.string()
            ),
            "is": pa.array(
                [str(became[names[c]][int(r)].as_py()) for r, c in zip(rows, columns, strict=True)], pa.string()
            ),
            "probability": pa.array(found.probability[:, 0, :, 0][rows, columns]),
        }
    )


def detect(
    model: Path, data: str, output: Path, rate: float, fdr: float | None, explain: Path | None, force: bool
) -> dict[str, Any]:
    """Score each row, and flag the anomalies; `explain`: a table of the bits that each cell costs."""
    place, cells = place_table(output, force), None if explain is None else place_table(explain, force, "heatmaps")
    fitted = _load(model)

    import numpy as np
    import pyarrow as pa

    from fivefold.images.statistics import item_statistics
    from fivefold.jobs.detect import decide, surprise

    statistics: list[np.ndarray] = []

    def explained() -> Iterator[pa.Table]:
        for table, items in _stream(fitted, data):
            statistics.append(item_statistics(fitted, items))
            bits = np.where(items.visible(), surprise(fitted, items), np.nan)[:, 0, :, 0].astype(np.float64)
            yield table.like(dict(zip(fitted.table_schema.names, bits.T, strict=True)))

    if cells is not None:
        cells.write(explained())
    else:
        statistics += [item_statistics(fitted, items) for _, items in _stream(fitted, data)]
    found = decide(fitted, np.concatenate(statistics), rate, fdr)
    columns = {"row": np.arange(len(found.score)), "score": found.score, "p_value": found.p_value}
    place.write([pa.table({**columns, "anomaly": found.anomaly})])
    aim = {"false_alarm_rate": rate} if fdr is None else {"fdr": fdr}
    figures = {"rows": len(found.score), "anomalies": int(found.anomaly.sum()), **aim}
    return {**figures, "calibrated_on": found.calibrated_on, "output": str(output)}


def write_rows(fitted: FittedModel, values: np.ndarray, output: Path, force: bool) -> dict[str, Any]:
    """New rows `(n, 1, d, 1)` as a table."""
    from fivefold.tables.dataset import decode_rows

    place = place_table(output, force)
    schema = fitted.table_schema
    place.write([decode_rows(schema, schema.snap(values)[:, 0, :, 0])])
    return {"rows": len(values), "output": str(output)}


def parse_given(fitted: FittedModel, texts: list[str]) -> dict[str, float]:
    """`COLUMN=VALUE` as encoded cells by name; raises `UsageError`."""
    schema, given = fitted.table_schema, dict[str, float]()
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or name not in schema.names:
            raise UsageError(f"--given must be COLUMN=VALUE with a modelled column, got {text!r}")
        given[name] = schema.columns[schema.names.index(name)].parse(value)
    return given


def _load(model: Path) -> FittedModel:
    from fivefold.storage import load

    fitted = load(model)
    _ = fitted.table_schema
    return fitted


def _stream(fitted: FittedModel, data: str) -> Iterator[tuple[Table, Items]]:
    """The rows of a file, so many at once that memory does not grow with their number."""
    from fivefold.progress import progress_bar
    from fivefold.tables.dataset import as_items
    from fivefold.tables.files import TableReader

    schema = fitted.table_schema
    reader = TableReader(Path(data), schema)
    with progress_bar("rows", reader.rows or 0) as bar:
        for table in reader:
            yield table, as_items(table.cells(schema), schema, table.source)
            bar.advance(steps=len(table))


def beside(output: Path, name: str) -> Path:
    """`OUT-name` with the endings of `output`."""
    if not output.name:
        raise UsageError(f"--output must have a name for the others to be called after, got {output}")
    stem, dot, endings = output.name.partition(".")
    return output.with_name(f"{stem}-{name}{dot}{endings}")


def place_table(path: Path, force: bool, flag: str = "output") -> Any:
    from fivefold.tables.output import TableOutput

    return TableOutput.at(path, force, flag)
