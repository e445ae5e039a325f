"""Anomalies in labelled series beside other detectors: `python benchmarks/series_anomalies.py FOLDER MODELS [--half choose]`.

FOLDER holds the Numenta Anomaly Benchmark (Lavin & Ahmad 2015, arXiv:1510.03336): .csv.gz with `value`, in folders, and
`windows.json`. Each detector is fitted to the first 35 % of a series, and measured on the rest: per step AUROC, average
precision, VUS-ROC and VUS-PR, means over the series with labels there; and the NAB score of alarms over all series. Our alarms
are the steps that are flagged, ranked by p-value; those of others the strangest step in 201, in quartile distances of
what they say of the steps fitted to. Ours is fitted for 3 short epochs. `flagged` is the share of steps outside of labels
that is, at a nominal 1 %. Models are kept in the folder MODELS and fitted when they are not there.

Series are in two halves by a hash of their names: our rule was chosen on `choose` alone.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from results_file import read_result, write_result
from scipy.ndimage import maximum_filter1d, uniform_filter1d
from series_measures import Span, nab_score, volumes
from sklearn.cluster import KMeans
from sklearn.ensemble import IsolationForest
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.neighbors import LocalOutlierFactor, NearestNeighbors

from fivefold import detect, fit, load, save
from fivefold.evaluation.contest import OURS
from fivefold.system import environment

HALVES = ("choose", "confirm")
MEASURES = ("auroc", "average_precision", "vus_roc", "vus_pr")
_SHARE = 0.35
_BRIEF = {"epochs": 3, "shortest_epoch": 15, "longest_epoch": 30}
_LAGS, _LONGEST, _OTHERWISE = 400, 300, 125  # steps of a period
_MOST_WINDOWS, _ROLLING = 4000, 100
_cut = np.lib.stride_tricks.sliding_window_view


@dataclass(frozen=True)
class Labelled:
    """Values `(n,)`, the first `known` of which are fitted to, and labelled windows of the rest; and where the model is kept."""

    model: Path
    values: np.ndarray
    windows: list[Span]
    known: int

    @property
    def labels(self) -> np.ndarray:
        steps = np.arange(len(self.values))
        return np.any([(steps >= first) & (steps <= last) for first, last in self.windows] or [steps < 0], axis=0)


def main() -> None:
    """Measure, write the result after each series, and print the means."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("folder", type=Path)
    options.add_argument("models", type=Path)
    options.add_argument("--half", choices=HALVES, help="only series of this half")
    given = options.parse_args()
    result = {half: found for half, found in read_result("series_anomalies").items() if half in HALVES}
    for half in (given.half,) if given.half else HALVES:
        alarms: dict[str, list[tuple[np.ndarray, list[Span]]]] = {}
        part: dict[str, dict[str, Any]] = {"series": {}}
        for name, series in _read(given.folder, given.models).items():
            if half_of(name) != half:
                continue
            part["series"][name] = _measure(series, alarms)
            print(half, name, part["series"][name][OURS], file=sys.stderr, flush=True)
            if any("vus_pr" in figures[OURS] for figures in part["series"].values()):
                part["detectors"] = {each: _means(part["series"], each, found) for each, found in alarms.items()}
                write_result("series_anomalies", {**result, half: part, "environment": environment()})
        result[half] = part
        for detector, means in part["detectors"].items():
            print(half, detector, {key: round(value, 3) for key, value in means.items()}, file=sys.stderr)


def half_of(name: str) -> str:
    """Which half a series is in, by its name."""
    return HALVES[hashlib.sha256(name.encode()).digest()[0] % 2]


def _read(folder: Path, models: Path) -> dict[str, Labelled]:
    spans, found = json.loads((folder / "windows.json").read_text()), {}
    for path in sorted(folder.glob("*/*.csv.gz")):
        table = pl.read_csv(gzip.decompress(path.read_bytes()))
        stamps, known = table["timestamp"], int(_SHARE * len(table))
        windows = []
        for first, last in spans[f"{path.parent.name}/{path.name[:-3]}"]:
            at = np.flatnonzero(((stamps >= first[:19]) & (stamps <= last[:19])).to_numpy())
            if at[-1] >= known:
                windows.append((max(int(at[0]), known), int(at[-1])))
        found[path.name[: -len(".csv.gz")]] = Labelled(
            models / path.name[: -len(".csv.gz")], table["value"].to_numpy().astype(float), windows, known
        )
    return found


def _measure(series: Labelled, alarms: dict[str, list[tuple[np.ndarray, list[Span]]]]) -> dict[str, Any]:
    """Figures of each detector on the rest of a series; their alarms are added to those of others."""
    labels, known = series.labels[series.known :], series.known
    windows = [(first - known, last - known) for first, last in series.windows]
    figures: dict[str, Any] = {}
    for name, detector in DETECTORS.items():
        start = time.process_time()
        strange, alarm, flagged = detector(series)
        figures[name] = {"seconds": time.process_time() - start}
        alarms.setdefault(name, []).append((alarm[known:], windows))
        if flagged is not None:
            figures[name]["flagged"] = float(flagged[known:][~labels].mean())
            figures[name]["found"] = sum(bool(flagged[first : last + 1].any()) for first, last in series.windows)
        if labels.any():
            by_rank = roc_auc_score(labels, strange[known:]), average_precision_score(labels, strange[known:])
            figures[name] |= dict(zip(MEASURES, (*map(float, by_rank), *volumes(labels, strange[known:])), strict=True))
    return figures


def _means(series: dict[str, Any], detector: str, alarms: list[tuple[np.ndarray, list[Span]]]) -> dict[str, float]:
    found = [figures[detector] for figures in series.values()]
    means = {key: float(np.mean([each[key] for each in found if key in each])) for key in (*MEASURES, "seconds")}
    means["nab"] = float(nab_score(alarms))
    if "flagged" in found[0]:
        flagged = [each["flagged"] for each in found]
        means |= {"flagged": float(np.mean(flagged)), "flagged_worst": max(flagged)}
    return means


def _ours(series: Labelled) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if not series.model.exists():
            save(fit(series.values[None, : series.known], kind="series", verdicts=False, **_BRIEF), series.model)
        found = detect(load(series.model), series.values[None])
    alarm = np.full(len(series.values), -np.inf)
    flagged = np.flatnonzero(found.anomaly[0])
    alarm[flagged] = -np.log(found.p_value[0][flagged])
    return -found.score[0], alarm, found.anomaly[0]


def _peer(measure: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> Callable[[Labelled], tuple[Any, ...]]:
    def score(series: Labelled) -> tuple[np.ndarray, np.ndarray, None]:
        strange = measure(series.values[: series.known], series.values)
        low, middle, high = np.quantile(strange[: series.known], (0.25, 0.5, 0.75))
        highest = maximum_filter1d(strange, 2 * _ROLLING + 1)
        alarm = (strange - middle) / max(high - low, 1e-9)
        return strange, np.where(strange >= highest, alarm, -np.inf), None

    return score


def _of_windows(measure: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> Callable[[Labelled], tuple[Any, ...]]:
    """A detector of windows of one period; each counts for the step in its middle."""

    def score(known: np.ndarray, values: np.ndarray) -> np.ndarray:
        width = max(min(_period(known), len(known) // 4), 8)
        windows = _cut(known, width)
        every = max(len(windows) // _MOST_WINDOWS, 1)
        return _middle(measure(windows[::every], _cut(values, width)), width)

    return _peer(score)


def _middle(found: np.ndarray, width: int) -> np.ndarray:
    before = (width - 1) // 2
    return np.pad(found, (before, width - 1 - before), mode="edge")


def _period(values: np.ndarray) -> int:
    """The lag of the highest peak of the autocorrelation, or 125 where that is longer than 300, as TSB-UAD chooses windows."""
    off = values - values.mean()
    correlation = np.fft.irfft(np.abs(np.fft.rfft(off, 2 * len(off))) ** 2)[3 : _LAGS + 1]
    peaks = np.flatnonzero((correlation[1:-1] > correlation[:-2]) & (correlation[1:-1] > correlation[2:])) + 1
    best = int(peaks[np.argmax(correlation[peaks])]) if len(peaks) else _LAGS
    return best + 3 if 3 <= best <= _LONGEST else _OTHERWISE


def _robust(known: np.ndarray, values: np.ndarray) -> np.ndarray:
    off = np.abs(values - np.median(known))
    return off / (float(np.median(np.abs(known - np.median(known)))) or float(known.std()) or 1.0)


def _rolling(known: np.ndarray, values: np.ndarray) -> np.ndarray:
    frame = pl.Series(values).shift(1)
    quartiles = [frame.rolling_quantile(q, window_size=_ROLLING, min_samples=5).to_numpy() for q in (0.25, 0.5, 0.75)]
    width = np.maximum(quartiles[2] - quartiles[0], 1e-3 * known.std() + 1e-9)
    return np.nan_to_num(np.abs(values - quartiles[1]) / width)


def _matrix_profile(known: np.ndarray, values: np.ndarray) -> np.ndarray:
    import stumpy

    width = max(min(_period(known), len(known) // 4), 8)
    profile = stumpy.stump(values, width, known, ignore_trivial=False)[:, 0].astype(float)
    return _middle(np.nan_to_num(profile, posinf=0.0), width)


def _sub_pca(known: np.ndarray, windows: np.ndarray) -> np.ndarray:
    """Distance from the mean with components of equal weight, as Mahalanobis has it."""
    mean, deviation = known.mean(axis=0), known.std(axis=0) + 1e-9
    variances, axes = np.linalg.eigh(np.cov(((known - mean) / deviation).T))
    rotated = (windows - mean) / deviation @ axes
    return (np.square(rotated) / np.maximum(variances, max(1e-6 * variances.max(), 1e-12))).sum(axis=1)


def _lof(known: np.ndarray, windows: np.ndarray) -> np.ndarray:
    apart = known + 1e-9 * np.random.default_rng(0).normal(size=known.shape)  # equal windows have no density
    return -LocalOutlierFactor(novelty=True).fit(apart).score_samples(windows)


def _spectral_residual(known: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Ren et al. 2019, arXiv:1906.03821."""
    spectrum = np.fft.fft(values)
    residual = np.log(np.abs(spectrum) + 1e-9)
    residual = residual - uniform_filter1d(residual, 3)
    salient = np.abs(np.fft.ifft(np.exp(residual + 1j * np.angle(spectrum))))
    mean = uniform_filter1d(salient, 21, origin=10)
    return (salient - mean) / (mean + 1e-9)


DETECTORS: dict[str, Callable[[Labelled], tuple[Any, ...]]] = {
    OURS: _ours,
    "z-score": _peer(lambda known, values: np.abs(values - known.mean())),
    "robust z-score": _peer(_robust),
    "rolling robust z-score": _peer(_rolling),
    "spectral residual": _peer(_spectral_residual),
    "matrix profile": _peer(_matrix_profile),
    "Sub-PCA": _of_windows(_sub_pca),
    "k-means of windows": _of_windows(
        lambda known, windows: KMeans(20, n_init=1, random_state=0).fit(known).transform(windows).min(axis=1)
    ),
    "nearest window": _of_windows(
        lambda known, windows: NearestNeighbors(n_neighbors=1).fit(known).kneighbors(windows)[0][:, 0]
    ),
    "IForest of windows": _of_windows(
        lambda known, windows: -IsolationForest(random_state=0).fit(known).score_samples(windows)
    ),
    "LOF of windows": _of_windows(_lof),
}


if __name__ == "__main__":
    main()
