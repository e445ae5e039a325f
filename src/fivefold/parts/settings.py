"""Settings of fits to good parts: what options verbs take, words for messages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fivefold.config import ContextConfig, FitConfig, ModalityConfig, NetworkConfig, TrainingConfig
from fivefold.modality import Words
from fivefold.pictures.settings import FILES, with_context
from fivefold.pictures.settings import describe_context as describe_context
from fivefold.pictures.settings import split_reading as split_reading

WORDS = Words("picture", "pictures", "pixel", "pixels")
CONFIG: type[ModalityConfig] | None = None
OPTIONS: dict[str, frozenset[str]] = dict.fromkeys(("check", "fit", "detect", "surprise"), frozenset(FILES))
USAGE = ("fivefold info MODEL", "fivefold detect MODEL PARTS -o scores.csv --heatmaps maps")
_ONLY = "a model of good parts finds what is wrong with others by detect; it can't "
REFUSED: Mapping[str, str] = {
    verb: _ONLY + verb
    for verb in ("compress", "decode", "denoise", "encode", "evaluate", "export", "generate", "impute", "morph")
}
IMPLIED_BY: frozenset[str] = frozenset()
FLAGS: dict[str, str] = {}
REPORTS: tuple[str, ...] = ("", "regions")
BUFFERS = ("vae.noise",)
_DEFAULT = FitConfig(
    "default",
    NetworkConfig(latent_dim=128, likelihood="gaussian"),
    ContextConfig(field=1, context_width=24, context_learning_rate=4e-3),
    training=TrainingConfig(epochs=6, max_minutes=10.0, batch_size=16, validation=0.34),
)


def configure(
    preset: str = "default", *, items: int | None = None, size: int | None = None, **overrides: Any
) -> FitConfig:
    """The settings with single ones replaced; see `FitConfig.with_settings`. `items` and `size` make no difference.

    Raises `UsageError` for another preset, an unknown setting, or a value out of bounds.
    """
    return with_context(_DEFAULT, "parts", "finds defects", preset, overrides)
