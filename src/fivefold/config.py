"""Every setting of a fit, as frozen dataclasses: at once the command line's help and the model's config.json."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from enum import IntEnum
from functools import cache
from numbers import Integral, Real
from typing import Any, ClassVar, Literal, get_args, get_origin, get_type_hints

from fivefold.errors import ModelError, UsageError, suggest

LikelihoodName = Literal["bernoulli", "pixels", "gaussian", "columns"]
ActivationName = Literal["silu", "relu"]
LoggerName = Literal["csv", "tensorboard"]
PresetName = Literal["default", "archive", "paper"]
PriorName = Literal["standard", "fitted"]
_MAX_WIDTH = 1 << 24
_MAX_NUMBER = 1 << 63
_FIELD_KEY = "window"  # on disk


class Conditioning(IntEnum):
    """Which other elements an element's distribution is conditioned on.

    Of causal conditioning the elements that come earlier in the order of coding; of missing ones all visible elements but
    itself; of noisy ones all elements, itself among them, each with its noise.
    """

    CAUSAL = 0
    MISSING = 1
    NOISY = 2


def setting(
    default: Any,
    help: str,
    at_least: float | None = None,
    below: float | None = None,
    later: bool = False,
    *,
    above: float | None = None,
) -> Any:
    """A field with its help and bounds; one that came `later` than the format of models is stored where it isn't the default."""
    bounds = {"at_least": at_least, "below": below, "above": above}
    return field(default=default, metadata={"help": help, "later": later} | bounds)


@cache
def _hints(kind: type) -> dict[str, Any]:
    """Types of a class's fields."""
    return get_type_hints(kind)


class _Checked:
    """Raises `UsageError` when a field has the wrong type or lies outside its bounds."""

    _LABEL: ClassVar[str] = "`{}`"  # of a field in messages

    def __post_init__(self) -> None:
        own: Any = type(self)
        kinds = _hints(own)
        for item in dataclasses.fields(self):  # type: ignore[arg-type]  # each heir is a dataclass
            value, bounds, kind = getattr(self, item.name), item.metadata, kinds[item.name]
            if type(None) in get_args(kind):
                if value is None:
                    continue
                kind = get_args(kind)[0]
            if isinstance(value, Real) and not isinstance(value, int | float):  # one of NumPy's
                value = int(value) if isinstance(value, Integral) else float(value)
                object.__setattr__(self, item.name, value)
            label = self._LABEL.format(item.name)
            if get_origin(kind) is Literal:
                if value not in get_args(kind):
                    raise UsageError(f"{label} must be one of {', '.join(get_args(kind))}; got {value!r}")
            elif kind is bool:
                if not isinstance(value, bool):
                    raise UsageError(f"{label} must be true or false, got {value!r}")
            elif isinstance(value, bool) or not isinstance(value, int if kind is int else int | float):
                raise UsageError(f"{label} must be {'an integer' if kind is int else 'a number'}, got {value!r}")
            elif not abs(value) < _MAX_NUMBER:
                wanted = "below 2^63" if isinstance(value, int) or math.isfinite(value) else "a finite number"
                raise UsageError(f"{label} must be {wanted}, got {value}")
            above, below = bounds["above"], bounds["below"]
            if above is not None and not above < value < (math.inf if below is None else below):
                wanted = f"above {above}" if below is None else f"between {above} and {below}"
                raise UsageError(f"{label} must be {wanted}, got {value:g}")
            if bounds["at_least"] is not None and not value >= bounds["at_least"]:
                raise UsageError(f"{label} must be at least {bounds['at_least']}, got {value}")
            if bounds["below"] is not None and not value < bounds["below"]:
                raise UsageError(f"{label} must be below {bounds['below']}, got {value}")

    def to_json(self) -> dict[str, Any]:
        """The fields as plain JSON values."""
        fields = dataclasses.fields(self)  # type: ignore[arg-type]
        values = {item.name: getattr(self, item.name) for item in fields}
        late = {item.name for item in fields if item.metadata["later"] and values[item.name] == item.default}
        return {name: value for name, value in values.items() if name not in late}


@dataclass(frozen=True)
class NetworkConfig(_Checked):
    """The networks' shape. The number of channels doubles with each halving of the image."""

    latent_dim: int = setting(10, "Numbers that an item is compressed to.", at_least=1, below=_MAX_WIDTH)
    likelihood: LikelihoodName = setting("bernoulli", "Family of p(x | z): bernoulli, pixels or gaussian.")
    visibility: bool = setting(True, "Whether the encoder is told which elements are visible.")
    activation: ActivationName = setting("silu", "Between the layers: silu or relu.")
    first_channels: int = setting(32, "Channels of the first convolution.", at_least=1, below=_MAX_WIDTH)
    max_channels: int = setting(128, "Channels of the widest convolution.", at_least=1, below=_MAX_WIDTH)
    smallest_side: int = setting(8, "Images are halved until no side is longer than this.", at_least=2)
    hidden: int = setting(
        400, "Width of the linear layer on each side of the latent code.", at_least=1, below=_MAX_WIDTH
    )


@dataclass(frozen=True)
class ContextConfig(_Checked):
    """The context decoder: a network shared by all elements, each seeing what is around it."""

    field: int = setting(
        9, "Side of what the context decoder sees around a pixel, odd; 0 for no context decoder.", at_least=0, below=64
    )
    context_width: int = setting(160, "Width of the context decoder's layers.", at_least=1, below=1 << 16)
    context_depth: int = setting(2, "Number of the context decoder's layers.", at_least=1, below=64)
    context_learning_rate: float = setting(8e-3, "Peak of the context decoder's rate (Muon's and Adam's).", at_least=0)
    positions: int = setting(
        48, "Elements per item and step that the context decoder learns from.", at_least=1, below=1 << 20
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.field and self.field % 2 == 0:
            raise UsageError(f"`field` must be odd, or 0 for no context decoder; got {self.field}")


@dataclass(frozen=True)
class CorruptionConfig(_Checked):
    """Shares of the training items that the encoder sees corrupted, by kind; the rest stay clean."""

    hide: float = setting(0.0, "Elements hidden at random.", at_least=0)
    block: float = setting(0.0, "A block hidden.", at_least=0)
    uniform: float = setting(0.0, "Elements replaced by uniform values.", at_least=0)
    gaussian: float = setting(0.0, "Gaussian noise added.", at_least=0)
    salt_and_pepper: float = setting(0.0, "Elements replaced by black or white.", at_least=0)
    _LABEL: ClassVar[str] = "`corruption` {}"

    def __post_init__(self) -> None:
        super().__post_init__()
        if (total := math.fsum(dataclasses.astuple(self))) > 1:
            raise UsageError(f"`corruption`: the shares must add up to at most 1, got {total:g}")

    @classmethod
    def parse(cls, text: str) -> CorruptionConfig:
        """From `none` or `hide=0.1,uniform=0.2`; raises `UsageError`."""
        if text == "none":
            return cls()
        kinds = [field.name for field in dataclasses.fields(cls)]
        shares: dict[str, float] = {}
        for part in text.split(","):
            name, _, share = (word.strip() for word in part.partition("="))
            name = name.replace("-", "_")
            try:
                if name not in kinds or name in shares:
                    raise ValueError
                shares[name] = float(share)
            except ValueError:
                raise UsageError(
                    f"`corruption` must be none or KIND=SHARE,… (each once) with kinds {', '.join(kinds)}; got {part!r}"
                ) from None
        return cls(**shares)


@dataclass(frozen=True)
class TrainingConfig(_Checked):
    """How long and how fast to train."""

    epochs: int = setting(24, "Passes over the training items, at most.", at_least=1)
    max_minutes: float | None = setting(None, "Stop after this long; the learning rate falls accordingly.", above=0)
    batch_size: int = setting(128, "Items per step.", at_least=1)
    learning_rate: float = setting(1.5e-3, "Peak of Adam's rate; rises at the start, then falls along a cosine.", 0)
    kl_warmup: float = setting(1.0, "Epochs over which the weight of the KL term rises from 0 to 1.", at_least=0)
    validation: float = setting(0.1, "Share of the items held out to choose the best epoch.", at_least=0, below=1)
    seed: int = setting(0, "Seed of everything random.", at_least=0)


@dataclass(frozen=True)
class JobNumbers(_Checked):
    """Numbers that jobs take, None where one is not given; they are checked before anything is loaded."""

    n: int | None = setting(None, "New items.", at_least=1)
    n_samples: int | None = setting(None, "Codes per item.", at_least=1)
    n_draws: int | None = setting(None, "Completed data, drawn.", at_least=0)
    steps: int | None = setting(None, "Of series that go on, and between two codes.")
    temperature: float | None = setting(None, "Factor on how far codes stray.", at_least=0)
    interval: float | None = setting(None, "Probability of intervals.", above=0, below=1)
    threshold: float | None = setting(None, "Probability above which a cell is wrong.", above=0, below=1)
    false_alarm_rate: float | None = setting(None, "Share of normal items that may be flagged.", above=0, below=1)
    fdr: float | None = setting(None, "Share of normal items among the flagged.", above=0, below=1)
    top: int | None = setting(None, "Strangest items.", at_least=1)
    step: float | None = setting(None, "Of the codes' grid.", at_least=0)
    block_items: int | None = setting(None, "Items coded together.", at_least=1)
    workers: int | None = setting(None, "Processes.", at_least=1)
    seed: int | None = setting(None, "Seed of everything random.", at_least=0)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.fdr is not None and self.false_alarm_rate is not None:
            raise UsageError("`fdr` and `false_alarm_rate` exclude each other")
        if self.fdr is not None and self.top is not None:
            raise UsageError("`fdr` does not go with `top`: the rate is of all items")


@dataclass(frozen=True)
class ModalityConfig(_Checked):
    """What a fit to data of one modality has besides; `KEY` is its name in config.json."""

    KEY: ClassVar[str]

    @property
    def damage(self) -> dict[str, float]:
        """Shares of the training items that the encoder sees corrupted in the modality's own ways, by kind."""
        return {}


@dataclass(frozen=True)
class FitConfig:
    """Everything that a fit depends on besides the data; `own` is the modality's, if it has settings of its own."""

    preset: PresetName = "default"
    network: NetworkConfig = NetworkConfig()
    context: ContextConfig = ContextConfig()
    corruption: CorruptionConfig = CorruptionConfig()
    training: TrainingConfig = TrainingConfig()
    own: ModalityConfig | None = None

    @property
    def settings(self) -> dict[str, Any]:
        """All single settings by name."""
        parts = (self.network, self.context, self.corruption, self.training, self.own)
        return {name: value for part in parts if part for name, value in dataclasses.asdict(part).items()}

    @property
    def damage(self) -> dict[str, float]:
        """The share of the training items that the encoder sees corrupted, by kind."""
        return {**dataclasses.asdict(self.corruption), **(self.own.damage if self.own else {})}

    def with_settings(self, **overrides: Any) -> FitConfig:
        """The same with single settings replaced; an override of None leaves the setting as it is.

        Parameters
        ----------
        overrides : fields of the configuration's parts by name; `corruption` (a `CorruptionConfig` or its text form); and
            `context`, False for no context decoder

        Raises
        ------
        UsageError : for an unknown setting, or a value out of bounds
        """
        given = {name: value for name, value in overrides.items() if value is not None}
        corruption = given.pop("corruption", self.corruption)
        if isinstance(corruption, str):
            corruption = CorruptionConfig.parse(corruption)
        if not isinstance(corruption, CorruptionConfig):
            raise UsageError(f"`corruption` must be a CorruptionConfig or text, got {corruption!r}")
        context = given.pop("context", True)
        if not isinstance(context, bool):
            raise UsageError(f"`context` must be true or false, got {context!r}")
        given |= {} if context else {"field": 0}
        parts: dict[str, Any] = {"corruption": corruption}
        for name in ("network", "context", "training", "own"):
            if (part := getattr(self, name)) is not None:
                fields = [field.name for field in dataclasses.fields(part) if field.name in given]
                changes = {field: given.pop(field) for field in fields}
                parts[name] = dataclasses.replace(part, **changes)
        if given:
            known = ("context", "corruption", *self.settings)
            raise UsageError(f"unknown setting: {', '.join(given)}{suggest(next(iter(given)), known)}")
        return dataclasses.replace(self, **parts)

    def to_json(self) -> dict[str, Any]:
        """The configuration as plain JSON values."""
        parts = {name: getattr(self, name).to_json() for name in ("network", "context", "corruption", "training")}
        parts["context"] = _renamed(parts["context"], "field", _FIELD_KEY)
        own = {} if self.own is None else {self.own.KEY: self.own.to_json()}
        return {"preset": self.preset} | parts | own

    @classmethod
    def from_json(cls, fields: dict[str, Any], own: type[ModalityConfig] | None = None) -> FitConfig:
        """The inverse of `to_json`, given the modality's configuration class; raises `ModelError` for anything else."""
        try:
            if fields["preset"] not in get_args(PresetName):
                raise UsageError(f"no such preset: {fields['preset']!r}")
            return cls(
                fields["preset"],
                NetworkConfig(**fields["network"]),
                ContextConfig(**_renamed(fields["context"], _FIELD_KEY, "field")),
                CorruptionConfig(**fields["corruption"]),
                TrainingConfig(**fields["training"]),
                None if own is None else own(**fields[own.KEY]),
            )
        except (AttributeError, KeyError, TypeError, UsageError) as error:
            raise ModelError(f"the model's configuration is damaged: {error}") from None


def _renamed(fields: dict[str, Any], name: str, new: str) -> dict[str, Any]:
    return {new if key == name else key: value for key, value in fields.items()}
