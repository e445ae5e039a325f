"""What the model card says in words is what the record says in figures."""

from __future__ import annotations

import copy
import dataclasses

import pytest

from fivefold.model.figures import describe_units, figure_rows
from fivefold.model.fitted import FittedModel
from fivefold.modelcard import render_card


def with_units(model: FittedModel, inactive: list[int], name: str = "held_out", items: int = 60) -> FittedModel:
    """The model with other figures."""
    record = copy.deepcopy(model.record)
    figures = record["figures"].pop("held_out") | {"inactive_units": inactive, "items": items}
    record["figures"] = {name: figures}
    return dataclasses.replace(model, record=record)


@pytest.mark.parametrize("name", ["held_out", "test"])
@pytest.mark.parametrize(
    ("inactive", "expected"),
    [
        ([], ["All 4 latent units are active"]),
        ([0, 1, 2, 3], ["None of the 4 latent units is active", "collapsed", "--kl-warmup"]),
        ([1, 3], ["2 of 4 latent units are active", "units 1, 3", "--latent-dim 2"]),
    ],
)
def test_units_in_words(model, name, inactive, expected):
    text = describe_units(with_units(model, inactive, name))
    for part in expected:
        assert part in text


def test_one_item_says_nothing_about_units(model):
    assert "too few items" in describe_units(with_units(model, [0, 1, 2, 3], items=1))


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
    assert "fields of 7×7" in rows["context decoder"]
    loss = model.record["history"][model.record["best_epoch"]]["validation_context"]
    assert f"loss {loss:.4f}" in rows["context decoder"]


def test_the_context_decoder_where_nothing_was_held_out_and_where_there_is_none(model):
    history = [{"epoch": row["epoch"]} for row in model.record["history"]]
    rows = dict(figure_rows(dataclasses.replace(model, record=model.record | {"history": history})))
    assert rows["context decoder"] == "fields of 7×7"
    context = dataclasses.replace(model.config.context, field=0)
    config = dataclasses.replace(model.config, context=context)
    assert "context decoder" not in dict(figure_rows(dataclasses.replace(model, config=config)))


def test_card_has_all_rows_and_the_units(model):
    card = render_card(model)
    for label, text in figure_rows(model):
        assert f"| {label} | {text} |" in card
    assert describe_units(model) in card
    for name, version in model.record["environment"]["versions"].items():
        assert f"{name} {version}" in card
    assert card.count("```") == 2
