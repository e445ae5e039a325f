"""Anomaly detection beside PyOD's detectors and the plain reconstruction error; of digits, letters are the anomalies."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes

from fivefold.evaluation.contest import OURS, Measure, Picture, Section, Table, contest
from fivefold.evaluation.drawing import figure, image_rows
from fivefold.evaluation.images.material import ImageMaterial
from fivefold.evaluation.metrics import alarm_shares, false_alarms
from fivefold.evaluation.rivals.detectors import IMAGE_DETECTORS, fit_image_detector
from fivefold.images.dataset import make_items, read_items
from fivefold.images.schema import ImageSchema
from fivefold.items import Items
from fivefold.jobs.codes import decode, encode
from fivefold.jobs.detect import surprise
from fivefold.model.scoring import reconstruction_scores
from fivefold.model.verdicts import auroc

_DIGITS = ImageSchema(28, 28, 1, "uint8", 0.0, 255.0)
_ERROR = "reconstruction error"
_THRESHOLD = 0.01
_Letters = dict[str, dict[str, Any]]
_Pair = tuple[np.ndarray, np.ndarray]


def compare(material: ImageMaterial) -> Section:
    """False alarms among the items; AUROC of anomalies against them, where there are any."""
    model = material.model
    if model.normality is None:
        return Section("detect", "Anomaly detection", {}, ("Too few items were held out in the fit to compare with.",))
    detection = material.detection
    figures, sentences = false_alarms(detection.p_value, detection.calibrated_on, "items")
    if model.schema != _DIGITS:
        return Section("detect", "Anomaly detection", figures, sentences)
    anomalies = read_items("letters", model.schema)
    strange = material.detect(anomalies)
    figures["found"] = alarm_shares(strange.p_value)
    scores: dict[str, _Pair] = {OURS: (-detection.score, -strange.score)}
    scores[_ERROR] = (-reconstruction_scores(model, material.items), -reconstruction_scores(model, anomalies))
    if material.against:
        scores |= _rivals(material, anomalies)
    figures["auroc"] = {name: auroc(*pair) for name, pair in scores.items()}
    rows = {f"{anomalies.source} against items": figures["auroc"]}
    table, losses = contest(Measure("AUROC", digits=4), rows, "anomalies")
    return Section("detect", "Anomaly detection", figures, losses + sentences, [table])


def _rivals(material: ImageMaterial, anomalies: Items) -> dict[str, _Pair]:
    assert material.train is not None
    sets = material.train, material.items, anomalies
    train, normal, strange = (items.unit()[0].reshape(len(items), -1) for items in sets)
    scores = {}
    for name in IMAGE_DETECTORS:
        score = fit_image_detector(name, train, minutes=material.peer_minutes, seed=material.seed)
        scores[f"PyOD {name}"] = score(normal), score(strange)
    return scores


def report(material: ImageMaterial) -> Section | None:
    """The section `detect`, with reconstruction errors of test items and of letters; None without held-out items."""
    model = material.model
    if model.normality is None:
        return None
    compared = compare(material)
    errors = -reconstruction_scores(model, material.items)
    threshold = float(np.quantile(errors, 1 - _THRESHOLD))
    figures: dict[str, Any] = {**compared.figures, "threshold": threshold}
    sentences, tables, pictures = list(compared.sentences), list(compared.tables), [_draw_worst(material)]
    summary, capitals = f"false alarms {figures['false_alarms']['0.01']:.2%} at 1 %", {}
    if model.schema == _DIGITS:
        letters = read_items("letters", model.schema)
        figures["letters"] = by_letter = _by_letter(material, letters, errors)
        capitals = {letter: row for letter, row in by_letter.items() if letter.isupper()}
        figures["readings"] = readings = _readings(capitals, threshold)
        sentences.append(
            f"The publication looks at the reconstruction error alone; 1 % of the test items have more than "
            f"{threshold:.1f} nats. Its readings, on the capitals: " + "; ".join(readings.values()) + "."
        )
        rows = [
            (letter, f"{row['error']:.1f}", f"{row['percentile']:.1f}", row["looks_like"] or "–")
            for letter, row in sorted(capitals.items(), key=lambda item: item[1]["error"])
        ]
        tables.append(Table(("letter", "mean error (nats)", "percentile among test items", "comes out as"), rows))
        pictures += _draw_letters(material, letters)
        summary = f"letters AUROC {figures['auroc'][OURS]:.3f}, {summary}"
    pictures.insert(0, _draw_histogram(material, errors, threshold, capitals))
    return Section("detect", compared.title, figures, sentences, tables, pictures, [("detect", summary)])


def _by_letter(material: ImageMaterial, letters: Items, errors: np.ndarray) -> _Letters:
    """Per letter its mean error, the share of test items below that, and the class that most come out as."""
    assert letters.labels is not None
    letter_errors, predicted = -reconstruction_scores(material.model, letters), None
    if material.classifier is not None:
        restored = decode(material.model, encode(material.model, letters)[0])
        predicted = material.classifier.predict(make_items(restored, material.schema))
    table = {}
    for letter in np.unique(letters.labels):
        chosen = letters.labels == letter
        error, looks_like = float(letter_errors[chosen].mean()), None
        if predicted is not None:
            classes, counts = np.unique(predicted[chosen], return_counts=True)
            looks_like = str(classes[counts.argmax()])
        percentile = float(100 * (errors < error).mean())
        table[str(letter)] = {"error": error, "percentile": percentile, "looks_like": looks_like}
    return table


def _readings(capitals: _Letters, threshold: float) -> dict[str, str]:
    """What the publication reads from its histogram, and whether it holds here."""
    order = sorted(capitals, key=lambda letter: capitals[letter]["error"])
    anomalous = sum(row["error"] > threshold for row in capitals.values())

    def verdict(claim: str, letter: str, position: int) -> str:
        actual = order[position]
        return f"{claim} {letter}: " + ("holds" if actual == letter else f"does not hold, it is {actual}")

    return {
        "lowest": verdict("lowest error", "Z", 0),
        "second": verdict("second lowest", "H", 1),
        "highest": verdict("highest", "M", -1),
        "most_are_anomalies": f"most letters lie beyond the threshold: {'holds' if anomalous > 13 else 'does not hold'} "
        f"({anomalous} of 26 by their mean error)",
    }


def _draw_histogram(material: ImageMaterial, errors: np.ndarray, threshold: float, capitals: _Letters) -> Picture:
    letters = {letter: row["error"] for letter, row in capitals.items()}
    with figure(material.folder / "detect.png", 9, 4.2 if letters else 3.2) as drawn:
        ratios = [3, 1] if letters else [1]
        axes = drawn.subplots(len(ratios), 1, sharex=True, squeeze=False, height_ratios=ratios)
        top, bottom = axes[0, 0], axes[-1, 0]
        highest = max([*letters.values(), float(np.quantile(errors, 0.999))])
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


def _draw_worst(material: ImageMaterial) -> Picture:
    score = material.detection.score
    worst = np.argsort(score)[:10]
    rows = _with_surprise(material, material.items.select(worst))
    image_rows(material.folder / "worst.png", rows, [f"{value:.0f}" for value in score[worst]])
    caption = "The ten strangest test items by their score, their reconstructions, and what surprises in them."
    return Picture("worst.png", caption)


def _with_surprise(material: ImageMaterial, items: Items) -> list[tuple[str, np.ndarray]]:
    """Items, reconstructions and heat maps as rows of a picture."""
    excess = surprise(material.model, items)
    heat = (excess / max(float(np.quantile(excess, 0.995)), 1e-6)).clip(0, 1)
    return [("item", items.unit()[0]), ("reconstructed", material.reconstruct(items)), ("surprise", heat)]


def _draw_letters(material: ImageMaterial, letters: Items) -> list[Picture]:
    """The capitals of one face in two rows of 13, and every third with what surprises in it."""
    chosen = _one_face(letters)
    unit, restored = chosen.unit()[0], material.reconstruct(chosen)
    halves = slice(0, 13), slice(13, 26)
    rows = [row for half in halves for row in (("letter", unit[half]), ("reconstructed", restored[half]))]
    image_rows(material.folder / "letters.png", rows)
    image_rows(material.folder / "surprise.png", _with_surprise(material, _one_face(letters, step=3)))
    caption = "Letters, their reconstructions, and the bits that each pixel costs (yellow: many)."
    first = Picture("letters.png", "Capitals A–Z in one face, and what the model makes of them.")
    return [first, Picture("surprise.png", caption)]


def _one_face(letters: Items, step: int = 1) -> Items:
    """Every `step`-th capital, in the same face."""
    capitals = range(ord("A"), ord("Z") + 1, step)
    return letters.select(np.array([np.flatnonzero(letters.labels == chr(code))[1] for code in capitals]))
