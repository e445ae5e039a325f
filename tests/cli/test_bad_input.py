"""Every mistake ends in one clear line and the right exit code, and leaves nothing behind."""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fivefold.storage import save


@pytest.fixture
def here(tmp_path, digits):
    """A folder of the mistakes that users bring."""
    np.save(tmp_path / "digits.npy", digits[:5])
    np.save(tmp_path / "wide.npy", np.zeros((3, 28, 30), np.uint8))
    np.save(tmp_path / "mask_wide.npy", np.ones((28, 30), np.uint8))
    blank = digits[:3].astype(np.float32)
    blank[1] = np.nan
    np.save(tmp_path / "blank.npy", blank)
    np.save(tmp_path / "hole.npy", np.eye(28, dtype=np.uint8))
    np.save(tmp_path / "codes.npy", np.zeros((2, 7), np.float32))
    np.save(tmp_path / "letters.npy", np.array(["a", "b"]))
    np.save(tmp_path / "dark.npy", np.ones((28, 28), np.uint8))
    np.save(tmp_path / "objects.npy", np.array([1, {}], object), allow_pickle=True)
    np.save(tmp_path / "single.npy", digits[:1])
    (tmp_path / "notes.txt").write_text("hello")
    (tmp_path / "empty").mkdir()
    (tmp_path / "mixed").mkdir()
    for index, size in enumerate(((28, 28), (30, 28))):
        Image.new("L", size).save(tmp_path / "mixed" / f"{index}.png")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n not really")
    for name in ("taken.csv", "taken.npy", "new-nearest.npy", "late-draw2.npy", "last-upper.npy", "taken.json"):
        (tmp_path / name).write_text("precious")
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "precious.txt").write_text("precious")
    return tmp_path


# words of the command ("M" is a good model), exit code, what the line must name
MISTAKES = {
    "missing path": (("fit", "nowhere", "-o", "new"), 1, ["nowhere", "no such file"]),
    "empty folder": (("fit", "empty", "-o", "new"), 1, ["empty", "no images"]),
    "mixed sizes": (("fit", "mixed", "-o", "new"), 1, ["1.png", "28×28×1", "28×30×1", "--resize"]),
    "unreadable image": (("fit", "broken", "-o", "new"), 1, ["a.png", "can't be read"]),
    "text file": (("fit", "notes.txt", "-o", "new"), 1, ["notes.txt", "no rows"]),
    "text array": (("fit", "letters.npy", "-o", "new"), 1, ["letters.npy", "numbers"]),
    "all missing": (("fit", "blank.npy", "-o", "new"), 1, ["blank.npy", "item 1", "missing"]),
    "one item": (("denoise", "M", "wide.npy", "-o", "new.npy"), 1, ["28×28×1", "28×30×1"]),
    "all-NaN item": (("detect", "M", "blank.npy", "-o", "new.csv"), 1, ["item 1", "missing"]),
    "mask of another shape": (
        ("impute", "M", "digits.npy", "--mask", "mask_wide.npy", "-o", "new.npy"),
        1,
        ["--mask mask_wide.npy", "28×28×1", "28×30"],
    ),
    "missing mask": (("impute", "M", "digits.npy", "--mask", "no.npy", "-o", "new.npy"), 1, ["--mask", "no.npy"]),
    "codes of another size": (("decode", "M", "codes.npy", "-o", "new.npy"), 1, ["(n, 4)", "(2, 7)"]),
    "no model": (("generate", "nowhere", "-o", "new.npy"), 1, ["nowhere", "no such model folder"]),
    "not a model": (("info", "taken"), 1, ["taken", "not a model folder"]),
    "output exists": (("detect", "M", "digits.npy", "-o", "taken.csv"), 2, ["taken.csv", "--force"]),
    "output folder exists": (("denoise", "M", "digits.npy", "-o", "taken"), 2, ["taken", "--force"]),
    "forcing over what is no model": (("fit", "digits.npy", "-o", "taken", "--force"), 2, ["taken", "not a model"]),
    "unknown preset": (
        ("fit", "mnist", "-o", "new", "--preset", "best"),
        2,
        ["--preset", "default, archive, paper", "best"],
    ),
    "negative epochs": (("fit", "mnist", "-o", "new", "--epochs", "-3"), 2, ["--epochs", "at least 1", "-3"]),
    "negative latent size": (("fit", "mnist", "-o", "new", "--latent-dim", "-1"), 2, ["--latent-dim", "-1"]),
    "validation of all": (("fit", "mnist", "-o", "new", "--validation", "1"), 2, ["--validation", "below 1"]),
    "unknown corruption": (("fit", "mnist", "-o", "new", "--corruption", "rain=1"), 2, ["--corruption", "rain=1"]),
    "unknown likelihood": (("fit", "mnist", "-o", "new", "--likelihood", "cauchy"), 2, ["--likelihood", "cauchy"]),
    "bad size": (("fit", "mixed", "-o", "new", "--resize", "0x10"), 2, ["--resize", "0x10"]),
    "resizing an array": (("denoise", "M", "digits.npy", "--resize", "9x9", "-o", "new.npy"), 2, ["--resize"]),
    "no items asked for": (("generate", "M", "-n", "-4", "-o", "new.npy"), 2, ["-n", "-4"]),
    "one step": (
        ("morph", "M", "digits.npy", "--from", "0", "--to", "1", "--steps", "1", "-o", "n.npy"),
        2,
        ["--steps"],
    ),
    "item out of range": (
        ("morph", "M", "digits.npy", "--from", "0", "--to", "9", "-o", "new.npy"),
        2,
        ["--to", "0 to 4"],
    ),
    "rate of two": (
        ("detect", "M", "digits.npy", "-o", "new.csv", "--false-alarm-rate", "2"),
        2,
        ["--false-alarm-rate"],
    ),
    "discovery rate of two": (("detect", "M", "digits.npy", "-o", "new.csv", "--fdr", "2"), 2, ["--fdr"]),
    "two kinds of rate": (
        ("detect", "M", "digits.npy", "-o", "new.csv", "--fdr", "0.1", "--false-alarm-rate", "0.1"),
        2,
        ["--fdr", "--false-alarm-rate"],
    ),
    "even the usual rate": (
        ("detect", "M", "digits.npy", "-o", "new.csv", "--fdr", "0.1", "--false-alarm-rate", "0.01"),
        2,
        ["--fdr", "--false-alarm-rate"],
    ),
    "heatmaps exist": (("detect", "M", "digits.npy", "-o", "new.csv", "--heatmaps", "taken"), 2, ["taken", "--force"]),
    "heatmaps to a table": (
        ("detect", "M", "digits.npy", "-o", "new.csv", "--heatmaps", "maps.csv"),
        2,
        ["--heatmaps", "maps.csv"],
    ),
    "deviations over the items": (
        ("denoise", "M", "digits.npy", "-o", "new.npy", "--std", "./new.npy"),
        2,
        ["--std", "--output"],
    ),
    "nearest items beside no name": (
        ("generate", "M", "-n", "2", "-o", ".", "--force", "--nearest", "digits.npy"),
        2,
        ["--output", "name"],
    ),
    "deviations exist": (
        ("denoise", "M", "digits.npy", "-o", "new.npy", "--std", "taken.npy"),
        2,
        ["taken.npy", "--force"],
    ),
    "deviations to an image": (
        ("denoise", "M", "digits.npy", "-o", "new.npy", "--std", "s.png"),
        2,
        ["--std", "s.png"],
    ),
    "a draw exists": (
        ("impute", "M", "digits.npy", "--mask", "hole.npy", "-o", "late.npy", "--draws", "2"),
        2,
        ["late-draw2.npy", "--force"],
    ),
    "an interval exists": (
        ("impute", "M", "digits.npy", "--mask", "hole.npy", "-o", "last.npy", "--interval", "0.9"),
        2,
        ["last-upper.npy", "--force"],
    ),
    "interval of all": (
        ("impute", "M", "digits.npy", "--mask", "hole.npy", "-o", "new.npy", "--interval", "1"),
        2,
        ["--interval", "1"],
    ),
    "negative draws": (
        ("impute", "M", "digits.npy", "--mask", "hole.npy", "-o", "new.npy", "--draws", "-1"),
        2,
        ["--draws", "-1"],
    ),
    "nearest items exist": (
        ("generate", "M", "-n", "2", "-o", "new.npy", "--nearest", "digits.npy"),
        2,
        ["new-nearest.npy", "--force"],
    ),
    "nearest of nothing": (("generate", "M", "-o", "fresh.npy", "--nearest", "no.npy"), 1, ["no.npy", "no such file"]),
    "nearest of another shape": (("generate", "M", "-o", "fresh.npy", "--nearest", "wide.npy"), 1, ["28×30×1"]),
    "near five items": (("generate", "M", "-o", "fresh.npy", "--like", "digits.npy"), 2, ["--like", "one item", "5"]),
    "near an item too far": (
        ("generate", "M", "-o", "fresh.npy", "--like", "digits.npy#5"),
        2,
        ["--like", "digits.npy#5", "0 to 4"],
    ),
    "near nothing": (("generate", "M", "-o", "fresh.npy", "--like", "no.png"), 1, ["no.png", "no such file"]),
    "near an item and from a prior": (
        ("generate", "M", "-o", "fresh.npy", "--like", "digits.npy#1", "--prior", "fitted"),
        2,
        ["--like", "--prior"],
    ),
    "negative temperature": (("generate", "M", "-o", "fresh.npy", "--temperature", "-1"), 2, ["--temperature", "-1"]),
    "even field": (("fit", "mnist", "-o", "new", "--field", "4"), 2, ["--field", "odd", "4"]),
    "negative field": (("fit", "mnist", "-o", "new", "--field", "-1"), 2, ["--field", "-1"]),
    "unknown job": (("evaluate", "M", "digits.npy", "--jobs", "denoise,dance"), 2, ["--jobs", "'dance'", "impute"]),
    "no job": (("evaluate", "M", "digits.npy", "--jobs", ""), 2, ["--jobs"]),
    "unknown opponents": (("evaluate", "M", "digits.npy", "--against", "gods"), 2, ["--against", "gods"]),
    "unknown opponents of a report": (
        ("report", "M", "digits.npy", "-o", "new", "--against", "gods"),
        2,
        ["--against"],
    ),
    "opponents without training items": (
        ("evaluate", "M", "digits.npy", "--against", "specialists", "--jobs", "compress"),
        2,
        ["--against", "--train"],
    ),
    "figures exist": (("evaluate", "M", "digits.npy", "--json", "taken.json"), 2, ["taken.json", "--force"]),
    "figures to a table": (("evaluate", "M", "digits.npy", "--json", "figures.csv"), 2, ["--json", "figures.csv"]),
    "training items of another shape": (("evaluate", "M", "digits.npy", "--train", "wide.npy"), 1, ["28×30×1"]),
    "evaluation's negative seed": (("evaluate", "M", "digits.npy", "--seed", "-1"), 2, ["--seed", "-1"]),
    "scores to nowhere": (("detect", "M", "digits.npy", "-o", "scores.xlsb"), 2, [".csv", "scores.xlsb"]),
    "images to a table": (("denoise", "M", "digits.npy", "-o", "clean.csv"), 2, ["--output", "clean.csv"]),
    "codes to an image": (("encode", "M", "digits.npy", "-o", "z.png"), 2, [".npy", "z.png"]),
    "report to a file": (("report", "M", "digits.npy", "-o", "report.pdf"), 2, ["folder", "report.pdf"]),
    "negative seed": (("generate", "M", "-o", "new.npy", "--seed", "-1"), 2, ["--seed", "-1"]),
    "nothing to resume": (
        ("fit", "nowhere", "-o", "deep/new", "--resume"),
        2,
        ["--resume", "deep/new.fitting", "deep/new/training", "without --resume"],
    ),
    "a mask over everything": (
        ("impute", "M", "digits.npy", "--mask", "dark.npy", "-o", "new.npy"),
        1,
        ["item 0", "--mask dark.npy hides all of it"],
    ),
    "an array of objects": (("fit", "objects.npy", "-o", "new"), 1, ["objects.npy", "Python objects", "numbers"]),
    "one picture": (("fit", "single.npy", "-o", "new"), 1, ["single.npy", "one picture is too few", "tiles"]),
    "a file for a model": (
        ("impute", "digits.npy", "M", "-o", "new.npy"),
        1,
        ["digits.npy: must be a model's folder, got a file", "another order"],
    ),
    "a model for data": (("impute", "M", "M", "-o", "new.npy"), 1, ["model: must be data", "another order"]),
    "a model to fit to": (("fit", "M", "-o", "new"), 1, ["model: must be data, got a model's folder"]),
    "no archive": (("info", "notes.txt"), 1, ["notes.txt: ", "not an archive"]),
    "a folder for an archive": (("decompress", "taken", "-o", "new.npy"), 1, ["taken: must be a file, got a folder"]),
    "epochs in words": (
        ("fit", "mnist", "-o", "new", "--epochs", "two"),
        2,
        ["--epochs must be an integer, got 'two'"],
    ),
    "minutes in words": (
        ("fit", "mnist", "-o", "new", "--max-minutes", "x"),
        2,
        ["--max-minutes must be a number, got"],
    ),
    "no number of minutes": (
        ("fit", "mnist", "-o", "new", "--max-minutes", "nan"),
        2,
        ["must be a finite number, got nan"],
    ),
    "no minutes": (("fit", "mnist", "-o", "new", "--max-minutes", "0"), 2, ["--max-minutes must be above 0, got 0"]),
    "a likelihood of columns": (
        ("fit", "mnist", "-o", "new", "--likelihood", "columns"),
        2,
        ["--likelihood", "pixels"],
    ),
    "no workers": (("compress", "M", "digits.npy", "-o", "new.ff", "--workers", "-1"), 2, ["--workers", "at least 1"]),
    "model without a name": (("fit", "digits.npy", "-o", ".", "--force"), 2, ["--output", "folder"]),
    "unknown accelerator": (
        ("fit", "digits.npy", "-o", "new", "--accelerator", "abacus"),
        2,
        ["--accelerator", "abacus"],
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistake_ends_in_one_line(mistake, run, here, model_folder):
    words, code, named = MISTAKES[mistake]
    before = sorted(here.rglob("*"))

    outcome = run(*(model_folder if word == "M" else word for word in words))

    assert outcome.code == code, outcome
    assert outcome.out == ""
    assert outcome.err.startswith("error: ")
    assert outcome.err.count("\n") == 1
    for text in named:
        assert text in outcome.err
    assert sorted(here.rglob("*")) == before
    assert (here / "taken.csv").read_text() == (here / "taken.npy").read_text() == "precious"


@pytest.mark.parametrize(
    ("words", "named"),
    [(("--sharp",), ["--sharp", "context decoder"]), (("--prior", "fitted"), ["--prior fitted"])],
)
def test_a_model_without_the_parts_says_so(run, model, tmp_path, words, named):
    save(dataclasses.replace(model, **without_context(model)), tmp_path / "plain")
    outcome = run("generate", "plain", "-o", "new.npy", *words)
    assert outcome.code == 1
    assert outcome.err.count("\n") == 1
    for text in named:
        assert text in outcome.err
    assert [path.name for path in tmp_path.iterdir()] == ["plain"]


def without_context(model):
    context = dataclasses.replace(model.config.context, field=0)
    return {"context": None, "config": dataclasses.replace(model.config, context=context), "calibrations": {}}


@pytest.mark.situation("`detect` by a model without held-out items", "refused in one line")
def test_detect_without_held_out_items_writes_nothing(run, model, tmp_path, digits):
    save(dataclasses.replace(model, calibrations={}), tmp_path / "plain")
    np.save(tmp_path / "few.npy", digits[:3])
    outcome = run("detect", "plain", "few.npy", "-o", "new.csv", "--heatmaps", "maps")
    assert outcome.code == 1
    assert "--validation" in outcome.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["few.npy", "plain"]


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def _newer(path: Path) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | {"version": 99}))


def _older(path: Path) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | {"version": 1}))


@pytest.mark.situation("a damaged model folder", "refused in one line")
@pytest.mark.parametrize(
    ("file", "damage", "named"),
    [
        ("config.json", _truncate, "damaged"),
        ("config.json", Path.unlink, "not a model folder"),
        ("config.json", _newer, "upgrade"),
        ("config.json", _older, "fit it again"),
        ("model.safetensors", _truncate, "damaged"),
        ("model.safetensors", _flip, "damaged"),
        ("model.safetensors", Path.unlink, "damaged"),
    ],
)
def test_damaged_model_says_so(file, damage, named, run, model_folder, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(model_folder, copy)
    damage(copy / file)

    outcome = run("generate", copy, "-o", "new.npy")

    assert outcome.code == 1
    assert named in outcome.err
    assert outcome.err.count("\n") == 1
    assert not (tmp_path / "new.npy").exists()


@pytest.mark.parametrize(
    "words", [("frobnicate",), ("fit",), ("generate", "model"), ("fit", "mnist", "--no-such-flag")]
)
def test_usage_errors_end_with_2(words, run):
    outcome = run(*words)
    assert outcome.code == 2
    assert "Usage" in outcome.err


def test_help_and_usage_errors_load_nothing_heavy(model_folder):
    model, data = str(model_folder), "nowhere.npy"
    commands = [
        ("--help",),
        ("fit", "--help"),
        ("fit", "mnist", "-o", "x", "--epochs", "-1"),
        ("fit", "mnist", "-o", "x", "--resume"),
        ("generate", model, "-n", "0", "-o", "x.npy"),
        ("generate", model, "-o", "x.csv"),
        ("impute", model, data, "-o", "x.npy", "--interval", "2"),
        ("impute", model, data, "-o", "x.npy", "--draws", "-1"),
        ("denoise", model, data, "-o", "x.npy", "--threshold", "0.5"),
        ("detect", model, data, "-o", "x.csv"),
        ("compress", model, data, "-o", "x.ff", "--workers", "-1"),
    ]
    script = (
        "import sys; from fivefold.cli import main\n"
        f"for words in {commands!r}:\n"
        "    sys.argv = ['fivefold', *words]\n"
        "    try: main()\n"
        "    except SystemExit: pass\n"
        "heavy = {'torch', 'matplotlib', 'sklearn', 'scipy'} & set(sys.modules)\n"
        "print(sorted(heavy), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stderr.splitlines()[-1] == "[]"


@pytest.mark.filterwarnings("default")
def test_warnings_are_one_line_on_stderr(run, model_folder, tmp_path, digits):
    np.save(tmp_path / "loud.npy", digits[:2].astype(np.float32) * 3)
    outcome = run("denoise", model_folder, "loud.npy", "-o", "clean.npy")
    assert outcome.code == 0
    assert outcome.err.startswith("warning: ")
    assert "clipped" in outcome.err
    assert outcome.err.count("\n") == 1
