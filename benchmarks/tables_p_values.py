"""False alarms of fits to few rows: `python benchmarks/tables_p_values.py [--repetitions N] [--epochs N] [--members N]`.

Rows of a class and four numbers that hang together are drawn anew for each fit, and a thousand fresh ones for it to judge. Stated
is the share of these with a p-value of at most 1 % and 5 %, its standard error (rows compared with vary, and fresh ones), and
whether `predict` flags the same. Fewer epochs and members make the fits quicker; p-values must hold all the same.
"""

from __future__ import annotations

import argparse
import sys
import warnings

import numpy as np
import pandas as pd
from results_file import write_result

import fivefold
from fivefold.system import environment

_SIZES, _RATES, _FRESH = (60, 150, 400), (0.01, 0.05), 1000


def draw_rows(n: int, rng: np.random.Generator) -> pd.DataFrame:
    """`n` rows of one distribution."""
    kind, x = rng.choice(["a", "b", "c"], n, p=[0.5, 0.3, 0.2]), rng.normal(size=n)
    y = 2 * x + (kind == "a") + 0.3 * rng.normal(size=n)
    return pd.DataFrame({"kind": kind, "x": x, "y": y, "whole": np.rint(5 * x + rng.normal(size=n)), "tail": np.exp(y)})


def measure(rows: int, repetitions: int, epochs: int | None, settings: dict[str, int]) -> dict[str, object]:
    """The mean share of fresh rows flagged, by rate."""
    shares, same = np.empty((repetitions, len(_RATES))), True
    for number in range(repetitions):
        rng = np.random.default_rng([rows, number])
        known, fresh = draw_rows(rows, rng), draw_rows(_FRESH, rng)
        vae = fivefold.VAEOutlierDetector(
            epochs=epochs, random_state=number, accelerator="cpu", settings={**settings, "verdicts": False}
        )
        p_values = vae.fit(known).p_values(fresh)
        for at, rate in enumerate(_RATES):
            shares[number, at] = (p_values <= rate).mean()
            vae.set_params(false_alarm_rate=rate)
            vae.offset_ = vae.model_.normality.threshold(rate)
            same &= bool(np.array_equal(vae.predict(fresh) == -1, p_values <= rate))
        print(rows, number, shares[number], file=sys.stderr)
    compared = len(vae.model_.normality.calibration)
    errors = [float(np.sqrt(rate * (1 - rate) * (1 / _FRESH + 1 / compared) / repetitions)) for rate in _RATES]
    flagged = dict(zip(map(str, _RATES), shares.mean(axis=0).tolist(), strict=True))
    return {
        "flagged": flagged,
        "standard_errors": dict(zip(map(str, _RATES), errors, strict=True)),
        "smallest_p_value": 1 / (1 + compared),
        "predict_agrees": same,
    }


def main() -> None:
    """Measure, print, and write the result."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--repetitions", type=int, default=50)
    options.add_argument("--epochs", type=int)
    options.add_argument("--members", type=int)
    given = vars(options.parse_args())
    repetitions, epochs = given.pop("repetitions"), given.pop("epochs")
    settings = {name: value for name, value in given.items() if value is not None}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = {str(rows): measure(rows, repetitions, epochs, settings) for rows in _SIZES}
    about = {"repetitions": repetitions, "epochs": epochs, "settings": settings, "environment": environment()}
    write_result("tables_p_values", {"rows": found, **about})


if __name__ == "__main__":
    main()
