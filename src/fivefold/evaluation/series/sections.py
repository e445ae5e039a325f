"""The sections of a report on series, in order."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
from matplotlib.axes import Axes

from fivefold.evaluation.comparison import OURS
from fivefold.evaluation.drawing import COLOUR_MAP, figure
from fivefold.evaluation.section import Picture, Section, Table
from fivefold.evaluation.sections import training
from fivefold.evaluation.series import compress, denoise, detect, generate, impute
from fivefold.evaluation.series.damage import add_noise
from fivefold.evaluation.series.material import SeriesMaterial
from fivefold.jobs.codes import encode
from fivefold.series.jobs import denoise_series, detect_series, impute_series

_MOST_EVENTS, _MOST_CHANNELS, _WINDOWS = 6, 4, 6
_TRUTH, _OURS, _GIVEN = "tab:gray", "tab:blue", "tab:orange"


def _compress(material: SeriesMaterial) -> Section:
    compared = compress.compare(material)
    if not compared.figures:
        return compared
    return replace(
        compared, summary=[("compress", f"{compared.figures['bits']['whole archive'][OURS]:.2f} bits per value")]
    )


def _generate(material: SeriesMaterial) -> Section:
    compared = generate.compare(material)
    real = material.items.values[:: max(len(material.items) // _WINDOWS, 1)][:_WINDOWS, :, 0, 0]
    with figure(material.folder / "generate.png", 8, 3.6) as drawn:
        axes = drawn.subplots(2, _WINDOWS, sharex=True, sharey=True, squeeze=False)
        for row, (windows, colour) in enumerate(((real, _TRUTH), (material.generated[:_WINDOWS, :, 0], _OURS))):
            for ax, window in zip(axes[row], windows, strict=False):
                ax.plot(window, color=colour, linewidth=1)
                ax.tick_params(labelsize=7)
    told = compared.figures["told"][OURS]
    picture = Picture("generate.png", "Test windows (grey) and new ones (blue), first channel.")
    return replace(
        compared, pictures=[picture], summary=[("generate", f"told from real windows with AUROC {told:.3f}")]
    )


def _detect(material: SeriesMaterial) -> Section:
    compared = detect.compare(material)
    if not compared.figures:
        return compared
    found = detect_series(material.model, material.series)
    events, names = found.events, material.schema.channels.names
    order = np.argsort(events.score)[:_MOST_EVENTS]
    lines = [
        (
            str(events.series[at]),
            *(str(part[at]) for part in (events.start, events.end, events.peak)),
            f"{events.p_value[at]:.3g}",
        )
        for at in order
    ]
    table = Table(("strangest events: series", "from step", "to", "peak", "p-value"), lines)
    pictures = []
    if len(order):
        firsts = np.cumsum(material.series.lengths) - material.series.lengths
        with figure(material.folder / "detect.png", 8, 1.7 * -(-len(order) // 2)) as drawn:
            axes = drawn.subplots(-(-len(order) // 2), min(len(order), 2), squeeze=False).ravel()
            for ax, at in zip(axes, order, strict=False):
                margin, length = material.schema.steps // 2, material.series.lengths[events.series[at]]
                steps = np.arange(max(events.start[at] - margin, 0), min(events.end[at] + margin, length))
                shown = material.series.values[firsts[events.series[at]] + steps]
                ax.plot(
                    steps,
                    (shown - np.nanmean(shown, axis=0))[:, :_MOST_CHANNELS] / material.spread[:_MOST_CHANNELS],
                    linewidth=1,
                )
                ax.axvspan(events.start[at] - 0.5, events.end[at] + 0.5, color="tab:red", alpha=0.25, linewidth=0)
                ax.tick_params(labelsize=7)
            for ax in axes[len(order) :]:
                ax.set_visible(False)
        pictures.append(
            Picture("detect.png", f"The strangest events (red), {', '.join(names[:_MOST_CHANNELS])}, in deviations.")
        )
    alarms = compared.figures["false_alarms"]["0.01"]
    return replace(
        compared,
        tables=[*compared.tables, table] if len(order) else compared.tables,
        pictures=pictures,
        summary=[("detect", f"{alarms:.2%} of the steps flagged at 1 %, in {len(events.start)} events")],
    )


def _denoise(material: SeriesMaterial) -> Section:
    compared = denoise.compare(material)
    noisy = add_noise(material.series.values, 10, material.rng("noise 10"))
    found = denoise_series(material.model, material.of(noisy))
    with _excerpt(material, "denoise.png", 0) as (ax, steps):
        ax.plot(steps, noisy[steps, 0], ".", color=_GIVEN, markersize=3, label="noisy, 10 dB")
        ax.plot(steps, material.series.values[steps, 0], color=_TRUTH, label="clean")
        ax.plot(steps, found.values[steps, 0], color=_OURS, linewidth=1.2, label="denoised")
    picture = Picture("denoise.png", "White noise 10 dB below the signal, and what is left of it; first channel.")
    gain = compared.figures["gain"]["10 dB"][OURS]
    return replace(compared, pictures=[picture], summary=[("denoise", f"gain {gain:.2f} dB at 10 dB")])


def _impute(material: SeriesMaterial) -> Section:
    compared = impute.compare(material)
    name = list(impute.HIDDEN)[1]
    holey, where = impute.hide(material, name)
    found = impute_series(material.model, material.of(holey), interval=0.9, n_draws=3, seed=material.seed)
    assert found.lower is not None
    assert found.upper is not None
    first = int(np.flatnonzero(where[:, 0])[0]) if where[:, 0].any() else 0
    with _excerpt(material, "impute.png", max(first - material.schema.steps // 4, 0)) as (ax, steps):
        gap = where[steps, 0]
        ax.fill_between(
            steps,
            found.lower[steps, 0],
            found.upper[steps, 0],
            where=gap.tolist(),
            color=_OURS,
            alpha=0.25,
            linewidth=0,
        )
        for draw in found.draws:
            ax.plot(steps, np.where(gap, draw[steps, 0], np.nan), color=_OURS, linewidth=0.6, alpha=0.6)
        ax.plot(
            steps,
            np.where(gap, found.values[steps, 0], np.nan),
            color=_OURS,
            linewidth=1.6,
            label="filled in, 90 %, three draws",
        )
        ax.plot(steps, material.series.values[steps, 0], color=_TRUTH, linewidth=1, label="as it was")
    picture = Picture("impute.png", "Gaps and what was filled in; first channel.")
    errors = compared.figures[name]["rmse"]
    summary = f"{name}: RMSE {errors[OURS]:.3f} (linear {errors['linear']:.3f})"
    return replace(compared, pictures=[picture], summary=[("impute", summary)])


def _codes(material: SeriesMaterial) -> Section:
    """The windows' codes in a plane, coloured by when they are, or by their label."""
    codes = encode(material.model, material.items)[0].astype(np.float64)
    axes = np.linalg.svd(codes - codes.mean(axis=0), full_matrices=False)[2][:2]
    plane = (codes - codes.mean(axis=0)) @ axes.T
    plane = plane if plane.shape[1] == 2 else np.column_stack((plane[:, 0], np.zeros(len(plane))))
    labels = material.items.labels
    colours = np.arange(len(plane)) if labels is None else np.unique(labels, return_inverse=True)[1]
    with figure(material.folder / "codes.png", 5, 4) as drawn:
        ax = drawn.subplots()
        points = ax.scatter(plane[:, 0], plane[:, 1], c=colours, s=10, cmap=COLOUR_MAP)
        drawn.colorbar(points, label="window" if labels is None else "label")
        ax.set(xlabel="first direction", ylabel="second")
    return Section(
        "codes",
        "What the codes tell",
        {},
        [],
        [],
        [Picture("codes.png", "The windows' codes along their two main directions.")],
    )


@contextmanager
def _excerpt(material: SeriesMaterial, file: str, first: int) -> Iterator[tuple[Axes, np.ndarray]]:
    """A plot of two windows' steps from `first` on, of the first series."""
    last = min(first + 2 * material.schema.steps, int(material.series.lengths[0]))
    with figure(material.folder / file, 8, 2.6) as drawn:
        ax = drawn.subplots()
        yield ax, np.arange(first if first < last else 0, last)
        ax.set(xlabel="step", ylabel=material.schema.channels.names[0])
        ax.legend(fontsize=8)


SERIES_SECTIONS: dict[str, Callable[[SeriesMaterial], Section]] = {
    "the model": training.make,
    "codes": _codes,
    "compress": _compress,
    "generate": _generate,
    "denoise": _denoise,
    "detect": _detect,
    "impute": _impute,
}
