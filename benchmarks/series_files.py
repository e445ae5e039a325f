"""False alarms on what is normal in series: `python benchmarks/series_files.py [--repetitions N] [--steps N]`.

Made-up signals are drawn anew for each fit: a load curve with days and correlated noise, a swing that noise keeps going, and
bursts of heavy-tailed noise. Stated is the share of normal steps that are flagged at 5 %: in files of 1 to 20 steps, in long
ones, within 20 steps of gaps of 1 to 5 windows, and after a shift of the level, with `adapt`, from two windows on, beside series
without a shift; and how often a shift is one event that says so. Standard errors are those of files or series as a whole, whose
steps go together, and the binomial one of independent steps beside them. Small networks make the fits quick; p-values must hold
all the same.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Callable

import numpy as np
from results_file import write_result

import fivefold
from fivefold.model.fitted import FittedModel
from fivefold.system import environment

_RATE, _WINDOW, _BESIDE, _SHIFT = 0.05, 64, 20, 6.0
_LENGTHS, _GAPS = (1, 2, 5, 10, 20, 300), (1, 2, 3, 4, 5)
_FILES, _SERIES = 150, 24
_SMALL = {"hidden": 32, "first_channels": 16, "context_width": 16, "latent_dim": 8, "reach": 16, "window": _WINDOW}
_SMALL |= {"epochs": 5, "shortest_epoch": 20, "longest_epoch": 20, "verdicts": False}


def _recursive(noise: np.ndarray, *weights: float) -> np.ndarray:
    """Autoregression: each value is noise and so much of those before."""
    values = noise.copy()
    for step in range(len(weights), len(noise)):
        values[step] += sum(weight * values[step - 1 - lag] for lag, weight in enumerate(weights))
    return values


def _load(n: int, rng: np.random.Generator) -> np.ndarray:
    hours = rng.integers(0, 8760) + np.arange(n)
    day = np.sin(hours * np.pi / 12) + 0.4 * np.sin(hours * np.pi / 6 + 1)
    noise = _recursive(0.1 * rng.normal(size=n + 200), 0.8)[200:]
    return 5 + day * (1 + 0.2 * np.sin(hours / 170)) + noise


def _swing(n: int, rng: np.random.Generator) -> np.ndarray:
    return _recursive(rng.normal(size=n + 400), 1.85, -0.95)[400:]


def _bursts(n: int, rng: np.random.Generator) -> np.ndarray:
    strength = np.exp(_recursive(0.15 * rng.normal(size=n + 400), 0.97)[300:])
    return _recursive(strength * rng.standard_t(5, size=n + 100), 0.6)[100:]


SIGNALS: dict[str, Callable[[int, np.random.Generator], np.ndarray]] = {
    "load": _load,
    "swing": _swing,
    "bursts": _bursts,
}


def measure(
    model: FittedModel, signal: Callable[..., np.ndarray], rng: np.random.Generator
) -> dict[str, list[np.ndarray]]:
    """Which steps are flagged, `(n,)` bool of each file, by kind."""
    found: dict[str, list[np.ndarray]] = {}
    for length in _LENGTHS:
        files = [signal(length, rng) for _ in range(_FILES if length < 100 else _SERIES)]
        found[f"{length} steps"] = _flagged(model, files)
    for windows in _GAPS:
        gap = windows * _WINDOW
        series = [signal(gap + 300, rng) for _ in range(2 * _SERIES)]
        for values in series:
            values[150 : 150 + gap] = np.nan
        beside = np.r_[150 - _BESIDE : 150, 150 + gap : 150 + gap + _BESIDE]
        found[f"gap of {windows}"] = [flagged[beside] for flagged in _flagged(model, series)]
    return found


def measure_shifts(
    model: FittedModel, signal: Callable[..., np.ndarray], rng: np.random.Generator
) -> tuple[dict[str, list[np.ndarray]], int]:
    """What is flagged later than two windows after a shift, with `adapt`, and without one; and how many shifts are one event."""
    usual, adapted, single = [], [], 0
    later = slice(600 + 2 * _WINDOW, None)
    for _ in range(_SERIES):
        values = signal(1600, rng)
        usual += [flagged[later] for flagged in _flagged(model, [values])]
        values[600:] += _SHIFT * values.std()
        found = fivefold.detect(model, values[None], false_alarm_rate=_RATE, adapt=True)
        adapted.append(found.anomaly[0, later])
        single += int((found.events.change == "level").sum() == 1)
    return {"no shift": usual, "after a shift": adapted}, single


def _flagged(model: FittedModel, files: list[np.ndarray]) -> list[np.ndarray]:
    return list(fivefold.detect(model, files, false_alarm_rate=_RATE).anomaly)


def summary(files: list[np.ndarray]) -> dict[str, float]:
    """Share of flagged steps, and its standard errors."""
    steps = np.concatenate(files)
    share, sizes = steps.mean(), np.array([len(flagged) for flagged in files])
    off = np.array([flagged.sum() for flagged in files]) - share * sizes
    return {
        "flagged": float(share),
        "standard_error": float(np.sqrt((off**2).sum()) / sizes.sum()),
        "binomial_error": float(np.sqrt(_RATE * (1 - _RATE) / sizes.sum())),
        "steps": int(sizes.sum()),
    }


def main() -> None:
    """Measure, and write the result after each fit."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--repetitions", type=int, default=3)
    options.add_argument("--steps", type=int, default=4000)
    given = options.parse_args()
    found: dict[str, dict[str, list[np.ndarray]]] = {name: {} for name in SIGNALS}
    single, shifts, fits = dict.fromkeys(SIGNALS, 0), dict.fromkeys(SIGNALS, 0), 0
    for number in range(given.repetitions):
        for name, signal in SIGNALS.items():
            rng = np.random.default_rng([number, len(name)])
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                model = fivefold.fit(
                    signal(given.steps, rng)[None], kind="series", accelerator="cpu", seed=number, **_SMALL
                )
                measured = measure(model, signal, rng)
                shifted, count = measure_shifts(model, signal, rng)
            for kind, files in {**measured, **shifted}.items():
                found[name].setdefault(kind, []).extend(files)
                print(name, number, kind, summary(files), file=sys.stderr)
            single[name], shifts[name], fits = single[name] + count, shifts[name] + _SERIES, fits + 1
            signals = {
                key: {**{kind: summary(files) for kind, files in kinds.items()}, "one_event": single[key] / shifts[key]}
                for key, kinds in found.items()
                if kinds
            }
            about = {"rate": _RATE, "fits": fits, "steps": given.steps, "environment": environment()}
            write_result("series_files", {"signals": signals, **about})


if __name__ == "__main__":
    main()
