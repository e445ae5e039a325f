"""Pictures of good parts: from a fit to the defects of others, in Python and on the command line."""

from __future__ import annotations

import csv
import dataclasses
import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import fivefold
from fivefold.cli import main
from fivefold.errors import DataError, ModelError, UsageError
from fivefold.parts import dataset, networks
from fivefold.parts.alterations import alter, changed
from fivefold.parts.octaves import enlarged, octaves
from fivefold.parts.regions import PeakScore, PixelLevels, Regions

SMALL = {"kind": "parts", "epochs": 1, "latent_dim": 16, "context_width": 8, "batch_size": 8}
FEW = pytest.mark.filterwarnings("ignore:detection compares with")


def _good(number: int, rng: np.random.Generator) -> np.ndarray:
    """Stripes under a little noise."""
    columns = np.arange(66 + number)
    stripes = 120 + 20 * np.sin(columns / 3)
    return (stripes + 3 * rng.standard_normal((90 - number, len(columns)))).astype(np.uint8)


@pytest.fixture(scope="module")
def good() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [_good(number, rng) for number in range(14)]


@pytest.fixture(scope="module")
def bad(good) -> list[np.ndarray]:
    """With a dark spot of 6×8 pixels."""
    spoilt = [picture.copy() for picture in good[:4]]
    for picture in spoilt:
        picture[40:46, 30:38] = 40
    return spoilt


@pytest.fixture(scope="module")
def model(good):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(networks, "STEPS", 120)
        return fivefold.fit(good, verdicts=False, **SMALL)


def test_what_the_vae_explains_is_the_good_patch(model):
    patches = torch.rand((6, 1, 64, 64), generator=torch.Generator().manual_seed(0))
    seen, explained, _ = model.vae.training_pair(patches, patches == patches, {}, torch.Generator().manual_seed(0))
    torch.testing.assert_close(explained[:, :1], patches)
    assert not torch.equal(seen.x[:, :1], patches)


@FEW
def test_pictures_of_the_fit_are_made_as_strange_as_those_held_out(model, good, monkeypatch):
    peaks = iter((np.array([5.0, 6.0, 7.0]), np.arange(4.0)))
    monkeypatch.setattr(networks, "_summary", lambda *_: (np.array([-1.0, 1.0]), next(peaks)))
    items = dataset.open(good).examples()
    again = dataclasses.replace(model, calibrations=dict(model.calibrations))
    networks.calibrate(again, items, np.arange(len(items) // 2), np.arange(len(items) // 2, len(items)))
    found = np.sort(-again.normality.calibration)
    np.testing.assert_allclose(found, [4.5, 5.0, 5.5, 6.0, 6.5, 7.0, 7.5])


@FEW
def test_defects_are_found_and_placed(model, good, bad):
    found = fivefold.detect(model, good[4:8] + bad, false_alarm_rate=0.2)
    assert found.calibrated_on == 14
    assert found.score[4:].max() < found.score[:4].min()
    assert found.anomaly[4:].all()
    assert found.p_value[4:] == pytest.approx(1 / 15)
    regions = found.events
    assert len(regions) >= 4
    assert set(regions.picture) == set(np.flatnonzero(found.anomaly))
    for picture in range(4, 8):
        (mine,) = np.flatnonzero(regions.picture == picture)
        assert regions.top[mine] <= regions.row[mine] <= regions.bottom[mine]
        assert 36 <= regions.row[mine] < 50
        assert 26 <= regions.column[mine] < 42
        assert regions.score[mine] == pytest.approx(found.score[picture])


@FEW
def test_heat_maps_are_highest_at_the_defect(model, good, bad):
    heat = fivefold.surprise(model, bad[:1])[0]
    assert heat.shape == bad[0].shape
    assert heat.dtype == np.float32
    row, column = np.unravel_index(heat.argmax(), heat.shape)
    assert 36 <= row < 50
    assert 26 <= column < 42
    assert fivefold.surprise(model, bad[0]).shape == bad[0].shape


@FEW
def test_missing_pixels_are_not_strange(model, good):
    holey = good[5].astype(np.float32)
    holey[20:40, 20:40] = np.nan
    heat = fivefold.surprise(model, holey)
    assert (heat[20:40, 20:40] == 0).all()
    assert np.isfinite(heat).all()


@FEW
def test_a_stored_model_gives_the_same(model, bad, tmp_path):
    fivefold.save(model, tmp_path / "model")
    again = fivefold.detect(fivefold.load(tmp_path / "model", device="cpu"), bad, false_alarm_rate=0.2)
    assert np.array_equal(again.score, fivefold.detect(model, bad, false_alarm_rate=0.2).score)


@pytest.mark.parametrize("job", ["generate", "impute", "denoise", "encode", "compress"])
def test_other_jobs_are_refused_in_one_line(model, good, job):
    data = 3 if job == "generate" else good[0]
    with pytest.raises(UsageError, match=f"a model of good parts .* it can't {job}"):
        getattr(fivefold, job)(model, data)


def test_few_pictures_are_refused(good):
    with pytest.raises(DataError, match="10 pictures of good parts at least, got 3"):
        fivefold.fit(good[:3], **SMALL)


@FEW
@pytest.mark.filterwarnings("ignore:the posterior has collapsed")
def test_detection_is_tried_beside_the_nearest_patches(good, monkeypatch, examined):
    monkeypatch.setattr(networks, "STEPS", 2)
    model = fivefold.fit(good, **SMALL)
    (verdict,) = model.record["verdicts"]
    assert (verdict["job"], verdict["name"]) == ("detect", "nearest patches")
    assert 0 <= verdict["figure"] <= 1


@FEW
def test_folders_of_mixed_sizes_from_the_command_line(model, good, bad, tmp_path, monkeypatch):
    monkeypatch.setattr(networks, "STEPS", 2)
    for name, pictures in (("good", good), ("parts", good[6:8] + bad[:2])):
        (tmp_path / name).mkdir()
        for number, picture in enumerate(pictures):
            Image.fromarray(picture).save(tmp_path / name / f"{number}.png")
    flags = itertools.chain.from_iterable((f"--{name.replace('_', '-')}", str(value)) for name, value in SMALL.items())
    fivefold.save(model, tmp_path / "model")
    fit = ["fit", "good", "-o", "begun", "--no-verdicts", *flags]
    detect = ["detect", "model", "parts", "-o", "scores.csv", "--heatmaps", "maps", "--false-alarm-rate", "0.2"]
    monkeypatch.chdir(tmp_path)
    for command in (fit, detect):
        monkeypatch.setattr("sys.argv", ["fivefold", *command])
        with pytest.raises(SystemExit) as end:
            main()
        assert end.value.code == 0
    assert fivefold.load("begun").schema == model.schema
    with Path("scores.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["item"] for row in rows] == [f"{number}.png" for number in range(4)]
    assert all(row["anomaly"] == "true" for row in rows[2:])
    with Path("scores-regions.csv").open() as file:
        regions = list(csv.DictReader(file))
    assert {"2.png", "3.png"} <= {row["item"] for row in regions}
    for region in regions:
        framed = np.asarray(Image.open(f"maps/{Path(region['item']).stem}-regions.png"))
        edge = framed[max(int(region["top"]) - 3, 0), int(region["column"])]
        assert edge.tolist() == [255, 0, 0]
    heat = np.asarray(Image.open("maps/2.png"))
    assert heat.shape == bad[0].shape
    assert heat.dtype == np.uint8
    assert heat[43, 34] > np.median(heat)


def test_alterations_change_what_they_mark_and_little_else():
    x = torch.rand((64, 3, 32, 32), generator=torch.Generator().manual_seed(0))
    altered = alter(x, torch.Generator().manual_seed(1))
    marked = changed(x, altered)
    assert torch.equal(altered, alter(x, torch.Generator().manual_seed(1)))
    assert altered.min() >= 0
    assert altered.max() <= 1
    assert (x - altered).abs().masked_select(~marked).max() < 0.2
    shares = marked.flatten(1).float().mean(1)
    assert 0 < (shares == 0).sum() < 32
    assert 0.005 < shares.mean() < 0.2


def test_octaves_are_means_and_keep_the_type():
    picture = np.full((600, 512, 1), 7, np.uint16)
    picture[:2, :2] = [[[1], [2]], [[3], [6]]]
    found = octaves(picture, 128)
    assert [one.shape for one in found] == [(600, 512, 1), (300, 256, 1), (150, 128, 1)]
    assert found[1].dtype == np.uint16
    assert found[1][0, 0] == 3
    assert len(octaves(picture[:200], 128)) == 1
    assert np.array_equal(enlarged(np.array([[1, 2]]), (3, 4)), [[1, 1, 2, 2]] * 3)


def test_regions_are_boxes_of_what_is_above_the_edge_and_reaches_the_peak():
    values = np.zeros((10, 12))
    values[2:4, 3:6], values[3, 5] = 4, 9
    values[7, 1] = 5
    found = Regions.of([(3, values)], 3.0, 8.0, PeakScore(np.array([-7.0, -6.0, -5.0])))
    numbers = {name: column.tolist() for name, column in vars(found).items()}
    assert numbers == {
        "picture": [3], "top": [2], "bottom": [3], "left": [3], "right": [5], "area": [6], "row": [3], "column": [5],
        "score": [-9.0], "p_value": [0.25],
    }  # fmt: skip
    assert found.table(["a", "b", "c", "d"])["item"].to_pylist() == ["d"]
    assert len(Regions.of([], 3.0, np.inf, PeakScore(np.array([-7.0])))) == 0


def test_levels_are_those_of_known_pixels():
    values = np.arange(10_001, dtype=np.float32)
    values[-1] = np.nan
    levels = PixelLevels.fit(values)
    assert levels.centre == pytest.approx(4999.5)
    assert levels.surprise(values)[-1] == 0
    assert (levels.surprise(values) > levels.edge).sum() == pytest.approx(10, abs=1)
    with pytest.raises(ModelError, match="levels of pixels are damaged"):
        PixelLevels(np.zeros(1), np.zeros(1), np.zeros(1))
