"""Archives of tables beside other files."""

from __future__ import annotations

import io
import lzma

import pyarrow as pa
import pyarrow.parquet as pq

from fivefold.archive.write import compress
from fivefold.evaluation.comparison import OURS, Measure, contest
from fivefold.evaluation.rows.material import RowMaterial
from fivefold.evaluation.section import Section
from fivefold.tables.csv import write_csv
from fivefold.tables.dataset import decode_rows

_LEVEL = 19  # of zstd


def compare(material: RowMaterial) -> Section:
    """Bytes of the modelled columns of the test rows, all written."""
    if material.model.context is None:
        return Section("compress", "Compression", {}, ("Archives need a model with a context decoder.",))
    table = decode_rows(material.schema, material.cells)
    sizes: dict[str, float | None] = {OURS: float(len(compress(material.model, table)))}
    sizes |= {name: float(size) for name, size in table_sizes(table).items()}
    bits = {name: None if size is None else 8 * size / material.cells.size for name, size in sizes.items()}
    measure = Measure("bits per cell", digits=3, higher_is_better=False)
    compared, losses = contest(measure, {f"{len(table):,} rows": bits})
    sentences = [f"{OURS}'s figure is a whole archive without the model, which has to be kept beside it."]
    return Section("compress", "Compression", {"bits": bits, "sizes": sizes}, losses + sentences, [compared])


def table_sizes(table: pa.Table) -> dict[str, int]:
    """Bytes that a table takes in other files."""
    parquet, csv = io.BytesIO(), io.BytesIO()
    pq.write_table(table, parquet, compression="zstd", compression_level=_LEVEL)
    write_csv(csv, table, ",", header=True)
    text = csv.getvalue()
    return {
        "Parquet, zstd -19": len(parquet.getvalue()),
        "CSV, xz -9e": len(lzma.compress(text, preset=9 | lzma.PRESET_EXTREME)),
        "CSV, zstd -19": len(pa.Codec("zstd", _LEVEL).compress(text, asbytes=True)),
    }
