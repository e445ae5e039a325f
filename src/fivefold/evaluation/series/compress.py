"""Archives of series beside other codecs."""

from __future__ import annotations

import numpy as np

from fivefold.data.tables import decode_rows
from fivefold.evaluation.comparison import OURS, Measure, contest
from fivefold.evaluation.section import Section
from fivefold.evaluation.series.material import SeriesMaterial
from fivefold.evaluation.specialists.series_compressors import series_sizes
from fivefold.jobs.compress import compress
from fivefold.jobs.opened import embedded


def compare(material: SeriesMaterial) -> Section:
    """Bits per value of the test series in the type in which they came, all written."""
    model = material.model
    if model.context is None:
        return Section("compress", "Compression", {}, ("Archives need a model with a context decoder.",))
    values = _typed(material)
    series = np.split(values, np.cumsum(material.series.lengths)[:-1])
    sizes: dict[str, float | None] = {OURS: float(len(compress(model, series)))}
    if material.against:
        sizes |= {name: float(size) for name, size in series_sizes(values).items()}
    bits = {name: None if size is None else 8 * size / values.size for name, size in sizes.items()}
    measure = Measure("bits per value", digits=2, higher_is_better=False)
    about = f"{len(values):,} steps of {values.dtype}"
    table, losses = contest(measure, {about: bits})
    size = sum(map(len, embedded(model).values()))
    sentences = [
        f"{OURS}'s figure is a whole archive without the model ({size:,} bytes), which has to be kept beside it.",
        "All come back bit for bit.",
    ]
    figures = {"bits": bits, "sizes": sizes, "values": values.size, "dtype": str(values.dtype), "model_bytes": size}
    return Section("compress", "Compression", figures, losses + sentences, [table])


def _typed(material: SeriesMaterial) -> np.ndarray:
    """The test values `(total, c)` in the channels' own type; floats if some are missing, or channels differ."""
    table = decode_rows(material.schema.channels, material.series.values)
    return np.column_stack([column.to_numpy() for column in table.columns])
