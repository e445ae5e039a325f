"""Settings of fits to pictures of any size: the kind of noise, what options verbs take, words for messages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from fivefold.config import ContextConfig, FitConfig, ModalityConfig, NetworkConfig, TrainingConfig, setting
from fivefold.errors import UsageError
from fivefold.modality import Words

NoiseName = Literal["auto", "gaussian", "poisson", "poisson-gaussian", "impulse"]
FILES = ("axes", "pages", "skip_unreadable")


@dataclass(frozen=True)
class PictureConfig(ModalityConfig):
    """What is said of the noise."""

    noise: NoiseName = setting(
        "auto",
        "The pictures of the fit are noisy themselves; noise that is gaussian, poisson, poisson-gaussian or impulse (salt and "
        "pepper), or auto: found.",
    )
    noise_level: float | None = setting(
        None,
        "Of gaussian noise, its standard deviation in the data's units, if it is known; else it is found.",
        above=0,
    )
    KEY: ClassVar[str] = "pictures"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.noise_level is not None and self.noise != "gaussian":
            raise UsageError(f"`noise_level` goes with `noise` gaussian, not with {self.noise}")


WORDS = Words("picture", "pictures", "pixel", "pixels")
CONFIG: type[ModalityConfig] | None = PictureConfig
OPTIONS: dict[str, frozenset[str]] = {
    "check": frozenset(FILES),
    "fit": frozenset({"noise", "noise_level", *FILES}),
    "compress": frozenset(FILES),
    "denoise": frozenset({"std", *FILES}),
}
USAGE = (
    "fivefold info MODEL",
    "fivefold denoise MODEL NOISY -o clean",
    "fivefold compress MODEL PICTURES -o pictures.fivefold",
)
_ONLY = "a model of pictures of any size compresses them, and cleans them and fills in what is missing by denoise; it can't "
REFUSED: Mapping[str, str] = {
    verb: _ONLY + verb
    for verb in (
        "decode",
        "detect",
        "encode",
        "evaluate",
        "export",
        "generate",
        "impute",
        "morph",
        "surprise",
    )
}
IMPLIED_BY = frozenset({"noise"})
FLAGS: dict[str, str] = {"noise": "noise", "noise_level": "noise-level"}
REPORTS: tuple[str, ...] = ("",)
BUFFERS = ("vae.noise", "context.noise")
PLACE = 16  # pixels along each side that a place of the map of codes stands for
_DEFAULT = FitConfig(
    "default",
    NetworkConfig(latent_dim=64, likelihood="gaussian"),
    ContextConfig(field=1, context_width=48, context_learning_rate=2e-3),
    training=TrainingConfig(epochs=40, max_minutes=10.0, batch_size=16),
    own=PictureConfig(),
)


def configure(
    preset: str = "default", *, items: int | None = None, size: int | None = None, **overrides: Any
) -> FitConfig:
    """The settings with single ones replaced; see `FitConfig.with_settings`. `items` and `size` make no difference.

    Raises `UsageError` for another preset, an unknown setting, or a value out of bounds.
    """
    return with_context(_DEFAULT, "noisy pictures", "removes the noise", preset, overrides)


def with_context(default: FitConfig, what: str, task: str, preset: str, overrides: Mapping[str, Any]) -> FitConfig:
    """A configuration whose context decoder does the one task of its models, with single settings replaced."""
    if preset != "default":
        raise UsageError(f"`preset` must be default for {what}, got {preset}")
    config = default.with_settings(**overrides)
    if not config.context.field:
        raise UsageError(f"`context` can't be left out of a fit to {what}: it is what {task}")
    return config


def split_reading(settings: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """How the data are to be read, and the settings of the fit."""
    reading = {name: settings[name] for name in FILES if settings.get(name) is not None}
    return reading, {name: value for name, value in settings.items() if name not in FILES}


def describe_context(config: FitConfig) -> str:
    """What a pixel sees through the context decoder."""
    return f"a U-Net of {config.context.context_width} channels"
