"""Compress images into an archive, exactly or as their codes alone say; and tables, and series."""

from __future__ import annotations

import io
import json
import zlib
from collections.abc import Iterator
from typing import IO, Any

import numpy as np

from fivefold.archive.container import ArchiveWriter, Limits
from fivefold.archive.image_archive import NAMES, codec_of
from fivefold.archive.opened import embedded
from fivefold.archive.pool import Pool
from fivefold.archive.row_archive import write_row_archive, write_series_archive
from fivefold.errors import DataError, ModelError, UsageError
from fivefold.images.block_values import encode_block
from fivefold.images.code_length import STEPS, code_length
from fivefold.images.latent import LatentGrid
from fivefold.items import Items
from fivefold.model.fitted import FittedModel
from fivefold.model.scoring import encode_items
from fivefold.progress import Rate, progress_bar
from fivefold.series.dataset import _table as open_table
from fivefold.series.schema import SeriesSchema
from fivefold.storage import fingerprint
from fivefold.tables.schema import TableSchema

_BLOCK_ITEMS, _BLOCK_ELEMENTS = 1024, 1 << 21
_SAMPLE = 256  # items that the grid's step is chosen on
_LOSSY_STEP = 1.0  # posterior deviations


def compress(model: FittedModel, data: Any, **options: Any) -> bytes:
    """Items, the rows of a table, or series, as an archive; `options` as for `write_archive`."""
    file = io.BytesIO()
    if isinstance(model.schema, SeriesSchema):
        write_series_archive(model, data, file, **options)
        return file.getvalue()
    if isinstance(model.schema, TableSchema):
        table = open_table(data, model.schema)
        write_row_archive(model, [table], file, rows=len(table), **options)
    else:
        write_archive(model, model.read(data), file, **options)
    return file.getvalue()


def write_archive(
    model: FittedModel,
    items: Items,
    file: IO[bytes],
    *,
    lossy: bool = False,
    step: float | None = None,
    block_items: int | None = None,
    verify: bool = True,
    embed_model: bool = False,
    workers: int = 1,
) -> None:
    """Write an archive of items, block by block.

    Parameters
    ----------
    lossy : only the codes
    step : of the codes' grid, in mean posterior deviations; 0: no codes. By default the one with the shortest
        archive of some of the items; of a lossy one, 1
    block_items : items that are coded together and can be read without the others; by default 1,024, or fewer if
        they are large
    verify : decode each block and compare
    embed_model : so that the archive can be read without the model folder
    workers : processes; the archive does not depend on how many

    Raises
    ------
    UsageError : if an option is out of its range, or the model can't do it
    DataError : if items have missing elements, or are too large
    """
    if block_items is None:
        block_items = min(_BLOCK_ITEMS, max(1, _BLOCK_ELEMENTS // model.image_schema.size))
    most = Limits().block_elements // model.image_schema.size
    if most == 0:
        raise DataError(f"{items.source}: items of {model.image_schema.size:,} elements are too large for an archive")
    if not 1 <= block_items <= most:
        raise UsageError(f"--block-items must be from 1 to {most:,}, got {block_items}")
    if step is not None and not 0 <= step < float("inf"):
        raise UsageError(f"--step must be at least 0, got {step:g}")
    if lossy and step == 0:
        raise UsageError("--lossy and --step 0 exclude each other: nothing would be left")
    if not lossy and (model.context is None or model.image_schema.levels is None):
        raise ModelError(
            "exact archives need a model of integers with a context decoder; this one has none: give --lossy"
        )
    for rows in items.batches(model.batch_size):
        if not items.visible(rows).all():
            raise DataError(f"{items.source}: elements are missing, which an archive can't hold; impute them first")
    tasks = -(-len(items) // block_items)
    with Pool(codec_of(model), workers, tasks) as pool, progress_bar("compress", len(items)) as bar:
        # while the pool's processes start
        grid = _choose_grid(model, items, _LOSSY_STEP if lossy and step is None else step)
        facts = {
            "schema": model.schema.to_json(),
            "dtype": items.values.dtype.name,
            "model": fingerprint(model),
            "items": len(items),
            "lossy": lossy,
            "steps": None if grid is None else grid.steps.tolist(),
        }
        writer = ArchiveWriter(file, facts, _attachments(model, items, embed_model))

        def blocks() -> Iterator[tuple[Any, ...]]:
            for rows in items.batches(block_items):
                values = np.ascontiguousarray(items.values[rows], items.values.dtype.newbyteorder("="))
                symbols = None if grid is None else grid.nearest(encode_items(model, items.select(rows))[0])
                yield grid, values, symbols, lossy, verify

        rate = Rate()
        for count, method, layers in pool.map(encode_block, blocks()):
            writer.add(count, method, layers)
            bar.advance(f"compress, {rate.add(count * items.values[0].nbytes)}", count)
        writer.close()


def _choose_grid(model: FittedModel, items: Items, step: float | None) -> LatentGrid | None:
    """Steps of the codes' grid: the given one, or the one with which some of the items are shortest."""
    if step == 0:
        return None
    some = items.select(slice(0, _SAMPLE))
    if step is None:
        candidates = (None, *STEPS)
        step = min(candidates, key=lambda each: code_length(model, some, each).total)
        if step is None:
            return None
    deviations = encode_items(model, some)[1].astype(np.float64).mean(axis=0)
    return LatentGrid(np.round(np.clip(step * deviations, 1e-3, 16.0), 3))  # which is the same on all machines


def _attachments(model: FittedModel, items: Items, embed_model: bool) -> dict[str, bytes]:
    attached = {}
    if items.names is not None:
        attached[NAMES] = zlib.compress(json.dumps(items.names).encode())
    attached |= embedded(model) if embed_model else {}
    for content in attached.values():
        Limits().check("attachment_bytes", len(content))
    return attached
