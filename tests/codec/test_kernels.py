"""Compiled and in NumPy, the coder does the same."""

from __future__ import annotations

import numpy as np
import pytest

from fivefold.codec import mixtures, rans
from fivefold.codec.mixtures import Mixtures, even_edges
from fivefold.codec.rans import EmptyCoderError, Rans


@pytest.fixture(params=["logistic", "normal"])
def batch(request):
    rng = np.random.default_rng(0)
    n, k, symbols = 300, 4, 1000
    log_weights = -rng.integers(0, 299, (n, k + 2))
    log_weights[np.arange(n), rng.integers(0, k, n)] = 0
    locations, log_scales = rng.integers(-40_000, 80_000, (n, k)), rng.integers(-80, 240, (n, k))
    return Mixtures(log_weights, locations, log_scales, even_edges(symbols), request.param), rng.integers(0, symbols, n)


@pytest.fixture
def without_numba(monkeypatch):
    for module in (mixtures, rans):
        monkeypatch.setattr(module, "kernels", lambda: None)


def coded(distributions, symbols):
    coder = Rans(5)
    coder.push(symbols, distributions)
    return coder.heads.copy(), coder.words.copy()


def test_the_same_with_and_without_numba(batch, request):
    distributions, symbols = batch
    assert mixtures.kernels() is not None
    fast, intervals = coded(distributions, symbols), distributions.interval(symbols)
    request.getfixturevalue("without_numba")
    assert mixtures.kernels() is None
    for one, other in zip(
        (*fast, *intervals), (*coded(distributions, symbols), *distributions.interval(symbols)), strict=True
    ):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(Rans.resume(*fast).pop(distributions), symbols)


def test_pops_what_numpy_pushed(batch, request):
    distributions, symbols = batch
    with pytest.MonkeyPatch.context() as patch:
        for module in (mixtures, rans):
            patch.setattr(module, "kernels", lambda: None)
        state = coded(distributions, symbols)
    coder = Rans.resume(*state)
    np.testing.assert_array_equal(coder.pop(distributions), symbols)
    assert coder.is_empty


@pytest.mark.usefixtures("without_numba")
def test_an_empty_coder_raises_without_numba_too(batch):
    with pytest.raises(EmptyCoderError, match="more words"):
        Rans(4).pop(batch[0])
