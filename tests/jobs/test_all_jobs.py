"""Data of other kinds than digits goes through the fit and all five jobs."""

from __future__ import annotations

import math

import numpy as np
import pytest
from PIL import Image

import fivefold
from fivefold.jobs.detect import surprise


def check_all_jobs(model, data, shape: tuple[int, ...], dtype: np.dtype | type, **mask) -> None:
    """Every job returns what it should, of the right shape and type, and within the data's range."""
    n = shape[0]
    low, high = model.schema.low, model.schema.high

    def check(items: np.ndarray, count: int) -> None:
        assert items.shape == (count, *shape[1:])
        assert items.dtype == dtype
        assert low <= items.min()
        assert items.max() <= high
        assert items.min() < items.max()

    mu, std = fivefold.encode(model, data, **mask)
    assert mu.shape == std.shape == (n, model.latent_dim)
    assert (std > 0).all()
    check(fivefold.decode(model, mu), n)
    check(fivefold.generate(model, 3), 3)
    check(fivefold.generate(model, 3, prior="fitted"), 3)
    check(fivefold.generate(model, 3, like=model.read(data, **mask).select(slice(1))), 3)
    if math.prod(shape[1:]) < 1000:
        check(fivefold.generate(model, 3, sharp=True), 3)
    check(fivefold.morph(model, mu[0], mu[1], 4), 4)
    denoised = fivefold.denoise(model, data, **mask)
    check(denoised.data, n)
    assert denoised.std.shape == shape
    assert ((denoised.std >= 0) & (denoised.std <= 2 * (high - low))).all()
    completed = fivefold.impute(model, data, n_samples=2, n_draws=1, interval=0.9, **mask)
    for items in (completed.data, *completed.draws, completed.lower, completed.upper):
        check(items, n)
    assert (completed.lower <= completed.upper).all()
    found = fivefold.detect(model, data, false_alarm_rate=0.4, **mask)
    assert np.isfinite(found.score).all()
    assert ((found.p_value > 0) & (found.p_value <= 1)).all()
    bits = surprise(model, data, **mask)
    assert bits.shape == shape
    assert np.isfinite(bits).all()
    assert (bits != 0).any()


@pytest.mark.parametrize("likelihood", ["bernoulli", "pixels", "gaussian"])
def test_a_folder_of_colour_images(colour_folder, small_settings, likelihood, tmp_path):
    model = fivefold.fit(
        colour_folder,
        **{**small_settings, "latent_dim": 3, "batch_size": 8, "validation": 0.25, "likelihood": likelihood},
    )
    fivefold.save(model, tmp_path / "model")
    model = fivefold.load(tmp_path / "model", "cpu")
    mask = np.zeros((32, 24), bool)
    mask[10:20, 5:15] = True
    few = model.read(colour_folder).select(slice(6))
    check_all_jobs(model, few, (6, 32, 24, 3), np.uint8, mask=mask)
    original = np.stack([np.asarray(Image.open(path)) for path in sorted(colour_folder.iterdir())])
    found = fivefold.impute(model, colour_folder, mask=mask, n_samples=2, n_draws=1, interval=0.9)
    for completed in (found.data, *found.draws, found.lower, found.upper):
        np.testing.assert_array_equal(completed[:, ~mask], original[:, ~mask])
        assert not np.array_equal(completed[:, mask], original[:, mask])


@pytest.mark.parametrize("likelihood", ["bernoulli", "pixels"])
@pytest.mark.filterwarnings("ignore:nothing is missing")
def test_16_bit_grey(small_settings, likelihood):
    images = np.random.default_rng(0).integers(0, 65536, (30, 9, 11), np.uint16)
    model = fivefold.fit(images, **{**small_settings, "latent_dim": 2, "validation": 0.25, "likelihood": likelihood})
    assert model.schema.levels == 65536
    check_all_jobs(model, images, (30, 9, 11, 1), np.uint16)


@pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian"])
def test_real_numbers_with_holes(small_settings, likelihood):
    random = np.random.default_rng(0)
    values = random.normal(3, 20, (40, 6, 7, 2)).astype(np.float32)
    values[random.random(values.shape) < 0.2] = np.nan
    model = fivefold.fit(values, **{**small_settings, "latent_dim": 2, "validation": 0.25, "likelihood": likelihood})
    assert model.schema.low == np.nanmin(values)
    check_all_jobs(model, values, values.shape, np.float32)
    completed = fivefold.impute(model, values).data
    seen = ~np.isnan(values)
    assert np.isfinite(completed).all()
    np.testing.assert_array_equal(completed[seen], values[seen])
