"""Pictures that are noisy to begin with: `python benchmarks/noisy.py FOLDER --part gaussian --minutes 3`.

FOLDER has `train/` and `test/` with clean grey pictures, such as crops of the Berkeley set, to which noise is added: of the fit,
Fivefold and Noise2Void (Krull et al. 2019, arXiv:1811.10980: 2 % of the pixels replaced by neighbours) see the noisy ones alone;
`clean` learns from pairs. All three train the same U-Net for the same processor time, which is what Fivefold's fit of so many
minutes took. Filters are given the true level; for counts all peers work on the Anscombe transform. `single` is a mosaic of
1,024² of the test pictures, where there is nothing clean to learn from.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from results_file import read_result, write_result
from scipy.ndimage import median_filter
from skimage.restoration import denoise_nl_means, denoise_tv_chambolle
from torch import Tensor

import fivefold
from fivefold.pictures.context import SignalDecoder
from fivefold.pictures.networks import COARSE
from fivefold.pictures.noise import Noise
from fivefold.pictures.patches import Patches
from fivefold.pictures.settings import PLACE
from fivefold.pictures.splitting import with_share
from fivefold.pictures.tiles import by_tiles
from fivefold.system import environment

PARTS = ("gaussian", "single", "poisson5", "poisson20", "impulse")
SIGMA, RATE = 25.0, 0.1
_BATCH, _PATCH, _PEAK, _REPLACED = 16, 64, 2e-3, 0.02
Pictures = list[np.ndarray]
Denoiser = Callable[[np.ndarray], np.ndarray]


def main() -> None:
    """Measure, print, and add to the result."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("folder", type=Path)
    options.add_argument("--part", choices=PARTS, default="gaussian")
    options.add_argument("--minutes", type=float, default=6.0, help="of the fit")
    options.add_argument("--test", type=int, default=34, help="pictures, at most")
    given = options.parse_args()
    rng = np.random.default_rng(0)
    test = _read(given.folder / "test")[: given.test]
    train = _read(given.folder / "train")
    if given.part == "single":
        train = test = [_mosaic(test)]
    means = {"poisson5": 5.0, "poisson20": 20.0}
    noisy_train, noisy = ([_add(given.part, means, picture, rng) for picture in part] for part in (train, test))
    if given.part == "single":
        noisy_train = noisy
    mean = means.get(given.part)
    result: dict[str, Any] = {"minutes": given.minutes, "test": len(test), "threads": torch.get_num_threads()}
    result["noisy"] = _psnr(noisy, test)
    result |= _fivefold(given.part, given.minutes, noisy_train, noisy, test)
    print(result, flush=True)
    clean = None if given.part == "single" else train
    for name, make in _peers(given.part, result["fit_seconds"], mean, noisy_train, clean).items():
        began, denoise = time.process_time(), make()
        cleaned = [_stabilised(denoise, picture, mean) for picture in noisy]
        result[name] = _psnr(cleaned, test)
        print(name, f"{result[name]:.2f}", f"{time.process_time() - began:.0f} s", flush=True)
        write_result("noisy", {**read_result("noisy"), given.part: result, "environment": environment()})


def _read(folder: Path) -> Pictures:
    return [np.asarray(Image.open(path).convert("L"), np.float32) for path in sorted(folder.glob("*.png"))]


def _mosaic(pictures: Pictures) -> np.ndarray:
    """The first pictures' upper left 256² side by side."""
    tiles = [picture[:256, :256] for picture in pictures[:16]]
    return np.concatenate([np.concatenate(tiles[row : row + 4], axis=1) for row in range(0, 16, 4)])


def _add(part: str, means: dict[str, float], picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The picture with noise; counts are of the given mean over the picture."""
    if part in means:
        return rng.poisson(picture * (means[part] / picture.mean())).astype(np.float32)
    if part == "impulse":
        chance = rng.random(picture.shape)
        return np.where(chance < RATE, 255 * (chance < RATE / 2), picture).astype(np.uint8)
    return picture + SIGMA * rng.standard_normal(picture.shape).astype(np.float32)


def _psnr(found: Pictures, clean: Pictures) -> float:
    """Mean over pictures, dB of 255; counts are first brought to the scale of the clean picture."""
    errors = [
        np.square(_scaled(one, truth).clip(0, 255) - truth).mean() for one, truth in zip(found, clean, strict=True)
    ]
    return round(float(np.mean([10 * math.log10(255**2 / error) for error in errors])), 3)


def _scaled(found: np.ndarray, clean: np.ndarray) -> np.ndarray:
    return found.astype(np.float64) * (clean.mean() / found.mean() if found.mean() < 40 <= clean.mean() else 1.0)


def _fivefold(part: str, minutes: float, train: Pictures, noisy: Pictures, clean: Pictures) -> dict[str, Any]:
    kind: Any = part.rstrip("0123456789") if part != "single" else "gaussian"
    began = time.process_time()
    model = fivefold.fit(train, noise=kind, max_minutes=minutes, epochs=1000, verdicts=False)
    took, began = time.process_time() - began, time.process_time()
    found = fivefold.denoise(model, noisy)
    seconds = (time.process_time() - began) / (sum(picture.size for picture in noisy) / 1e6)
    inside = [
        np.abs(_scaled(one, truth) - truth) < 1.645 * std * (_scaled(one, truth).mean() / one.mean())
        for one, std, truth in zip(found.data, found.std, clean, strict=True)
    ]
    return {
        "fivefold": _psnr(found.data, clean),
        "interval_90": round(float(np.mean(np.concatenate([part.ravel() for part in inside]))), 4),
        "fit_seconds": round(took, 1),
        "noise": model.record["data"]["noise"],
        "epochs": len(model.record["history"]),
        "seconds_per_megapixel": round(seconds, 2),
    }


def _peers(
    part: str, seconds: float, mean: float | None, noisy: Pictures, clean: Pictures | None
) -> dict[str, Callable[[], Denoiser]]:
    """The same U-Net by Noise2Void's recipe, and from clean pictures, where there are some; and filters."""
    seen = [picture if mean is None else _anscombe(picture) for picture in noisy]
    peers: dict[str, Callable[[], Denoiser]] = {"noise2void": lambda: _train(seen, None, seconds)}
    if clean is not None:
        truth = [one if mean is None else _anscombe(one * (mean / one.mean())) for one in clean]
        peers["clean"] = lambda: _train(seen, truth, seconds)
    return peers | {name: partial(lambda found: found, denoise) for name, denoise in _filters(part).items()}


def _train(noisy: Pictures, clean: Pictures | None, seconds: float) -> Denoiser:
    """Squared errors by Adam, its rate falling along a cosine."""
    torch.manual_seed(0)
    rng, scale = np.random.default_rng(0), max(float(picture.max()) for picture in noisy)
    patches = Patches.drawn([picture[..., None] for picture in noisy], _PATCH, rng)
    targets = patches if clean is None else Patches([picture[..., None] for picture in clean], _PATCH, patches.corners)
    network = SignalDecoder(1, 48, COARSE)
    network.noise.set(Noise(floor=0.01))
    optimizer = torch.optim.Adam(network.parameters(), _PEAK)
    began, done = time.process_time(), 0.0
    while done < 1:
        done = (time.process_time() - began) / seconds
        optimizer.param_groups[0]["lr"] = _PEAK * max(0.01, 0.5 * (1 + math.cos(math.pi * min(done, 1))))
        rows = rng.integers(0, len(patches), _BATCH)
        x, y = (torch.from_numpy(part[rows].astype(np.float32) / scale).movedim(3, 1) for part in (patches, targets))
        counts = torch.ones_like(x)
        if clean is None:
            counts = (torch.rand_like(x) < _REPLACED).float()
            x = torch.where(counts > 0, torch.roll(x, _shift(rng), (2, 3)), x)
        loss = ((_run(network, x) - y).square() * counts).sum() / counts.sum()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
    return lambda picture: scale * by_tiles(picture, lambda tile: _apply(network, tile / scale))


def _shift(rng: np.random.Generator) -> tuple[int, int]:
    """To a neighbour, at most two pixels away."""
    places = [(row, column) for row in range(-2, 3) for column in range(-2, 3) if row or column]
    row, column = places[int(rng.integers(len(places)))]
    return row, column


def _run(network: SignalDecoder, x: Tensor) -> Tensor:
    coarse = x.new_zeros(len(x), COARSE, x.shape[2] // 4, x.shape[3] // 4)
    mean: Tensor = network(with_share(x), torch.ones_like(x, dtype=torch.bool), coarse).mean
    return mean


@torch.inference_mode()
def _apply(network: SignalDecoder, tile: np.ndarray) -> np.ndarray:
    assert not any(side % PLACE for side in tile.shape)
    return _run(network, torch.from_numpy(np.asarray(tile, np.float32))[None, None])[0, 0].numpy()


def _anscombe(counts: np.ndarray) -> np.ndarray:
    """Of counts, with noise of about variance 1 (Anscombe 1948)."""
    return np.asarray(2 * np.sqrt(counts + 3 / 8), np.float32)


def _inverse(stabilised: np.ndarray) -> np.ndarray:
    """The expected count, by Mäkitalo & Foi 2011's closed form."""
    d = np.maximum(stabilised, 1.0)
    root = math.sqrt(1.5)
    return d**2 / 4 + root / (4 * d) - 11 / (8 * d**2) + 5 * root / (8 * d**3) - 1 / 8


def _stabilised(denoise: Denoiser, picture: np.ndarray, mean: float | None) -> np.ndarray:
    """What works on normal noise, of counts."""
    if mean is None:
        return denoise(picture)
    return _inverse(denoise(_anscombe(picture)))


def _filters(part: str) -> dict[str, Denoiser]:
    """Given the true level of the noise."""
    if part == "impulse":
        return {"median": lambda picture: median_filter(picture, 3)}
    import bm3d

    sigma = 1.0 if part.startswith("poisson") else SIGMA
    return {
        "bm3d": lambda picture: np.asarray(bm3d.bm3d(picture, sigma)),
        "total_variation": lambda picture: denoise_tv_chambolle(picture, weight=sigma),
        "non_local_means": lambda picture: denoise_nl_means(picture, h=0.8 * sigma, sigma=sigma, fast_mode=True),
    }


if __name__ == "__main__":
    main()
