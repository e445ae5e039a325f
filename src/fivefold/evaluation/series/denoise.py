"""White noise beside filters."""

from __future__ import annotations

import numpy as np

from fivefold.evaluation.comparison import OURS, Measure, contest
from fivefold.evaluation.section import Section
from fivefold.evaluation.series.damage import add_noise
from fivefold.evaluation.series.material import SeriesMaterial
from fivefold.evaluation.specialists.series_filters import SERIES_FILTERS, denoise_steps
from fivefold.series.jobs import denoise_series

DECIBELS = (20, 10, 0)


def compare(material: SeriesMaterial) -> Section:
    """By how many decibels the error is less than the noise."""
    gains = {f"{level} dB": _measure(material, level) for level in DECIBELS}
    table, losses = contest(Measure("gain", " dB"), gains, "signal to noise")
    return Section("denoise", "White noise", {"gain": gains}, losses, [table])


def _measure(material: SeriesMaterial, level: float) -> dict[str, float | None]:
    rng = material.rng(f"noise {level}")
    noisy, known = add_noise(material.series.values, level, rng), material.known
    cleaned = {OURS: denoise_series(material.model, material.of(noisy)).values}
    for name in SERIES_FILTERS if material.against else ():
        noisy_known = add_noise(known.values, level, rng)
        cleaned[name] = denoise_steps(name, known.values, noisy_known, known.lengths, noisy, material.series.lengths)
    before = material.rmse(noisy)
    return {name: 20 * float(np.log10(before / material.rmse(values))) for name, values in cleaned.items()}
