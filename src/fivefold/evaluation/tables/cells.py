"""Cells of a table, missing or wrong, beside other imputers: denoising and imputation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from fivefold.evaluation.contest import OURS, Measure, Picture, Section, Table, contests
from fivefold.evaluation.metrics import auroc
from fivefold.evaluation.rivals.imputers import TABLE_IMPUTERS, impute_matrix
from fivefold.evaluation.tables.material import TableMaterial
from fivefold.tables.table import decode_rows

_SWAPPED = 0.05
_FAR = 3.0  # standard deviations
_HIDDEN = (0.3, 0.5)
_INTERVAL = 0.9
_NARROW = 1e-9
_MOST_LINES = 10
_MEASURES = {
    "rmse": Measure("RMSE of numbers (standard deviations)", digits=4, higher_is_better=False),
    "wrong": Measure("share of wrong classes", digits=4, higher_is_better=False),
}


def _contests(rows: Mapping[str, Mapping[str, Any]]) -> tuple[list[Table], list[str]]:
    """Of numbers, then of classes; `rows` are errors by method under conditions."""
    return contests(
        [
            (measure, {label: {name: errors[part] for name, errors in row.items()} for label, row in rows.items()})
            for part, measure in _MEASURES.items()
        ]
    )


def compare_denoising(material: TableMaterial) -> Section:
    """A twentieth of the cells replaced by other rows': which are found, and how far all cells are from the truth after."""
    damaged, where = material.swapped(_SWAPPED, "denoise")
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
    tables, losses = _contests({f"{_SWAPPED:.0%} swapped": errors})
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
    figures = {f"{share:g}": _measure(material, share) for share in _HIDDEN}
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


def _measure(material: TableMaterial, share: float) -> dict[str, Any]:
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
