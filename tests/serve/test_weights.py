"""Weights that processes share are those of the model, in one file, and nothing that is done to them reaches others."""

from __future__ import annotations

import make
import numpy as np
import pytest
import torch

import fivefold
from fivefold.serve import weights
from fivefold.serve.models import ServedModel, stamp_of
from fivefold.serve.weights import forget_weights, share_weights
from fivefold.storage import fingerprint
from fivefold.verbs.opened import OpenModel

DATA = {"images": make.items, "tables": lambda: make.rows(40), "series": make.steps}


@pytest.mark.filterwarnings("ignore:detection compares with")
@pytest.mark.parametrize("name", list(DATA))
def test_shared_weights_give_the_same_results(name, models, tmp_path):
    alone, *others = (OpenModel.read(models[name]) for _ in range(3))
    shared = [share_weights(model, tmp_path) for model in others]
    assert [path.name for path in tmp_path.iterdir()] == [f"{fingerprint(alone.stored)}.weights"]
    for model in shared:
        assert fingerprint(model.fitted) == fingerprint(model.stored) == fingerprint(alone.stored)
        found, expected = (fivefold.detect(one.fitted, DATA[name]()) for one in (model, alone))
        np.testing.assert_array_equal(found.score, expected.score)


def test_what_is_written_to_shared_weights_stays_here(models, tmp_path):
    first, second = (share_weights(OpenModel.read(models["images"]), tmp_path) for _ in range(2))
    name, weight = next(first.fitted.networks.named_parameters())
    assert weight.data_ptr() == first.stored.weights[name].ctypes.data, "networks hold no copies"
    assert weight.data_ptr() % 64 == 0
    with torch.no_grad():
        weight.add_(1)
    assert not torch.equal(weight, second.fitted.networks.get_parameter(name))
    third = share_weights(OpenModel.read(models["images"]), tmp_path)
    assert fingerprint(third.fitted) == fingerprint(second.fitted)


def test_of_processes_that_write_at_once_all_map_the_first_file(models, tmp_path, monkeypatch):
    share_weights(OpenModel.read(models["images"]), tmp_path)
    (path,) = tmp_path.iterdir()
    before, mapped, calls = path.stat().st_ino, weights._mapped, []

    def late(*given):
        calls.append(given)
        if len(calls) == 1:
            raise FileNotFoundError
        return mapped(*given)

    monkeypatch.setattr(weights, "_mapped", late)
    share_weights(OpenModel.read(models["images"]), tmp_path)
    assert len(calls) == 2
    assert [found.stat().st_ino for found in tmp_path.iterdir()] == [before]


def test_a_forgotten_file_is_made_anew(models, tmp_path):
    served = ServedModel.load("digits", models["images"], tmp_path)
    assert served.stamp == stamp_of(models["images"])
    for _ in range(2):  # the second time there is none
        forget_weights(tmp_path, served.fingerprint)
        assert not list(tmp_path.iterdir())
    assert fingerprint(served.model.fitted) == served.fingerprint
    again = ServedModel.load("digits", models["images"], tmp_path)
    assert again.fingerprint == served.fingerprint
    assert len(list(tmp_path.iterdir())) == 1
