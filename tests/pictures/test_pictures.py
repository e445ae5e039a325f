"""Noisy pictures of any size: from a fit to clean ones, in Python and on the command line."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

import fivefold
from fivefold.cli import main
from fivefold.errors import DataError, FivefoldWarning, UsageError
from fivefold.pictures import networks
from fivefold.pictures.context import SignalDecoder
from fivefold.pictures.dataset import open as open_pictures
from fivefold.pictures.noise import Noise
from fivefold.pictures.patches import Patches, PatchPlaces
from fivefold.pictures.splitting import with_share
from fivefold.pictures.tiles import by_tiles

SMALL = {"epochs": 1, "latent_dim": 4, "context_width": 8, "batch_size": 8, "context_learning_rate": 0.01}


def _clean(height: int, width: int) -> np.ndarray:
    """Waves."""
    rows, columns = np.mgrid[:height, :width]
    return 110 + 60 * np.sin(rows / 9) * np.cos(columns / 7)


@pytest.fixture(scope="module")
def pictures() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [_clean(h, w) + 20 * rng.standard_normal((h, w)) for h, w in ((40, 50), (48, 36), (33, 64))]


@pytest.fixture(scope="module")
def model(pictures):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(networks, "STEPS", 150)
        return fivefold.fit(pictures, noise="gaussian", **SMALL)


def test_a_fit_to_noisy_pictures_removes_their_noise(model, pictures):
    found = fivefold.denoise(model, pictures)
    assert found.changes is None
    for clean, std, noisy in zip(found.data, found.std, pictures, strict=True):
        assert clean.shape == std.shape == noisy.shape
        assert clean.dtype == noisy.dtype
        truth = _clean(*noisy.shape)
        assert np.square(clean - truth).mean() < 0.5 * np.square(noisy - truth).mean()
        assert (std > 0).all()


@pytest.mark.parametrize("noise", ["gaussian", "poisson", "impulse"])
def test_a_fit_is_judged_without_clean_pictures(noise, pictures, monkeypatch, examined):
    monkeypatch.setattr(networks, "STEPS", 2)
    monkeypatch.setattr(networks, "CODER_STEPS", 10)
    counts = [picture.clip(0, 255).round().astype(np.uint8) for picture in pictures]
    model = fivefold.fit(counts, noise=noise, **SMALL)
    compression, verdict = model.record["verdicts"]
    assert (compression["job"], compression["name"]) == ("compress", "PNG")
    assert verdict["job"] == "denoise"
    assert noise in model.record["data"]["noise"]
    if not verdict["good"]:
        with pytest.warns(FivefoldWarning, match="denoise by the simplest alternative"):
            assert fivefold.denoise(model, counts).data[1].shape == counts[1].shape


def test_results_have_the_form_of_the_data(model, pictures):
    one = pictures[0]
    assert fivefold.denoise(model, one).data.shape == one.shape
    assert fivefold.denoise(model, np.stack((one, one))).data.shape == (2, *one.shape)


def test_missing_pixels_are_filled_in(model, pictures):
    holey = pictures[0].copy()
    holey[10:13, 20:23] = np.nan
    filled = fivefold.denoise(model, holey).data
    assert np.abs(filled - _clean(*holey.shape))[10:13, 20:23].max() < 60


def test_a_stored_model_gives_the_same(model, pictures, tmp_path):
    fivefold.save(model, tmp_path / "model")
    again = fivefold.load(tmp_path / "model", device="cpu")
    assert np.array_equal(fivefold.denoise(again, pictures[1]).data, fivefold.denoise(model, pictures[1]).data)


@pytest.mark.parametrize("job", ["generate", "impute", "detect", "encode"])
def test_other_jobs_are_refused_in_one_line(model, pictures, job):
    data = 3 if job == "generate" else pictures[0]
    with pytest.raises(UsageError, match=f"pictures of any size .* it can't {job}"):
        getattr(fivefold, job)(model, data)


def test_tiles_leave_no_seams():
    picture = np.random.default_rng(0).random((500, 910, 1))

    def blur(tile: np.ndarray) -> np.ndarray:
        padded = np.pad(tile, ((1, 1), (1, 1), (0, 0)), "reflect")
        return sum(padded[i : i + tile.shape[0], j : j + tile.shape[1]] for i in range(3) for j in range(3))

    def measured(tile: np.ndarray) -> np.ndarray:
        assert all(side % 16 == 0 and side <= 576 for side in tile.shape[:2])
        return blur(tile)

    assert np.allclose(by_tiles(picture, measured), blur(picture))


def test_held_out_patches_share_no_pixel_with_the_others():
    pictures = [np.arange(300 * 200, dtype=np.float32).reshape(300, 200, 1)]
    patches = Patches.drawn(pictures, 32, np.random.default_rng(0))
    places = PatchPlaces(((300, 200),), 32, patches.corners)
    train, held_out = places.hold_out(0.1, np.random.default_rng(0), "")
    assert len(train) > 10 * len(held_out) > 0
    assert not set(patches[train].ravel()) & set(patches[held_out].ravel())


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (np.zeros((40, 8)), "at least 16 pixels"),
        ([np.zeros((20, 20)), np.zeros((20, 20, 3))], "1 channels as the first"),
        (np.full((20, 20), np.inf), "infinite"),
        (np.zeros((20, 20, 3)), "say which with `axes`"),
    ],
)
def test_bad_pictures_are_refused(source, said):
    with pytest.raises(DataError, match=said):
        open_pictures(source)


def test_noise_options_are_checked(pictures):
    with pytest.raises(UsageError, match="`noise_level` goes with"):
        fivefold.fit(pictures, noise="poisson", noise_level=3.0)
    with pytest.raises(UsageError, match="`noise` must be one of"):
        fivefold.fit(pictures, noise="pink")


def test_folders_of_mixed_sizes_from_the_command_line(pictures, tmp_path, monkeypatch):
    monkeypatch.setattr(networks, "STEPS", 5)
    (tmp_path / "noisy").mkdir()
    for number, picture in enumerate(pictures):
        Image.fromarray(picture.clip(0, 255).round().astype(np.uint8)).save(tmp_path / "noisy" / f"{number}.png")
    flags = [word for name, value in SMALL.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    fit = [
        "fit",
        f"{tmp_path}/noisy",
        "-o",
        f"{tmp_path}/model",
        "--noise",
        "gaussian",
        "--noise-level",
        "20",
        "--no-verdicts",
        *flags,
    ]
    clean = ["denoise", f"{tmp_path}/model", f"{tmp_path}/noisy", "-o", f"{tmp_path}/clean", "--std", f"{tmp_path}/std"]
    for command in (fit, clean):
        monkeypatch.setattr("sys.argv", ["fivefold", *command])
        with pytest.raises(SystemExit) as end:
            main()
        assert end.value.code == 0
    for number, picture in enumerate(pictures):
        written = np.asarray(Image.open(tmp_path / "clean" / f"{number}.png"))
        assert written.shape == picture.shape
        assert written.dtype == np.uint8
    assert len(list((tmp_path / "std").glob("*.tif"))) == len(pictures)


def test_a_pixel_that_is_seen_is_surer_than_what_is_around_says():
    """Before training the neighbourhood says as much as the pixel: half the variance where both are known."""
    decoder = SignalDecoder(1, 8, 4)
    decoder.noise.set(Noise(floor=0.01))
    visible = torch.ones(1, 1, 16, 16, dtype=torch.bool)
    visible[..., ::4] = False
    with torch.inference_mode():
        signal = decoder(with_share(torch.full((1, 1, 16, 16), 0.5)), visible, torch.zeros(1, 4, 4, 4))
    torch.testing.assert_close(signal.variance, torch.where(visible, 0.005, 0.01))


def test_held_out_figures_count_the_kl(model, pictures):
    x = torch.full((1, 1, 32, 32), 0.5)
    elbo = model.vae.elbo(x, torch.zeros(1, model.latent_dim))
    torch.testing.assert_close(elbo.kl, model.vae.posterior(x).kl_per_unit().sum(1))
    assert elbo.kl.item() > 0
