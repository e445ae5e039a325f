"""Images in Arrow's record batches: lists of numbers in the column `image`, row by row, pixel by pixel, channel by channel."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import types as pt

from fivefold.errors import DataError
from fivefold.images.dataset import make_items
from fivefold.images.schema import ImageSchema
from fivefold.items import Items

_COLUMN = "image"


def read(schema: ImageSchema, batch: pa.RecordBatch) -> Items:
    """Images of the model's shape; nulls in them are missing pixels."""
    wanted = f"batches must have a column {_COLUMN!r} of lists of {schema.size} numbers"
    if _COLUMN not in batch.schema.names:
        raise DataError(f"{wanted}, got {', '.join(batch.schema.names) or 'no column'}")
    lists = batch.column(_COLUMN)
    lists = lists.storage if isinstance(lists, pa.ExtensionArray) else lists
    if lists.null_count or not _are_long(lists, schema.size):
        raise DataError(f"{wanted}, got {lists.type}{' with nulls' if lists.null_count else ''}")
    elements = lists.flatten()
    hidden = elements.is_null().to_numpy(zero_copy_only=False).reshape(-1, *schema.shape)
    values = pc.fill_null(elements, 0).to_numpy(zero_copy_only=False).reshape(-1, *schema.shape)
    return make_items(values, schema, "batch", [hidden] if hidden.any() else [])


def fields(schema: ImageSchema, *, replace: bool) -> list[pa.Field]:
    """Images in the dtype of the fit's; or numbers about their pixels, float32."""
    kind = pa.from_numpy_dtype(np.dtype(schema.dtype if replace else np.float32))
    return [pa.field(_COLUMN, pa.list_(kind, schema.size))]


def columns(schema: ImageSchema, found: np.ndarray) -> Mapping[str, pa.Array]:
    """Images `(n, h, w, c)` as lists."""
    return {_COLUMN: pa.FixedSizeListArray.from_arrays(pa.array(found.reshape(-1)), schema.size)}


def _are_long(lists: pa.Array, size: int) -> bool:
    """Whether it is of lists, all of this length."""
    kinds = pt.is_list, pt.is_large_list, pt.is_fixed_size_list
    return any(kind(lists.type) for kind in kinds) and pc.all(pc.equal(pc.list_value_length(lists), size)).as_py()
