"""What the documents say is so."""

from __future__ import annotations

import importlib.util
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from PIL import Image

from fivefold import modality
from fivefold.images import builtin
from fivefold.modality import MODALITIES
from fivefold.parts import networks as parts
from fivefold.pictures import networks as pictures
from fivefold.storage import save

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


SERIES = (ROOT / "docs" / "series.md").read_text(encoding="utf-8")
TABLES = (ROOT / "docs" / "tables.md").read_text(encoding="utf-8")
PARTS = (ROOT / "docs" / "parts.md").read_text(encoding="utf-8")
PICTURES = (ROOT / "docs" / "pictures.md").read_text(encoding="utf-8")
PLUG_IN = (ROOT / "docs" / "plug-in.md").read_text(encoding="utf-8")
VERDICTS = (ROOT / "docs" / "verdicts.md").read_text(encoding="utf-8")


def _tool(name: str) -> Any:
    """A module of tools/."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "tools" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _blocks(language: str, page: str = README) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page, re.DOTALL)


def _with(configure: Callable[..., Any], defaults: dict[str, Any], *preset: str, **settings: Any) -> Any:
    """A configuration with other defaults."""
    given = {name: value for name, value in settings.items() if value is not None}
    return configure(*preset, **defaults | given)


def _run(line: str, monkeypatch, capsys) -> None:
    from fivefold.cli import main

    words = shlex.split(line, comments=True)
    if words[1] == "fit":
        words += ["--epochs", "1", "--quiet"]
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 0, f"{line}: {capsys.readouterr().err}"


@pytest.fixture(autouse=True)
def _small_fits(monkeypatch):
    """Networks are small and epochs short, unless a command says otherwise."""
    small, short = {"hidden": 16, "context_width": 16}, {"shortest_epoch": 8, "longest_epoch": 8}
    of_images = {"first_channels": 4, "field": 5, "positions": 16}
    for kind, own in {"image": of_images, "series": {**short, "first_channels": 8}, "table": short}.items():
        settings = MODALITIES[kind].settings
        monkeypatch.setattr(settings, "configure", partial(_with, settings.configure, small | own))


@pytest.fixture
def as_in_readme(model, _few_letters, tmp_path, monkeypatch):
    """A folder with all that the README's commands name, MNIST cut short."""
    whole = builtin.load_mnist
    monkeypatch.setattr(builtin, "load_mnist", lambda split: tuple(part[:50] for part in whole(split)))
    monkeypatch.chdir(tmp_path)
    save(model, "out/demo/model")
    images = builtin.load_mnist("test")[0]
    Path("photos").mkdir()
    for index, image in enumerate(images[:20]):
        Image.fromarray(image[..., 0]).save(f"photos/{index}.png")
    holes = np.zeros((28, 28), np.uint8)
    holes[5:10] = 1
    np.save("holes.npy", holes)
    random = np.random.default_rng(0)
    height = random.normal(10, 3, 60).round(1)
    rows = [
        f"{kind},{tall},{tall * 8:.0f}" for kind, tall in zip(random.choice(["oak", "elm"], 60), height, strict=True)
    ]
    Path("trees.csv").write_text("\n".join(("kind,height,girth", *rows)) + "\n", encoding="utf-8")
    Path("holes.csv").write_text("kind,height,girth\noak,,80\n,12,\n", encoding="utf-8")
    hours = [f"2026-01-{at // 24 + 1:02}T{at % 24:02}:00,{np.sin(at / 4):.3f}" for at in range(300)]
    Path("meter.csv").write_text("\n".join(("hour,load", *hours[:50], *hours[53:])) + "\n", encoding="utf-8")
    return images, holes


@pytest.mark.filterwarnings("ignore:detection compares with")
def test_readme_commands_run(as_in_readme, monkeypatch, capsys):
    lines = [line for block in _blocks("sh") for line in block.splitlines() if line.startswith("fivefold ")]
    ending = [
        line for line in lines if not line.startswith("fivefold serve ")
    ]  # as docs/serve.md's, tried with its server
    assert len(ending) >= 9
    for line in ending:
        _run(line, monkeypatch, capsys)


@pytest.mark.filterwarnings("ignore:detection compares with")
def test_readme_python_runs(as_in_readme):
    images, holes = as_in_readme
    (code,) = _blocks("python")
    names = {"images": images, "noisy": images, "holes": holes}
    exec(code.replace("epochs=5", "epochs=1, latent_dim=4, accelerator='cpu'"), names)
    assert names["found"].score.shape == (50,)
    assert names["new"].shape == (64, 28, 28, 1)
    assert np.stack(names["whole"].draws).shape == (3, 50, 28, 28, 1)
    assert names["excess"].shape == names["clean"].std.shape == (50, 28, 28, 1)


@pytest.mark.usefixtures("_light_reports")
@pytest.mark.filterwarnings("ignore:detection compares with")
def test_the_page_on_tables_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    data, python = _blocks("python", TABLES)
    names: dict[str, Any] = {}
    exec(data, names)
    for block in _blocks("sh", TABLES):
        for line in block.splitlines():
            _run(line, monkeypatch, capsys)
    assert len(names["wines"]) == 178
    exec(python.replace("random_state=0", "random_state=0, epochs=1"), names)
    assert names["why"].shape == names["mended"].shape == names["table"].shape == (178, 13)
    assert not names["whole"].isna().any(axis=None)
    assert len(names["draws"]) == 5
    assert len(names["rows"]) == 100


@pytest.mark.usefixtures("_light_reports")
@pytest.mark.filterwarnings("ignore:detection compares with")
def test_the_page_on_series_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    data, python = _blocks("python", SERIES)
    names: dict[str, Any] = {}
    exec(data, names)
    for block in _blocks("sh", SERIES):
        for line in block.splitlines():
            _run(line, monkeypatch, capsys)
    exec(python.replace("random_state=0", "random_state=0, epochs=1"), names)
    assert names["whole"]["hour"].to_list() == names["new"]["hour"].to_list()
    assert names["whole"]["power"].null_count() == 0
    assert len(names["strange"]) == len(names["p"]) == len(names["clean"]) == 500
    assert names["windows"].shape[0] == 10
    found, smooth = names["found"], names["smooth"]
    assert len(found.score) == len(found.anomaly) == len(smooth.data) == len(smooth.std) == 500
    assert len(found.events.start) == len(found.events.end)
    assert names["ways"].shape == (5, 1, 48, 2)
    whole = pl.read_csv("whole.csv", try_parse_dates=True)
    hours = names["new"]["hour"].to_list()
    first, last = (hours.index(whole["hour"][at]) for at in (0, -1))
    assert whole["hour"].to_list() == hours[first : last + 1]
    assert whole.null_count().row(0) == (0, 0, 0)
    assert len(pl.read_csv("tomorrow.csv")) == 5 * 48


@pytest.mark.filterwarnings("ignore:detection compares with")
def test_the_page_on_verdicts_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    data, python = _blocks("python", VERDICTS)
    names: dict[str, Any] = {}
    exec(data, names)
    lines = [line for block in _blocks("sh", VERDICTS) for line in block.splitlines()]
    assert len(lines) == 5
    for line in lines:
        _run(line, monkeypatch, capsys)
    exec(python, names)
    assert set(names["worse"]) <= {"compress", "denoise", "detect", "generate", "impute"}
    for kind in modality.MODALITIES.values():
        assert all(f"| `{job}` |" in VERDICTS for job in kind.verdicts.TRIALS)


def test_the_page_on_pictures_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(pictures, "STEPS", 4)
    monkeypatch.setattr(pictures, "CODER_STEPS", 4)
    (python,) = _blocks("python", PICTURES)
    names: dict[str, Any] = {}
    exec(python, names)
    assert names["found"].data.shape == names["noisy"].shape
    for folder, name, sides in (("noisy", "noisy", (40, 56)), ("photos", "clean", range(16, 38))):
        Path(folder).mkdir()
        for number, side in enumerate(sides):
            Image.fromarray(names[name][:side, :side].astype(np.uint8)).save(f"{folder}/{number}.png")
    for line in (line for block in _blocks("sh", PICTURES) for line in block.splitlines()):
        _run(f"{line} --no-verdicts" if " fit " in line else line, monkeypatch, capsys)
    assert len(list(Path("back").iterdir())) == 22
    assert len(list(Path("some").iterdir())) == 10


@pytest.mark.filterwarnings("ignore:detection compares with")
@pytest.mark.filterwarnings("ignore:the posterior has collapsed")
def test_the_page_on_parts_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(parts, "STEPS", 4)
    (python,) = _blocks("python", PARTS)
    names: dict[str, Any] = {}
    exec(python, names)
    assert names["heat"].shape == names["bad"].shape
    assert len(names["found"].p_value) == 2
    for folder, shown in (("good", names["good"]), ("parts", [names["bad"]])):
        Path(folder).mkdir()
        for number, picture in enumerate(shown):
            Image.fromarray(picture).save(f"{folder}/{number}.png")
    fit, detect = (line for block in _blocks("sh", PARTS) for line in block.splitlines())
    for line in (f"{fit} --no-verdicts --epochs 1", detect):
        _run(line, monkeypatch, capsys)
    assert {path.name for path in Path.cwd().glob("scores*")} == {"scores.csv", "scores-regions.csv"}
    assert Path("maps/0.png").exists()


@pytest.mark.filterwarnings("ignore:detection compares with")
@pytest.mark.filterwarnings("ignore:column 'id'. carried along")
def test_the_page_on_engines_runs(tmp_path, monkeypatch, capsys):
    pytest.importorskip("duckdb")
    pytest.importorskip("dask.dataframe")
    monkeypatch.chdir(tmp_path)
    data, *python = _blocks("python", PLUG_IN)
    names: dict[str, Any] = {}
    exec(data, names)
    Path("rows").mkdir()
    for number in range(2):
        names["trees"][200 * number : 200 * (number + 1)].to_parquet(f"rows/{number}.parquet", index=False)
    for block in _blocks("sh", PLUG_IN):
        for line in block.splitlines():
            _run(line.replace("--workers 2", "--workers 1"), monkeypatch, capsys)
    assert {path.name for path in Path("scores").iterdir()} == {"0.parquet", "1.parquet", "shards.json"}
    assert Path("packed/0.parquet.ff").is_file()
    for block in python:
        exec(block, names)
    assert list(names["strange"]) == ["id", "score", "p_value", "anomaly"]
    assert not names["whole"]["girth"].isna().any()
    assert names["shown"].count("<table>") == 2


@pytest.mark.parametrize("page", ["README.md", *(f"docs/{path.name}" for path in sorted((ROOT / "docs").glob("*.md")))])
def test_links_lead_somewhere(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#:]+)\)", text):
        assert (ROOT / page).parent.joinpath(target).exists(), target


def test_cli_reference_is_current():
    made = subprocess.run(
        [sys.executable, ROOT / "tools" / "cli_reference.py"],
        capture_output=True,
        text=True,
        check=True,
        encoding="utf-8",
    )
    assert made.stdout == (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")


def test_quoted_figures_are_the_measured_ones():
    made = subprocess.run(
        [sys.executable, ROOT / "tools" / "figures.py", "--check"], capture_output=True, text=True, check=False
    )
    assert made.returncode == 0, made.stderr


def test_the_page_of_inputs_is_current(request):
    """As far as the tests of this run go."""
    inputs = _tool("inputs")
    shown = inputs.situations(request.session.items)
    lines = (ROOT / "docs" / "inputs.md").read_text(encoding="utf-8").splitlines()
    made = inputs.page(shown).splitlines()
    if {item.path for item in request.session.items} == set((ROOT / "tests").rglob("test_*.py")):
        assert lines == made
    else:
        assert {line for line in made if line.startswith("|")} <= set(lines)
