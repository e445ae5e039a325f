"""The sections of a report on a table, in order."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
from matplotlib.axes import Axes

from fivefold.evaluation.comparison import OURS
from fivefold.evaluation.drawing import COLOUR_MAP, figure
from fivefold.evaluation.rows import compress, denoise, detect, generate, impute
from fivefold.evaluation.rows.material import RowMaterial
from fivefold.evaluation.section import Picture, Section, Table
from fivefold.evaluation.sections import training
from fivefold.jobs.codes import encode
from fivefold.jobs.detect import surprise
from fivefold.jobs.impute import impute as impute_cells
from fivefold.tables.dataset import decode_rows
from fivefold.tables.denoise import denoise_rows

_MOST_PLOTS, _ACROSS = 12, 4
_MOST_LINES = 10
_BINS = 24


def _compress(material: RowMaterial) -> Section:
    compared = compress.compare(material)
    if not compared.figures:
        return compared
    return replace(compared, summary=[("compress", f"{compared.figures['bits'][OURS]:.2f} bits per cell")])


def _generate(material: RowMaterial) -> Section:
    compared = generate.compare(material)
    with _plots(material, "generate.png", range(material.schema.size)) as plots:
        for number, ax in plots:
            _histograms(material, number, ax)
    told = compared.figures["told"][OURS]
    summary = f"columns {compared.figures['shapes'][OURS]:.3f} like real ones"
    return replace(
        compared,
        pictures=[Picture("generate.png", "Test rows (blue) and new rows (orange), column by column.")],
        summary=[("generate", summary if told is None else f"{summary}, told from them with AUROC {told:.3f}")],
    )


def _histograms(material: RowMaterial, number: int, ax: Axes) -> None:
    column = material.schema.columns[number]
    real, made = (cells[:, number][~np.isnan(cells[:, number])] for cells in (material.cells, material.generated))
    if column.classes:
        names = ("false", "true") if column.kind == "boolean" else column.categories
        places = np.arange(len(names))
        for offset, cells, colour in ((-0.2, real, "tab:blue"), (0.2, made, "tab:orange")):
            counts = np.bincount(cells.astype(int), minlength=column.classes)
            ax.bar(places + offset, counts[: len(names)], 0.4, color=colour)
        shown = [str(name)[:9] for name in names] if len(names) <= _MOST_PLOTS else []
        ax.set_xticks(places[: len(shown)], shown, rotation=45 if len(names) > 3 else 0)
    else:
        edges = np.histogram_bin_edges(np.concatenate((real, made)), _BINS).tolist()
        ax.hist(real, edges, color="tab:blue", alpha=0.6)
        ax.hist(made, edges, color="tab:orange", alpha=0.6)
    ax.set_yticks([])


def _detect(material: RowMaterial) -> Section:
    compared = detect.compare(material)
    if material.model.normality is None:
        return compared
    score = material.detection.score
    with figure(material.folder / "detect.png", 7, 2.8) as drawn:
        ax = drawn.subplots()
        ax.hist(material.detection.p_value, bins=20, range=(0, 1), color="tab:blue", alpha=0.7)
        ax.axhline(len(score) / 20, color="tab:red", label="if they were like the rows held out in the fit")
        ax.set(xlabel="p-value", ylabel="test rows")
        ax.legend()
    worst = np.argsort(score)[:_MOST_LINES]
    bits = surprise(material.model, material.items.select(worst))[:, 0, :, 0]
    shown = decode_rows(material.schema, material.cells[worst]).to_pylist()
    lines = []
    for row, values, costs in zip(worst, shown, bits, strict=True):
        first = [material.schema.names[at] for at in np.argsort(-costs)[:3]]
        why = ", ".join(f"{name} = {values[name]}" for name in first)
        lines.append((str(row), f"{score[row]:.2f}", f"{material.detection.p_value[row]:.3g}", why))
    return replace(
        compared,
        tables=[*compared.tables, Table(("strangest rows", "score", "p-value", "most surprising cells"), lines)],
        pictures=[Picture("detect.png", "p-values of the test rows.")],
        summary=[("detect", f"false alarms {compared.figures['false_alarms']['0.01']:.2%} at 1 %")],
    )


def _denoise(material: RowMaterial) -> Section:
    compared = denoise.compare(material)
    found = denoise_rows(material.model, material.items)
    probability = np.nan_to_num(found.probability[:, 0, :, 0])
    expected = decode_rows(material.schema, material.schema.snap(found.expected)[:, 0, :, 0]).to_pylist()
    given = decode_rows(material.schema, material.cells).to_pylist()
    lines = []
    for place in np.argsort(-probability, axis=None)[:_MOST_LINES]:
        row, column = divmod(int(place), material.schema.size)
        name = material.schema.names[column]
        lines.append(
            (str(row), name, str(given[row][name]), str(expected[row][name]), f"{probability[row, column]:.3f}")
        )
    header = ("most suspect cells: row", "column", "is", "expected", "probability that it is wrong")
    auroc = compared.figures["auroc"]
    summary = "nothing to swap" if auroc is None else f"swapped cells told with AUROC {auroc:.3f}"
    return replace(compared, tables=[*compared.tables, Table(header, lines)], summary=[("denoise", summary)])


def _impute(material: RowMaterial) -> Section:
    compared = impute.compare(material)
    holey, where = impute.hide(material, impute.SHARES[0])
    found = impute_cells(material.model, material.rows(holey), seed=material.seed).items[:, 0, :, 0]
    pictures = []
    if material.numbers.any():
        with _plots(material, "impute.png", np.flatnonzero(material.numbers)) as plots:
            for number, ax in plots:
                truth, filled = (cells[where[:, number], number] for cells in (material.cells, found))
                ax.plot(truth, filled, ".", color="tab:blue", alpha=0.4, markersize=4)
                ends = float(np.nanmin(material.cells[:, number])), float(np.nanmax(material.cells[:, number]))
                ax.plot(ends, ends, color="tab:red", linewidth=1)
        pictures.append(Picture("impute.png", "Hidden numbers (across) and what was filled in (up); red: the same."))
    errors = compared.figures[f"{impute.SHARES[0]:g}"]["errors"]
    part = "wrong" if errors[OURS]["rmse"] is None else "rmse"
    summary = f"{part} {errors[OURS][part]:.3f} (mean/mode {errors['mean/mode'][part]:.3f})"
    return replace(compared, pictures=pictures, summary=[("impute", f"{impute.SHARES[0]:.0%} hidden: {summary}")])


def _codes(material: RowMaterial) -> Section:
    """The rows' codes in a plane, coloured by the column that they tell most of."""
    codes = encode(material.model, material.items)[0].astype(np.float64)
    centred = codes - codes.mean(axis=0)
    axes = np.linalg.svd(centred, full_matrices=False)[2][:2]
    plane = centred @ axes.T if len(axes) == 2 else np.column_stack((centred[:, 0], np.zeros(len(centred))))
    filled = np.where(np.isnan(material.cells), np.nanmean(material.cells, axis=0), material.cells)
    told = [np.corrcoef(np.column_stack((plane, cells)).T)[2, :2] if np.ptp(cells) else [0, 0] for cells in filled.T]
    column = int(np.nan_to_num(np.abs(told)).max(axis=1).argmax())
    with figure(material.folder / "codes.png", 5, 4) as drawn:
        ax = drawn.subplots()
        points = ax.scatter(plane[:, 0], plane[:, 1], c=material.cells[:, column], s=8, cmap=COLOUR_MAP)
        drawn.colorbar(points, label=material.schema.names[column])
        ax.set(xlabel="first direction", ylabel="second")
    caption = f"The rows' codes along their two main directions, coloured by {material.schema.names[column]}."
    return Section("codes", "What the codes tell", {}, [], [], [Picture("codes.png", caption)])


@contextmanager
def _plots(material: RowMaterial, file: str, columns: range | np.ndarray) -> Iterator[Iterator[tuple[int, Axes]]]:
    """A small plot for each of the first columns, named after it."""
    shown = [int(column) for column in columns[:_MOST_PLOTS]]
    rows = -(-len(shown) // _ACROSS)
    with figure(material.folder / file, 2.4 * min(_ACROSS, len(shown)), 1.9 * rows) as drawn:
        axes = drawn.subplots(rows, min(_ACROSS, len(shown)), squeeze=False).ravel()
        for ax in axes[len(shown) :]:
            ax.set_visible(False)
        for number, ax in zip(shown, axes, strict=False):
            ax.set_title(material.schema.names[number][:28], fontsize=9)
            ax.tick_params(labelsize=7)
            ax.locator_params(nbins=5)
            ax.ticklabel_format(useOffset=False)
        yield zip(shown, axes, strict=False)


ROW_SECTIONS: dict[str, Callable[[RowMaterial], Section]] = {
    "the model": training.make,
    "codes": _codes,
    "compress": _compress,
    "generate": _generate,
    "denoise": _denoise,
    "detect": _detect,
    "impute": _impute,
}
