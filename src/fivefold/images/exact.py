"""The decoding half of a model of images in float64 and NumPy: what two machines must agree on to share an archive.

Results differ from machine to machine in the last bits only, which `codec/rounding.py` takes care of. No torch here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from fivefold.arrays import Floats, Ints
from fivefold.codec.mixtures import (
    FEW_LEVELS,
    LOGISTIC_LOG_SCALES,
    MOST_SYMBOLS,
    Mixtures,
    even_edges,
    log_softmax,
    sigmoid,
    to_mixtures,
    without_ends,
)
from fivefold.codec.rounding import Rounder
from fivefold.config import FitConfig
from fivefold.images.schema import ImageSchema
from fivefold.images.settings import FREQUENCIES, MAPS, MEAN_FIELD, TOPS, output_padding, stages

_KERNEL = 3
_CHUNK = 64  # codes decoded at once
_FARTHEST = 16.0  # of z, in the prior's deviations
_VISIBLE = 1  # the map that is the same for all items here, where all is visible


@dataclass(frozen=True)
class ExactCodeFeatures:
    """h(z): the decoder's last hidden map `(n, h', w', f)`, and the mean item `(n, h, w, c)` in [0, 1]."""

    coarse: np.ndarray
    mean: np.ndarray


class ExactDecoder:
    """The VAE's decoder, h(z), and the context decoder, from an element's field to its distribution's parameters.

    `weights` are by name, as in the model's `model.safetensors`.
    """

    def __init__(self, weights: Mapping[str, np.ndarray], schema: ImageSchema, config: FitConfig) -> None:
        self.schema, self.config = schema, config
        prefixes = ("vae.decoder.", "context.layers.0.")
        self.weights = {name: array.astype(np.float64) for name, array in weights.items() if name.startswith(prefixes)}

    @property
    def first_layer(self) -> tuple[np.ndarray, np.ndarray]:
        """The context decoder's, for causal conditioning: weights `(features, width)` and biases `(width,)`."""
        return self.weights["context.layers.0.0.weight"].T, self.weights["context.layers.0.0.bias"]

    @property
    def parameters(self) -> int:
        """The count of numbers that `context` gives per element."""
        return len(self.weights[f"context.layers.0.{2 * self.config.context.context_depth}.bias"])

    def code_features(self, z: Floats) -> ExactCodeFeatures:
        """h(z) of codes `(n, latent_dim)`."""
        parts = [self._code_features(z[first : first + _CHUNK]) for first in range(0, len(z), _CHUNK)]
        return ExactCodeFeatures(*(np.concatenate(maps) for maps in zip(*parts, strict=True)))

    def _code_features(self, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        sides, widths = stages(self.schema, self.config.network)
        x = self._activate(self._linear("vae.decoder.layers.0", z))
        x = self._activate(self._linear("vae.decoder.layers.2", x))
        x = x.reshape(len(z), widths[-1], *sides[-1]).transpose(0, 2, 3, 1)
        coarse = x
        for number, (side, larger) in enumerate(zip(sides[:0:-1], sides[-2::-1], strict=True)):
            coarse = self._activate(x) if number else x
            x = self._transposed_convolution(f"vae.decoder.layers.{5 + 2 * number}", coarse, side, larger)
        return coarse, self._mean(x)

    def context(self, hidden: np.ndarray) -> np.ndarray:
        """Parameters `(m, p)` from what `CausalFields.first_layer` gives, `(m, width)`, which is overwritten."""
        for layer in range(1, self.config.context.context_depth + 1):
            hidden = self._linear(f"context.layers.0.{2 * layer}", np.maximum(hidden, 0, out=hidden))
        return hidden

    def _linear(self, name: str, x: np.ndarray) -> np.ndarray:
        return x @ self.weights[f"{name}.weight"].T + self.weights[f"{name}.bias"]

    def _activate(self, x: np.ndarray) -> np.ndarray:
        return np.maximum(x, 0) if self.config.network.activation == "relu" else x * sigmoid(x)

    def _transposed_convolution(
        self, name: str, x: np.ndarray, side: tuple[int, int], larger: tuple[int, int]
    ) -> np.ndarray:
        """Kernel 3, stride 2, padding 1: `(n, h, w, f)` → `(n, *larger, g)`."""
        kernel = self.weights[f"{name}.weight"]
        inputs, outputs = kernel.shape[:2]
        taps = (x.reshape(-1, inputs) @ kernel.reshape(inputs, -1)).reshape(*x.shape[:3], outputs, _KERNEL, _KERNEL)
        height, width = side
        padding = [output_padding(small, large) for small, large in zip(side, larger, strict=True)]
        full: Floats = np.zeros((len(x), 2 * height + 1 + padding[0], 2 * width + 1 + padding[1], outputs))
        for row in range(_KERNEL):
            for column in range(_KERNEL):
                full[:, row : row + 2 * height : 2, column : column + 2 * width : 2] += taps[..., row, column]
        return full[:, 1 : 1 + larger[0], 1 : 1 + larger[1]] + self.weights[f"{name}.bias"]

    def _mean(self, parameters: np.ndarray) -> np.ndarray:
        """Expected values `(n, h, w, c)` under the VAE's own likelihood, from its parameters `(n, h, w, c * p)`."""
        family = self.config.network.likelihood
        if family == "bernoulli":
            return sigmoid(parameters)
        split = parameters.reshape(*parameters.shape[:3], self.schema.channels, -1)
        if family == "gaussian":
            return split[..., 0]
        assert self.schema.levels is not None
        return mixture_mean(*mixture_parameters(split, self.schema.levels), self.schema.levels)


class CausalFields:
    """The context decoder's first layer on the causal fields of a batch of items, element by element in raster order.

    Only what differs between items and elements is multiplied per element: the values around, and the mean item. The
    coarse map's share serves all elements below one of its cells, and where an element is, all items.

    Parameters
    ----------
    unit : `(n, h, w, c)` float64 in [0, 1]: the items, or anything where they are not known yet; see `observe`
    features : h(z); or None to do without z
    decoder : whose first layer it is
    """

    def __init__(self, unit: np.ndarray, features: ExactCodeFeatures | None, decoder: ExactDecoder) -> None:
        n, self._height, self._width, self._channels = unit.shape
        side, c = decoder.config.context.field, self._channels
        self._side, self._border = side, side // 2
        self._maps = _bordered(_describe(unit), self._border)
        self._inside = np.pad(np.ones((self._height, self._width)), self._border)
        self._code = features
        self._mean = None if features is None else _bordered(features.mean, MEAN_FIELD // 2)
        self._coarse_row, self._coarse = -1, np.empty(0)
        self._split(decoder)
        cell, mean = (MAPS - 1) * c, 0 if features is None else MEAN_FIELD**2 * c
        self._features = np.zeros((n, self._cells * cell + mean))
        above, before = self._border * side * cell, self._border * cell
        self._above = self._features[:, :above].reshape(n, self._border, side, cell)
        self._before = self._features[:, above : above + before].reshape(n, self._border, cell)
        self._here = self._features[:, above + before : self._cells * cell].reshape(n, -1, c)
        self._around_mean = self._features[:, self._cells * cell :].reshape(n, -1, MEAN_FIELD, c)

    def first_layer(self, element: int) -> np.ndarray:
        """The layer before its activation, `(n, width)`, at the element of that number."""
        border, (row, column, channel) = self._border, self._locate(element)
        self._above[:] = self._maps[:, row : row + border, column : column + self._side]
        self._before[:] = self._maps[:, row + border, column : column + border]
        if self._channels > 1:
            pixel = self._maps[:, row + border, column + border].reshape(self._here.shape)
            self._here[..., :channel], self._here[..., channel:] = pixel[..., :channel], 0
        if self._mean is not None:
            self._around_mean[:] = self._mean[:, row : row + MEAN_FIELD, column : column + MEAN_FIELD]
        hidden: Floats = self._features @ self._moving
        hidden += self._place(row, column, channel)
        if self._code is not None:
            height, width = self._code.coarse.shape[1:3]
            if (coarse_row := row * height // self._height) != self._coarse_row:
                self._coarse_row, self._coarse = coarse_row, self._code.coarse[:, coarse_row] @ self._of_coarse
            hidden += self._coarse[:, column * width // self._width]
        return hidden

    def observe(self, element: int, unit: np.ndarray) -> None:
        """Condition on the values `(n,)` of an element, on the unit scale."""
        row, column, channel = self._locate(element)
        here = self._maps[:, row + self._border, column + self._border].reshape(-1, MAPS - 1, self._channels)
        here[:, :, channel] = _describe(unit.reshape(-1, 1, 1, 1)).reshape(-1, MAPS - 1)
        self._maps[:, row + self._border, column + self._border] = here.reshape(len(unit), -1)

    def _split(self, decoder: ExactDecoder) -> None:
        """The first layer's weights, by their features; see `ImageSurroundings.features`."""
        weight, self._bias = decoder.first_layer
        width, c, side = weight.shape[1], self._channels, self._side
        known = self._border * side + self._border  # cells before the pixel's own
        self._cells = known + (c > 1)
        field, rest = np.split(weight, [(self._border + 1) * side * MAPS * c])
        field = field.reshape(-1, MAPS, c, width)[: self._cells]
        values = np.delete(field, _VISIBLE, axis=1).reshape(-1, width)
        self._of_visible = field[:, _VISIBLE]
        place = 2 * (1 + 2 * len(FREQUENCIES)) + (c if c > 1 else 0)
        coarse = len(rest) - 1 - place - MEAN_FIELD**2 * c
        of_code, self._of_place, self._of_coarse, of_mean = np.split(rest, np.cumsum([1, place, coarse]))
        self._rows, self._columns = waves(self._height), waves(self._width)
        if self._code is not None:
            values = np.concatenate((values, of_mean))
            self._bias = self._bias + of_code[0]
        self._moving = values

    def _place(self, row: int, column: int, channel: int) -> np.ndarray:
        """The share of the element's place and of the cells around it that are inside the image, `(width,)`: of all items."""
        border = self._border
        above = self._inside[row : row + border, column : column + self._side].ravel()
        inside = np.concatenate((above, self._inside[row + border, column : column + border]))
        hidden = self._bias + np.einsum("k,kcw->w", inside, self._of_visible[: len(inside)])
        parts = [self._rows[row], self._columns[column]]
        if self._channels > 1:
            parts.append(np.eye(self._channels)[channel])
            hidden += self._of_visible[-1, :channel].sum(0)
        share: Floats = hidden + np.concatenate(parts) @ self._of_place
        return share

    def _locate(self, element: int) -> tuple[int, int, int]:
        pixel, channel = divmod(element, self._channels)
        return *divmod(pixel, self._width), channel


@dataclass(frozen=True)
class LatentGrid:
    """The quantisation grid of codes: whole multiples of `steps` `(latent_dim,)`, at least 1/2048, up to 16 from 0."""

    steps: Floats

    def __post_init__(self) -> None:
        finest = 2 * _FARTHEST / MOST_SYMBOLS
        if not (self.steps.ndim == 1 and np.isfinite(self.steps).all() and (self.steps >= finest).all()):
            raise ValueError("the steps of the codes' grid are out of range")

    @property
    def reach(self) -> Ints:
        """The largest multiple, per dimension."""
        return np.ceil(_FARTHEST / self.steps).astype(np.int64)

    def nearest(self, z: np.ndarray) -> Ints:
        """The symbols of codes `(n, latent_dim)`, from 0."""
        return np.clip(np.rint(z / self.steps), -self.reach, self.reach - 1).astype(np.int64) + self.reach

    def codes(self, symbols: Ints) -> Floats:
        """The inverse."""
        return (symbols - self.reach).astype(np.float64) * self.steps


class LatentDistributions:
    """The conditional distributions of the dimensions of `n` codes in turn, under a mixture of normals; see `FittedPrior`."""

    def __init__(self, grid: LatentGrid, weights: np.ndarray, means: np.ndarray, roots: np.ndarray, n: int) -> None:
        self._grid, self._means, self._roots = grid, means, roots
        with np.errstate(divide="ignore"):
            self._log_weights = np.tile(np.log(weights), (n, 1))
        self._scaled = np.empty((n, *means.shape))

    @property
    def parameters(self) -> int:
        """The count of numbers that describe one distribution."""
        return 3 * len(self._means) + 2

    def distribution(self, number: int, rounder: Rounder) -> Mixtures:
        """That of z[number] given all before it, which have been observed."""
        step, reach = self._grid.steps[number], int(self._grid.reach[number])
        before, root = self._scaled[:, :, :number], self._roots[:, number, :number]
        self._centres = self._means[:, number] + np.einsum("nki,ki->nk", before, root)
        log_scales = np.broadcast_to(np.log(self._roots[:, number, number] / step), self._log_weights.shape)
        log_weights, locations = without_ends(self._log_weights), self._centres / step + reach
        return to_mixtures(log_weights, locations, log_scales, even_edges(2 * reach), "normal", rounder)

    def observe(self, number: int, symbols: np.ndarray) -> None:
        """Condition on the symbols `(n,)` of z[number]; dimensions in turn."""
        z = (symbols - self._grid.reach[number]) * self._grid.steps[number]
        scaled = (z[:, None] - self._centres) / self._roots[:, number, number]
        self._scaled[:, :, number] = scaled
        self._log_weights = self._log_weights - 0.5 * scaled**2 - np.log(self._roots[:, number, number])


def mixture_parameters(outputs: np.ndarray, levels: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Log weights `(…, k + 2)`, and locations and log scales in symbols `(…, k)`, as in `DiscretizedLogisticMixture`."""
    k = (outputs.shape[-1] - 2) // 3
    logits, means, log_scales = np.split(outputs, (k + 2, 2 * k + 2), axis=-1)
    top = levels - 1
    return log_softmax(logits), sigmoid(means) * top, np.clip(log_scales, *LOGISTIC_LOG_SCALES) + math.log(top)


def mixture_mean(log_weights: np.ndarray, locations: np.ndarray, log_scales: np.ndarray, levels: int) -> np.ndarray:
    """Expected value in [0, 1]; see `DiscretizedLogisticMixture.mean`."""
    top, scales, weights = levels - 1, np.exp(log_scales), np.exp(log_weights)
    if top <= FEW_LEVELS:
        beyond = [1 - sigmoid((j + 0.5 - locations) / scales) for j in range(top)]
        inside = sum(beyond) / top
    else:
        inside = scales / top * (np.logaddexp(0, locations / scales) - np.logaddexp(0, (locations - top) / scales))
    mean: Floats = (weights[..., :-2] * inside).sum(-1) + weights[..., -1]
    return mean


def _describe(unit: np.ndarray) -> np.ndarray:
    """`(n, h, w, c)` → `(n, h, w, (MAPS − 1) * c)`: all maps but that of the visible."""
    tops = [np.clip((unit - 1) / share + 1, 0, 1) for share in TOPS]
    return np.concatenate([unit, (unit <= 0).astype(np.float64), *tops], axis=3)


def _bordered(maps: np.ndarray, border: int) -> np.ndarray:
    return np.pad(maps, ((0, 0), (border, border), (border, border), (0, 0)))


def waves(size: int) -> np.ndarray:
    """The encoding of an element's place along one axis: `(size, 1 + 2 frequencies)`."""
    place = np.arange(size)
    along = math.pi * place / max(size - 1, 1)
    parts = [(place % 2).astype(np.float64)]
    for frequency in FREQUENCIES:
        parts += [np.sin(frequency * along), np.cos(frequency * along)]
    return np.stack(parts, axis=1)
