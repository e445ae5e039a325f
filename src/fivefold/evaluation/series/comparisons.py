"""Series beside their rivals: archives, new windows, noisy steps and missing ones; strange ones are in `events`."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.neighbors import NearestNeighbors

from fivefold.archive.read import open_archive
from fivefold.archive.write import compress
from fivefold.evaluation.contest import OURS, Measure, Picture, Section, contest
from fivefold.evaluation.drawing import figure, main_plane, plane_of_codes
from fivefold.evaluation.rivals.compressors import series_sizes
from fivefold.evaluation.rivals.denoisers import FILTERS, filter_series
from fivefold.evaluation.rivals.imputers import SERIES_IMPUTERS, impute_steps
from fivefold.evaluation.series.material import SeriesMaterial
from fivefold.model.verdicts import FOLDS, two_sample_auroc
from fivefold.series.dataset import SeriesSet
from fivefold.storage import as_stored
from fivefold.tables.table import decode_rows

_SHUFFLED = "training windows' steps, shuffled"
_SHOWN = 6
_FEWEST_BETWEEN, _MOST_BETWEEN = 20, 80
_DECIBELS = (20, 10, 0)
_TRUTH, _OURS, _GIVEN = "tab:gray", "tab:blue", "tab:orange"


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
    size = sum(map(len, as_stored(model).files.values()))
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
    plane, labels = main_plane(material.codes), material.items.labels
    colours = np.arange(len(plane)) if labels is None else np.unique(labels, return_inverse=True)[1]
    plane_of_codes(material.folder / "codes.png", plane, colours, "window" if labels is None else "label")
    picture = Picture("codes.png", "The windows' codes along their two main directions.")
    return Section("codes", "What the codes tell", {}, pictures=[picture])


def hide_at_random(lengths: np.ndarray, rng: np.random.Generator, share: float = 0.2) -> np.ndarray:
    """Which steps to hide, bool `(total,)`; neither the first nor the last of a series."""
    return np.asarray(_inner(lengths) & (rng.random(lengths.sum()) < share))


def hide_gaps(lengths: np.ndarray, rng: np.random.Generator, shortest: int = 5, longest: int = 20) -> np.ndarray:
    """Runs of steps to hide, likewise, with 20 to 80 steps between; none longer than a third of its series."""
    hidden, first = np.zeros(lengths.sum(), bool), 0
    for length in lengths:
        most = max(min(longest, length // 3), 1)
        place = int(rng.integers(1, max(min(_FEWEST_BETWEEN, length - most), 2)))
        while place < length - 1:
            run = int(rng.integers(min(shortest, most), most + 1))
            hidden[first + place : first + min(place + run, length - 1)] = True
            place += run + int(rng.integers(_FEWEST_BETWEEN, _MOST_BETWEEN))
        first += length
    return np.asarray(hidden & _inner(lengths))


def _inner(lengths: np.ndarray) -> np.ndarray:
    ends = np.cumsum(lengths)
    inner = np.ones(ends[-1], bool)
    inner[np.concatenate((ends - lengths, ends - 1))] = False
    return inner


_GAPS = "gaps of 5–20 steps"
_HIDDEN: dict[str, Callable[[np.ndarray, np.random.Generator], np.ndarray]] = {
    "20 % of the steps": hide_at_random,
    _GAPS: hide_gaps,
}


def add_noise(values: np.ndarray, decibels: float, rng: np.random.Generator) -> np.ndarray:
    """White noise on `(total, c)`, so many decibels below each channel's variance."""
    spread = np.nanstd(values, axis=0) * 10 ** (-decibels / 20)
    return np.asarray(values + spread * rng.standard_normal(values.shape))


def compare_denoising(material: SeriesMaterial) -> Section:
    """By how many decibels the error is less than the noise."""
    gains = {f"{level} dB": _gains(material, level) for level in _DECIBELS}
    table, losses = contest(Measure("gain", " dB"), gains, "signal to noise")
    summary = [("denoise", f"gain {gains['10 dB'][OURS]:.2f} dB at 10 dB")]
    return Section("denoise", "White noise", {"gain": gains}, losses, [table], summary=summary)


def _gains(material: SeriesMaterial, level: float) -> dict[str, float | None]:
    rng = material.rng(f"noise {level}")
    noisy, known = add_noise(material.values, level, rng), material.known
    test = noisy, material.data.lengths
    cleaned = {OURS: material.denoise(noisy)}
    for name in FILTERS if material.against else ():
        noisy_known = add_noise(known.values, level, rng), known.lengths
        cleaned[name] = filter_series(name, known.values, noisy_known, test)
    before = material.rmse(noisy)
    return {name: 20 * float(np.log10(before / material.rmse(values))) for name, values in cleaned.items()}


def report_denoising(material: SeriesMaterial) -> Section:
    """The section `denoise`, with an excerpt."""
    compared = compare_denoising(material)
    noisy = add_noise(material.values, 10, material.rng("noise 10"))
    cleaned = material.denoise(noisy)
    with _excerpt(material, "denoise.png", 0) as (ax, steps):
        ax.plot(steps, noisy[steps, 0], ".", color=_GIVEN, markersize=3, label="noisy, 10 dB")
        ax.plot(steps, material.values[steps, 0], color=_TRUTH, label="clean")
        ax.plot(steps, cleaned[steps, 0], color=_OURS, linewidth=1.2, label="denoised")
    picture = Picture("denoise.png", "White noise 10 dB below the signal, and what is left of it; first channel.")
    return replace(compared, pictures=[picture])


def compare_imputation(material: SeriesMaterial) -> Section:
    """Steps hidden at random, and in gaps: errors, and the coverage of intervals."""
    figures = {name: _imputation(material, name) for name in _HIDDEN}
    rows = {name: row["rmse"] for name, row in figures.items()}
    table, losses = contest(Measure("RMSE (standard deviations)", digits=4, higher_is_better=False), rows)
    sentences = [
        f"With {name} hidden, {row['coverage']:.1%} of the hidden values lie in their 90% intervals."
        for name, row in figures.items()
    ]
    return Section("impute", "Missing steps", figures, losses + sentences, [table])


def _hide(material: SeriesMaterial, name: str) -> tuple[np.ndarray, np.ndarray]:
    """The test series with steps hidden in all channels, and which, both `(total, c)`."""
    hidden = _HIDDEN[name](material.data.lengths, material.rng(f"hide {name}"))
    where = hidden[:, None] & material.data.visible
    return np.where(where, np.nan, material.values), where


def _imputation(material: SeriesMaterial, name: str) -> dict[str, Any]:
    holey, where = _hide(material, name)
    ours, lower, upper, _ = material.impute(holey)
    inside = ((lower <= material.values) & (material.values <= upper))[where]
    filled = {OURS: ours}
    for peer in SERIES_IMPUTERS if material.against else ("linear",):
        filled[peer] = impute_steps(peer, material.known.values, holey, material.data.lengths)
    if material.attention is not None:
        filled["SAITS"] = material.attention.impute(material.data.windows, holey)
    errors = {peer: material.rmse(values, where) for peer, values in filled.items()}
    return {"rmse": errors, "coverage": float(inside.mean()) if len(inside) else float("nan")}


def report_imputation(material: SeriesMaterial) -> Section:
    """The section `impute`, with an excerpt around the first gap."""
    compared = compare_imputation(material)
    holey, where = _hide(material, _GAPS)
    imputed, lower, upper, draws = material.impute(holey, n_draws=3)
    first = int(np.flatnonzero(where[:, 0])[0]) if where[:, 0].any() else 0
    with _excerpt(material, "impute.png", max(first - material.schema.steps // 4, 0)) as (ax, steps):
        gap = where[steps, 0]
        ends = lower[steps, 0], upper[steps, 0]
        ax.fill_between(steps, *ends, where=gap.tolist(), color=_OURS, alpha=0.25, linewidth=0)
        for draw in draws:
            ax.plot(steps, np.where(gap, draw[steps, 0], np.nan), color=_OURS, linewidth=0.6, alpha=0.6)
        filled = np.where(gap, imputed[steps, 0], np.nan)
        ax.plot(steps, filled, color=_OURS, linewidth=1.6, label="filled in, 90 %, three draws")
        ax.plot(steps, material.values[steps, 0], color=_TRUTH, linewidth=1, label="as it was")
    picture = Picture("impute.png", "Gaps and what was filled in; first channel.")
    errors = compared.figures[_GAPS]["rmse"]
    summary = f"{_GAPS}: RMSE {errors[OURS]:.3f} (linear {errors['linear']:.3f})"
    return replace(compared, pictures=[picture], summary=[("impute", summary)])


@contextmanager
def _excerpt(material: SeriesMaterial, file: str, first: int) -> Iterator[tuple[Axes, np.ndarray]]:
    """A plot of two windows' steps from `first` on, of the first series."""
    last = min(first + 2 * material.schema.steps, int(material.data.lengths[0]))
    with figure(material.folder / file, 8, 2.6) as drawn:
        ax = drawn.subplots()
        yield ax, np.arange(first if first < last else 0, last)
        ax.set(xlabel="step", ylabel=material.schema.channels.names[0])
        ax.legend(fontsize=8)
