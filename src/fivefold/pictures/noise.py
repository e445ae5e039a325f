"""What noise there is in pictures: its kind, and its strength as a function of brightness, from the flattest places.

All on the unit scale. Of blocks the cosines of the highest frequencies are nearly noise alone (Ponomarenko et al. 2007, An
automatic approach to lossy compression of AVIRIS images); how their variance depends on brightness is fitted by a line (Foi et
al. 2008, Practical Poissonian-Gaussian noise modeling and fitting for single-image raw-data).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import astuple, dataclass

import numpy as np

from fivefold.arrays import Bools, Floats
from fivefold.pictures.settings import NoiseName

KINDS: tuple[NoiseName, ...] = ("gaussian", "poisson", "poisson-gaussian", "impulse")
_BLOCK = 8  # pixels
_HIGHEST = np.add.outer(np.arange(_BLOCK), np.arange(_BLOCK)) >= 11  # frequencies
_FLAT = 0.2  # share of the blocks that are taken for flat
_PER_BIN, _MOST_BINS = 200, 12  # blocks
_CLIPPED = 0.05  # share of a block's pixels at an end of the range, beyond which its variance says little
_ISOLATED = 4.0  # deviations from the median around, of an impulse
_LEAST_DEVIATION = 0.1  # likewise, on the unit scale
_LEAST_RATE = 0.01  # of impulses that count
_LEAST_VARIANCE = 1e-6
_NEAR = 0.25  # of the gain, how far the step between counts may be off
_BETTER = 0.5  # of a model's squared errors, which one of two terms must leave at most
_SAMPLE = 100_000


@dataclass(frozen=True)
class Noise:
    """A kind of noise and its strength: the variance is `gain * signal + floor`.

    Attributes
    ----------
    kind : number of it among `KINDS`
    gain, floor : of the variance
    rate : share of pixels that are black or white by impulses
    step : between counts, if the values are counts of events; else 0
    """

    kind: int = 0
    gain: float = 0.0
    floor: float = 0.0
    rate: float = 0.0
    step: float = 0.0

    @property
    def name(self) -> NoiseName:
        """As users say it."""
        return KINDS[self.kind]

    def as_array(self) -> np.ndarray:
        """`(5,)` float32."""
        return np.array(astuple(self), np.float32)

    @classmethod
    def of(cls, numbers: Sequence[float]) -> Noise:
        """The inverse of `as_array`."""
        kind, *others = map(float, numbers)
        return cls(int(kind), *others)

    def describe(self, scale: float) -> str:
        """In the data's units, `scale` of which are 1: `gaussian, standard deviation 25`."""
        if self.name == "impulse":
            return f"impulse, {self.rate:.0%} of the pixels"
        floor, gain = math.sqrt(self.floor) * scale, self.gain * scale
        texts = {
            "gaussian": f"standard deviation {floor:.3g}",
            "poisson": f"variance {gain:.3g} × signal",
            "poisson-gaussian": f"variance {gain:.3g} × signal + {floor:.3g}²",
        }
        return f"{self.name}, {texts[self.name]}"


def estimate_noise(pictures: Sequence[np.ndarray], kind: NoiseName) -> Noise:
    """The noise of pictures `(h, w, c)` on the unit scale, NaN where missing; of a known kind, or `auto`."""
    planes = [
        np.ascontiguousarray(channel, np.float64) for picture in pictures for channel in np.moveaxis(picture, 2, 0)
    ]
    if kind in ("auto", "impulse"):
        pixels = sum(plane.size for plane in planes)
        rate = sum(int(find_impulses(plane).sum()) for plane in planes) / pixels
        if kind == "impulse" or rate > _LEAST_RATE:
            return Noise(KINDS.index("impulse"), floor=_LEAST_VARIANCE, rate=rate)
    level, variance = _levels([_flatness(plane) for plane in planes])
    found = {name: _fit(level, variance, name) for name in KINDS[:3] if kind in ("auto", name)}
    name, (gain, floor, _) = min(found.items(), key=lambda pair: pair[1][2] / (1 if pair[0] != KINDS[2] else _BETTER))
    step = _step(planes, gain) if name == "poisson" else 0.0
    return Noise(KINDS.index(name), step or gain, max(floor, _LEAST_VARIANCE), step=step)


def find_impulses(plane: np.ndarray) -> Bools:
    """Which pixels `(h, w)` on the unit scale are black or white unlike what is around them."""
    from scipy.ndimage import median_filter

    extreme = (plane <= 0) | (plane >= 1)
    if not extreme.any():
        return extreme
    others = np.where(extreme, np.nan, plane)
    steps = np.abs(np.diff(others, axis=1))
    spread = 1.4826 * np.nanmedian(steps) / math.sqrt(2) if np.isfinite(steps).any() else 0.0
    around = median_filter(np.where(extreme & (plane <= 0), -1.0, np.where(extreme, 2.0, plane)), 5)
    found: Bools = extreme & (np.abs(plane - np.clip(around, 0, 1)) > max(_LEAST_DEVIATION, _ISOLATED * spread))
    return found


def _flatness(plane: np.ndarray) -> Floats:
    """Of blocks without clipped or missing pixels, mean and variance at the highest frequencies: `(2, m)`."""
    from scipy.fft import dctn

    height, width = (side // _BLOCK for side in plane.shape)
    cut = plane[: height * _BLOCK, : width * _BLOCK].reshape(height, _BLOCK, width, _BLOCK).transpose(0, 2, 1, 3)
    blocks = cut.reshape(-1, _BLOCK, _BLOCK)
    whole = np.isfinite(blocks).all((1, 2))
    unclipped = whole & (((blocks <= 0) | (blocks >= 1)).mean((1, 2)) <= _CLIPPED)
    kept = blocks[unclipped if unclipped.sum() >= whole.sum() / 2 else whole]
    high = dctn(kept, axes=(1, 2), norm="ortho")[:, _HIGHEST]
    return np.stack((kept.mean((1, 2)), np.square(high).mean(1)))


def _levels(parts: Sequence[Floats]) -> tuple[Floats, Floats]:
    """Brightness and variance of the noise, of blocks of like brightness: `(bins,)` each."""
    from scipy.stats import chi2

    level, variance = np.concatenate(parts, axis=1)
    bins = np.array_split(np.argsort(level), min(max(len(level) // _PER_BIN, 1), _MOST_BINS))
    typical = float(chi2.ppf(_FLAT, _HIGHEST.sum()) / _HIGHEST.sum())  # of white noise of variance 1
    means = np.array([level[part].mean() for part in bins])
    return means, np.maximum([np.quantile(variance[part], _FLAT) / typical for part in bins], _LEAST_VARIANCE)


def _fit(level: Floats, variance: Floats, name: str) -> tuple[float, float, float]:
    """Gain, floor, and the squared relative error of a line through the variances."""
    from scipy.optimize import nnls

    terms = {"gaussian": [0.0, 1.0], "poisson": [1.0, 0.0]}.get(name, [1.0, 1.0])
    design = np.stack((np.maximum(level, 0), np.ones_like(level)), axis=1) * terms
    solution, _ = nnls(design / variance[:, None], np.ones_like(variance))
    error = float(((design @ solution) / variance - 1) @ ((design @ solution) / variance - 1))
    return float(solution[0]), float(solution[1]), error


def _step(planes: Sequence[np.ndarray], gain: float) -> float:
    """The step between values, if it is about the `gain`, as that between counts is; else 0."""
    values = np.unique(np.concatenate([plane.ravel()[:: max(1, plane.size // _SAMPLE)] for plane in planes]))
    gaps = np.diff(values[np.isfinite(values)])
    step = float(np.median(gaps)) if len(gaps) else 0.0
    even = bool(step) and np.abs(gaps / step - np.rint(gaps / step)).max() < 0.01
    return step if even and abs(gain / step - 1) < _NEAR else 0.0
