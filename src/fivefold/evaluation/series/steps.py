"""Steps of series, noisy or missing, beside filters and interpolation: denoising and imputation."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from fivefold.evaluation.contest import OURS, Measure, Picture, Section, contest
from fivefold.evaluation.drawing import figure
from fivefold.evaluation.rivals.denoisers import FILTERS, filter_series
from fivefold.evaluation.rivals.imputers import SERIES_IMPUTERS, impute_steps
from fivefold.evaluation.series.material import SeriesMaterial

_FEWEST_BETWEEN, _MOST_BETWEEN = 20, 80
_DECIBELS = (20, 10, 0)
_TRUTH, _OURS, _GIVEN = "tab:gray", "tab:blue", "tab:orange"


def hide_at_random(lengths: np.ndarray, rng: np.random.Generator, share: float = 0.2) -> np.ndarray:
    """Which steps to hide, bool `(total,)`; neither the first nor the last of a series."""
    return _inner(lengths) & (rng.random(lengths.sum()) < share)


def hide_gaps(lengths: np.ndarray, rng: np.random.Generator, shortest: int = 5, longest: int = 20) -> np.ndarray:
    """Runs of steps to hide, likewise, with 20 to 80 steps between; none longer than a third of its series."""
    hidden, first = np.zeros(lengths.sum(), bool), 0
    for length in lengths:
        most = max(min(longest, length // 3), 1)
        place = int(rng.integers(1, max(min(_FEWEST_BETWEEN, length - most), 2)))
        while place < length - 1:
            run = int(rng.integers(min(shortest, most), most + 1))
            hidden[first + place : first + min(place + run, length - 1)] = True
            place += run + int(rng.integers(_FEWEST_BETWEEN, _MOST_BETWEEN))
        first += length
    return hidden & _inner(lengths)


def _inner(lengths: np.ndarray) -> np.ndarray:
    ends = np.cumsum(lengths)
    inner = np.ones(ends[-1], bool)
    inner[np.concatenate((ends - lengths, ends - 1))] = False
    return inner


_GAPS = "gaps of 5–20 steps"
_HIDDEN: dict[str, Callable[[np.ndarray, np.random.Generator], np.ndarray]] = {
    "20 % of the steps": hide_at_random,
    _GAPS: hide_gaps,
}


def add_noise(values: np.ndarray, decibels: float, rng: np.random.Generator) -> np.ndarray:
    """White noise on `(total, c)`, so many decibels below each channel's variance."""
    spread = np.nanstd(values, axis=0) * 10 ** (-decibels / 20)
    return values + spread * rng.standard_normal(values.shape)


def compare_denoising(material: SeriesMaterial) -> Section:
    """By how many decibels the error is less than the noise."""
    gains = {f"{level} dB": _gains(material, level) for level in _DECIBELS}
    table, losses = contest(Measure("gain", " dB"), gains, "signal to noise")
    summary = [("denoise", f"gain {gains['10 dB'][OURS]:.2f} dB at 10 dB")]
    return Section("denoise", "White noise", {"gain": gains}, losses, [table], summary=summary)


def _gains(material: SeriesMaterial, level: float) -> dict[str, float | None]:
    rng = material.rng(f"noise {level}")
    noisy, known = add_noise(material.values, level, rng), material.known
    test = noisy, material.data.lengths
    cleaned = {OURS: material.denoise(noisy)}
    for name in FILTERS if material.against else ():
        noisy_known = add_noise(known.values, level, rng), known.lengths
        cleaned[name] = filter_series(name, known.values, noisy_known, test)
    before = material.rmse(noisy)
    return {name: 20 * float(np.log10(before / material.rmse(values))) for name, values in cleaned.items()}


def report_denoising(material: SeriesMaterial) -> Section:
    """The section `denoise`, with an excerpt."""
    compared = compare_denoising(material)
    noisy = add_noise(material.values, 10, material.rng("noise 10"))
    cleaned = material.denoise(noisy)
    with _excerpt(material, "denoise.png", 0) as (ax, steps):
        ax.plot(steps, noisy[steps, 0], ".", color=_GIVEN, markersize=3, label="noisy, 10 dB")
        ax.plot(steps, material.values[steps, 0], color=_TRUTH, label="clean")
        ax.plot(steps, cleaned[steps, 0], color=_OURS, linewidth=1.2, label="denoised")
    picture = Picture("denoise.png", "White noise 10 dB below the signal, and what is left of it; first channel.")
    return replace(compared, pictures=[picture])


def compare_imputation(material: SeriesMaterial) -> Section:
    """Steps hidden at random, and in gaps: errors, and the coverage of intervals."""
    figures = {name: _measure(material, name) for name in _HIDDEN}
    rows = {name: row["rmse"] for name, row in figures.items()}
    table, losses = contest(Measure("RMSE (standard deviations)", digits=4, higher_is_better=False), rows)
    sentences = [
        f"With {name} hidden, {row['coverage']:.1%} of the hidden values lie in their 90% intervals."
        for name, row in figures.items()
    ]
    return Section("impute", "Missing steps", figures, losses + sentences, [table])


def _hide(material: SeriesMaterial, name: str) -> tuple[np.ndarray, np.ndarray]:
    """The test series with steps hidden in all channels, and which, both `(total, c)`."""
    hidden = _HIDDEN[name](material.data.lengths, material.rng(f"hide {name}"))
    where = hidden[:, None] & material.data.visible
    return np.where(where, np.nan, material.values), where


def _measure(material: SeriesMaterial, name: str) -> dict[str, Any]:
    holey, where = _hide(material, name)
    ours, lower, upper, _ = material.impute(holey)
    inside = ((lower <= material.values) & (material.values <= upper))[where]
    filled = {OURS: ours}
    for peer in SERIES_IMPUTERS if material.against else ("linear",):
        filled[peer] = impute_steps(peer, material.known.values, holey, material.data.lengths)
    if material.attention is not None:
        filled["SAITS"] = material.attention.impute(material.data.windows, holey)
    errors = {peer: material.rmse(values, where) for peer, values in filled.items()}
    return {"rmse": errors, "coverage": float(inside.mean()) if len(inside) else float("nan")}


def report_imputation(material: SeriesMaterial) -> Section:
    """The section `impute`, with an excerpt around the first gap."""
    compared = compare_imputation(material)
    holey, where = _hide(material, _GAPS)
    imputed, lower, upper, draws = material.impute(holey, n_draws=3)
    first = int(np.flatnonzero(where[:, 0])[0]) if where[:, 0].any() else 0
    with _excerpt(material, "impute.png", max(first - material.schema.steps // 4, 0)) as (ax, steps):
        gap = where[steps, 0]
        ends = lower[steps, 0], upper[steps, 0]
        ax.fill_between(steps, *ends, where=gap.tolist(), color=_OURS, alpha=0.25, linewidth=0)
        for draw in draws:
            ax.plot(steps, np.where(gap, draw[steps, 0], np.nan), color=_OURS, linewidth=0.6, alpha=0.6)
        filled = np.where(gap, imputed[steps, 0], np.nan)
        ax.plot(steps, filled, color=_OURS, linewidth=1.6, label="filled in, 90 %, three draws")
        ax.plot(steps, material.values[steps, 0], color=_TRUTH, linewidth=1, label="as it was")
    picture = Picture("impute.png", "Gaps and what was filled in; first channel.")
    errors = compared.figures[_GAPS]["rmse"]
    summary = f"{_GAPS}: RMSE {errors[OURS]:.3f} (linear {errors['linear']:.3f})"
    return replace(compared, pictures=[picture], summary=[("impute", summary)])


@contextmanager
def _excerpt(material: SeriesMaterial, file: str, first: int) -> Iterator[tuple[Axes, np.ndarray]]:
    """A plot of two windows' steps from `first` on, of the first series."""
    last = min(first + 2 * material.schema.steps, int(material.data.lengths[0]))
    with figure(material.folder / file, 8, 2.6) as drawn:
        ax = drawn.subplots()
        yield ax, np.arange(first if first < last else 0, last)
        ax.set(xlabel="step", ylabel=material.schema.channels.names[0])
        ax.legend(fontsize=8)
