"""Every setting of a fit, as frozen dataclasses: at once the command line's help and the model's config.json."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, get_args, get_origin, get_type_hints

from fivefold.errors import ModelError, UsageError

LikelihoodName = Literal["bernoulli", "pixels", "gaussian", "columns"]
ActivationName = Literal["silu", "relu"]
LoggerName = Literal["csv", "tensorboard"]
PresetName = Literal["default", "archive", "paper"]
PriorName = Literal["standard", "fitted"]
SeriesNetworkName = Literal["tcn", "lstm"]
DataKind = Literal["series"]
_MAX_WIDTH = 1 << 24
_MAX_NUMBER = 1 << 63


def _setting(default: Any, help: str, at_least: float | None = None, below: float | None = None) -> Any:
    return field(default=default, metadata={"help": help, "at_least": at_least, "below": below})


class _Checked:
    """Raises `UsageError` when a field has the wrong type or lies outside its bounds."""

    _FLAG: ClassVar[str] = "--"

    def __post_init__(self) -> None:
        kinds = get_type_hints(type(self))
        for item in dataclasses.fields(self):  # type: ignore[arg-type]  # each heir is a dataclass
            value, bounds, kind = getattr(self, item.name), item.metadata, kinds[item.name]
            if value is None and type(None) in get_args(kind):
                continue
            flag = self._FLAG + item.name.replace("_", "-")
            if get_origin(kind) is Literal:
                if value not in get_args(kind):
                    raise UsageError(f"{flag} must be one of {', '.join(get_args(kind))}; got {value!r}")
            elif kind is bool:
                if not isinstance(value, bool):
                    raise UsageError(f"{flag} must be true or false, got {value!r}")
            elif isinstance(value, bool) or not isinstance(value, int if kind is int else int | float):
                raise UsageError(f"{flag} must be {'an integer' if kind is int else 'a number'}, got {value!r}")
            elif not abs(value) < _MAX_NUMBER:
                raise UsageError(f"{flag} must be a number below {_MAX_NUMBER:g}, got {value}")
            if bounds["at_least"] is not None and not value >= bounds["at_least"]:
                raise UsageError(f"{flag} must be at least {bounds['at_least']}, got {value}")
            if bounds["below"] is not None and not value < bounds["below"]:
                raise UsageError(f"{flag} must be below {bounds['below']}, got {value}")


@dataclass(frozen=True)
class NetworkConfig(_Checked):
    """The networks' shape. The number of channels doubles with each halving of the image."""

    latent_dim: int = _setting(10, "Numbers that an item is compressed to.", at_least=1, below=_MAX_WIDTH)
    likelihood: LikelihoodName = _setting("bernoulli", "Family of p(x | z): bernoulli, pixels or gaussian.")
    visibility: bool = _setting(True, "Whether the encoder is told which elements are visible.")
    activation: ActivationName = _setting("silu", "Between the layers: silu or relu.")
    first_channels: int = _setting(32, "Channels of the first convolution.", at_least=1, below=_MAX_WIDTH)
    max_channels: int = _setting(128, "Channels of the widest convolution.", at_least=1, below=_MAX_WIDTH)
    smallest_side: int = _setting(8, "Images are halved until no side is longer than this.", at_least=2)
    hidden: int = _setting(
        400, "Width of the linear layer on each side of the latent code.", at_least=1, below=_MAX_WIDTH
    )


@dataclass(frozen=True)
class ContextConfig(_Checked):
    """The context decoder: a network shared by all elements, each seeing what is around it."""

    window: int = _setting(
        9,
        "Side of the window that the context decoder sees, odd; 0 for none. Of series: steps of a window.",
        at_least=0,
        below=64,
    )
    context_width: int = _setting(160, "Width of the context decoder's layers.", at_least=1, below=1 << 16)
    context_depth: int = _setting(2, "Number of the context decoder's layers.", at_least=1, below=64)
    context_learning_rate: float = _setting(8e-3, "Peak of the context decoder's rate (Muon's and Adam's).", at_least=0)
    positions: int = _setting(
        48, "Elements per item and step that the context decoder learns from.", at_least=1, below=1 << 20
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.window and self.window % 2 == 0:
            raise UsageError(f"--window must be odd, or 0 for no context decoder; got {self.window}")


@dataclass(frozen=True)
class CorruptionConfig(_Checked):
    """Shares of the training items that the encoder sees corrupted, by kind; the rest stay clean."""

    hide: float = _setting(0.0, "Elements hidden at random.", at_least=0)
    block: float = _setting(0.0, "A block hidden.", at_least=0)
    uniform: float = _setting(0.0, "Elements replaced by uniform values.", at_least=0)
    gaussian: float = _setting(0.0, "Gaussian noise added.", at_least=0)
    salt_and_pepper: float = _setting(0.0, "Elements replaced by black or white.", at_least=0)
    _FLAG: ClassVar[str] = "--corruption "

    def __post_init__(self) -> None:
        super().__post_init__()
        if (total := math.fsum(dataclasses.astuple(self))) > 1:
            raise UsageError(f"--corruption: the shares must add up to at most 1, got {total:g}")

    @classmethod
    def parse(cls, text: str) -> CorruptionConfig:
        """From `none` or `hide=0.1,uniform=0.2`; raises `UsageError`."""
        if text == "none":
            return cls()
        known = ", ".join(cls.__dataclass_fields__)
        shares: dict[str, float] = {}
        for part in text.split(","):
            name, _, share = (word.strip() for word in part.partition("="))
            name = name.replace("-", "_")
            try:
                if name not in cls.__dataclass_fields__ or name in shares:
                    raise ValueError
                shares[name] = float(share)
            except ValueError:
                raise UsageError(
                    f"--corruption must be none or KIND=SHARE,… (each once) with kinds {known}; got {part!r}"
                ) from None
        return cls(**shares)


@dataclass(frozen=True)
class TrainingConfig(_Checked):
    """How long and how fast to train."""

    epochs: int = _setting(24, "Passes over the training items, at most.", at_least=1)
    max_minutes: float | None = _setting(None, "Stop after this long; the learning rate falls accordingly.", at_least=0)
    batch_size: int = _setting(128, "Items per step.", at_least=1)
    learning_rate: float = _setting(1.5e-3, "Peak of Adam's rate; rises at the start, then falls along a cosine.", 0)
    kl_warmup: float = _setting(1.0, "Epochs over which the weight of the KL term rises from 0 to 1.", at_least=0)
    validation: float = _setting(0.1, "Share of the items held out to choose the best epoch.", at_least=0, below=1)
    seed: int = _setting(0, "Seed of everything random.", at_least=0)


@dataclass(frozen=True)
class RowConfig(_Checked):
    """What a fit to the rows of a table has besides."""

    members: int = _setting(4, "Networks that the context decoder averages.", at_least=1, below=256)
    factors: int = _setting(8, "Factors of the linear model beneath; 0 for none.", at_least=0, below=1024)
    dropout: float = _setting(0.2, "Share of the context decoder's units left out in training.", at_least=0, below=1)
    swap: float = _setting(0.1, "Share of the rows that have cells of others.", at_least=0, below=1)
    patience: int = _setting(10, "Stop after so many epochs without a better one.", at_least=1)
    shortest_epoch: int = _setting(50, "Steps of an epoch, at least.", at_least=1)
    longest_epoch: int = _setting(150, "Steps of an epoch, at most.", at_least=1)


@dataclass(frozen=True)
class SeriesConfig(_Checked):
    """What a fit to windows of series has besides."""

    series_network: SeriesNetworkName = _setting("tcn", "Of series: tcn, dilated convolutions, or lstm.")
    reach: int = _setting(
        32, "Steps to either side that the context decoder's convolutions see.", at_least=1, below=1024
    )
    dropout: float = _setting(0.3, "Share of the context decoder's units left out in training.", at_least=0, below=1)
    gap: float = _setting(0.2, "Share of the windows that have runs of steps hidden.", at_least=0, below=1)
    white: float = _setting(0.2, "Share of the windows that have white noise added.", at_least=0, below=1)
    patience: int = _setting(6, "Stop after so many epochs without a better one.", at_least=1)
    shortest_epoch: int = _setting(40, "Steps of an epoch, at least.", at_least=1)
    longest_epoch: int = _setting(80, "Steps of an epoch, at most.", at_least=1)


@dataclass(frozen=True)
class FitConfig:
    """Everything that a fit depends on besides the data; `rows` for tables only, `series` for series."""

    preset: PresetName = "default"
    network: NetworkConfig = NetworkConfig()
    context: ContextConfig = ContextConfig()
    corruption: CorruptionConfig = CorruptionConfig()
    training: TrainingConfig = TrainingConfig()
    rows: RowConfig | None = None
    series: SeriesConfig | None = None

    @property
    def pace(self) -> RowConfig | SeriesConfig | None:
        """How long epochs are, and when to stop, where that does not follow from the number of items alone."""
        return self.rows or self.series

    @property
    def damage(self) -> dict[str, float]:
        """The share of the training items that the encoder sees corrupted, by kind."""
        swap = 0.0 if self.rows is None else self.rows.swap
        gap, white = (0.0, 0.0) if self.series is None else (self.series.gap, self.series.white)
        return {**dataclasses.asdict(self.corruption), "swap": swap, "gap": gap, "white": white}

    def to_json(self) -> dict[str, Any]:
        """The configuration as plain JSON values."""
        fields = dataclasses.asdict(self)
        return {name: value for name, value in fields.items() if value is not None}

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> FitConfig:
        """The inverse of `to_json`; raises `ModelError` for anything else."""
        try:
            if fields["preset"] not in get_args(PresetName):
                raise UsageError(f"no such preset: {fields['preset']!r}")
            return cls(
                fields["preset"],
                NetworkConfig(**fields["network"]),
                ContextConfig(**fields["context"]),
                CorruptionConfig(**fields["corruption"]),
                TrainingConfig(**fields["training"]),
                RowConfig(**fields["rows"]) if "rows" in fields else None,
                SeriesConfig(**fields["series"]) if "series" in fields else None,
            )
        except (KeyError, TypeError, UsageError) as error:
            raise ModelError(f"the model's configuration is damaged: {error}") from None


PRESETS: dict[str, FitConfig] = {
    "default": FitConfig(
        "default",
        NetworkConfig(latent_dim=16),
        corruption=CorruptionConfig(hide=0.1, block=0.1, uniform=0.15, gaussian=0.05, salt_and_pepper=0.05),
    ),
    "archive": FitConfig(
        "archive",
        NetworkConfig(latent_dim=16),
        ContextConfig(window=11, context_width=320, positions=64),
        CorruptionConfig(hide=0.05, block=0.05, uniform=0.06, gaussian=0.02, salt_and_pepper=0.02),
        TrainingConfig(epochs=32),
    ),
    "paper": FitConfig("paper", NetworkConfig(visibility=False, activation="relu"), ContextConfig(window=0)),
}


_ROWS = FitConfig(
    "default",
    NetworkConfig(latent_dim=8, likelihood="columns", hidden=64),
    ContextConfig(window=1, context_width=128, context_learning_rate=2e-3, positions=16),
    CorruptionConfig(hide=0.6),
    TrainingConfig(epochs=30, learning_rate=2e-3, validation=0.15),
    RowConfig(),
)
_FEW_ROWS, _MANY_ROWS = 200, 5000
_FEW = dataclasses.replace(
    _ROWS,
    context=dataclasses.replace(_ROWS.context, context_learning_rate=3e-3),
    training=dataclasses.replace(_ROWS.training, epochs=20, batch_size=128, learning_rate=3e-3),
    rows=RowConfig(shortest_epoch=25),
)


_SERIES = FitConfig(
    "default",
    NetworkConfig(latent_dim=16, likelihood="columns", first_channels=32, hidden=128),
    ContextConfig(window=1, context_width=32, context_learning_rate=5e-4),
    CorruptionConfig(hide=0.2),
    TrainingConfig(epochs=24, batch_size=32, learning_rate=3e-3, kl_warmup=5.0, validation=0.15),
    series=SeriesConfig(),
)


def configure(preset: str = "default", *, rows: int | None = None, series: bool = False, **overrides: Any) -> FitConfig:
    """The preset with single settings replaced; an override of None leaves the preset's value.

    Parameters
    ----------
    preset : `default`, `archive` or `paper`
    rows : the items are so many rows of a table, of which the preset is `default`: its sizes follow their number
    series : the items are windows of series; likewise
    overrides : fields of `NetworkConfig`, `ContextConfig`, `TrainingConfig`, `RowConfig` and `SeriesConfig` by name, and
        `corruption` (a `CorruptionConfig` or its text form)

    Raises
    ------
    UsageError : for an unknown preset or setting, or a value out of bounds
    """
    if preset not in PRESETS:
        raise UsageError(f"--preset must be one of {', '.join(PRESETS)}; got {preset!r}")
    if (rows is not None or series) and preset != "default":
        raise UsageError(f"--preset must be default for {'series' if series else 'tables'}, got {preset!r}")
    config = _SERIES if series else PRESETS[preset] if rows is None else _rows_config(rows)
    given = {name: value for name, value in overrides.items() if value is not None}
    corruption = given.pop("corruption", config.corruption)
    if isinstance(corruption, str):
        corruption = CorruptionConfig.parse(corruption)
    if not isinstance(corruption, CorruptionConfig):
        raise UsageError(f"--corruption must be a CorruptionConfig or text, got {corruption!r}")
    parts = {}
    for part in ("network", "context", "training", "rows", "series"):
        current = getattr(config, part)
        if current is not None:
            mine = {name: given.pop(name) for name in list(given) if name in current.__dataclass_fields__}
            parts[part] = dataclasses.replace(current, **mine)
    if given:
        raise UsageError(f"unknown setting: {', '.join(given)}")
    return dataclasses.replace(config, corruption=corruption, **parts)


def _rows_config(rows: int) -> FitConfig:
    """One larger network and larger batches for many rows; fewer and larger steps for few."""
    if rows >= _MANY_ROWS:
        network = dataclasses.replace(_ROWS.network, hidden=128)
        context = dataclasses.replace(_ROWS.context, context_width=256)
        training = dataclasses.replace(_ROWS.training, batch_size=128, validation=0.1)
        alone = dataclasses.replace(RowConfig(), members=1, dropout=0.1)
        return dataclasses.replace(_ROWS, network=network, context=context, training=training, rows=alone)
    if rows < _FEW_ROWS:
        return _FEW
    training = dataclasses.replace(_ROWS.training, batch_size=min(64, rows // 4))
    return dataclasses.replace(_ROWS, training=training)
