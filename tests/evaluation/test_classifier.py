"""The classifier that supplies features."""

from __future__ import annotations

import numpy as np
import torch

from fivefold.data.builtin import load_mnist
from fivefold.data.items import make_items
from fivefold.evaluation.classifier import fit_classifier


def test_it_learns_digits_and_repeats_itself():
    values, labels = load_mnist("test")
    train, test = (make_items(values[rows], labels=labels[rows]) for rows in (slice(0, 1500), slice(1500, 2000)))
    first, second = (fit_classifier(train, device=torch.device("cpu"), epochs=3, seed=1) for _ in range(2))
    assert (first.predict(test) == test.labels).mean() > 0.6
    assert first.features(test).shape == (500, 64)
    assert np.array_equal(first.features(test), second.features(test))


def test_classes_may_be_text():
    values, labels = load_mnist("test")
    names = np.array(["even", "odd"])[labels[:200] % 2]
    classifier = fit_classifier(make_items(values[:200], labels=names), device=torch.device("cpu"), epochs=1)
    assert set(classifier.predict(make_items(values[:50]))) <= {"even", "odd"}
