"""Whether two samples are of one distribution: p-values, each at most as often small as it says if they are."""

from __future__ import annotations

import numpy as np

from fivefold.arrays import Floats

_PERMUTATIONS = 999
_EXPECTED = 5.0  # items of a class, in the smaller sample, below which classes are taken together


def column_test(own: np.ndarray, new: np.ndarray, classes: int = 0) -> float:
    """Of the numbers, or codes of so many `classes`, of two samples `(m,)` and `(n,)`, NaN where missing; where some are missing,
    twice the lesser of that and of how many are."""
    from scipy.stats import ks_2samp

    known = [part[~np.isnan(part)] for part in (own, new)]
    p_value = 1.0
    if all(len(part) for part in known):
        p_value = _counts_test(_counts(known, classes)) if classes else float(ks_2samp(*known).pvalue)
    missing = np.array([[len(part) - len(seen), len(seen)] for part, seen in zip((own, new), known, strict=True)])
    return min(1.0, 2 * min(p_value, _counts_test(missing))) if missing[:, 0].any() else p_value


def _counts(samples: list[np.ndarray], classes: int) -> np.ndarray:
    return np.stack([np.bincount(part.astype(np.int64), minlength=classes) for part in samples])


def _counts_test(counts: np.ndarray) -> float:
    """Of counts `(2, k)` by class, the rare ones taken together: chi-squared, of two classes Fisher's exact test."""
    from scipy.stats import chi2_contingency, fisher_exact

    counts = counts[:, counts.any(axis=0)]
    share = counts.sum(axis=1).min() / counts.sum()
    rare = counts.sum(axis=0) * share < _EXPECTED
    if counts.shape[1] > 2 and rare.any():
        together = counts[:, rare].sum(axis=1, keepdims=True)
        counts = np.concatenate((counts[:, ~rare], together), axis=1)
    if counts.shape[1] < 2:
        return 1.0
    return float(fisher_exact(counts)[1] if counts.shape[1] == 2 else chi2_contingency(counts)[1])


def energy_test(own: np.ndarray, new: np.ndarray, rng: np.random.Generator) -> float:
    """Of points `(m, d)` and `(n, d)`, by their energy distance (Székely & Rizzo 2004) after 999 permutations; axes count by how
    far `own` points spread along them."""
    from scipy.spatial.distance import cdist

    deviation = own.std(axis=0)
    points = np.concatenate((own, new)) / np.where(deviation > 0, deviation, 1.0)
    far, m, total = cdist(points, points), len(own), len(points)
    chosen = np.zeros((total, 1 + _PERMUTATIONS))
    chosen[:m, 0] = 1
    for column in chosen.T[1:]:
        column[rng.permutation(total)[:m]] = 1
    distance = _energy(far, chosen, m)
    return float((distance >= distance[0] * (1 - 1e-9)).mean())


def _energy(far: np.ndarray, chosen: np.ndarray, m: int) -> Floats:
    """Energy distances `(p,)` between those `chosen` `(n, p)`, m each, and the others, from distances `(n, n)`."""
    n, sums = len(far) - m, far @ chosen
    within = (chosen * sums).sum(axis=0)
    between = sums.sum(axis=0) - within
    others = far.sum() - within - 2 * between
    distances: Floats = 2 * between / (m * n) - within / m**2 - others / n**2
    return distances


def holm(p_values: np.ndarray) -> Floats:
    """p-values `(k,)` corrected for their number, so that none is small by chance (Holm 1979)."""
    order = np.argsort(p_values)
    stepped = np.maximum.accumulate(p_values[order] * np.arange(len(p_values), 0, -1))
    corrected = np.empty(len(p_values))
    corrected[order] = np.minimum(stepped, 1.0)
    return corrected
