"""Whole windows of series: their archives, new ones, and their codes."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.neighbors import NearestNeighbors

from fivefold.archive.models import model_files
from fivefold.archive.read import open_archive
from fivefold.archive.write import compress
from fivefold.evaluation.contest import OURS, Measure, Picture, Section, contest
from fivefold.evaluation.drawing import figure, main_plane, plane_of_codes
from fivefold.evaluation.metrics import FOLDS, two_sample_auroc
from fivefold.evaluation.rivals.compressors import series_sizes
from fivefold.evaluation.series.material import SeriesMaterial
from fivefold.jobs.codes import encode
from fivefold.series.dataset import SeriesSet
from fivefold.tables.table import decode_rows

_SHUFFLED = "training windows' steps, shuffled"
_SHOWN = 6


def compare_compression(material: SeriesMaterial) -> Section:
    """Bits per value of the test series in the type in which they came, all written."""
    model = material.model
    if model.context is None:
        return Section("compress", "Compression", {}, ("Archives need a model with a context decoder.",))
    table = decode_rows(material.schema.channels, material.values)
    values = np.column_stack([column.to_numpy() for column in table.columns])  # floats where channels differ
    archive = compress(model, np.split(values, np.cumsum(material.data.lengths)[:-1]))
    blocks = sum(block.end - block.offset for block in open_archive(io.BytesIO(archive)).reader.blocks)
    rivals = series_sizes(values) if material.against else {}
    sizes = {"whole archive": {OURS: len(archive), **rivals}, "its blocks alone": {OURS: blocks, **rivals}}
    bits: dict[str, dict[str, float | None]] = {
        name: {codec: 8 * size / values.size for codec, size in row.items()} for name, row in sizes.items()
    }
    compared, losses = contest(Measure("bits per value", digits=2, higher_is_better=False), bits)
    size = sum(map(len, model_files(model).values()))
    sentences = [
        f"{len(values):,} steps of {values.dtype}, {values.shape[1]} channel(s). All come back bit for bit.",
        f"{OURS}'s archive has the shape, types and names besides, and takes the model ({size:,} bytes) beside it.",
    ]
    figures = {"bits": bits, "sizes": sizes, "values": values.size, "dtype": str(values.dtype), "model_bytes": size}
    summary = [("compress", f"{bits['whole archive'][OURS]:.2f} bits per value")]
    return Section("compress", "Compression", figures, losses + sentences, [compared], summary=summary)


def compare_generation(material: SeriesMaterial) -> Section:
    """New windows beside steps of training windows, each from another window; and what training windows would get."""
    real, known = _filled(material.data), _filled(material.known)
    rng, made = material.rng("generate"), material.generated
    sample = known[rng.choice(len(known), len(made), replace=len(known) < len(made))]
    shuffled = np.stack([rng.permutation(step) for step in sample.swapaxes(0, 1)], axis=1)
    separable = {name: _separability(material, real, drawn) for name, drawn in ((OURS, made), (_SHUFFLED, shuffled))}
    best, copies = _separability(material, real, sample), _nearest_ratio(made, known, real)
    measure = Measure("AUROC of a classifier between them and real windows", digits=3, higher_is_better=False)
    table, losses = contest(measure, {"new windows": separable})
    among = "There are too few windows for it." if best is None else f"Training windows in their place get {best:.3f}."
    sentences = [
        f"The classifier is a forest, over {FOLDS} folds; 0.5 is chance. {among}",
        f"The nearest training window is {copies:.2f} times as far from a new window as from a test window, in the median: "
        "well below 1 they would be copies.",
    ]
    figures = {"told": separable, "real": best, "nearest_ratio": copies}
    return Section("generate", "New windows", figures, losses + sentences, [table])


def _filled(series: SeriesSet) -> np.ndarray:
    """Windows `(n, t, c)` with their channels' means where nothing is."""
    windows = series.items().values[..., 0]
    return np.where(np.isnan(windows), np.nanmean(windows, axis=(0, 1)), windows)


def _nearest_ratio(made: np.ndarray, known: np.ndarray, real: np.ndarray) -> float:
    """How far new windows are from the nearest known one, in the median, as a share of how far real others are."""
    neighbours = NearestNeighbors(n_neighbors=1).fit(known.reshape(len(known), -1))
    distances = (neighbours.kneighbors(windows.reshape(len(windows), -1))[0] for windows in (made, real))
    ours, theirs = (float(np.median(distance)) for distance in distances)
    return ours / max(theirs, 1e-12)


def _separability(material: SeriesMaterial, real: np.ndarray, windows: np.ndarray) -> float | None:
    """How well a forest separates windows from the test windows."""
    order = material.rng("folds").permutation(len(real) + len(windows))
    forest = ExtraTreesClassifier(random_state=material.seed)
    return two_sample_auroc(real.reshape(len(real), -1), windows.reshape(len(windows), -1), forest, order)


def report_generation(material: SeriesMaterial) -> Section:
    """The section `generate`, with test windows and new ones."""
    compared = compare_generation(material)
    real = material.items.values[:: max(len(material.items) // _SHOWN, 1)][:_SHOWN, :, 0, 0]
    with figure(material.folder / "generate.png", 8, 3.6) as drawn:
        axes = drawn.subplots(2, _SHOWN, sharex=True, sharey=True, squeeze=False)
        for row, (windows, colour) in enumerate(((real, "tab:gray"), (material.generated[:_SHOWN, :, 0], "tab:blue"))):
            for ax, window in zip(axes[row], windows, strict=False):
                ax.plot(window, color=colour, linewidth=1)
                ax.tick_params(labelsize=7)
    area = compared.figures["told"][OURS]
    picture = Picture("generate.png", "Test windows (grey) and new ones (blue), first channel.")
    summary = "too few windows to compare" if area is None else f"told from real windows with AUROC {area:.3f}"
    return replace(compared, pictures=[picture], summary=[("generate", summary)])


def report_codes(material: SeriesMaterial) -> Section:
    """The windows' codes in a plane, coloured by when they are, or by their label."""
    plane, labels = main_plane(encode(material.model, material.items)[0]), material.items.labels
    colours = np.arange(len(plane)) if labels is None else np.unique(labels, return_inverse=True)[1]
    plane_of_codes(material.folder / "codes.png", plane, colours, "window" if labels is None else "label")
    picture = Picture("codes.png", "The windows' codes along their two main directions.")
    return Section("codes", "What the codes tell", {}, pictures=[picture])
