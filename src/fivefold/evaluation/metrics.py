"""The measures: of images in [0, 1], of features, and of how well something is told apart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.metrics import pairwise_distances_chunked
from sklearn.neighbors import NearestNeighbors

_LEAST_ERROR = 1e-10  # 100 dB
_SSIM_BATCH = 250
RATES = (0.01, 0.05)  # of false alarms
NEIGHBOURS = 5  # of the manifolds that `manifold_overlap` compares


def psnr(truth: np.ndarray, estimate: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Peak signal-to-noise ratio of each item over its visible elements, in decibels, `(n,)`; 100 dB for a copy."""
    error = np.square(truth - estimate).mean(axis=(1, 2, 3), dtype=np.float64, where=seen)
    return np.asarray(-10 * np.log10(np.maximum(error, _LEAST_ERROR)))


def ssim(truth: np.ndarray, estimate: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Structural similarity of images `(n, h, w, c)`, `(n,)` (Wang et al. 2004); small images get a smaller window.

    Elements that are not visible count as equal.
    """
    from torchmetrics.functional.image import structural_similarity_index_measure

    from fivefold.model.fitted import channels_first

    estimate = np.where(seen, estimate, truth)
    window = min(11, *(side - 1 + side % 2 for side in truth.shape[1:3]))
    values = []
    for start in range(0, len(truth), _SSIM_BATCH):
        rows = slice(start, start + _SSIM_BATCH)
        estimated, true = channels_first(estimate[rows]), channels_first(truth[rows])
        similarity = structural_similarity_index_measure(
            estimated, true, gaussian_kernel=window == 11, kernel_size=window, reduction="none", data_range=1.0
        )
        values.append(np.atleast_1d(np.asarray(similarity)))
    return np.concatenate(values)


def root_mean_square(errors: np.ndarray) -> float:
    """The root of the mean of the squares of all elements."""
    return float(np.sqrt(np.square(errors, dtype=np.float64).mean()))


def frechet_distance(a: np.ndarray, b: np.ndarray) -> float:
    """Fréchet distance of normals fitted to two sets of features `(n, d)` (Heusel et al. 2017, arXiv:1706.08500)."""
    mean_a, mean_b = a.mean(axis=0, dtype=np.float64), b.mean(axis=0, dtype=np.float64)
    cov_a, cov_b = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    # tr √(AB) = Σ √λ(√A B √A): symmetric, hence real and stable
    values, vectors = np.linalg.eigh(cov_a)
    root = (vectors * np.sqrt(np.clip(values, 0, None))) @ vectors.T
    shared = np.sqrt(np.clip(np.linalg.eigvalsh(root @ cov_b @ root), 0, None)).sum()
    return float(np.square(mean_a - mean_b).sum() + np.trace(cov_a) + np.trace(cov_b) - 2 * shared)


@dataclass(frozen=True)
class ManifoldOverlap:
    """Precision and recall (Kynkäänniemi et al. 2019, arXiv:1904.06991), density and coverage (Naeem et al. 2020,
    arXiv:2002.09797)."""

    precision: float
    recall: float
    density: float
    coverage: float


def manifold_overlap(real: np.ndarray, generated: np.ndarray, neighbours: int = NEIGHBOURS) -> ManifoldOverlap:
    """How far generated features `(m, d)` fall among the real `(n, d)`, and the other way round.

    An item's ball reaches to its k-th nearest neighbour of its own set.
    """
    real_radius, generated_radius = (_radii(features, neighbours) for features in (real, generated))
    in_real_balls = np.zeros(len(generated), np.int64)
    recalled, covered, row = [], [], 0
    for distances in pairwise_distances_chunked(real, generated, working_memory=128):
        inside = distances < real_radius[row : row + len(distances), None]
        row += len(distances)
        in_real_balls += inside.sum(axis=0)
        covered.append(inside.any(axis=1))
        recalled.append((distances < generated_radius).any(axis=1))
    return ManifoldOverlap(
        precision=float((in_real_balls > 0).mean()),
        recall=float(np.concatenate(recalled).mean()),
        density=float(in_real_balls.mean() / neighbours),
        coverage=float(np.concatenate(covered).mean()),
    )


def _radii(features: np.ndarray, neighbours: int) -> np.ndarray:
    fitted = NearestNeighbors(n_neighbors=neighbours + 1).fit(features)  # the first neighbour is the item itself
    return np.asarray(fitted.kneighbors(features)[0])[:, -1]


def sharpness(images: np.ndarray) -> float:
    """Mean absolute difference of neighbouring pixels of `(n, h, w, c)`, in both directions; 0 for single pixels."""
    steps = np.concatenate([np.abs(np.diff(images, axis=axis)).ravel() for axis in (1, 2)])
    return float(steps.mean()) if steps.size else 0.0


def alarm_shares(p_value: np.ndarray) -> dict[str, float]:
    """The share of items that are flagged, by the nominal rate of false alarms."""
    return {f"{rate:g}": float((p_value <= rate).mean()) for rate in RATES}


def false_alarms(p_value: np.ndarray, calibrated_on: int, noun: str) -> tuple[dict[str, Any], list[str]]:
    """Figures and sentences on items (`noun`) that are all normal, with the standard errors of their shares."""
    shares = alarm_shares(p_value)
    # the rate itself varies with the calibrating items, the share with the tested ones
    variance = 1 / len(p_value) + 1 / calibrated_on
    errors = {f"{rate:g}": float(np.sqrt(rate * (1 - rate) * variance)) for rate in RATES}
    sentences = [
        f"At a nominal {float(rate):.0%}, {share:.2%} of the {noun} are flagged (standard error {errors[rate]:.2%})."
        for rate, share in shares.items()
    ]
    return {"false_alarms": shares, "standard_errors": errors, "calibrated_on": calibrated_on}, sentences
