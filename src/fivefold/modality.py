"""What an item is. Travels inside the model; a kind of data is a kind of schema. No torch here."""

from __future__ import annotations

from typing import Any

from fivefold.errors import ModelError
from fivefold.images.schema import ImageSchema, infer_schema
from fivefold.series.schema import SeriesSchema
from fivefold.tables.columns import Column
from fivefold.tables.schema import TableSchema

Schema = ImageSchema | TableSchema | SeriesSchema
_KINDS: dict[str, type[ImageSchema] | type[TableSchema] | type[SeriesSchema]] = {
    "image": ImageSchema,
    "table": TableSchema,
    "series": SeriesSchema,
}


def schema_from_json(fields: Any) -> Schema:
    """The inverse of a schema's `to_json`; raises `ModelError` for anything else."""
    kind = fields.get("kind") if isinstance(fields, dict) else None
    if kind not in _KINDS:
        raise ModelError(f"the model's schema is damaged: its kind must be one of {', '.join(_KINDS)}, got {kind!r}")
    return _KINDS[kind].from_json(fields)


__all__ = ["Column", "ImageSchema", "Schema", "SeriesSchema", "TableSchema", "infer_schema", "schema_from_json"]
