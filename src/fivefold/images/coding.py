"""A block of items as bytes, in two layers: codes on a grid, and the elements exactly. No torch here."""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np

from fivefold.codec.mixtures import Mixtures, even_edges, to_mixtures
from fivefold.codec.rans import Distributions, EmptyCoderError, Rans
from fivefold.codec.rounding import HintedRounder, HintingRounder, Rounder, pack_hints, unpack_hints
from fivefold.images.causal import CausalWindows
from fivefold.images.exact import ExactDecoder, ExactGuide, mixture_parameters
from fivefold.images.latent import LatentDistributions, LatentGrid
from fivefold.model.prior import FittedPrior

_LANES = 32  # of a whole block's elements; the codes have one
_HINT_BYTES = 10  # of one, at most
_HEAD = struct.Struct("<HI")  # lanes, bytes of hints


class DamagedLayerError(ValueError):
    """A layer's bytes are not what an encoder writes."""


@dataclass(frozen=True)
class BlockCodec:
    """Both layers of blocks of items of one model.

    Attributes
    ----------
    decoder : evaluates the networks
    prior : of the codes; None: the standard normal
    grid : where codes lie; None: there are none, and the elements do without
    """

    decoder: ExactDecoder
    prior: FittedPrior | None
    grid: LatentGrid | None

    def encode_codes(self, symbols: np.ndarray) -> bytes:
        """`(n, latent_dim)` symbols of the grid."""
        rounder, distributions = HintingRounder(), self._latent(len(symbols))
        intervals = []
        for number, column in enumerate(symbols.T):
            intervals.append(distributions.of(number, rounder).interval(np.ascontiguousarray(column)))
            distributions.know(number, column)
        return pack(intervals, rounder.hints, 1)

    def decode_codes(self, layer: bytes, n: int) -> np.ndarray:
        """The inverse; raises `DamagedLayerError`."""
        assert self.grid is not None
        distributions = self._latent(n)
        coder, hints = unpack(layer, n * len(self.grid.steps) * distributions.parameters)
        rounder = HintedRounder(hints)
        symbols = np.empty((n, len(self.grid.steps)), np.int64)
        for number in range(symbols.shape[1]):
            symbols[:, number] = pop(coder, distributions.of(number, rounder))
            distributions.know(number, symbols[:, number])
        check_empty(coder)
        return symbols

    def encode_elements(self, levels: np.ndarray, symbols: np.ndarray | None) -> bytes:
        """Items `(n, h, w, c)` of levels from 0, given the symbols of their codes."""
        rounder, elements = HintingRounder(), levels.reshape(len(levels), -1).T.astype(np.int64)
        windows = self._windows(self._unit(levels), symbols)
        intervals = [
            self._distributions(windows, element, rounder).interval(np.ascontiguousarray(values))
            for element, values in enumerate(elements)
        ]
        return pack(intervals, rounder.hints, min(_LANES, len(levels)))

    def decode_elements(self, layer: bytes, n: int, symbols: np.ndarray | None) -> np.ndarray:
        """The inverse; raises `DamagedLayerError`."""
        schema = self.decoder.schema
        coder, hints = unpack(layer, n * schema.size * self.decoder.parameters)
        rounder = HintedRounder(hints)
        levels = np.zeros((n, *schema.shape), np.int64)
        flat = levels.reshape(n, -1)
        windows = self._windows(np.zeros(levels.shape), symbols)
        for element in range(schema.size):
            flat[:, element] = pop(coder, self._distributions(windows, element, rounder))
            windows.put(element, self._unit(flat[:, element]))
        check_empty(coder)
        return levels

    def expected(self, symbols: np.ndarray) -> np.ndarray:
        """What codes alone say: mean items `(n, h, w, c)` in [0, 1]."""
        assert self.grid is not None
        return self.decoder.guide(self.grid.codes(symbols)).mean

    def _latent(self, n: int) -> LatentDistributions:
        assert self.grid is not None
        d = len(self.grid.steps)
        prior = self.prior or FittedPrior(np.ones(1), np.zeros((1, d)), np.eye(d)[None])
        return LatentDistributions(self.grid, prior.weights, prior.means, prior.roots, n)

    def _unit(self, levels: np.ndarray) -> np.ndarray:
        assert self.decoder.schema.levels is not None
        return levels / (self.decoder.schema.levels - 1)

    def _windows(self, unit: np.ndarray, symbols: np.ndarray | None) -> CausalWindows:
        guide: ExactGuide | None = None
        if symbols is not None and self.grid is not None:
            guide = self.decoder.guide(self.grid.codes(symbols))
        return CausalWindows(unit, guide, self.decoder)

    def _distributions(self, windows: CausalWindows, element: int, rounder: Rounder) -> Mixtures:
        levels = self.decoder.schema.levels
        assert levels is not None
        parameters = mixture_parameters(self.decoder.context(windows.first_layer(element)), levels)
        return to_mixtures(*parameters, even_edges(levels), "logistic", rounder)


def pack(intervals: list[tuple[np.ndarray, np.ndarray]], hints: np.ndarray, lanes: int) -> bytes:
    """A layer of batches of symbols, by their intervals, in the order in which they are popped."""
    coder, packed = Rans(lanes), pack_hints(hints)
    for starts, frequencies in reversed(intervals):
        coder.push_intervals(starts, frequencies)
    heads, words = coder.heads.astype("<u8").tobytes(), coder.words.astype("<u4").tobytes()
    return _HEAD.pack(lanes, len(packed)) + packed + heads + words


def unpack(layer: bytes, numbers: int) -> tuple[Rans, np.ndarray]:
    """The coder, and the hints for so many numbers at most; raises `DamagedLayerError`."""
    if len(layer) < _HEAD.size:
        raise DamagedLayerError("it is too short")
    lanes, size = _HEAD.unpack_from(layer)
    if size > _HINT_BYTES * numbers:
        raise DamagedLayerError("it has more hints than numbers")
    heads, words = _HEAD.size + size, _HEAD.size + size + 8 * lanes
    if lanes == 0 or len(layer) < words or (len(layer) - words) % 4:
        raise DamagedLayerError("its parts do not fit into it")
    try:
        hints = unpack_hints(layer[_HEAD.size : heads])
        coder = Rans.resume(np.frombuffer(layer[heads:words], "<u8"), np.frombuffer(layer[words:], "<u4"))
    except ValueError as error:
        raise DamagedLayerError(str(error)) from None
    return coder, hints


def pop(coder: Rans, distributions: Distributions) -> np.ndarray:
    """A batch of symbols; raises `DamagedLayerError` if there are not as many."""
    try:
        return coder.pop(distributions)
    except EmptyCoderError as error:
        raise DamagedLayerError(str(error)) from None


def check_empty(coder: Rans) -> None:
    """Raise `DamagedLayerError` if not all has been popped."""
    if not coder.is_empty:
        raise DamagedLayerError("something is left over")
