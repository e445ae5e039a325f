"""How the causal coder of pictures learns: regressions in closed form, then networks by the bits that pixels cost."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from fivefold.arrays import Floats
from fivefold.model.context import ParameterGroup, seeded
from fivefold.pictures.coder import COMPONENTS, OUTPUTS, Field, PixelCoder, count_taps, order
from fivefold.seeds import derive_seed
from fivefold.training.optimizers import Adam, Muon, Optimizer

_HIDDEN = 48
_BATCH = 4096  # pixels
_PEAK, _HIDDEN_PEAK = 4e-3, 1.2e-2  # learning rates; of matrices that Muon moves
_LOWEST, _RISE = 0.002, 0.02  # shares of them, and of the steps in which they rise
_FEWEST = 50  # steps, however little time there is
_LOOKING = 0.25  # share of the time, that it may take to find what networks see
_EDGE = 8  # part of a patch's side, along its edges, that is context only
_RARE = -8.0  # log weight of the lowest and the highest level, at first
_LEAST = 1e-7  # probability


@dataclass(frozen=True)
class Pixels:
    """What is learnt from: `features` `(n, f)`; `values`, by how much predictions are `off`, and their `scales`, `(n,)`."""

    features: Tensor
    values: Tensor
    off: Tensor
    scales: Tensor


def learn(patches: Sequence[np.ndarray], levels: int, steps: int, seconds: float, seed: int) -> PixelCoder:
    """The coder of pictures like these square patches `(h, w, c)` int64, below `levels`.

    Each plane's network learns for so many `steps`; or until all have taken so many `seconds`.
    """
    begin, channels = time.monotonic(), patches[0].shape[2]
    planes = [np.ascontiguousarray(np.moveaxis(patch, 2, 0)[list(order(channels))]) for patch in patches]
    start = np.array([_usual(np.stack([patch[k] for patch in planes])) for k in range(channels)], np.float32)
    prior = np.stack([_regression(planes, start, k) for k in range(channels)]).astype(np.float32)
    pixels = _look(planes, start, prior, levels, begin + _LOOKING * seconds)
    layers = list[list[np.ndarray]]()
    for k, seen in enumerate(pixels):
        until = time.monotonic() + (begin + seconds - time.monotonic()) / (channels - k)
        layers.append(_train(seen, levels, steps, until, derive_seed(seed, "coder", k)))
    return PixelCoder(start, prior, *map(np.stack, zip(*layers, strict=True)))


def _usual(plane: np.ndarray) -> tuple[float, float]:
    """Mean of values `(n, h, w)`, and about how far predictions are off."""
    return float(plane.mean()), float(np.abs(np.diff(plane, axis=2)).mean() / 2)


def _inside(side: int) -> slice:
    return slice(side // _EDGE, side - side // _EDGE)


def _regression(planes: Sequence[np.ndarray], start: np.ndarray, k: int) -> Floats:
    """Of all patches' k-th planes: `(n,)`, as `PixelCoder.prior` has it."""
    channels, side = planes[0].shape[:2]
    taps, most = Field((side, side, channels), start).plan(k).taps, count_taps(channels)
    covariance, product = np.zeros((len(taps), len(taps))), np.zeros(len(taps))
    inside = np.arange(side)[_inside(side)]
    for patch in planes:
        here = patch[:, inside][:, :, inside].astype(np.float64)
        around = {back: _mean_around(patch[k - back], inside) for back in set(taps[:, 0].tolist())}
        seen = np.stack(
            [
                patch[k - back][np.ix_(inside + row, inside + column)] - around[back]
                for back, row, column in taps.tolist()
            ]
        )
        weight = 1 / (1 + np.square(seen).sum(0))
        covariance += np.einsum("ihw,jhw,hw->ij", seen, seen, weight)
        product += np.einsum("ihw,hw->i", seen, (here[k] - around[0]) * weight)
    found = np.zeros(most)
    found[: len(taps)] = np.linalg.solve(covariance + 1e-3 * np.eye(len(taps)), product)
    return found


def _mean_around(plane: np.ndarray, inside: np.ndarray) -> Floats:
    """As `kernels` have it."""
    west, north, northwest, northeast = (
        plane[np.ix_(inside + row, inside + column)] for row, column in ((0, -1), (-1, 0), (-1, -1), (-1, 1))
    )
    return np.asarray((2 * (west + north) + northwest + northeast) / 6)


def _look(
    planes: Sequence[np.ndarray], start: np.ndarray, prior: np.ndarray, levels: int, until: float
) -> Iterator[Pixels]:
    """What the network of each plane sees, of as many patches as there is time for."""
    found: list[list[np.ndarray]] = [[] for _ in start]
    for patch in planes:
        channels, side = patch.shape[:2]
        field, inside = Field((side, side, channels), start), _inside(side)
        for k, plane in enumerate(patch):
            seen = field.features(k, plane, levels - 1, prior[k])[inside, inside]
            found[k].append(seen.reshape(-1, seen.shape[2]))
        if time.monotonic() > until:
            break
    for parts in found:
        table = torch.from_numpy(np.concatenate(parts))
        parts.clear()
        yield Pixels(table[:, :-3], *table[:, -3:].T.contiguous())


class _Network(nn.Sequential):
    def __init__(self, features: int) -> None:
        layers = nn.Linear(features, _HIDDEN), nn.Linear(_HIDDEN, _HIDDEN), nn.Linear(_HIDDEN, OUTPUTS)
        super().__init__(layers[0], nn.ReLU(), layers[1], nn.ReLU(), layers[2])
        with torch.no_grad():
            layers[2].weight.mul_(0.3)
            layers[2].bias.zero_()
            layers[2].bias[COMPONENTS : COMPONENTS + 2] = _RARE
            layers[2].bias[-COMPONENTS:] = torch.linspace(-1.5, 0.8, COMPONENTS)

    def optimizers(self) -> list[Optimizer]:
        """Muon for the hidden layers' matrices, Adam for the rest."""
        weights = list(self.parameters())  # in turn matrix and bias of a layer
        hidden = [weights[0], weights[2]]
        return [Adam([ParameterGroup([weights[1], *weights[3:]], _PEAK)]), Muon([ParameterGroup(hidden, _HIDDEN_PEAK)])]

    def arrays(self, mean: Tensor, spread: Tensor) -> list[np.ndarray]:
        """Weights and biases of the layers, of which the first scales its inputs."""
        first, second, third = (layer for layer in self if isinstance(layer, nn.Linear))
        weight = first.weight / spread
        pairs = (
            (weight, first.bias - weight @ mean),
            (second.weight, second.bias),
            (third.weight, third.bias),
        )
        return [np.ascontiguousarray(array.detach().numpy().T) for pair in pairs for array in pair]


def _train(pixels: Pixels, levels: int, steps: int, until: float, seed: int) -> list[np.ndarray]:
    """The layers of a plane's network."""
    spread, mean = torch.std_mean(pixels.features, dim=0)
    spread = spread + 1e-3
    network = seeded(seed, lambda: _Network(len(mean)))
    optimizers = network.optimizers()
    generator, begin = torch.Generator().manual_seed(seed), time.monotonic()
    for step in range(steps):
        done = max(step / steps, (time.monotonic() - begin) / max(until - begin, 1e-9))
        if done >= 1 and step >= _FEWEST:
            break
        rate = min(1.0, (step + 1) / (_RISE * steps)) * max(_LOWEST, 0.5 * (1 + math.cos(math.pi * min(done, 1.0))))
        chosen = torch.randint(len(pixels.values), (_BATCH,), generator=generator)
        outputs = network((pixels.features[chosen] - mean) / spread)
        loss = bits(outputs, pixels.values[chosen], pixels.off[chosen], pixels.scales[chosen], levels).mean()
        network.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        for optimizer in optimizers:
            optimizer.step(rate)
    return network.arrays(mean, spread)


def bits(outputs: Tensor, values: Tensor, off: Tensor, scales: Tensor, levels: int) -> Tensor:
    """What pixels cost, `(n,)`, under the mixtures of `kernels.distribution`, but for its rounding."""
    weights = torch.log_softmax(outputs[:, : COMPONENTS + 2], dim=1).exp()
    middles, log_scales = outputs[:, COMPONENTS + 2 :].chunk(2, dim=1)
    inverses = (-log_scales).exp() / _log2_linear(scales)[:, None]
    distances = off[:, None] - scales[:, None] * middles
    above, below = torch.sigmoid((distances + 0.5) * inverses), torch.sigmoid((distances - 0.5) * inverses)
    above, below = torch.where(values[:, None] >= levels - 1, 1.0, above), torch.where(values[:, None] <= 0, 0.0, below)
    ends = torch.where(values <= 0, weights[:, COMPONENTS], 0.0) + torch.where(
        values >= levels - 1, weights[:, COMPONENTS + 1], 0.0
    )
    return -((weights[:, :COMPONENTS] * (above - below)).sum(1) + ends + _LEAST).log2()


def _log2_linear(x: Tensor) -> Tensor:
    """2 to the power of `kernels.log2`."""
    part, exponent = torch.frexp(x)
    return (2 * part - 2 + exponent).exp2()
