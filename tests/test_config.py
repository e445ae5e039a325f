import dataclasses
import itertools
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fivefold.config import ContextConfig, CorruptionConfig, FitConfig, NetworkConfig, TrainingConfig
from fivefold.errors import ModelError, UsageError
from fivefold.images.settings import PRESETS, configure

NAN, INFINITY = float("nan"), float("inf")
PARTS = {
    NetworkConfig: "network",
    ContextConfig: "context",
    CorruptionConfig: "corruption",
    TrainingConfig: "training",
}


@pytest.mark.parametrize(
    ("text", "shares"),
    [
        ("none", {}),
        ("hide=0.25", {"hide": 0.25}),
        ("hide=0.1,uniform=0.2", {"hide": 0.1, "uniform": 0.2}),
        (" block = .5 , gaussian=0 ", {"block": 0.5, "gaussian": 0.0}),
        ("salt-and-pepper=0.1", {"salt_and_pepper": 0.1}),
        ("salt_and_pepper=1", {"salt_and_pepper": 1.0}),
    ],
)
def test_parses_corruption(text, shares):
    assert CorruptionConfig.parse(text) == CorruptionConfig(**shares)


@pytest.mark.parametrize(
    "text",
    ["", ",", "hide", "hide=", "=0.1", "blur=0.1", "hide=much", "hide=0.1,hide=0.1", "none,hide=0.1", "hide=0.1,"],
)
def test_refuses_unreadable_corruption(text):
    with pytest.raises(UsageError, match=r"must be none or KIND=SHARE.*salt_and_pepper"):
        CorruptionConfig.parse(text)


@pytest.mark.parametrize("text", ["hide=-0.1", "hide=nan", "hide=inf", "hide=1.1", "hide=0.6,block=0.5"])
def test_refuses_shares_out_of_bounds(text):
    with pytest.raises(UsageError, match="`corruption`"):
        CorruptionConfig.parse(text)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.integers(0, 100), min_size=4, max_size=4))
def test_shares_may_add_up_to_one_in_decimals(cuts):
    edges = [0, *sorted(cuts), 100]
    shares = [(b - a) / 100 for a, b in itertools.pairwise(edges)]
    names = [each.name for each in dataclasses.fields(CorruptionConfig)]
    text = ",".join(f"{name}={share}" for name, share in zip(names, shares, strict=True))
    assert dataclasses.astuple(CorruptionConfig.parse(text)) == tuple(shares)


def test_a_sum_that_floats_round_above_one_is_allowed():
    assert sum((0.8, 0.05, 0.05, 0.1)) > 1
    assert CorruptionConfig(0.8, 0.05, 0.05, 0.1).hide == 0.8


@pytest.mark.parametrize(
    ("config", "name", "value", "flag"),
    [
        (NetworkConfig, "latent_dim", 0, "`latent_dim`"),
        (NetworkConfig, "latent_dim", 10**30, "`latent_dim`"),
        (NetworkConfig, "latent_dim", 1 << 24, "`latent_dim`"),
        (NetworkConfig, "latent_dim", 1.5, "`latent_dim`"),
        (NetworkConfig, "latent_dim", True, "`latent_dim`"),
        (NetworkConfig, "latent_dim", None, "`latent_dim`"),
        (NetworkConfig, "latent_dim", "x", "`latent_dim`"),
        (NetworkConfig, "likelihood", "poisson", "`likelihood`"),
        (NetworkConfig, "likelihood", 1, "`likelihood`"),
        (NetworkConfig, "likelihood", [], "`likelihood`"),
        (NetworkConfig, "activation", "tanh", "`activation`"),
        (NetworkConfig, "visibility", 1, "`visibility`"),
        (NetworkConfig, "visibility", None, "`visibility`"),
        (NetworkConfig, "first_channels", 0, "`first_channels`"),
        (NetworkConfig, "max_channels", {}, "`max_channels`"),
        (NetworkConfig, "smallest_side", 1, "`smallest_side`"),
        (NetworkConfig, "hidden", "400", "`hidden`"),
        (ContextConfig, "field", -1, "`field`"),
        (ContextConfig, "field", 4, "`field`"),
        (ContextConfig, "field", 65, "`field`"),
        (ContextConfig, "field", 5.0, "`field`"),
        (ContextConfig, "field", None, "`field`"),
        (ContextConfig, "field", True, "`field`"),
        (ContextConfig, "context_width", 0, "`context_width`"),
        (ContextConfig, "context_width", 1 << 16, "`context_width`"),
        (ContextConfig, "context_depth", 0, "`context_depth`"),
        (ContextConfig, "context_depth", 64, "`context_depth`"),
        (ContextConfig, "context_learning_rate", -1e-3, "`context_learning_rate`"),
        (ContextConfig, "context_learning_rate", NAN, "`context_learning_rate`"),
        (ContextConfig, "positions", 0, "`positions`"),
        (ContextConfig, "positions", "x", "`positions`"),
        (CorruptionConfig, "salt_and_pepper", -0.1, "`corruption` salt_and_pepper"),
        (CorruptionConfig, "hide", "0.1", "`corruption` hide"),
        (CorruptionConfig, "hide", 10**400, "`corruption` hide"),
        (TrainingConfig, "epochs", 0, "`epochs`"),
        (TrainingConfig, "max_minutes", -1, "`max_minutes`"),
        (TrainingConfig, "max_minutes", INFINITY, "`max_minutes`"),
        (TrainingConfig, "batch_size", 0, "`batch_size`"),
        (TrainingConfig, "learning_rate", -1e-3, "`learning_rate`"),
        (TrainingConfig, "learning_rate", NAN, "`learning_rate`"),
        (TrainingConfig, "kl_warmup", -1, "`kl_warmup`"),
        (TrainingConfig, "validation", 1.0, "`validation`"),
        (TrainingConfig, "validation", -0.1, "`validation`"),
        (TrainingConfig, "seed", -1, "`seed`"),
        (TrainingConfig, "seed", 1 << 63, "`seed`"),
    ],
)
class TestBadField:
    def test_is_a_usage_error(self, config, name, value, flag):
        with pytest.raises(UsageError, match=f"^{flag} must be"):
            config(**{name: value})

    def test_in_json_is_a_model_error(self, config, name, value, flag):
        fields = PRESETS["default"].to_json()
        fields[PARTS[config]][name] = value
        with pytest.raises(ModelError, match="configuration is damaged"):
            FitConfig.from_json(fields)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("latent_dim", 1),
        ("field", 0),
        ("field", 1),
        ("field", 63),
        ("context_width", 1),
        ("context_depth", 1),
        ("positions", 1),
        ("max_minutes", 5),
        ("max_minutes", 0.5),
        ("validation", 0),
        ("seed", (1 << 63) - 1),
    ],
)
def test_bounds_themselves_are_allowed(name, value):
    config = configure(**{name: value})
    found = {key: each for part in PARTS.values() for key, each in vars(getattr(config, part)).items()}
    assert found[name] == value


def test_configure_replaces_single_settings():
    config = configure("paper", latent_dim=3, epochs=None, seed=7, field=5, corruption="hide=0.5")
    paper = PRESETS["paper"]
    assert config.preset == "paper"
    assert config.network == dataclasses.replace(paper.network, latent_dim=3)
    assert config.context == dataclasses.replace(paper.context, field=5)
    assert config.training == dataclasses.replace(paper.training, seed=7)
    assert config.corruption == CorruptionConfig(hide=0.5)


def test_a_fit_may_be_without_a_context_decoder():
    assert configure(context=False) == configure(field=0)
    assert configure(context=True) == configure()


def test_on_disk_the_field_has_its_old_key():
    assert configure(field=5).to_json()["context"]["window"] == 5
    assert configure(field=5).settings["field"] == 5


@pytest.mark.parametrize("preset", PRESETS)
def test_configure_without_overrides_is_the_preset(preset):
    assert configure(preset, corruption=None) == PRESETS[preset]


def test_the_paper_preset_is_the_publications():
    paper = PRESETS["paper"]
    assert paper.context.field == 0
    assert paper.corruption == CorruptionConfig()
    assert (paper.network.latent_dim, paper.network.likelihood, paper.network.activation) == (10, "bernoulli", "relu")
    assert not paper.network.visibility


def test_the_default_preset_learns_every_window():
    default = PRESETS["default"]
    assert default.network.latent_dim == 16
    assert default.context.field == 9
    assert default.corruption.hide + default.corruption.block > 0
    assert default.corruption.uniform + default.corruption.gaussian + default.corruption.salt_and_pepper > 0
    assert sum(dataclasses.astuple(default.corruption)) < 1, "some stay clean: causal windows are learnt from them"


def test_configure_takes_a_corruption_object():
    assert configure(corruption=CorruptionConfig(block=0.5)).corruption == CorruptionConfig(block=0.5)


@pytest.mark.parametrize(
    ("preset", "overrides", "message"),
    [
        ("huge", {}, "`preset` must be one of default, archive, paper; got 'huge'"),
        ("default", {"depth": 3, "width": 4}, "unknown setting: depth, width"),
        ("default", {"latent_dim": 0}, "`latent_dim` must be at least 1, got 0"),
        ("default", {"latent_dim": "ten"}, "`latent_dim` must be an integer, got 'ten'"),
        ("default", {"field": 6}, "`field` must be odd, or 0 for no context decoder; got 6"),
        ("default", {"likelihood": "poisson"}, "`likelihood` must be one of bernoulli, pixels, gaussian"),
        ("default", {"corruption": "blur=1"}, "`corruption` must be none or"),
        ("default", {"corruption": 5}, "`corruption` must be a CorruptionConfig or text, got 5"),
        ("default", {"context": 0}, "`context` must be true or false, got 0"),
    ],
)
def test_configure_refuses(preset, overrides, message):
    with pytest.raises(UsageError) as caught:
        configure(preset, **overrides)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize("config", [*PRESETS.values(), configure(max_minutes=2.5, likelihood="pixels", field=3)])
def test_json_round_trip(config):
    assert FitConfig.from_json(json.loads(json.dumps(config.to_json()))) == config


@pytest.mark.parametrize(
    "junk",
    [
        None,
        5,
        "text",
        [],
        {},
        {"preset": "default"},
        {**FitConfig().to_json(), "preset": "other"},
        {**FitConfig().to_json(), "preset": []},
        {**FitConfig().to_json(), "network": None},
        {**FitConfig().to_json(), "network": [1]},
        {**FitConfig().to_json(), "context": None},
        {**FitConfig().to_json(), "context": {"window": 2}},
        {**FitConfig().to_json(), "context": {"side": 3}},
        {name: value for name, value in FitConfig().to_json().items() if name != "context"},
        {**FitConfig().to_json(), "corruption": "hide=1"},
        {**FitConfig().to_json(), "training": {"epochs": 1, "momentum": 2}},
        {**FitConfig().to_json(), "corruption": {"hide": 0.9, "block": 0.9}},
    ],
)
def test_from_json_refuses_junk(junk):
    with pytest.raises(ModelError, match="configuration is damaged"):
        FitConfig.from_json(junk)
