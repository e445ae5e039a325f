"""How often held-out items are looked at, and which epoch is best."""

from __future__ import annotations

import pytest

from fivefold.training.recipe import Recipe, held_out_elbo


@pytest.mark.parametrize(
    ("held_out", "batch_size", "expected"),
    [
        (30, 64, (600, (1, 150))),  # 20 times at most
        (500, 64, (2000, (1, 150))),
        (501, 64, (64, (32, 150))),
        (9000, 128, (128, (71, 150))),
    ],
)
def test_few_items_are_looked_at_with_several_masks_in_one_batch(held_out, batch_size, expected):
    recipe = Recipe(steps=(50, 150), held_out=2000, at_once=2000)
    assert recipe.held_out_batches(held_out, batch_size) == expected


def test_items_are_looked_at_once_by_default():
    assert Recipe().held_out_batches(30, 64) == (64, None)


def test_without_held_out_items_later_is_better():
    assert held_out_elbo({"epoch": 3}) < held_out_elbo({"epoch": 2})
    assert held_out_elbo({"epoch": 3, "validation_negative_elbo": 9.0}) == 9.0
