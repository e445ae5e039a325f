"""Self-attention that fills gaps of series (SAITS: Du et al. 2023, arXiv:2202.08516), by PyPOTS if that is installed."""

from __future__ import annotations

import time
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np

from fivefold.series.windows import Windows

_SETTINGS: dict[str, Any] = {  # those of PyPOTS' own example
    "n_layers": 2,
    "d_model": 256,
    "n_heads": 4,
    "d_k": 64,
    "d_v": 64,
    "d_ffn": 128,
    "dropout": 0.1,
    "verbose": False,
}


def has_attention() -> bool:
    """Whether PyPOTS is installed."""
    return find_spec("pypots") is not None


@dataclass
class Attention:
    """SAITS trained on windows.

    Attributes
    ----------
    mean, spread : of each channel, by which values are scaled
    network : PyPOTS'
    """

    mean: np.ndarray
    spread: np.ndarray
    network: Any

    @classmethod
    def fit(cls, windows: np.ndarray, seconds: float) -> Attention:
        """To windows `(n, t, c)`, NaN where missing, for as many epochs as fit into `seconds`, one at least."""
        from pypots.imputation import SAITS

        mean, spread = np.nanmean(windows, axis=(0, 1)), np.nanstd(windows, axis=(0, 1)) + 1e-9
        train = {"X": (windows - mean) / spread}
        size = {"n_steps": windows.shape[1], "n_features": windows.shape[2]}
        begun = time.monotonic()
        SAITS(**size, **_SETTINGS, epochs=1).fit(train)
        epochs = max(1, int(seconds / (time.monotonic() - begun)))
        network = SAITS(**size, **_SETTINGS, epochs=epochs)
        network.fit(train)
        return cls(mean, spread, network)

    def impute(self, windows: Windows, holey: np.ndarray) -> np.ndarray:
        """Series `(total, c)` with what is missing filled in, window by window."""
        cut = (windows.cut(holey) - self.mean) / self.spread
        filled = self.network.impute({"X": cut}) * self.spread + self.mean
        whole = holey.copy()
        windows.stitch(whole, slice(0, len(windows)), filled)
        return np.where(np.isnan(holey), whole, holey)
