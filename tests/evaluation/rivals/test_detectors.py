"""PyOD's detectors tell outliers, are reproducible, keep to their limits, and leave no traces."""

from __future__ import annotations

import os
import random

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from fivefold.errors import DataError, UsageError
from fivefold.evaluation.rivals import detectors
from fivefold.evaluation.rivals.detectors import (
    IMAGE_DETECTORS,
    fit_image_detector,
)


def _items(n: int, seed: int) -> np.ndarray:
    """Points near a plane of 12 dimensions; one is always 0 and one always 0.5, like a frame's pixels."""
    rng = np.random.default_rng(seed)
    plane = np.random.default_rng(0).random((2, 10)) / 2
    items = rng.random((n, 2)) @ plane + rng.normal(0, 0.01, (n, 10))
    frame = np.broadcast_to([0, 0.5], (n, 2))
    return np.concatenate([items, frame], axis=1).clip(0, 1).astype(np.float32)


TRAIN, NORMAL = _items(300, 1), _items(50, 2)
ODD = np.random.default_rng(3).random((50, 12)).astype(np.float32)


@pytest.mark.parametrize("name", IMAGE_DETECTORS)
def test_outliers_score_higher_the_same_for_a_seed(name):
    items = np.concatenate([NORMAL, ODD])
    scores = fit_image_detector(name, TRAIN, minutes=1, seed=5)(items)
    assert scores.shape == (100,)
    assert scores.dtype == np.float64
    assert np.isfinite(scores).all()
    assert roc_auc_score(np.arange(100) >= 50, scores) > 0.9
    np.testing.assert_array_equal(scores, fit_image_detector(name, TRAIN, minutes=1, seed=5)(items))


@pytest.mark.parametrize("name", ["IForest", "AutoEncoder"])
def test_another_seed_gives_other_scores(name):
    a, b = (fit_image_detector(name, TRAIN, minutes=1, seed=seed)(NORMAL) for seed in (0, 1))
    assert (a != b).any()


@pytest.mark.parametrize("name", IMAGE_DETECTORS)
def test_leaves_random_numbers_environment_and_output_alone(name, capfd):
    def state() -> tuple:
        legacy = np.random.get_state()  # noqa: NPY002
        return random.getstate(), legacy[1].tobytes(), legacy[2], torch.get_rng_state().tolist(), dict(os.environ)

    before = state()
    score = fit_image_detector(name, TRAIN, minutes=1, seed=0)
    assert state() == before
    score(NORMAL)
    assert state() == before
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", ["ECOD", "KNN", "PCA", "LOF"])
def test_trains_on_a_seeded_part_of_too_many_rows(name, monkeypatch):
    whole = fit_image_detector(name, TRAIN, minutes=1, seed=0)(NORMAL)
    monkeypatch.setitem(detectors._MOST_ROWS, name, 100)
    parts = [fit_image_detector(name, TRAIN, minutes=1, seed=seed)(NORMAL) for seed in (0, 0, 1)]
    assert (parts[0] != whole).any()
    np.testing.assert_array_equal(parts[0], parts[1])
    assert (parts[0] != parts[2]).any()


def test_rows_and_numbers_are_limited(monkeypatch):
    monkeypatch.setitem(detectors._MOST_ROWS, "KNN", 100)
    assert detectors._part("KNN", TRAIN, 0).shape == (100, 12)
    monkeypatch.setattr(detectors, "_MOST_ELEMENTS", 12 * 40)
    assert detectors._part("KNN", TRAIN, 0).shape == (40, 12)
    assert detectors._part("IForest", TRAIN, 0) is TRAIN
    assert detectors._part("KNN", TRAIN[:40], 0).shape == (40, 12)


def test_scores_in_parts(monkeypatch):
    score = fit_image_detector("KNN", TRAIN, minutes=1, seed=0)
    whole = score(NORMAL)
    monkeypatch.setattr(detectors, "_MOST_ELEMENTS", 12 * 7)
    np.testing.assert_allclose(score(NORMAL), whole, rtol=1e-5)


def test_the_autoencoder_stops_in_time(monkeypatch):
    from pyod.models.auto_encoder import AutoEncoder

    steps = []
    step = AutoEncoder.training_forward
    monkeypatch.setattr(AutoEncoder, "training_forward", lambda *args: steps.append(1) or step(*args))
    fit_image_detector("AutoEncoder", TRAIN, minutes=1, seed=0)
    assert len(steps) == 10 * (len(TRAIN) // 32)
    steps.clear()
    scores = fit_image_detector("AutoEncoder", TRAIN, minutes=0, seed=0)(NORMAL)
    assert len(steps) == 1
    assert np.isfinite(scores).all()


def test_the_fewest_rows_serve_every_detector():
    for name in IMAGE_DETECTORS:
        assert np.isfinite(fit_image_detector(name, TRAIN[:32], minutes=1, seed=0)(NORMAL[:1])).all()


def test_errors():
    with pytest.raises(DataError, match="at least 32 training items, got 31"):
        fit_image_detector("KNN", TRAIN[:31], minutes=1, seed=0)
    with pytest.raises(UsageError, match=r"one of IForest, ECOD, .*got 'Oracle'"):
        fit_image_detector("Oracle", TRAIN, minutes=1, seed=0)
