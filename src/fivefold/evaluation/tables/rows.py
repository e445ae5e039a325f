"""Whole rows of a table: their archives, new ones, strange ones, and their codes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from matplotlib.axes import Axes
from scipy.stats import ks_2samp
from sklearn.ensemble import HistGradientBoostingClassifier

from fivefold.archive.write import compress
from fivefold.evaluation.contest import OURS, Measure, Picture, Section, Table, contest, contests
from fivefold.evaluation.drawing import figure, main_plane, plane_of_codes
from fivefold.evaluation.metrics import FOLDS, auroc, false_alarms, two_sample_auroc
from fivefold.evaluation.rivals.compressors import table_sizes
from fivefold.evaluation.rivals.detectors import TABLE_DETECTORS, score_rows
from fivefold.evaluation.tables.material import TableMaterial
from fivefold.jobs.codes import encode
from fivefold.jobs.detect import surprise
from fivefold.tables.table import decode_rows

_ALONE = "columns alone"
_SWAPPED = 0.5
_MOST_NAMES, _BINS = 12, 24
_MOST_LINES = 10


def compare_compression(material: TableMaterial) -> Section:
    """Bytes of the modelled columns of the test rows, all written."""
    if material.model.context is None:
        return Section("compress", "Compression", {}, ("Archives need a model with a context decoder.",))
    table = decode_rows(material.schema, material.cells)
    sizes = {OURS: len(compress(material.model, table)), **table_sizes(table)}
    bits: dict[str, float | None] = {name: 8 * size / material.cells.size for name, size in sizes.items()}
    measure = Measure("bits per cell", digits=3, higher_is_better=False)
    compared, losses = contest(measure, {f"{len(table):,} rows": bits})
    sentences = [f"{OURS}'s figure is a whole archive without the model, which has to be kept beside it."]
    summary = [("compress", f"{bits[OURS]:.2f} bits per cell")]
    figures = {"bits": bits, "sizes": {name: float(size) for name, size in sizes.items()}}
    return Section("compress", "Compression", figures, losses + sentences, [compared], summary=summary)


def compare_generation(material: TableMaterial) -> Section:
    """New rows beside rows whose columns are drawn each by itself; and what training rows would get."""
    known, count = material.known_cells, len(material.cells)
    rng = material.rng("generate")
    sample = known[rng.choice(len(known), count, replace=len(known) < count)]
    rows = {OURS: material.generated, _ALONE: np.stack([rng.permutation(column) for column in sample.T], axis=1)}
    shapes: dict[str, float | None] = {name: column_shapes(material, cells) for name, cells in rows.items()}
    separable = {name: _separability(material, cells) for name, cells in rows.items()}
    known_rows = {row.tobytes() for row in known}
    copies = float(np.mean([row.tobytes() in known_rows for row in material.generated]))
    classified = Measure("AUROC of a classifier between them and real rows", digits=4, higher_is_better=False)
    tables, losses = contests(
        [
            (Measure("shapes of the columns, from 0 to 1", digits=4), {"new rows": shapes}),
            (classified, {"new rows": separable}),
        ]
    )
    best = {"shapes": column_shapes(material, sample), "told": _separability(material, sample)}
    sentences = [
        "A column's shape is 1 less the Kolmogorov–Smirnov distance, or the total variation of classes, from the test "
        f"rows'. The classifier is gradient boosting, over {FOLDS} folds; 0.5 is chance.",
        f"{copies:.1%} of the new rows are copies of known ones.",
    ]
    if material.train is not None:
        sentences.append(f"Training rows in their place have a mean shape of {best['shapes']:.4f}, the best to be had.")
    figures = {"shapes": shapes, "told": separable, "real": best, "copies": copies}
    return Section("generate", "New rows", figures, losses + sentences, tables)


def column_shapes(material: TableMaterial, cells: np.ndarray) -> float:
    """Mean over the columns of how like the test rows' their cells lie."""
    likeness = []
    for number, column in enumerate(material.schema.columns):
        made, real = (part[~np.isnan(part)] for part in (cells[:, number], material.cells[:, number]))
        if not len(made) or not len(real):
            continue
        if column.classes:
            shares = [np.bincount(part.astype(int), minlength=column.classes) / len(part) for part in (made, real)]
            likeness.append(1 - float(np.abs(shares[0] - shares[1]).sum()) / 2)
        else:
            likeness.append(1 - float(ks_2samp(made, real, method="asymp").statistic))
    return float(np.mean(likeness))


def _separability(material: TableMaterial, cells: np.ndarray) -> float | None:
    """How well gradient boosting separates rows from the test rows; the former get the latter's holes."""
    made = np.where(np.isnan(material.cells), np.nan, cells)
    return two_sample_auroc(material.cells, made, HistGradientBoostingClassifier(random_state=material.seed))


def report_generation(material: TableMaterial) -> Section:
    """The section `generate`, with the columns of test rows and of new rows."""
    compared = compare_generation(material)
    with material.plots("generate.png", range(material.schema.size)) as plots:
        for number, ax in plots:
            _histograms(material, number, ax)
    area, summary = compared.figures["told"][OURS], f"columns {compared.figures['shapes'][OURS]:.3f} like real ones"
    return replace(
        compared,
        pictures=[Picture("generate.png", "Test rows (blue) and new rows (orange), column by column.")],
        summary=[("generate", summary if area is None else f"{summary}, told from them with AUROC {area:.3f}")],
    )


def _histograms(material: TableMaterial, number: int, ax: Axes) -> None:
    column = material.schema.columns[number]
    real, made = (cells[:, number][~np.isnan(cells[:, number])] for cells in (material.cells, material.generated))
    if column.classes:
        names = ("false", "true") if column.kind == "boolean" else column.categories
        places = np.arange(len(names))
        for offset, cells, colour in ((-0.2, real, "tab:blue"), (0.2, made, "tab:orange")):
            counts = np.bincount(cells.astype(int), minlength=column.classes)
            ax.bar(places + offset, counts[: len(names)], 0.4, color=colour)
        shown = [str(name)[:9] for name in names] if len(names) <= _MOST_NAMES else []
        ax.set_xticks(places[: len(shown)], shown, rotation=45 if len(names) > 3 else 0)
    else:
        edges = np.histogram_bin_edges(np.concatenate((real, made)), _BINS).tolist()
        ax.hist(real, edges, color="tab:blue", alpha=0.6)
        ax.hist(made, edges, color="tab:orange", alpha=0.6)
    ax.set_yticks([])


def compare_detection(material: TableMaterial) -> Section:
    """False alarms among the rows; AUROC of rows half of whose cells are other rows', against them."""
    if material.model.normality is None:
        return Section("detect", "Strange rows", {}, ("Too few rows were held out in the fit to compare with.",))
    detection = material.detection
    figures, sentences = false_alarms(detection.p_value, detection.calibrated_on, "rows")
    swapped, _ = material.swapped(_SWAPPED, "detect")
    scores = {OURS: (-detection.score, -material.detect(swapped).score)}
    if material.against:
        scores |= _rivals(material, swapped)
    figures["auroc"] = {name: auroc(*pair) for name, pair in scores.items()}
    rows = {f"{_SWAPPED:.0%} of the cells": figures["auroc"]}
    table, losses = contest(Measure("AUROC", digits=4), rows, "swapped")
    sentences.append(
        "Swapped rows have half of their cells from other rows: each column is as it was, the rows are not."
    )
    return Section("detect", "Strange rows", figures, losses + sentences, [table])


def _rivals(material: TableMaterial, swapped: np.ndarray) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Missing cells, which these don't take, at their columns' means."""
    sets = material.known_cells, material.cells, swapped
    train, test, strange = (np.nan_to_num(material.matrices.encode(cells)) for cells in sets)
    scores = {}
    for name in TABLE_DETECTORS:
        score = score_rows(name, train, np.concatenate((test, strange)), material.seed)
        scores[f"PyOD {name}"] = score[: len(test)], score[len(test) :]
    return scores


def report_detection(material: TableMaterial) -> Section:
    """The section `detect`, with the p-values and the strangest rows."""
    compared = compare_detection(material)
    if not compared.figures:
        return compared
    detection = material.detection
    with figure(material.folder / "detect.png", 7, 2.8) as drawn:
        ax = drawn.subplots()
        ax.hist(detection.p_value, bins=20, range=(0, 1), color="tab:blue", alpha=0.7)
        ax.axhline(len(detection.score) / 20, color="tab:red", label="if they were like the rows held out in the fit")
        ax.set(xlabel="p-value", ylabel="test rows")
        ax.legend()
    worst = np.argsort(detection.score)[:_MOST_LINES]
    bits = surprise(material.model, material.items.select(worst))[:, 0, :, 0]
    lines = []
    for row, values, costs in zip(
        worst, decode_rows(material.schema, material.cells[worst]).to_pylist(), bits, strict=True
    ):
        first = [material.schema.names[at] for at in np.argsort(-costs)[:3]]
        why = ", ".join(f"{name} = {values[name]}" for name in first)
        lines.append((str(row), f"{detection.score[row]:.2f}", f"{detection.p_value[row]:.3g}", why))
    return replace(
        compared,
        tables=[*compared.tables, Table(("strangest rows", "score", "p-value", "most surprising cells"), lines)],
        pictures=[Picture("detect.png", "p-values of the test rows.")],
        summary=[("detect", f"false alarms {compared.figures['false_alarms']['0.01']:.2%} at 1 %")],
    )


def report_codes(material: TableMaterial) -> Section:
    """The rows' codes in a plane, coloured by the column that they tell most of."""
    plane, cells, names = main_plane(encode(material.model, material.items)[0]), material.cells, material.schema.names
    filled = np.where(np.isnan(cells), np.nanmean(cells, axis=0), cells)
    correlation = [
        np.corrcoef(np.column_stack((plane, column)).T)[2, :2] if np.ptp(column) else [0, 0] for column in filled.T
    ]
    column = int(np.nan_to_num(np.abs(correlation)).max(axis=1).argmax())
    plane_of_codes(material.folder / "codes.png", plane, cells[:, column], names[column])
    caption = f"The rows' codes along their two main directions, coloured by {names[column]}."
    return Section("codes", "What the codes tell", {}, pictures=[Picture("codes.png", caption)])
