"""The five jobs on tables beside their rivals: archives, new rows, strange rows, wrong cells and missing ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from scipy.stats import ks_2samp
from sklearn.ensemble import HistGradientBoostingClassifier

from fivefold.archive.write import compress
from fivefold.evaluation.contest import OURS, Measure, Picture, Section, Table, contest, contests
from fivefold.evaluation.drawing import figure, main_plane, plane_of_codes
from fivefold.evaluation.metrics import false_alarms
from fivefold.evaluation.rivals.compressors import table_sizes
from fivefold.evaluation.rivals.detectors import TABLE_DETECTORS, score_rows
from fivefold.evaluation.rivals.imputers import TABLE_IMPUTERS, impute_matrix
from fivefold.evaluation.tables.material import TableMaterial
from fivefold.jobs.detect import surprise
from fivefold.model.verdicts import FOLDS, auroc, two_sample_auroc
from fivefold.tables.table import decode_rows

_ALONE = "columns alone"
_SWAPPED_ROWS = 0.5  # of a row's cells, for detection
_SWAPPED_CELLS = 0.05  # of all cells, for denoising
_FAR = 3.0  # standard deviations
_HIDDEN = (0.3, 0.5)
_INTERVAL = 0.9
_NARROW = 1e-9
_MOST_NAMES, _BINS = 12, 24
_MOST_LINES = 10
_ERRORS = {
    "rmse": Measure("RMSE of numbers (standard deviations)", digits=4, higher_is_better=False),
    "wrong": Measure("share of wrong classes", digits=4, higher_is_better=False),
}


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
    swapped, _ = material.swapped(_SWAPPED_ROWS, "detect")
    scores = {OURS: (-detection.score, -material.detect(swapped).score)}
    if material.against:
        scores |= _rival_scores(material, swapped)
    figures["auroc"] = {name: auroc(*pair) for name, pair in scores.items()}
    rows = {f"{_SWAPPED_ROWS:.0%} of the cells": figures["auroc"]}
    table, losses = contest(Measure("AUROC", digits=4), rows, "swapped")
    sentences.append(
        "Swapped rows have half of their cells from other rows: each column is as it was, the rows are not."
    )
    return Section("detect", "Strange rows", figures, losses + sentences, [table])


def _rival_scores(material: TableMaterial, swapped: np.ndarray) -> dict[str, tuple[np.ndarray, np.ndarray]]:
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
    excess = surprise(material.model, material.items.select(worst))[:, 0, :, 0]
    lines = []
    for row, values, surprising in zip(
        worst, decode_rows(material.schema, material.cells[worst]).to_pylist(), excess, strict=True
    ):
        first = [material.schema.names[at] for at in np.argsort(-surprising)[:3]]
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
    plane, cells, names = main_plane(material.codes), material.cells, material.schema.names
    filled = np.where(np.isnan(cells), np.nanmean(cells, axis=0), cells)
    correlation = [
        np.corrcoef(np.column_stack((plane, column)).T)[2, :2] if np.ptp(column) else [0, 0] for column in filled.T
    ]
    column = int(np.nan_to_num(np.abs(correlation)).max(axis=1).argmax())
    plane_of_codes(material.folder / "codes.png", plane, cells[:, column], names[column])
    caption = f"The rows' codes along their two main directions, coloured by {names[column]}."
    return Section("codes", "What the codes tell", {}, pictures=[Picture("codes.png", caption)])


def _contests(rows: Mapping[str, Mapping[str, Any]]) -> tuple[list[Table], list[str]]:
    """Of numbers, then of classes; `rows` are errors by method under conditions."""
    return contests(
        [
            (measure, {label: {name: errors[part] for name, errors in row.items()} for label, row in rows.items()})
            for part, measure in _ERRORS.items()
        ]
    )


def compare_denoising(material: TableMaterial) -> Section:
    """A twentieth of the cells replaced by other rows': which are found, and how far all cells are from the truth after."""
    damaged, where = material.swapped(_SWAPPED_CELLS, "denoise")
    cleaned, replaced, probability, _ = material.denoise(damaged)
    seen = ~np.isnan(material.cells)
    mended = {OURS: cleaned, "as they are": damaged}
    if material.against:
        mended["three deviations, then ExtraTrees"] = _three_deviations(material, damaged)
    errors = {name: material.errors(cells, seen) for name, cells in mended.items()}
    share = float(where[seen].mean())
    figures = {
        "swapped": share,
        "found": float(replaced[where].mean()) if where.any() else None,
        "right": float(where[replaced].mean()) if replaced.any() else None,
        "auroc": auroc(probability[seen & ~where], probability[seen & where]) if 0 < share < 1 else None,
        "errors": errors,
    }
    sentences = []
    if figures["found"] is not None and figures["right"] is not None:
        sentences.append(
            f"{share:.1%} of the cells were swapped with other rows'; {figures['found']:.0%} of these were "
            f"replaced, and {figures['right']:.0%} of what was replaced had been swapped. By its probability of being "
            f"wrong, a swapped cell is told from another with an AUROC of {figures['auroc']:.3f}."
        )
    tables, losses = _contests({f"{_SWAPPED_CELLS:.0%} swapped": errors})
    return Section("denoise", "Cells that are wrong", figures, losses + sentences, tables)


def _three_deviations(material: TableMaterial, damaged: np.ndarray) -> np.ndarray:
    """Numbers beyond three standard deviations of their columns: taken for missing, and imputed by ExtraTrees."""
    far = np.abs(damaged - np.nanmean(material.known_cells, axis=0)) > _FAR * material.spread
    far &= material.numbers
    return np.where(far, _rival(material, "ExtraTrees", np.where(far, np.nan, damaged)), damaged)


def _rival(material: TableMaterial, name: str, holey: np.ndarray) -> np.ndarray:
    encode = material.matrices.encode
    filled = impute_matrix(TABLE_IMPUTERS[name](), encode(material.known_cells), encode(holey))
    return material.matrices.decode(filled)


def report_denoising(material: TableMaterial) -> Section:
    """The section `denoise`, with the test rows' most suspect cells."""
    compared = compare_denoising(material)
    _, _, probability, expected = material.denoise(material.cells)
    probability = np.nan_to_num(probability)
    actual, likely = (decode_rows(material.schema, cells).to_pylist() for cells in (material.cells, expected))
    lines = []
    for place in np.argsort(-probability, axis=None)[:_MOST_LINES]:
        row, column = divmod(int(place), material.schema.size)
        name = material.schema.names[column]
        lines.append(
            (str(row), name, str(actual[row][name]), str(likely[row][name]), f"{probability[row, column]:.3f}")
        )
    header = ("most suspect cells: row", "column", "is", "expected", "probability that it is wrong")
    area = compared.figures["auroc"]
    summary = "nothing to swap" if area is None else f"swapped cells told with AUROC {area:.3f}"
    return replace(compared, tables=[*compared.tables, Table(header, lines)], summary=[("denoise", summary)])


def compare_imputation(material: TableMaterial) -> Section:
    """Cells hidden at random: errors of numbers and of classes, and the coverage of intervals."""
    figures = {f"{share:g}": _imputation(material, share) for share in _HIDDEN}
    sentences = [
        f"With {float(share):.0%} of the cells hidden, {row['coverage']:.1%} of the hidden numbers lie in their "
        f"{_INTERVAL:.0%} intervals."
        for share, row in figures.items()
        if row["coverage"] is not None
    ]
    tables, losses = _contests({f"{float(share):.0%} hidden": row["errors"] for share, row in figures.items()})
    return Section("impute", "Missing cells", figures, losses + sentences, tables)


def _hide(material: TableMaterial, share: float) -> tuple[np.ndarray, np.ndarray]:
    """The test rows' cells with a share of them hidden, and which."""
    where = (material.rng(f"hide {share:g}").random(material.cells.shape) < share) & ~np.isnan(material.cells)
    return np.where(where, np.nan, material.cells), where


def _imputation(material: TableMaterial, share: float) -> dict[str, Any]:
    holey, where = _hide(material, share)
    ours, lower, upper = material.impute(holey, _INTERVAL)
    inside = ((lower <= material.cells + _NARROW) & (material.cells <= upper + _NARROW))[where & material.numbers]
    filled = {OURS: ours}
    for name in TABLE_IMPUTERS if material.against else ("mean/mode",):
        filled[name] = _rival(material, name, holey)
    errors = {name: material.errors(cells, where) for name, cells in filled.items()}
    return {"errors": errors, "coverage": float(inside.mean()) if len(inside) else None}


def report_imputation(material: TableMaterial) -> Section:
    """The section `impute`, with hidden numbers beside what was filled in."""
    compared, share = compare_imputation(material), _HIDDEN[0]
    holey, where = _hide(material, share)
    imputed, *_ = material.impute(holey, _INTERVAL)
    pictures = []
    if material.numbers.any():
        with material.plots("impute.png", np.flatnonzero(material.numbers)) as plots:
            for number, ax in plots:
                truth, filled = (cells[where[:, number], number] for cells in (material.cells, imputed))
                ax.plot(truth, filled, ".", color="tab:blue", alpha=0.4, markersize=4)
                ends = float(np.nanmin(material.cells[:, number])), float(np.nanmax(material.cells[:, number]))
                ax.plot(ends, ends, color="tab:red", linewidth=1)
        pictures.append(Picture("impute.png", "Hidden numbers (across) and what was filled in (up); red: the same."))
    errors = compared.figures[f"{share:g}"]["errors"]
    part = "wrong" if errors[OURS]["rmse"] is None else "rmse"
    summary = f"{share:.0%} hidden: {part} {errors[OURS][part]:.3f} (mean/mode {errors['mean/mode'][part]:.3f})"
    return replace(compared, pictures=pictures, summary=[("impute", summary)])
