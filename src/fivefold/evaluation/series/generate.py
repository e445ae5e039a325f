"""New windows: whether a classifier tells them from real ones, and whether they are copies."""

from __future__ import annotations

import numpy as np
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import cross_val_predict
from sklearn.neighbors import NearestNeighbors

from fivefold.evaluation.comparison import OURS, Measure, contest
from fivefold.evaluation.section import Section
from fivefold.evaluation.series.material import SeriesMaterial

_FOLDS = 5
_SHUFFLED = "training windows' steps, shuffled"


def compare(material: SeriesMaterial) -> Section:
    """Beside steps of training windows, each from another window; and what training windows would get."""
    real, known = (filled(series.items().values[..., 0]) for series in (material.series, material.known))
    rng, made = material.rng("generate"), material.generated
    some = known[rng.choice(len(known), len(made), replace=len(known) < len(made))]
    shuffled = np.stack([rng.permutation(step) for step in some.swapaxes(0, 1)], axis=1)
    told = {name: _told(material, real, each) for name, each in ((OURS, made), (_SHUFFLED, shuffled))}
    best, copies = _told(material, real, some), nearest_ratio(made, known, real)
    measure = Measure("AUROC of a classifier between them and real windows", digits=3, higher_is_better=False)
    table, losses = contest(measure, {"new windows": told})
    among = "There are too few windows for it." if best is None else f"Training windows in their place get {best:.3f}."
    sentences = [
        f"The classifier is a forest, over {_FOLDS} folds; 0.5 is chance. {among}",
        f"The nearest training window is {copies:.2f} times as far from a new window as from a test window, in the median: "
        "well below 1 they would be copies.",
    ]
    figures = {"told": told, "real": best, "nearest_ratio": copies}
    return Section("generate", "New windows", figures, losses + sentences, [table])


def filled(windows: np.ndarray) -> np.ndarray:
    """Windows `(n, t, c)` with their channels' means where nothing is."""
    return np.where(np.isnan(windows), np.nanmean(windows, axis=(0, 1)), windows)


def nearest_ratio(made: np.ndarray, known: np.ndarray, real: np.ndarray) -> float:
    """How far new windows are from the nearest known one, in the median, as a share of how far real others are."""
    neighbours = NearestNeighbors(n_neighbors=1).fit(known.reshape(len(known), -1))
    far = [float(np.median(neighbours.kneighbors(each.reshape(len(each), -1))[0])) for each in (made, real)]
    return far[0] / max(far[1], 1e-12)


def _told(material: SeriesMaterial, real: np.ndarray, windows: np.ndarray) -> float | None:
    """How well a classifier tells windows from the test windows, at least 0.5; None of too few."""
    if len(real) < 2 * _FOLDS or len(windows) < 2 * _FOLDS:
        return None
    both = np.concatenate((real, windows)).reshape(len(real) + len(windows), -1)
    new = np.arange(len(both)) >= len(real)
    classifier = ExtraTreesClassifier(random_state=material.seed)
    order = material.rng("folds").permutation(len(both))
    scores = cross_val_predict(classifier, both[order], new[order], cv=_FOLDS, method="predict_proba")[:, 1]
    return max(0.5, float(roc_auc_score(new[order], scores)))
