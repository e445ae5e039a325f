"""Blocks come back bit for bit, on this machine and on one whose arithmetic differs in the last bits."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from fivefold.archive.layers import DamagedLayerError
from fivefold.codec import rounding
from fivefold.images.coding import ImageCodec
from fivefold.images.dataset import make_items
from fivefold.images.exact import ExactCodeFeatures, ExactDecoder, LatentGrid
from fivefold.images.jobs import code_length
from fivefold.images.schema import ImageSchema
from fivefold.images.settings import configure
from fivefold.modality import modality_of
from fivefold.model.fitted import FittedModel


def codec_of(model, grid: LatentGrid | None) -> ImageCodec:
    weights = {name: weight.cpu().numpy() for name, weight in model.networks.state_dict().items()}
    return ImageCodec(ExactDecoder(weights, model.schema, model.config), model.prior, grid, model.schema.dtype)


class Foreign:
    """A decoder whose results are off by a relative `noise`."""

    def __init__(self, decoder: ExactDecoder, noise: float) -> None:
        self._decoder, self._noise, self._rng = decoder, noise, np.random.default_rng(0)
        self.schema, self.config, self.first_layer = decoder.schema, decoder.config, decoder.first_layer
        self.parameters = decoder.parameters

    def _disturb(self, x: np.ndarray) -> np.ndarray:
        return x * (1 + self._noise * self._rng.uniform(-1, 1, x.shape))

    def code_features(self, z):
        features = self._decoder.code_features(z)
        return ExactCodeFeatures(self._disturb(features.coarse), self._disturb(features.mean))

    def context(self, features):
        return self._disturb(self._decoder.context(features))


@pytest.fixture
def grid() -> LatentGrid:
    return LatentGrid(np.array([0.5, 0.3, 0.7]))


@pytest.fixture
def colour() -> np.ndarray:
    """60 items like those of `untrained`, `(n, 8, 6, 3)`, with black and white places."""
    rng = np.random.default_rng(0)
    values = rng.integers(0, 256, (60, 8, 6, 3))
    return np.where(rng.random(values.shape) < 0.3, 255 * rng.integers(0, 2, values.shape), values)


def symbols_for(grid: LatentGrid, n: int) -> np.ndarray:
    return grid.nearest(np.random.default_rng(1).standard_normal((n, len(grid.steps))))


@pytest.mark.parametrize("n", [1, 2, 60])
def test_round_trip(untrained, grid, colour, n):
    codec, symbols = codec_of(untrained, grid), symbols_for(grid, n)
    np.testing.assert_array_equal(codec.decode_codes(codec.encode_codes(symbols), n), symbols)
    layer = codec.encode_elements(colour[:n], symbols)
    np.testing.assert_array_equal(codec.decode_elements(layer, n, symbols), colour[:n])


def test_round_trip_without_codes(untrained, colour):
    codec = codec_of(untrained, None)
    layer = codec.encode_elements(colour, None)
    np.testing.assert_array_equal(codec.decode_elements(layer, 60, None), colour)


def test_sixteen_bits(colour):
    schema = ImageSchema(8, 6, 3, "uint16", 0.0, 65535.0)
    config = configure(latent_dim=2, hidden=8, first_channels=4, field=3, context_width=8)
    networks = dict(modality_of(schema).networks.build(schema, config, 0).eval().named_children())
    codec, values = codec_of(FittedModel(schema=schema, config=config, **networks), None), colour * 257
    np.testing.assert_array_equal(codec.decode_elements(codec.encode_elements(values, None), 60, None), values)


def test_length_is_what_the_model_promises(model, digits):
    """But for the coder's heads, and for what rounding the parameters costs."""
    items = make_items(digits[600:640], model.schema)
    ideal = code_length(model, items, None).elements.sum() / np.log(2) / 8
    layer = codec_of(model, None).encode_elements(items.values, None)
    assert len(layer) == pytest.approx(ideal + 32 * 6, rel=0.01)


def disturbed(codec: ImageCodec, noise: float) -> ImageCodec:
    return dataclasses.replace(codec, decoder=Foreign(codec.decoder, noise))


@pytest.fixture
def _wide_guard(monkeypatch):
    """So that a test need not wait for thousands of items until a number lies within the guard band."""
    monkeypatch.setattr(rounding, "GUARD", 1e-2)


@pytest.mark.usefixtures("_wide_guard")
def test_another_machine_decodes_the_same(untrained, grid, colour):
    codec, symbols = codec_of(untrained, grid), symbols_for(grid, 60)
    layer = codec.encode_elements(colour, symbols)
    np.testing.assert_array_equal(disturbed(codec, 1e-6).decode_elements(layer, 60, symbols), colour)


@pytest.mark.usefixtures("_wide_guard")
def test_without_hints_it_would_not(untrained, grid, colour, monkeypatch):
    codec, symbols = codec_of(untrained, grid), symbols_for(grid, 60)
    layer = codec.encode_elements(colour, symbols)
    monkeypatch.setattr("fivefold.archive.layers.unpack_hints", lambda _: np.empty(0, np.int64))
    try:
        decoded = disturbed(codec, 1e-6).decode_elements(layer, 60, symbols)
    except DamagedLayerError:
        return
    assert (decoded != colour).any()


def test_hints_are_few(untrained, grid, colour, monkeypatch):
    counted = []
    pack = rounding.pack_hints
    monkeypatch.setattr("fivefold.archive.layers.pack_hints", lambda hints: counted.append(len(hints)) or pack(hints))
    codec_of(untrained, grid).encode_elements(colour, symbols_for(grid, 60))
    assert counted[0] <= 4  # 2e-6 of 150,000 numbers are to be expected


@pytest.mark.parametrize("damage", [b"", b"\x00" * 5, b"\x00" * 30, b"\xff" * 200])
def test_nonsense_is_damaged(untrained, grid, damage):
    with pytest.raises(DamagedLayerError):
        codec_of(untrained, grid).decode_elements(damage, 3, symbols_for(grid, 3))
    with pytest.raises(DamagedLayerError):
        codec_of(untrained, grid).decode_codes(damage, 3)


def test_more_hints_than_numbers(untrained, grid):
    layer = b"\x01\x00" + (100_000).to_bytes(4, "little") + bytes(100_000) + b"\x00\x00\x00\x00\x01\x00\x00\x00"
    with pytest.raises(DamagedLayerError, match="hints"):
        codec_of(untrained, grid).decode_codes(layer, 3)
    with pytest.raises(DamagedLayerError, match="hints"):
        codec_of(untrained, grid).decode_elements(layer, 1, symbols_for(grid, 1))


def test_other_items_than_there_are(untrained, grid, colour):
    codec, symbols = codec_of(untrained, grid), symbols_for(grid, 60)
    layer = codec.encode_elements(colour, symbols)
    with pytest.raises(DamagedLayerError):
        codec.decode_elements(layer, 59, symbols[:59])


def test_expected_items(untrained, grid):
    symbols = symbols_for(grid, 5)
    found = codec_of(untrained, grid).expected(symbols)
    assert found.shape == (5, 8, 6, 3)
    assert 0 <= found.min() < found.max() <= 1
