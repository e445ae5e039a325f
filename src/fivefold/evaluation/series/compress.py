"""Archives of series beside other codecs."""

from __future__ import annotations

import io

import numpy as np

from fivefold.archive.models import model_files
from fivefold.archive.read import open_archive
from fivefold.archive.write import compress
from fivefold.evaluation.comparison import OURS, Measure, contest
from fivefold.evaluation.section import Section
from fivefold.evaluation.series.material import SeriesMaterial
from fivefold.evaluation.specialists.series_compressors import series_sizes
from fivefold.tables.dataset import decode_rows


def compare(material: SeriesMaterial) -> Section:
    """Bits per value of the test series in the type in which they came, all written."""
    model = material.model
    if model.context is None:
        return Section("compress", "Compression", {}, ("Archives need a model with a context decoder.",))
    values = _typed(material)
    series = np.split(values, np.cumsum(material.series.lengths)[:-1])
    archive = compress(model, series)
    blocks = sum(block.end - block.offset for block in open_archive(io.BytesIO(archive)).reader.blocks)
    others = series_sizes(values) if material.against else {}
    sizes = {"whole archive": {OURS: len(archive), **others}, "its blocks alone": {OURS: blocks, **others}}
    bits: dict[str, dict[str, float | None]] = {
        name: {codec: 8 * size / values.size for codec, size in row.items()} for name, row in sizes.items()
    }
    measure = Measure("bits per value", digits=2, higher_is_better=False)
    table, losses = contest(measure, bits)
    size = sum(map(len, model_files(model).values()))
    sentences = [
        f"{len(values):,} steps of {values.dtype}, {values.shape[1]} channel(s). All come back bit for bit.",
        f"{OURS}'s archive has the shape, types and names besides, and takes the model ({size:,} bytes) beside it.",
    ]
    figures = {"bits": bits, "sizes": sizes, "values": values.size, "dtype": str(values.dtype), "model_bytes": size}
    return Section("compress", "Compression", figures, losses + sentences, [table])


def _typed(material: SeriesMaterial) -> np.ndarray:
    """The test values `(total, c)` in the channels' own type; floats if some are missing, or channels differ."""
    table = decode_rows(material.schema.channels, material.series.values)
    return np.column_stack([column.to_numpy() for column in table.columns])
