"""Settings of fits to images: presets, what options they take, and the shapes that both halves of a model share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from fivefold.config import ContextConfig, CorruptionConfig, FitConfig, ModalityConfig, NetworkConfig, TrainingConfig
from fivefold.errors import UsageError
from fivefold.modality import Words

if TYPE_CHECKING:
    from fivefold.images.schema import ImageSchema

WORDS = Words("item", "items", "element", "elements")
CONFIG: type[ModalityConfig] | None = None
_FILES = ("resize", "axes", "pages", "skip_unreadable")
_SHAPE = ("visibility", "first_channels", "max_channels", "smallest_side")
OPTIONS: dict[str, frozenset[str]] = {
    "check": frozenset({"mask", *_FILES}),
    "fit": frozenset({"likelihood", "field", "context_depth", "positions", "mask", *_FILES, *_SHAPE}),
    "compress": frozenset({"lossy", "step", *_FILES}),
    "decompress": frozenset({"lossy"}),
    "encode": frozenset({"mask", *_FILES}),
    "generate": frozenset({"prior", "sharp", "like", "nearest", "temperature"}),
    "morph": frozenset(_FILES),
    "denoise": frozenset({"std", "mask", *_FILES, "n_samples"}),
    "detect": frozenset({"mask", *_FILES}),
    "impute": frozenset({"mask", *_FILES, "n_samples"}),
    "surprise": frozenset({"mask", *_FILES}),
    "evaluate": frozenset({"mask", *_FILES, "thorough"}),
}
USAGE = (
    "fivefold info MODEL",
    "fivefold generate MODEL -n 64 -o new.png",
    "fivefold denoise MODEL NOISY -o clean",
    "fivefold impute MODEL HOLEY --mask MASKS -o whole",
    "fivefold detect MODEL DATA -o scores.csv",
    "fivefold encode MODEL DATA -o z.npy",
)
REFUSED: Mapping[str, str] = {}
IMPLIED_BY: frozenset[str] = frozenset()
FLAGS: dict[str, str] = {}
REPORTS: tuple[str, ...] = ("",)
BUFFERS: tuple[str, ...] = ()
MEAN_FIELD = 5  # side of the part of the mean image that the context decoder sees
FREQUENCIES = (0.5, 1.0, 2.0, 4.0)  # of the waves that encode an element's place, in half turns across the image
TOPS = (1 / 64, 1 / 16)  # shares of the range, from its high end, that are shown at a finer resolution
MAPS = 3 + len(TOPS)  # per channel: value, visible, at the low end, and how far into each of the tops
PRESETS: dict[str, FitConfig] = {
    "default": FitConfig(
        "default",
        NetworkConfig(latent_dim=16),
        corruption=CorruptionConfig(hide=0.1, block=0.1, uniform=0.15, gaussian=0.05, salt_and_pepper=0.05),
    ),
    "archive": FitConfig(
        "archive",
        NetworkConfig(latent_dim=16),
        ContextConfig(field=11, context_width=320, positions=64),
        CorruptionConfig(hide=0.05, block=0.05, uniform=0.06, gaussian=0.02, salt_and_pepper=0.02),
        TrainingConfig(epochs=32),
    ),
    "paper": FitConfig("paper", NetworkConfig(visibility=False, activation="relu"), ContextConfig(field=0)),
}


def configure(
    preset: str = "default", *, items: int | None = None, size: int | None = None, **overrides: Any
) -> FitConfig:
    """The preset with single settings replaced; see `FitConfig.with_settings`. `items` and `size` make no difference.

    Raises `UsageError` for an unknown preset or setting, or a value out of bounds.
    """
    if preset not in PRESETS:
        raise UsageError(f"`preset` must be one of {', '.join(PRESETS)}; got {preset!r}")
    config = PRESETS[preset].with_settings(**overrides)
    if config.network.likelihood == "columns":
        raise UsageError("`likelihood` must be one of bernoulli, pixels, gaussian for images; got 'columns'")
    return config


def split_reading(settings: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """How the data are to be read, and the settings of the fit."""
    reading = {name: settings[name] for name in ("mask", *_FILES) if settings.get(name) is not None}
    return {"split": "train", **reading}, {name: settings[name] for name in settings if name not in ("mask", *_FILES)}


def describe_context(config: FitConfig) -> str:
    """What an element sees through the context decoder."""
    return f"fields of {config.context.field}×{config.context.field}"


def stages(schema: ImageSchema, config: NetworkConfig) -> tuple[list[tuple[int, int]], list[int]]:
    """Sizes from the image's down to the smallest, and the channels of each but the first."""
    sides = [(schema.height, schema.width)]
    widths: list[int] = []
    while max(sides[-1]) > config.smallest_side or not widths:
        height, width = sides[-1]
        sides.append(((height + 1) // 2, (width + 1) // 2))
        widths.append(min(config.first_channels * 2 ** len(widths), config.max_channels))
    return sides, widths


def output_padding(small: int, large: int) -> int:
    """What a transposed convolution of stride 2 must add to come from `small` to `large`: a side doubles to 2 · small − 1."""
    return large - (2 * small - 1)
