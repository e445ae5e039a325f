"""The few numbers by which the normal is told from the strange."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from fivefold.config import Conditioning
from fivefold.images.dataset import make_items
from fivefold.images.jobs import statistics
from fivefold.model.calibrations import FittedPrior, JointScore
from fivefold.model.conditional import Conditional
from fivefold.model.scoring import reconstruction_scores


@pytest.fixture
def items(model, digits):
    return make_items(digits[600:630], model.schema)


def score(model, values, **settings):
    return model.normality.score(statistics(model, make_items(values, model.schema, **settings)))


def test_an_items_statistics_do_not_depend_on_its_batch(model, items, monkeypatch):
    together = statistics(model, items)
    alone = np.concatenate([statistics(model, items.select(slice(i, i + 1))) for i in range(10)])
    np.testing.assert_allclose(alone, together[:10], rtol=1e-5, atol=1e-6)
    monkeypatch.setattr(type(model), "batch_size", 7)
    np.testing.assert_allclose(statistics(model, items), together, rtol=1e-5, atol=1e-6)


def test_their_number_depends_on_the_model_alone(model, items, digits):
    k = statistics(model, items).shape[1]
    assert model.normality.centre.shape == (k,)
    holes = np.zeros((28, 28), bool)
    holes[::2] = True
    for n in (1, 5):
        other = make_items(255 - digits[:n], model.schema, masks=[holes])
        assert statistics(model, other).shape == (n, k)
    for without in ({"context": None}, {"calibrations": {}}, {"context": None, "calibrations": {}}):
        assert 0 < statistics(dataclasses.replace(model, **without), items).shape[1] < k


def test_statistics_are_finite_with_holes_of_any_size(model, digits):
    """Down to a single visible element; black and constant items included."""
    masks = np.zeros((20, 28, 28), bool)
    for index, mask in enumerate(masks):
        mask.flat[np.random.default_rng(index).permutation(784)[: 784 - 40 * index]] = True
        mask.flat[index] = False
    values = digits[:20].copy()
    values[3], values[4] = 0, 255
    found = statistics(model, make_items(values, model.schema, masks=[masks]))
    assert found.dtype == np.float64
    assert np.isfinite(found).all()
    assert np.isfinite(model.normality.score(found)).all()


def test_what_stands_at_hidden_elements_does_not_matter(model, digits):
    mask = np.random.default_rng(0).random((10, 28, 28, 1)) < 0.4
    one, other = (
        statistics(model, make_items(values, model.schema, masks=[mask]))
        for values in (digits[:10], np.where(mask, 255 - digits[:10], digits[:10]))
    )
    np.testing.assert_array_equal(one, other)


@pytest.fixture
def with_holes(model, digits):
    mask = np.random.default_rng(0).random((30, 28, 28, 1)) < 0.3
    return make_items(digits[600:630], model.schema, masks=[mask])


def is_among(expected, statistics) -> bool:
    return any(np.allclose(column, expected, rtol=1e-4, atol=1e-6) for column in statistics.T)


def test_the_error_is_that_of_the_reconstruction(model, items, with_holes):
    """One of the statistics is the publication's score, per visible element."""
    for each in (items, with_holes):
        assert is_among(-reconstruction_scores(model, each) / 784, statistics(model, each))


def test_the_worst_patch_is_of_visible_elements(model, with_holes):
    x, visible = (model.tensor(part) for part in with_holes.unit())
    with torch.no_grad():
        likelihood = model.vae.likelihood(model.vae.posterior(x, visible).mu)
    square = ((x - likelihood.mean).square() * visible)[:, 0].numpy()
    worst = [
        max(image[row : row + 7, column : column + 7].mean() for row in range(22) for column in range(22))
        for image in square
    ]
    assert is_among(np.log(worst), statistics(model, with_holes))


@pytest.mark.parametrize("with_z", [True, False])
def test_the_surprise_of_each_element_given_those_before(model, with_holes, with_z):
    x, visible = (model.tensor(part) for part in with_holes.unit())
    with torch.no_grad():
        z = model.vae.posterior(x, visible).mu if with_z else None
        log_prob = Conditional(model, Conditioning.CAUSAL, x, visible, z).log_prob(x)
    expected = -(log_prob * visible).sum(dim=(1, 2, 3)) / visible.sum(dim=(1, 2, 3))
    assert is_among(expected.numpy(), statistics(model, with_holes))


def test_an_improbable_code_shows(model, items):
    far = FittedPrior(np.ones(1), np.full((1, 4), 50.0), np.eye(4)[None])
    other = dataclasses.replace(model, calibrations=model.calibrations | {"prior": far})
    near, strange = (statistics(fitted, items) for fitted in (model, other))
    changed = (near != strange).any(axis=0)
    assert changed.sum() == 1
    assert (strange[:, changed] > near[:, changed] + 100).all()


@pytest.mark.parametrize("kind", ["negative", "noise", "a blot"])
def test_strange_items_score_lower(model, digits, kind):
    normal = digits[600:640]
    random = np.random.default_rng(0)
    strange = normal.copy()
    if kind == "negative":
        strange = 255 - strange
    elif kind == "noise":
        strange = np.where(random.random(normal.shape) < 0.2, random.integers(0, 256, normal.shape), normal)
    else:
        strange[:, 2:6, 2:6] = 200
    strange = strange.astype(np.uint8)
    scores, p_values = [], []
    for values in (normal, strange):
        scores.append(score(model, values))
        p_values.append(model.normality.p_value(scores[-1]))
    assert np.median(scores[1]) < np.median(scores[0])
    assert (scores[1] < scores[0]).mean() > 0.8
    assert np.median(p_values[1]) < 0.2 < np.median(p_values[0])


def test_normal_items_get_p_values_all_over(model, digits):
    p_values = model.normality.p_value(score(model, digits[600:900]))
    assert 0.3 < p_values.mean() < 0.7
    assert (p_values < 0.1).mean() < 0.3
    assert (p_values > 0.9).mean() < 0.3


def test_several_channels_and_no_normality(untrained):
    values = np.random.default_rng(0).integers(0, 256, (5, *untrained.schema.shape), np.uint8)
    found = statistics(untrained, make_items(values, untrained.schema))
    assert found.shape[0] == 5
    assert np.isfinite(found).all()


def test_too_smooth_a_patch_shows(model, digits):
    """The last statistic is low where an element is nearer to its expectation than it should be; no other tells of that."""
    rough = np.random.default_rng(0).integers(60, 200, (8, 28, 28, 1), np.uint8)
    smooth = rough.copy()
    smooth[:, 8:20, 8:20] = 130
    near, strange = (statistics(model, make_items(values, model.schema))[:, -1] for values in (rough, smooth))
    assert (strange < near).all()


def test_models_of_before_keep_their_statistics(model, items):
    found, k = statistics(model, items), model.normality.size - 1
    before = JointScore(np.zeros(k), np.ones(k), np.eye(k), np.zeros(1))
    older = dataclasses.replace(model, calibrations=model.calibrations | {"normality": before})
    np.testing.assert_array_equal(statistics(older, items), found[:, :k])


def test_one_item_scores_as_it_does_among_others(model, items):
    together = statistics(model, items)
    for number in (0, 7):
        np.testing.assert_allclose(
            statistics(model, items.select(slice(number, number + 1)))[0], together[number], rtol=1e-12
        )
