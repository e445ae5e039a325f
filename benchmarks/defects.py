"""Defects in pictures of parts: `python benchmarks/defects.py FOLDER`.

FOLDER has `good/` and, by kind of defect, `KIND/` and `KIND-masks/` with files of the same names, nonzero where the defect is, as
the magnetic tiles of Huang et al. 2020 (doi:10.1007/s00371-018-1588-5). Two thirds of the good pictures, drawn at random, are for
the fit, the others for the test. Of each kind, and of the good ones tested, even files are to choose settings by, odd ones are
to quote. Peers learn from all pictures of the fit; the autoencoder takes two minutes of one
processor, or as long as Fivefold's fit if that is less.

Pictures are told apart by the AUROC, pixels by the mean overlap of regions at a share of false pixels up to 0.3 (PRO: Bergmann et
al. 2020, arXiv:1911.02357). A map of a peer is blurred, and its highest value is the picture's score, as Fivefold's.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from results_file import read_result, write_result
from scipy.ndimage import gaussian_filter, label
from scipy.spatial import cKDTree
from sklearn.decomposition import PCA
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn

import fivefold
from fivefold.jobs.detect import surprise
from fivefold.system import environment

_LIMIT, _RATES = 0.3, 200  # of false pixels
_BLUR = 2.0
_SIDE, _STEP, _PATCHES, _PARTS = 8, 2, 20_000, 16  # of nearest patches
_SMALL, _COMPONENTS = 64, 30  # of PCA
_LARGE = (512, 1024, 4096)
_MOST_SECONDS = 120  # of processor time, for the autoencoder
Pictures = list[np.ndarray]
Draw = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Tested:
    """Pictures `(h, w)` uint8, and where their defects are, bool likewise."""

    pictures: Pictures
    masks: Pictures


def main() -> None:
    """Measure, print, and write the result."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("folder", type=Path)
    options.add_argument("--half", choices=("choose", "quote"), default="quote")
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--model", type=Path, help="where the fit is kept for further runs")
    options.add_argument(
        "--large", action="store_true", help="only seconds and memory of large pictures, added to the result"
    )
    options.add_argument("--no-peers", action="store_true")
    given = options.parse_args()
    first = 0 if given.half == "choose" else 1
    good = [_read(path) for path in sorted((given.folder / "good").iterdir())]
    order = np.random.default_rng(0).permutation(len(good))
    fit, rest = ([good[number] for number in part] for part in np.split(order, [2 * len(order) // 3]))
    kinds = {path.name.removesuffix("-masks"): _faulty(path) for path in sorted(given.folder.glob("*-masks"))}
    tested = {kind: Tested(found.pictures[first::2], found.masks[first::2]) for kind, found in kinds.items()}
    model, took = _fit(fit, given.seed, given.model)
    if given.large:
        large = [_large(model, side) for side in _LARGE]
        write_result("defects", read_result("defects") | {"large": large, "environment": environment()})
        return
    count = {"fit": len(fit), "good": len(rest[first::2])} | {kind: len(part.pictures) for kind, part in tested.items()}
    result: dict[str, Any] = {
        "half": given.half,
        "pictures": count,
        "fit": took,
        "flagged": _flagged(model, rest, tested),
    }
    print(result, file=sys.stderr)
    draws: dict[str, Callable[[], Draw]] = {"Fivefold": lambda: lambda picture: surprise(model, picture)}
    if not given.no_peers:
        draws |= {name: partial(make, fit) for name, make in PEERS.items()}
        draws["autoencoder, SSIM"] = partial(_autoencoder, fit, min(took["processor_seconds"], _MOST_SECONDS))
    result["measured"] = {}
    for name, make in draws.items():
        began = time.process_time()
        measured = _measure(make(), rest[first::2], tested, blur=0.0 if name == "Fivefold" else _BLUR)
        result["measured"][name] = measured | {"processor_seconds": time.process_time() - began}
        print(name, result["measured"][name], file=sys.stderr)
        if not given.no_peers:
            write_result("defects", result | {"environment": environment()})


def _fit(pictures: Pictures, seed: int, place: Path | None) -> tuple[Any, dict[str, float]]:
    """A model, and what its fit took; or the one in a place where it was put before."""
    if place is not None and place.exists():
        model = fivefold.load(place)
    else:
        began = time.process_time()
        model = fivefold.fit(pictures, kind="parts", seed=seed, verdicts=False, max_minutes=60)
        model.record["processor_seconds"] = time.process_time() - began
        if place is not None:
            fivefold.save(model, place)
    compared = len(model.normality.calibration)
    return model, {"processor_seconds": model.record["processor_seconds"], "compared_with": compared}


def _read(path: Path) -> np.ndarray:
    with Image.open(path) as opened:
        return np.asarray(opened.convert("L"))


def _faulty(masks: Path) -> Tested:
    paths = sorted(masks.with_name(masks.name.removesuffix("-masks")).iterdir())
    return Tested([_read(path) for path in paths], [_read(masks / f"{path.stem}.png") > 0 for path in paths])


def _flagged(model: Any, good: Pictures, tested: dict[str, Tested]) -> dict[str, Any]:
    """Shares of pictures flagged at a nominal 1 %, and false regions per good picture."""
    sets = {"good": good} | {kind: found.pictures for kind, found in tested.items()}
    found = {name: fivefold.detect(model, pictures) for name, pictures in sets.items()}
    shares = {name: float(one.anomaly.mean()) for name, one in found.items()}
    return shares | {"false regions per good picture": len(found["good"].events) / len(good)}


def _measure(draw: Draw, good: Pictures, tested: dict[str, Tested], blur: float) -> dict[str, Any]:
    """By kind and for all kinds together."""
    maps = [gaussian_filter(draw(picture), blur) for picture in good]
    faulty = {
        kind: [gaussian_filter(draw(picture), blur) for picture in part.pictures] for kind, part in tested.items()
    }
    found = {kind: _figures(maps, faulty[kind], part.masks) for kind, part in tested.items()}
    together = (
        [one for kind in tested for one in faulty[kind]],
        [mask for part in tested.values() for mask in part.masks],
    )
    return found | {"all": _figures(maps, *together)}


def _figures(good: Pictures, faulty: Pictures, masks: Pictures) -> dict[str, float]:
    peaks = [float(one.max()) for one in (*good, *faulty)]
    labels = np.arange(len(peaks)) >= len(good)
    return {"auroc": float(roc_auc_score(labels, peaks)), "aupro": _aupro(good, faulty, masks)}


def _aupro(good: Pictures, faulty: Pictures, masks: Pictures) -> float:
    """Area below the mean share of regions that is found, over shares of false pixels up to the limit, in parts of the limit."""
    normal = [one[~mask] for one, mask in zip(faulty, masks, strict=True)]
    negative = np.concatenate([values.ravel() for values in (*good, *normal)])
    rates = np.concatenate([np.linspace(0, 0.01, 41), np.linspace(0.01, _LIMIT, _RATES)[1:]])
    thresholds = np.quantile(negative, 1 - rates)
    shares = list[np.ndarray]()
    for one, mask in zip(faulty, masks, strict=True):
        regions, count = label(mask, np.ones((3, 3)))
        for number in range(1, count + 1):
            inside = np.sort(one[regions == number])
            shares.append(1 - np.searchsorted(inside, thresholds, "left") / len(inside))
    return float(np.trapezoid(np.mean(shares, axis=0), rates) / _LIMIT)


def _pca(fit: Pictures) -> Draw:
    """Absolute errors of whole pictures, brought to 64×64."""

    def small(picture: np.ndarray) -> np.ndarray:
        shrunk = Image.fromarray(picture).resize((_SMALL, _SMALL), Image.Resampling.BOX)
        return np.asarray(shrunk, np.float32).reshape(1, -1) / 255

    pca = PCA(min(_COMPONENTS, len(fit) - 1), random_state=0).fit(np.concatenate([small(picture) for picture in fit]))

    def draw(picture: np.ndarray) -> np.ndarray:
        given = small(picture)
        error = np.abs(given - pca.inverse_transform(pca.transform(given))).reshape(_SMALL, _SMALL)
        return np.asarray(
            Image.fromarray(error.astype(np.float32)).resize(picture.shape[::-1], Image.Resampling.BILINEAR)
        )

    return draw


def _nearest(describe: Callable[[np.ndarray], np.ndarray], fit: Pictures) -> Draw:
    """Distances to the nearest of 20,000 places of the fit, of what `describe` says of a place: `(h', w', k)`, reduced by PCA."""
    rng, known = np.random.default_rng(0), list[np.ndarray]()
    for picture in fit:
        rows = _rows(describe(picture))
        known.append(rows[rng.permutation(len(rows))[: _PATCHES // len(fit)]])
    rows = np.concatenate(known)
    pca = PCA(min(_PARTS, rows.shape[1]), random_state=0).fit(rows)
    tree = cKDTree(pca.transform(rows))

    def draw(picture: np.ndarray) -> np.ndarray:
        places = describe(picture)
        distance = tree.query(pca.transform(_rows(places)), eps=0.5)[0].reshape(places.shape[:2])
        ys, xs = (
            np.clip((np.arange(to) - _SIDE // 2) // _STEP, 0, of - 1)
            for to, of in zip(picture.shape, distance.shape, strict=True)
        )
        return distance[np.ix_(ys, xs)]

    return draw


def _rows(places: np.ndarray) -> np.ndarray:
    return places.reshape(-1, places.shape[2])


def _patches(picture: np.ndarray) -> np.ndarray:
    """Squares of 8×8 pixels at every other place, `(h', w', 64)`."""
    cut = np.lib.stride_tricks.sliding_window_view(picture / np.float32(255), (_SIDE, _SIDE))[::_STEP, ::_STEP]
    return cut.reshape(*cut.shape[:2], -1)


def _random_features(net: nn.Module) -> Callable[[np.ndarray], np.ndarray]:
    @torch.inference_mode()
    def describe(picture: np.ndarray) -> np.ndarray:
        return net(torch.from_numpy(picture / np.float32(255))[None, None])[0].permute(1, 2, 0).numpy()

    return describe


def _nearest_random(fit: Pictures) -> Draw:
    """Of three random convolutions."""
    torch.manual_seed(0)
    layers = [nn.Conv2d(1, 32, 3), nn.ReLU(), nn.Conv2d(32, 32, 3), nn.ReLU(), nn.Conv2d(32, 64, 4, stride=_STEP)]
    return _nearest(_random_features(nn.Sequential(*layers)), fit)


def _autoencoder(fit: Pictures, seconds: float) -> Draw:
    """1 - SSIM of a convolutional autoencoder's reconstructions (Bergmann et al. 2018, arXiv:1807.02011), trained for so long."""
    torch.manual_seed(0)
    sizes = ((1, 32), (32, 32), (32, 64), (64, 64))
    down = [part for a, b in sizes for part in (nn.Conv2d(a, b, 4, 2, 1), nn.LeakyReLU(0.2))]
    up = [part for b, a in reversed(sizes[1:]) for part in (nn.ConvTranspose2d(a, b, 4, 2, 1), nn.LeakyReLU(0.2))]
    up[0] = nn.ConvTranspose2d(8, 64, 4, 2, 1)
    net = nn.Sequential(*down, nn.Conv2d(64, 8, 1), *up, nn.ConvTranspose2d(32, 1, 4, 2, 1))
    optimizer, rng = torch.optim.Adam(net.parameters(), 1e-3), np.random.default_rng(0)
    began = time.process_time()
    while time.process_time() - began < seconds:
        x = torch.from_numpy(np.stack([_random_patch(fit, rng) for _ in range(16)]) / np.float32(255))[:, None]
        loss = _dissimilarity(x, net(x)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    @torch.inference_mode()
    def draw(picture: np.ndarray) -> np.ndarray:
        height, width = picture.shape
        x = torch.from_numpy(picture / np.float32(255))[None, None]
        x = F.pad(x, (0, -width % 16, 0, -height % 16), mode="replicate")
        return _dissimilarity(x, net(x))[0, 0, :height, :width].numpy()

    return draw


def _random_patch(pictures: Pictures, rng: np.random.Generator, side: int = 64) -> np.ndarray:
    picture = pictures[rng.integers(len(pictures))]
    row, column = (rng.integers(0, size - side + 1) for size in picture.shape)
    return picture[row : row + side, column : column + side]


def _dissimilarity(x: Tensor, y: Tensor) -> Tensor:
    """1 - SSIM over squares of 11×11 pixels, of each pixel."""
    mean = partial(F.avg_pool2d, kernel_size=11, stride=1, padding=5, count_include_pad=False)
    mx, my = mean(x), mean(y)
    vx, vy, cov = mean(x * x) - mx**2, mean(y * y) - my**2, mean(x * y) - mx * my
    return 1 - (2 * mx * my + 1e-4) * (2 * cov + 9e-4) / ((mx**2 + my**2 + 1e-4) * (vx + vy + 9e-4))


def _large(model: Any, side: int) -> dict[str, float]:
    """Processor seconds to detect in one picture of noise, and the most memory that the process took so far."""
    picture = np.random.default_rng(0).integers(0, 256, (side, side)).astype(np.uint8)
    began = time.process_time()
    fivefold.detect(model, picture)
    took = time.process_time() - began
    return {"side": side, "seconds": took, "megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


PEERS: dict[str, Callable[[Pictures], Draw]] = {
    "PCA of whole pictures": _pca,
    "nearest raw patches": partial(_nearest, _patches),
    "nearest random features": _nearest_random,
}

if __name__ == "__main__":
    main()
