"""Where an image is strange: what costs too much, and what is too smooth."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from fivefold.config import Conditioning
from fivefold.errors import ModelError
from fivefold.images.dataset import ImageSet, make_items
from fivefold.images.surprise import PixelScale, roughness, surprise
from fivefold.items import split_rows
from fivefold.jobs.detect import detect_in, excess
from fivefold.model.conditional import Conditional
from fivefold.model.context import by_element
from fivefold.storage import load, save
from fivefold.training.fit import fit


def _cloth(n: int, seed: int) -> np.ndarray:
    """Coarse noise `(n, 24, 24, 1)` uint8: neighbours tell little of each other."""
    return np.random.default_rng(seed).integers(40, 216, (n, 24, 24, 1), np.uint8)


@pytest.fixture(scope="module")
def cloth_model(small_settings):
    settings = small_settings | {"latent_dim": 2, "epochs": 12, "validation": 0.25}
    return fit(_cloth(128, 0), **settings)


@pytest.fixture(scope="module")
def spoilt():
    """Cloth, where it is dead, and where it is scratched: bool `(n, 24, 24, 1)`."""
    values = _cloth(8, 1)
    dead, scratched = np.zeros((2, *values.shape), bool)
    dead[:, 3:13, 3:13] = True
    scratched[:, 18, 4:20] = True
    values[dead] = 128
    values[scratched] = 250
    return values, dead, scratched


@pytest.mark.situation("a dead spot, smoother than its surroundings", "as bright in the heat map as a scratch")
def test_dead_spots_and_scratches_are_strange(cloth_model, spoilt):
    values, dead, scratched = spoilt
    items = make_items(values, cloth_model.schema)
    found, cost = surprise(cloth_model, items), excess(cloth_model, items)
    normal = ~(dead | scratched)
    for strange in (dead, scratched):
        place = strange | normal
        assert roc_auc_score(strange[place], found[place]) > 0.93
        assert np.median(found[strange]) > 3
    assert np.median(cost[dead]) < 0.5  # by their cost alone they are most normal


def test_the_unit_is_that_of_normal_elements(cloth_model):
    found = surprise(cloth_model, make_items(_cloth(20, 2), cloth_model.schema))
    assert 0 < found.mean() < 1.2
    assert (found > 3).mean() < 0.03
    usual = cloth_model.calibrations["surprise"]
    _, held_out = split_rows(make_items(_cloth(128, 0)), 0.25, cloth_model.config.training.seed)
    again = PixelScale.fit(cloth_model, make_items(_cloth(128, 0)[held_out], cloth_model.schema))
    np.testing.assert_allclose(usual.centre, again.centre, atol=0.02)
    np.testing.assert_allclose(usual.scale, again.scale, rtol=0.05)


def test_models_of_before_give_the_cost_of_each_element(cloth_model, spoilt):
    items = make_items(spoilt[0], cloth_model.schema)
    kept = {name: part for name, part in cloth_model.calibrations.items() if name != "surprise"}
    older = dataclasses.replace(cloth_model, calibrations=kept)
    np.testing.assert_array_equal(surprise(older, items), excess(older, items))


def test_it_is_stored_with_the_model(cloth_model, spoilt, tmp_path):
    save(cloth_model, tmp_path / "model")
    items = make_items(spoilt[0], cloth_model.schema)
    np.testing.assert_array_equal(surprise(load(tmp_path / "model", "cpu"), items), surprise(cloth_model, items))
    with pytest.raises(ModelError, match="surprise is damaged"):
        PixelScale(np.zeros(3), np.zeros(3))


@pytest.mark.parametrize("channels", [1, 3])
def test_hidden_elements_are_not_strange_and_do_not_matter(untrained, cloth_model, channels):
    model = untrained if channels == 3 else cloth_model
    if channels == 3:
        model = dataclasses.replace(model, calibrations={"surprise": PixelScale(np.zeros(3), np.ones(3))})
    rng = np.random.default_rng(0)
    values = rng.integers(0, 256, (3, *model.schema.shape), np.uint8)
    holes = np.zeros(values.shape, bool)
    holes[:, 2:5] = True
    found = surprise(model, make_items(values, model.schema, masks=[holes]))
    other = np.where(holes, 7, values)
    assert (found[holes] == 0).all()
    assert np.isfinite(found).all()
    np.testing.assert_array_equal(surprise(model, make_items(other, model.schema, masks=[holes])), found)


def test_roughness_is_of_squared_errors_in_variances(cloth_model):
    items = make_items(_cloth(2, 3), cloth_model.schema)
    ((_, x, visible),) = cloth_model.batches(items)
    given = Conditional(cloth_model, Conditioning.CAUSAL, x, visible, cloth_model.vae.posterior(x, visible).mu)
    values = by_element(x)
    rough = given.map(lambda p, i, e: roughness(values, p, i, e))[0].detach()
    assert (rough >= -1).all()
    assert abs(float(rough.mean())) < 0.5


def test_heat_maps_are_made_as_the_items_are_scored(cloth_model, spoilt):
    read = []

    class Once(ImageSet):
        def blocks(self, doing):
            read.append(doing)
            return super().blocks(doing)

    opened = Once(make_items(spoilt[0], cloth_model.schema))
    maps = []

    class Place:
        path = None

        def put(self, items, values, replace):
            maps.append(values)

    found = detect_in(cloth_model, opened.to({"surprise": Place()}), 0.5, heatmaps=True)
    assert read == ["detect"]
    np.testing.assert_array_equal(maps[0], surprise(cloth_model, opened.items))
    np.testing.assert_array_equal(found.score, detect_in(cloth_model, opened, 0.5).score)
