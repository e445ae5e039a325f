"""The noise of pictures, found in them; and their two halves, of independent noise."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fivefold.pictures.noise import KINDS, Noise, estimate_noise
from fivefold.pictures.splitting import NoiseModel, split


def _scene(side: int = 512) -> np.ndarray:
    """Stripes from dark to bright, `(h, w, 1)`."""
    return np.repeat(np.linspace(0.05, 0.9, 16), side // 16)[:, None, None] * np.ones((1, side, 1))


def _noisy(kind: str, rng: np.random.Generator) -> np.ndarray:
    scene = _scene()
    if kind == "gaussian":
        return scene + 0.08 * rng.standard_normal(scene.shape)
    if kind == "poisson":
        return rng.poisson(scene * 40) / 80
    if kind == "poisson-gaussian":
        return scene + np.sqrt(0.02 * scene + 0.003) * rng.standard_normal(scene.shape)
    chance = rng.random(scene.shape)
    return np.where(chance < 0.05, 0.0, np.where(chance > 0.95, 1.0, scene))


@pytest.mark.parametrize("kind", KINDS)
def test_kind_and_strength_are_found(kind):
    noise = estimate_noise([_noisy(kind, np.random.default_rng(0))], "auto")
    assert noise.name == kind
    wanted = {
        "gaussian": Noise(0, floor=0.0064),
        "poisson": Noise(1, gain=1 / 80, floor=1e-6, step=1 / 80),
        "poisson-gaussian": Noise(2, gain=0.02, floor=0.003),
        "impulse": Noise(3, floor=1e-6, rate=0.1),
    }[kind]
    assert noise.as_array() == pytest.approx(wanted.as_array(), rel=0.15)


def test_a_known_kind_is_taken():
    noisy = _noisy("gaussian", np.random.default_rng(0))
    assert estimate_noise([noisy], "poisson").name == "poisson"


@pytest.mark.parametrize(
    ("kind", "noise"), [("gaussian", Noise(0, floor=0.01)), ("poisson", Noise(1, 0.02, 1e-6, 0, 0.02))]
)
def test_halves_have_independent_noise_of_the_stated_variance(kind, noise):
    rng, model = np.random.default_rng(0), NoiseModel()
    model.set(noise)
    clean = np.full((8, 1, 128, 128), 0.4)
    noisy = clean + 0.1 * rng.standard_normal(clean.shape) if kind == "gaussian" else rng.poisson(clean / 0.02) * 0.02
    x = torch.from_numpy(noisy.astype(np.float32))
    halves = split(x, torch.ones_like(x, dtype=torch.bool), model, torch.Generator().manual_seed(0))
    seen = halves.visible.numpy()
    first, second = ((part[:, :1].numpy() - clean) for part in (halves.seen, halves.target))
    shares = [part[:, 1:].numpy() for part in (halves.seen, halves.target)]
    variance = noise.gain * 0.4 + noise.floor
    for error, share in zip((first, second), shares, strict=True):
        assert (error**2 * share)[seen].mean() == pytest.approx(variance, rel=0.03)
    assert abs(np.mean((first * second)[seen])) < 0.03 * variance
    assert 0.03 < 1 - seen.mean() < 0.07
    assert (second[~seen] ** 2).mean() == pytest.approx(variance, rel=0.1)


def test_impulses_are_never_seen():
    model = NoiseModel()
    model.set(Noise(3, floor=1e-6, rate=0.1))
    x = torch.from_numpy(_noisy("impulse", np.random.default_rng(0)).astype(np.float32)).permute(2, 0, 1)[None]
    halves = split(x, torch.ones_like(x, dtype=torch.bool), model, torch.Generator().manual_seed(0))
    black_or_white = (x <= 0) | (x >= 1)
    assert not (halves.visible & black_or_white).any()
    assert not (halves.known & (black_or_white | halves.visible)).any()
