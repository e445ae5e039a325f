"""Anomaly detection: reconstruction errors of test items and of letters."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from matplotlib.axes import Axes

from fivefold.evaluation.comparison import OURS
from fivefold.evaluation.comparisons import detect as comparison
from fivefold.evaluation.drawing import figure, image_rows
from fivefold.evaluation.material import Material
from fivefold.evaluation.section import Picture, Section, Table
from fivefold.images.dataset import read_items
from fivefold.items import Items, make_items
from fivefold.jobs.codes import decode, encode
from fivefold.jobs.detect import surprise
from fivefold.model.scoring import reconstruction_scores

_THRESHOLD = 0.01


def make(material: Material) -> Section | None:
    """The section `detect`; None for a model without held-out items."""
    model = material.model
    if model.normality is None:
        return None
    compared = comparison.compare(material)
    figures, sentences = dict(compared.figures), list(compared.sentences)
    errors = -reconstruction_scores(model, material.items)
    threshold = float(np.quantile(errors, 1 - _THRESHOLD))
    figures["threshold"] = threshold
    pictures = [_draw_worst(material)]
    tables, marked = list(compared.tables), None
    alarms = compared.figures["false_alarms"]["0.01"]
    summary = f"false alarms {alarms:.2%} at 1 %"
    if model.schema == comparison.DIGITS:
        letters = read_items("letters", model.schema)
        letter_errors = -reconstruction_scores(model, letters)
        figures["letters"] = table = _by_letter(material, letters, letter_errors, errors)
        capitals = {letter: row for letter, row in table.items() if letter.isupper()}
        figures["readings"] = readings = _readings(capitals, threshold)
        sentences.append(
            f"The publication looks at the reconstruction error alone; 1 % of the test items have more than "
            f"{threshold:.1f} nats. Its readings, on the capitals: " + "; ".join(readings.values()) + "."
        )
        tables.append(_letter_table(capitals))
        pictures += [_draw_letters(material, letters), _draw_surprise(material, letters)]
        summary = f"letters AUROC {figures['auroc'][OURS]:.3f}, {summary}"
        marked = {letter: row["error"] for letter, row in capitals.items()}
    pictures.insert(0, _draw_histogram(material, errors, threshold, marked))
    return replace(
        compared,
        figures=figures,
        sentences=sentences,
        tables=tables,
        pictures=pictures,
        summary=[("detect", summary)],
    )


def _by_letter(material: Material, letters: Items, letter_errors: np.ndarray, errors: np.ndarray) -> dict[str, dict]:
    """Per letter its mean error, the share of test items below that, and the class that most come out as."""
    assert letters.labels is not None
    looks = None
    if material.classifier is not None:
        restored = decode(material.model, encode(material.model, letters)[0])
        looks = material.classifier.predict(make_items(restored, letters.image_schema))
    table = {}
    for letter in np.unique(letters.labels):
        mine = letters.labels == letter
        error = float(letter_errors[mine].mean())
        looks_like = None
        if looks is not None:
            classes, counts = np.unique(looks[mine], return_counts=True)
            looks_like = str(classes[counts.argmax()])
        table[str(letter)] = {
            "error": error,
            "percentile": float(100 * (errors < error).mean()),
            "looks_like": looks_like,
        }
    return table


def _readings(capitals: dict[str, dict], threshold: float) -> dict[str, str]:
    """What the publication reads from its histogram, and whether it holds here."""
    order = sorted(capitals, key=lambda letter: capitals[letter]["error"])
    anomalous = sum(row["error"] > threshold for row in capitals.values())

    def verdict(claim: str, letter: str, position: int) -> str:
        found = order[position]
        return f"{claim} {letter}: " + ("holds" if found == letter else f"does not hold, it is {found}")

    return {
        "lowest": verdict("lowest error", "Z", 0),
        "second": verdict("second lowest", "H", 1),
        "highest": verdict("highest", "M", -1),
        "most_are_anomalies": f"most letters lie beyond the threshold: {'holds' if anomalous > 13 else 'does not hold'} "
        f"({anomalous} of 26 by their mean error)",
    }


def _letter_table(capitals: dict[str, dict]) -> Table:
    rows = [
        (letter, f"{row['error']:.1f}", f"{row['percentile']:.1f}", row["looks_like"] or "–")
        for letter, row in sorted(capitals.items(), key=lambda item: item[1]["error"])
    ]
    return Table(("letter", "mean error (nats)", "percentile among test items", "comes out as"), rows)


def _draw_histogram(
    material: Material, errors: np.ndarray, threshold: float, letters: dict[str, float] | None
) -> Picture:
    with figure(material.folder / "detect.png", 9, 4.2 if letters else 3.2) as drawn:
        ratios = [3, 1] if letters else [1]
        axes = drawn.subplots(len(ratios), 1, sharex=True, squeeze=False, height_ratios=ratios)
        top, bottom = axes[0, 0], axes[-1, 0]
        highest = max([*(letters or {}).values(), float(np.quantile(errors, 0.999))])
        top.hist(np.clip(errors, None, highest), bins=80, color="tab:blue", alpha=0.7, label="test items")
        top.axvline(threshold, color="tab:red", label="exceeded by 1 % of the items")
        top.set_ylabel("test items")
        top.set_xlim(float(errors.min()), highest + 0.03 * (highest - float(errors.min())))
        top.legend(edgecolor="white", framealpha=1, loc="upper right")
        if letters:
            _mark_letters(bottom, letters)
            bottom.axvline(threshold, color="tab:red")
        bottom.set_xlabel("reconstruction error (nats)")
    marked = "; the mean error of each capital letter" if letters else ""
    return Picture("detect.png", f"Reconstruction errors of the test items{marked}.")


def _mark_letters(ax: Axes, letters: dict[str, float]) -> None:
    """Letters at their errors, stacked where they would overlap."""
    low, high = ax.get_xlim()
    last_in_row: list[float] = []
    for letter, error in sorted(letters.items(), key=lambda item: item[1]):
        row = next((i for i, last in enumerate(last_in_row) if error - last > 0.016 * (high - low)), len(last_in_row))
        last_in_row[row : row + 1] = [error]
        ax.text(error, row, letter, ha="center", va="center", color="tab:brown", weight="bold")
    ax.set(ylim=(-0.7, len(last_in_row) - 0.3), yticks=[], ylabel="letters")


def _draw_worst(material: Material) -> Picture:
    score = material.detection.score
    worst = np.argsort(score)[:10]
    rows = _with_surprise(material, material.items.select(worst))
    image_rows(material.folder / "worst.png", rows, [f"{value:.0f}" for value in score[worst]])
    return Picture(
        "worst.png", "The ten strangest test items by their score, their reconstructions, and what surprises in them."
    )


def _draw_surprise(material: Material, letters: Items) -> Picture:
    """Every third capital of one face."""
    assert letters.labels is not None
    first = [int(np.flatnonzero(letters.labels == chr(code))[1]) for code in range(ord("A"), ord("Z") + 1, 3)]
    image_rows(material.folder / "surprise.png", _with_surprise(material, letters.select(np.array(first))))
    return Picture("surprise.png", "Letters, their reconstructions, and the bits that each pixel costs (yellow: many).")


def _with_surprise(material: Material, items: Items) -> list[tuple[str, np.ndarray]]:
    """Items, reconstructions and heat maps as rows of a picture."""
    model = material.model
    restored = model.schema.to_unit(decode(model, encode(model, items)[0]))
    bits = surprise(model, items)
    scale = max(float(np.quantile(bits, 0.995)), 1e-6)
    return [("item", items.unit()[0]), ("reconstructed", restored), ("surprise", (bits / scale).clip(0, 1))]


def _draw_letters(material: Material, letters: Items) -> Picture:
    """The first face of each capital, in two rows of 13."""
    assert letters.labels is not None
    first = [int(np.flatnonzero(letters.labels == chr(code))[1]) for code in range(ord("A"), ord("Z") + 1)]
    chosen = letters.select(np.array(first))
    unit, restored = (
        chosen.unit()[0],
        material.model.schema.to_unit(decode(material.model, encode(material.model, chosen)[0])),
    )
    rows = []
    for half in (slice(0, 13), slice(13, 26)):
        rows += [("letter", unit[half]), ("reconstructed", restored[half])]
    image_rows(material.folder / "letters.png", rows)
    return Picture("letters.png", "Capitals A–Z in one face, and what the model makes of them.")
