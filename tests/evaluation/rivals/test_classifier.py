"""The classifier that supplies features."""

from __future__ import annotations

import numpy as np
import pytest

from fivefold.evaluation.rivals.networks import fit_classifier
from fivefold.images.builtin import load_mnist
from fivefold.images.dataset import make_items


def test_it_learns_digits_and_repeats_itself(model):
    values, labels = load_mnist("test")
    train, test = (make_items(values[rows], labels=labels[rows]) for rows in (slice(0, 1500), slice(1500, 2000)))
    first, second = (fit_classifier(train, like=model, epochs=3, seed=1) for _ in range(2))
    assert (first.predict(test) == test.labels).mean() > 0.6
    assert first.features(test).shape == (500, 64)
    assert np.array_equal(first.features(test), second.features(test))


def test_classes_may_be_text(model):
    values, labels = load_mnist("test")
    names = np.array(["even", "odd"])[labels[:200] % 2]
    classifier = fit_classifier(make_items(values[:200], labels=names), like=model, epochs=1, seed=0)
    assert set(classifier.predict(make_items(values[:50]))) <= {"even", "odd"}


@pytest.mark.parametrize("shape", [(1, 1), (2, 9), (7, 7), (16, 5)])
def test_images_may_be_small(model, shape):
    values = np.random.default_rng(0).integers(0, 256, (129, *shape, 2)).astype(np.uint8)
    classifier = fit_classifier(make_items(values, labels=np.arange(129) % 2), like=model, epochs=1, seed=0)
    assert classifier.features(make_items(values[:3])).shape == (3, 64)
