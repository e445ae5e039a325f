"""Every verb gives the same to the last bit from Python, the estimator and the command line, of data in memory and in files."""

from __future__ import annotations

import importlib.util
import json
import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import fivefold
from fivefold.dataset import open_data

GOLDEN = Path(__file__).parents[1] / "golden"
SEED = 3


def _make():
    spec = importlib.util.spec_from_file_location("make", GOLDEN / "make.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["make"] = module
    spec.loader.exec_module(module)
    return module


make = _make()


@dataclass
class Case:
    """A golden model, and data for it in memory and in a file."""

    name: str
    ending: str

    @cached_property
    def model(self) -> fivefold.FittedModel:
        return fivefold.load(self.folder, "cpu")

    @property
    def folder(self) -> Path:
        return GOLDEN / self.name / "model"

    @cached_property
    def data(self) -> Any:
        if self.name == "images":
            return make.items()
        return make.rows().iloc[:60] if self.name == "tables" else make.steps()

    def write(self, path: Path) -> Path:
        if self.name == "images":
            np.save(path, self.data)
        else:
            self.data.to_parquet(path)
        return path

    @cached_property
    def estimator(self) -> fivefold.VAE:
        time = {"time": "hour", "ids": "site"} if self.name == "series" else {}
        vae = fivefold.VAE(kind=self.name, false_alarm_rate=0.05, **time)
        vae.model_, vae.seed_ = self.model, SEED
        vae.offset_ = self.model.normality.threshold(0.05)
        if self.name == "tables":
            vae.feature_names_in_, vae.n_features_in_ = np.array(self.data.columns, object), self.data.shape[1]
        return vae

    def numbers(self, result: Any) -> np.ndarray:
        """Whatever a verb gives for the data, as encoded values."""
        if isinstance(result, Path) and result.suffix == ".npy":
            return np.load(result)
        if isinstance(result, np.ndarray):
            return result
        return open_data(result, self.model.schema).all_items().values

    def plain(self, result: Any) -> np.ndarray:
        """Numbers of a table that is not like the data, such as bits per cell."""
        frame = pd.read_parquet(result) if isinstance(result, Path) and result.suffix != ".npy" else result
        if isinstance(frame, Path):
            return np.load(frame)
        if hasattr(frame, "select_dtypes"):
            return frame.select_dtypes("float").to_numpy()
        return np.asarray(frame)


CASES = {case.name: case for case in (Case("images", ".npy"), Case("tables", ".parquet"), Case("series", ".parquet"))}
pytestmark = [
    pytest.mark.filterwarnings("ignore:detection compares with"),
    pytest.mark.filterwarnings("ignore:nothing is missing"),
    pytest.mark.filterwarnings("ignore:column .* carried along"),
]


@pytest.fixture(params=list(CASES))
def case(request) -> Case:
    return CASES[request.param]


@pytest.fixture
def file(case, tmp_path) -> Path:
    return case.write(tmp_path / f"data{case.ending}")


@pytest.fixture
def command(run, case):
    """Runs a command on the case's model; its figures."""

    def call(verb, *words):
        outcome = run(verb, case.folder, *words, "--json")
        assert outcome.code == 0, outcome.err
        return json.loads(outcome.out)

    return call


def same(*results):
    for result in results[1:]:
        assert result.dtype.kind == results[0].dtype.kind
        np.testing.assert_array_equal(result, results[0])


def test_encode(case, file, command, tmp_path):
    command("encode", file, "-o", tmp_path / "z.npz")
    with np.load(tmp_path / "z.npz") as written:
        for number, name in enumerate(("mean", "std")):
            same(*(fivefold.encode(case.model, data)[number] for data in (case.data, file)), written[name])
        np.testing.assert_array_equal(case.estimator.transform(case.data), written["mean"])


def test_decode_and_morph(case, file, command, tmp_path):
    codes = fivefold.encode(case.model, case.data)[0]
    np.save(tmp_path / "z.npy", codes[:5])
    output = tmp_path / f"new{case.ending}"
    assert command("decode", tmp_path / "z.npy", "-o", output)["items"] == 5
    decoded = fivefold.decode(case.model, codes[:5])
    same(case.plain(decoded).ravel(), case.plain(case.estimator.inverse_transform(codes[:5])).ravel())
    morphed = tmp_path / f"morphed{case.ending}"
    command("morph", file, "-o", morphed, "--from", 0, "--to", 4, "--steps", 3)
    ends = open_data(case.data, case.model.schema).all_items().select(np.array([0, 4]))
    between = fivefold.morph(case.model, *fivefold.encode(case.model, ends)[0], 3)
    for found, written in ((decoded, output), (between, morphed)):
        if case.name == "series":  # which have a row per step in tables
            written = pd.read_parquet(written)[list(case.model.schema.channels.names)].to_numpy().reshape(found.shape)
        same(case.numbers(found), case.numbers(written))


def test_generate(case, command, tmp_path):
    output = tmp_path / f"new{case.ending}"
    command("generate", "-n", 4, "--seed", SEED, "-o", output)
    drawn, sampled = fivefold.generate(case.model, 4, SEED), case.estimator.sample(4)
    written = output
    if case.name == "series":
        written = pd.read_parquet(output)[list(case.model.schema.channels.names)].to_numpy().reshape(drawn.shape)
    same(case.numbers(drawn), case.numbers(sampled), case.numbers(written))


def test_impute(case, file, command, tmp_path):
    output = tmp_path / f"whole{case.ending}"
    command("impute", file, "-o", output, "--draws", 2, "--interval", 0.9, "--seed", SEED)
    found = [fivefold.impute(case.model, data, n_draws=2, interval=0.9, seed=SEED) for data in (case.data, file)]
    estimated = case.estimator.impute(case.data), *case.estimator.impute(case.data, n_draws=2)
    names = ("", "-draw1", "-draw2", "-lower", "-upper")
    for place, name in enumerate(names):
        results = [[part.data, *part.draws, part.lower, part.upper][place] for part in found]
        results.append(output.with_stem(f"whole{name}"))
        same(*map(case.numbers, results), *([case.numbers(estimated[place])] if place < 3 else []))


def test_denoise(case, file, command, tmp_path):
    output, other = tmp_path / f"clean{case.ending}", tmp_path / f"other{case.ending}"
    flag = "--report" if case.name == "tables" else "--std"
    command("denoise", file, "-o", output, flag, other, "--seed", SEED)
    found = [fivefold.denoise(case.model, data, seed=SEED) for data in (case.data, file)]
    cleaned = [part.data for part in found]
    same(*map(case.numbers, (*cleaned, case.estimator.denoise(case.data), output)))
    besides = [part.changes if case.name == "tables" else part.std for part in found]
    besides = [part if isinstance(part, np.ndarray | pd.DataFrame) else part.to_pandas() for part in besides]
    same(*map(case.plain, (*besides, other)))


def test_detect_and_surprise(case, file, command, tmp_path):
    output, maps = tmp_path / "scores.parquet", tmp_path / f"maps{case.ending}"
    command("detect", file, "-o", output, "--heatmaps", maps, "--false-alarm-rate", 0.05)
    found = [fivefold.detect(case.model, data, false_alarm_rate=0.05) for data in (case.data, file)]
    written = pd.read_parquet(output)
    if case.name == "series":  # steps without a row are scored, too
        written = written.merge(case.data[["site", "hour"]], on=["site", "hour"])
    for name in ("score", "p_value", "anomaly"):
        same(*(getattr(part, name) for part in found), written[name].to_numpy())
    same(found[0].score, case.estimator.score_samples(case.data))
    same(found[0].p_value, case.estimator.p_values(case.data))
    bits = [fivefold.surprise(case.model, data) for data in (case.data, file)]
    bits = [part if isinstance(part, np.ndarray | pd.DataFrame) else part.to_pandas() for part in bits]
    same(*map(case.plain, (*bits, case.estimator.explain(case.data), maps)))


def test_compress_and_decompress(case, file, command, run, tmp_path):
    archive, output = tmp_path / "data.ff", tmp_path / f"back{case.ending}"
    command("compress", file, "-o", archive)
    packed = fivefold.compress(case.model, case.data)
    assert packed == case.estimator.compress(case.data)
    from_file = fivefold.compress(case.model, str(file))
    assert from_file == archive.read_bytes()
    assert run("decompress", archive, "--model", case.folder, "-o", output).code == 0
    back = [fivefold.decompress(content, case.model) for content in (packed, from_file)]
    same(*map(case.numbers, (case.data, *back, output)))


def test_save_and_load(case, tmp_path):
    case.estimator.save(tmp_path / "one")
    fivefold.save(case.model, tmp_path / "other")
    for name in ("config.json", "model.safetensors"):
        content = (tmp_path / "one" / name).read_bytes()
        assert content == (tmp_path / "other" / name).read_bytes() == (case.folder / name).read_bytes()


def test_evaluate(case, file, run, tmp_path):
    assert run("evaluate", case.folder, file, "--jobs", "detect", "--json", tmp_path / "figures.json").code == 0
    written = json.loads((tmp_path / "figures.json").read_text())["detect"]
    for data in (case.data, file):
        figures = json.loads(json.dumps(fivefold.evaluate(case.model, data, ["detect"])[0]))["detect"]
        assert {**figures, "seconds": 0} == {**written, "seconds": 0}


def test_fit(case, file, run, tmp_path):
    settings = {"latent_dim": 2, "epochs": 1, "seed": SEED, "context_width": 8, "batch_size": 16, "validation": 0.2}
    words = [word for name, value in settings.items() for word in ("--" + name.replace("_", "-"), value)]
    series = {"time": "hour", "ids": "site", "window": 24} if case.name == "series" else {}
    words += ["--time", "hour", "--id", "site", "--window", 24] if series else []
    outcome = run("fit", file, "-o", tmp_path / "model", "--accelerator", "cpu", "--quiet", *words)
    assert outcome.code == 0, outcome.err
    written = fivefold.load(tmp_path / "model", "cpu")
    fitted = fivefold.fit(case.data, accelerator="cpu", **settings, **series)
    for model in (written, fitted):
        for name, weight in model.networks.state_dict().items():
            np.testing.assert_array_equal(weight, fitted.networks.state_dict()[name])
    np.testing.assert_array_equal(written.prior.means, fitted.prior.means)
