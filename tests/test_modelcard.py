"""What the model card says in words is what the record says in figures."""

from __future__ import annotations

import copy
import dataclasses

import pytest

from fivefold.model.fitted import FittedModel
from fivefold.modelcard import describe_units, figure_rows, render_card


def with_units(model: FittedModel, kl_per_unit: list[float], active: int, name: str = "held_out") -> FittedModel:
    """The model with other figures."""
    record = copy.deepcopy(model.record)
    figures = record["figures"].pop("held_out") | {"kl_per_unit": kl_per_unit, "active_units": active}
    record["figures"] = {name: figures}
    return dataclasses.replace(model, record=record)


@pytest.mark.parametrize("name", ["held_out", "test"])
@pytest.mark.parametrize(
    ("kl_per_unit", "active", "expected"),
    [
        ([1.0, 2.0, 0.5, 3.0], 4, ["All 4 latent units are active"]),
        ([0.0, 0.0, 0.0, 0.0], 0, ["None of the 4 latent units is active", "collapsed", "--kl-warmup"]),
        ([1.0, 0.001, 0.5, 0.0], 2, ["2 of 4 latent units are active", "units 1, 3", "--latent-dim 2"]),
        ([1.0, 0.3, 0.5, 0.2], 3, ["3 of 4 latent units are active", "the weakest", "--latent-dim 3"]),
    ],
)
def test_units_in_words(model, name, kl_per_unit, active, expected):
    text = describe_units(with_units(model, kl_per_unit, active, name))
    for part in expected:
        assert part in text


def test_units_are_unknown_without_held_out_items(model):
    record = model.record | {"figures": {}}
    assert "unknown" in describe_units(dataclasses.replace(model, record=record))


def test_rows(model):
    rows = dict(figure_rows(model))
    figures = model.record["figures"]["held_out"]
    assert rows["preset"] == "default"
    assert rows["items"] == "28×28×1 uint8 in [0, 255]"
    assert rows["latent numbers"] == "4 for 784 values"
    assert rows["weights"] == f"{model.parameters:,}"
    assert "540 items" in rows["trained on"]
    assert f"best: {model.record['best_epoch'] + 1}" in rows["training"]
    assert f"{figures['negative_elbo']:.2f} nats" in rows["negative ELBO, held-out"]
    assert "(60 items)" in rows["negative ELBO, held-out"]


def test_card_has_all_rows_and_the_units(model):
    card = render_card(model)
    for label, text in figure_rows(model):
        assert f"| {label} | {text} |" in card
    assert describe_units(model) in card
    for name, version in model.record["environment"]["versions"].items():
        assert f"{name} {version}" in card
    assert card.count("```") == 2
