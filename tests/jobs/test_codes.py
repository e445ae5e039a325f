"""Items to codes and back."""

from __future__ import annotations

import numpy as np
import pytest

from fivefold.errors import DataError
from fivefold.jobs.codes import decode, decode_items, encode


def test_codes_are_means_and_deviations(model, digits):
    items = digits[600:617]
    mu, std = encode(model, items)
    assert mu.shape == std.shape == (17, 4)
    assert mu.dtype == std.dtype == np.float32
    posterior = model.vae.posterior(model.tensor(model.schema.to_unit(items)))
    np.testing.assert_allclose(mu, posterior.mu.detach().numpy(), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(std, np.exp(posterior.logvar.detach().numpy() / 2), rtol=1e-4)


@pytest.mark.parametrize("dtype", [None, np.uint8, np.float32, np.uint16])
def test_decoded_are_means_in_the_datas_range(model, dtype):
    codes = np.random.default_rng(0).standard_normal((9, 4))
    items = decode_items(model, codes, dtype)
    assert items.shape == (9, 28, 28, 1)
    assert items.dtype == (dtype or np.uint8)
    assert 1 < items.max() <= 255
    exact = decode_items(model, codes, np.float64)
    np.testing.assert_allclose(items, exact, atol=0.501 if items.dtype.kind == "u" else 1e-3)


def test_items_do_not_depend_on_their_batch(model, digits, monkeypatch):
    items = digits[600:630]
    codes = encode(model, items)
    decoded = decode_items(model, codes[0], np.float32)
    monkeypatch.setattr(type(model), "batch_size", 7)
    for one, other in zip(codes, encode(model, items), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(decode_items(model, codes[0], np.float32), decoded, atol=0.01)


def test_codes_ignore_what_is_hidden(model, digits):
    mask = np.zeros((28, 28), bool)
    mask[:14] = True
    changed = digits[600:610].copy()
    changed[:, :14] = 99
    np.testing.assert_array_equal(encode(model, changed, mask=mask)[0], encode(model, digits[600:610], mask=mask)[0])
    assert not np.array_equal(encode(model, changed)[0], encode(model, digits[600:610])[0])


@pytest.mark.parametrize(
    "codes",
    [
        np.zeros(4),
        np.zeros((2, 3)),
        np.zeros((2, 5)),
        np.zeros((1, 2, 4)),
        np.zeros((0, 4)),
        np.full((2, 4), "a"),
        np.zeros((2, 4), complex),
        np.full((2, 4), None),
    ],
    ids=lambda codes: f"{codes.dtype}{codes.shape}",
)
def test_codes_of_another_kind_are_refused(model, codes):
    with pytest.raises(DataError, match=r"\(n, 4\)"):
        decode(model, codes)


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e300])
def test_codes_that_are_not_finite_are_refused(model, value):
    codes = np.zeros((5, 4))
    codes[3, 1] = value
    with pytest.raises(DataError, match="row 3"):
        decode(model, codes)


@pytest.mark.parametrize("dtype", [np.float64, np.float16, np.int64, bool])
def test_codes_of_any_number_type(model, dtype):
    codes = np.ones((3, 4), dtype)
    np.testing.assert_array_equal(decode(model, codes), decode(model, np.ones((3, 4), np.float32)))
