"""Settings of fits to series: their preset, and what options they take."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from fivefold.config import (
    ContextConfig,
    CorruptionConfig,
    FitConfig,
    ModalityConfig,
    NetworkConfig,
    TrainingConfig,
    setting,
)
from fivefold.errors import UsageError
from fivefold.modality import Words
from fivefold.tables.settings import DIALECT

SeriesNetworkName = Literal["tcn", "lstm"]


@dataclass(frozen=True)
class SeriesConfig(ModalityConfig):
    """What a fit to windows of series has besides."""

    KEY: ClassVar[str] = "series"
    series_network: SeriesNetworkName = setting("tcn", "Of series: tcn, dilated convolutions, or lstm.")
    reach: int = setting(
        32, "Steps to either side that the context decoder's convolutions see.", at_least=1, below=1024
    )
    dropout: float = setting(0.3, "Share of the context decoder's units left out in training.", at_least=0, below=1)
    gap: float = setting(0.2, "Share of the windows that have runs of steps hidden.", at_least=0, below=1)
    white: float = setting(0.2, "Share of the windows that have white noise added.", at_least=0, below=1)
    patience: int = setting(6, "Stop after so many epochs without a better one.", at_least=1)
    shortest_epoch: int = setting(36, "Steps of an epoch, at least.", at_least=1)
    longest_epoch: int = setting(80, "Steps of an epoch, at most.", at_least=1)

    @property
    def damage(self) -> dict[str, float]:
        """Runs of steps hidden, and white noise."""
        return {"gap": self.gap, "white": self.white}


WORDS = Words("step", "steps", "value", "values")
CONFIG = SeriesConfig
_TIMES = frozenset({"time", "ids", "tolerance", "time_zone"})
_READING = _TIMES | DIALECT
_ASKED = _READING | {"schema", "missing", "window", "stride"}
OPTIONS: dict[str, frozenset[str]] = {
    "check": _ASKED,
    "fit": _ASKED | {"series_network", "first_channels"},
    "encode": _READING,
    "generate": DIALECT | {"temperature", "after", "steps"},
    "denoise": _READING | {"std"},
    "detect": _READING | {"adapt", "state"},
    "impute": _READING | {"n_samples"},
    "surprise": _READING,
    **dict.fromkeys(("compress", "evaluate", "morph"), DIALECT),
}
USAGE = (
    "fivefold info MODEL",
    "fivefold compress MODEL DATA -o series.ff",
    "fivefold generate MODEL --after DATA --steps 48 -n 10 -o next.csv",
    "fivefold denoise MODEL NOISY -o clean.csv",
    "fivefold impute MODEL HOLEY -o whole.csv",
    "fivefold detect MODEL DATA -o scores.csv",
    "fivefold encode MODEL DATA -o z.npy",
)
REFUSED: Mapping[str, str] = {
    "export": "models of series can't be exported: series are cut into windows, as many as the data have"
}
IMPLIED_BY = _TIMES
FLAGS: dict[str, str] = {"series_network": "network"}
REPORTS: tuple[str, ...] = ("", "windows", "events")
BUFFERS = ("context.autocovariance.", "context.residual.")
LOG_SCALES = (-9.0, 4.0)  # bounds of those of a number's logistics
FARTHEST_OFF = 6.0  # deviations that a value is shown to be off its linear prediction, at most
WAVES = (0.5, 1.0, 2.0, 4.0)  # half turns across the window, by which is told where in it a step is
_SERIES = FitConfig(
    "default",
    NetworkConfig(latent_dim=16, likelihood="columns", first_channels=32, hidden=128),
    ContextConfig(field=1, context_width=32, context_learning_rate=5e-4),
    CorruptionConfig(hide=0.2),
    TrainingConfig(epochs=24, batch_size=32, learning_rate=3e-3, kl_warmup=5.0, validation=0.15),
    own=SeriesConfig(),
)


def configure(
    preset: str = "default", *, items: int | None = None, size: int | None = None, **overrides: Any
) -> FitConfig:
    """The preset with single settings replaced; see `FitConfig.with_settings`. `items` and `size` make no difference.

    Raises `UsageError` for another preset than `default`, an unknown setting, or a value out of bounds.
    """
    if preset != "default":
        raise UsageError(f"`preset` must be default for series, got {preset!r}")
    return _SERIES.with_settings(**overrides)


def series_config(config: FitConfig) -> SeriesConfig:
    """What a configuration has for series alone."""
    assert isinstance(config.own, SeriesConfig)
    return config.own


def split_reading(settings: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """How the data are to be read, and the settings of the fit."""
    reading = {name: settings[name] for name in _ASKED - {"schema"} if settings.get(name) is not None}
    others = {name: value for name, value in settings.items() if name not in _ASKED}
    return {**reading, "overrides": settings.get("schema")}, others


def describe_context(config: FitConfig) -> str:
    """What a value sees through the context decoder."""
    reach = series_config(config).reach
    return f"linear prediction from the window, convolutions over {reach} steps on either side"


def dilations(reach: int) -> list[int]:
    """Of convolutions of three, layer by layer, which together see `reach` steps to either side."""
    return [2**level for level in range(max(math.ceil(math.log2(max(reach, 2))), 1))]
