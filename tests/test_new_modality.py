"""A modality that the house does not know is one folder and one line in the registry: everything works without an edit."""

from __future__ import annotations

import importlib.util
import io
import sys
from pathlib import Path

import numpy as np
import pytest

import fivefold
from fivefold.archive.read import open_archive
from fivefold.errors import DamagedArchiveError, ModelError, UsageError
from fivefold.modality import MODALITIES, Modality

SETTINGS = {"learning_rate": 8e-3, "corruption": "hide=0.3", "kl_warmup": 40.0, "accelerator": "cpu"}
ROOMS = ("settings", "schema", "dataset", "networks", "jobs", "verdicts", "coding")


@pytest.fixture(scope="module")
def registered():
    """The modality `angles`, in whose package one module is all rooms."""
    spec = importlib.util.spec_from_file_location("angles", Path(__file__).parent / "angles.py")
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        for name in ("angles", *(f"angles.{room}" for room in ROOMS)):
            patch.setitem(sys.modules, name, module)
        spec.loader.exec_module(module)
        patch.setitem(MODALITIES, "angle", Modality("angle", "angles"))
        yield


@pytest.fixture(scope="module")
def angles() -> np.ndarray:
    """`(200, 3)`: three that hang together."""
    rng = np.random.default_rng(0)
    first = rng.uniform(0.5, 2.5, (200, 1))
    return first * np.array([1.0, 1.5, 2.0]) + 0.05 * rng.normal(size=(200, 3))


@pytest.fixture(scope="module")
def model(registered, angles):
    return fivefold.fit(angles, kind="angles", latent_dim=2, epochs=40, **SETTINGS)


@pytest.mark.filterwarnings("ignore:detection compares with")
def test_every_verb(model, angles, tmp_path):
    fivefold.save(model, tmp_path / "model")
    model = fivefold.load(tmp_path / "model", "cpu")
    holey = angles.copy()
    holey[::3, 1] = np.nan
    filled = fivefold.impute(model, holey, n_draws=1, interval=0.9)
    assert filled.missing == 67
    error = np.abs(filled.data[::3, 0, 1, 0] - angles[::3, 1]).mean()
    assert error < 0.7 * np.abs(angles[::3, 1] - angles[:, 1].mean()).mean()
    strange = angles.copy()
    strange[5] = strange[5, ::-1]
    score = fivefold.detect(model, strange).score
    assert score[5] < np.median(score)
    assert fivefold.generate(model, 7, seed=1).shape == (7, 3)
    assert fivefold.denoise(model, angles).std.shape == (200, 1, 3, 1)
    codes, _ = fivefold.encode(model, angles)
    assert fivefold.decode(model, codes[:4]).shape == fivefold.morph(model, codes[0], codes[1], 4).shape == (4, 3)
    assert np.isfinite(fivefold.surprise(model, angles)).all()
    estimator = fivefold.VAE(2, kind="angles", epochs=2, accelerator="cpu", random_state=0).fit(angles)
    assert estimator.transform(angles).shape == (200, 2)


def test_archives(model, angles):
    packed = fivefold.compress(model, angles[:11])
    assert fivefold.decompress(packed, model).tobytes() == angles[:11].tobytes()
    assert fivefold.decompress(packed, model, items=slice(3, 6)).tobytes() == angles[3:6].tobytes()
    about = open_archive(io.BytesIO(packed)).describe()
    assert (about["angles"], about["blocks"]) == ("11", 3)


def test_options_that_angles_do_not_take(model, angles):
    with pytest.raises(UsageError, match="`mask` goes with images, not with angles"):
        fivefold.impute(model, angles, mask=angles > 1)
    with pytest.raises(UsageError, match="`lossy`"):
        fivefold.compress(model, angles, lossy=True)


def test_a_modality_that_is_not_there(model, angles, monkeypatch, tmp_path):
    packed = fivefold.compress(model, angles)
    fivefold.save(model, tmp_path / "model")
    monkeypatch.delitem(MODALITIES, "angle")
    with pytest.raises(DamagedArchiveError, match="header"):
        fivefold.decompress(packed, model)
    with pytest.raises(ModelError, match="its kind must be one of"):
        fivefold.load(tmp_path / "model")
