"""Lossy archives beside JPEG and WebP: bytes per image against PSNR; results and docs/images/rate_distortion.png."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np

from fivefold.archive.read import decompress
from fivefold.archive.write import compress
from fivefold.evaluation.drawing import figure
from fivefold.evaluation.metrics import psnr
from fivefold.evaluation.rivals.compressors import tile
from fivefold.items import Items
from fivefold.jobs.codes import decode, encode
from fivefold.model.fitted import FittedModel
from fivefold.system import environment

PICTURE = Path(__file__).parents[1] / "docs" / "images" / "rate_distortion.png"
_STEPS = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
_QUALITIES = (1, 5, 10, 20, 35, 50, 70, 85)

Curve = list[tuple[float, float]]


def measure(model: FittedModel, test: Items, train: Items) -> dict[str, Any]:
    """Per coder: bytes per image, all of the file counted, and mean PSNR in dB; rising."""
    unit, whole = model.schema.to_unit, test.values

    def quality(restored: np.ndarray) -> float:
        return float(psnr(unit(whole), unit(restored), test.visible()).mean())

    ours: Curve = []
    for step in sorted(_STEPS, reverse=True):
        packed = compress(model, test, lossy=True, step=step)
        ours.append((len(packed) / len(test), quality(decompress(packed, model, lossy=True))))
    codes = encode(model, test)[0].astype(np.float32)
    curves: dict[str, Curve] = {
        "lossy archive": ours,
        f"{model.latent_dim} float32 numbers": [(4.0 * model.latent_dim, quality(decode(model, codes)))],
    }
    for name, code, back in (("JPEG", _jpeg, imagecodecs.jpeg8_decode), ("WebP", _webp, _webp_back)):
        curves[f"{name}, each image"] = [_each(whole, level, code, back, quality) for level in _QUALITIES]
        curves[f"{name}, one sheet"] = [_sheet(whole, level, code, back, quality) for level in _QUALITIES]
    _draw(curves)
    return {"curves": curves, "items": len(test), "environment": environment()}


Code = Callable[[np.ndarray, int], bytes]
Back = Callable[[bytes], np.ndarray]


def _each(values: np.ndarray, level: int, code: Code, back: Back, quality: Callable[[np.ndarray], float]) -> Any:
    with ThreadPoolExecutor() as pool:
        files = list(pool.map(lambda image: code(image[..., 0], level), values))
        restored = np.stack(list(pool.map(back, files)))[..., None]
    return sum(map(len, files)) / len(values), quality(restored)


def _sheet(values: np.ndarray, level: int, code: Code, back: Back, quality: Callable[[np.ndarray], float]) -> Any:
    """All images side by side; the first row of the sheet tells how many there are across."""
    n, h, w, _ = values.shape
    file = code(tile(values)[..., 0], level)
    sheet = back(file)
    images = sheet.reshape(sheet.shape[0] // h, h, -1, w).transpose(0, 2, 1, 3).reshape(-1, h, w)[:n]
    return len(file) / n, quality(images[..., None])


def _jpeg(image: np.ndarray, level: int) -> bytes:
    return bytes(imagecodecs.jpeg8_encode(image, level=level))


def _webp(image: np.ndarray, level: int) -> bytes:
    return bytes(imagecodecs.webp_encode(np.repeat(image[..., None], 3, axis=2), level=level, lossless=False))


def _webp_back(file: bytes) -> np.ndarray:
    return imagecodecs.webp_decode(file)[..., 1]


def _draw(curves: dict[str, Curve]) -> None:
    with figure(PICTURE, 6.5, 4) as drawn:
        ax = drawn.subplots()
        for name, points in curves.items():
            ours = name == "lossy archive"
            ax.plot(*zip(*points, strict=True), "o-", label=name, markersize=4, linewidth=2.5 if ours else 1)
        ax.set_xscale("log")
        ax.set(xlabel="bytes per image", ylabel="mean PSNR (dB)")
        ax.legend(frameon=False, fontsize=8)
