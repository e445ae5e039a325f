"""The decoding half of a model in float64 and NumPy alone: what two machines must agree on to share an archive.

Results differ from machine to machine in the last bits only, which `codec/rounding.py` takes care of.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from fivefold.config import FitConfig
from fivefold.images.schema import ImageSchema
from fivefold.images.settings import output_padding, stages

_KERNEL = 3
_CHUNK = 64  # codes decoded at once


@dataclass(frozen=True)
class ExactGuide:
    """h(z): the decoder's last hidden map `(n, h', w', f)`, and the mean item `(n, h, w, c)` in [0, 1]."""

    coarse: np.ndarray
    mean: np.ndarray


class ExactDecoder:
    """From codes to what the context decoder is told of them, and from what it sees to its distributions' parameters.

    Parameters
    ----------
    weights : by name, as in the model's `model.safetensors`
    """

    def __init__(self, weights: Mapping[str, np.ndarray], schema: ImageSchema, config: FitConfig) -> None:
        self.schema, self.config = schema, config
        mine = ("vae.decoder.", "context.layers.0.")
        self.weights = {name: array.astype(np.float64) for name, array in weights.items() if name.startswith(mine)}

    @property
    def first_layer(self) -> tuple[np.ndarray, np.ndarray]:
        """The context decoder's for causal windows: weights `(features, width)` and biases `(width,)`."""
        return self.weights["context.layers.0.0.weight"].T, self.weights["context.layers.0.0.bias"]

    @property
    def parameters(self) -> int:
        """How many numbers `context` gives per element."""
        return len(self.weights[f"context.layers.0.{2 * self.config.context.context_depth}.bias"])

    def guide(self, z: np.ndarray) -> ExactGuide:
        """h(z) of codes `(n, latent_dim)` float64."""
        parts = [self._guide(z[first : first + _CHUNK]) for first in range(0, len(z), _CHUNK)]
        return ExactGuide(*(np.concatenate(maps) for maps in zip(*parts, strict=True)))

    def _guide(self, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
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
        """The parameters of elements' distributions from what the first layer gives: `(m, width)` → `(m, p)`.

        See `CausalWindows.first_layer`; `hidden` is overwritten.
        """
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
        more = [output_padding(small, large) for small, large in zip(side, larger, strict=True)]
        full = np.zeros((len(x), 2 * height + 1 + more[0], 2 * width + 1 + more[1], outputs))
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


def mixture_parameters(outputs: np.ndarray, levels: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Log weights `(…, k + 2)`, and locations and log scales in symbols `(…, k)`, as in `DiscretizedLogisticMixture`."""
    k = (outputs.shape[-1] - 2) // 3
    logits, means, log_scales = np.split(outputs, (k + 2, 2 * k + 2), axis=-1)
    largest = logits.max(-1, keepdims=True)
    log_weights = logits - largest - np.log(np.exp(logits - largest).sum(-1, keepdims=True))
    top = levels - 1
    return log_weights, sigmoid(means) * top, np.clip(log_scales, -7.0, 2.0) + math.log(top)


def mixture_mean(log_weights: np.ndarray, locations: np.ndarray, log_scales: np.ndarray, levels: int) -> np.ndarray:
    """Expected value in [0, 1]; see `DiscretizedLogisticMixture.mean`."""
    top, scales, weights = levels - 1, np.exp(log_scales), np.exp(log_weights)
    if top <= 32:
        beyond = [1 - sigmoid((j + 0.5 - locations) / scales) for j in range(top)]
        inside = sum(beyond) / top
    else:
        inside = scales / top * (np.logaddexp(0, locations / scales) - np.logaddexp(0, (locations - top) / scales))
    return (weights[..., :-2] * inside).sum(-1) + weights[..., -1]


def sigmoid(x: np.ndarray) -> np.ndarray:
    """1 / (1 + e⁻ˣ)."""
    with np.errstate(over="ignore"):
        return 1 / (1 + np.exp(-x))
