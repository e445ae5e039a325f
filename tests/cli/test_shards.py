"""Many files at once: each to one of its own name, by processes, resumed where it was interrupted."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

import fivefold
from fivefold.storage import save
from fivefold.verbs import shards

pytestmark = [
    pytest.mark.filterwarnings("ignore::fivefold.errors.FivefoldWarning"),  # else jobs are strict
    pytest.mark.filterwarnings("ignore:detection compares with"),
]


@pytest.fixture(scope="module")
def tree_folder(table_model, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "trees"
    save(table_model, folder)
    return folder


@pytest.fixture
def parts(trees, tmp_path) -> list[pd.DataFrame]:
    """`rows/0.parquet` to `rows/3.parquet`."""
    (tmp_path / "rows").mkdir()
    found = [trees[at : at + 100].reset_index(drop=True) for at in range(0, 400, 100)]
    for number, part in enumerate(found):
        part.to_parquet(tmp_path / "rows" / f"{number}.parquet")
    return found


@pytest.fixture
def worked(monkeypatch) -> list[str]:
    """Names of the files that are worked on, in this process."""
    names, one = [], shards._one
    monkeypatch.setattr(
        shards, "_one", lambda worker, verb, path, *rest: names.append(path.name) or one(worker, verb, path, *rest)
    )
    return names


def index() -> dict[str, dict]:
    return json.loads(Path("out/shards.json").read_text())["shards"]


def test_each_file_has_its_scores(run, tree_folder, table_model, parts):
    done = run("detect", tree_folder, "rows/*.parquet", "-o", "out", "--false-alarm-rate", 0.05, "--json")
    assert done.code == 0, done.err
    figures = json.loads(done.out)
    assert (figures["shards"], figures["rows"], figures["made_before"]) == (4, 400, 0)
    for number, part in enumerate(parts):
        known = fivefold.detect(table_model, part, false_alarm_rate=0.05)
        np.testing.assert_array_equal(pq.read_table(f"out/{number}.parquet")["p_value"], known.p_value)
        assert index()[f"{number}.parquet"]["anomalies"] == known.anomaly.sum()
    assert figures["anomalies"] == sum(entry["anomalies"] for entry in index().values())


def test_processes_give_the_same(run, tree_folder, parts):
    for place, workers in (("one", 1), ("two", 2)):
        assert run("impute", tree_folder, "rows", "-o", place, "--workers", workers).code == 0
    for number in range(4):
        assert Path(f"one/{number}.parquet").read_bytes() == Path(f"two/{number}.parquet").read_bytes()


def test_false_discoveries_are_of_all_files(run, tree_folder, table_model, trees, parts):
    assert run("detect", tree_folder, "rows", "-o", "out", "--fdr", 0.9).code == 0
    flags = np.concatenate([pq.read_table(f"out/{number}.parquet")["anomaly"].to_numpy() for number in range(4)])
    known = fivefold.jobs.detect.flag_by_fdr(
        np.concatenate([fivefold.detect(table_model, part).p_value for part in parts]), 0.9
    )
    np.testing.assert_array_equal(flags, known)
    assert flags.any()
    assert sorted(path.name for path in Path("out").iterdir()) == [*(f"{at}.parquet" for at in range(4)), "shards.json"]


@pytest.mark.parametrize("fdr", [(), ("--fdr", 0.3)])
def test_a_second_run_goes_on(run, tree_folder, parts, worked, fdr):
    words = ("detect", tree_folder, "rows/*.parquet", "-o", "out", *fdr)
    Path("rows/2.parquet").rename("rows/2.txt")
    Path("rows/2.parquet").write_bytes(b"PAR1 is no table")
    broken = run(*words)
    assert broken.code == 1
    assert "rows/2.parquet" in broken.err
    assert worked == ["0.parquet", "1.parquet", "2.parquet"]
    Path("rows/2.txt").rename("rows/2.parquet")
    worked.clear()
    assert run(*words).code == 0
    assert worked == ["2.parquet", "3.parquet"]
    worked.clear()
    assert run(*words).code == 0
    assert worked == []


def test_a_file_that_has_changed_is_done_again(run, tree_folder, parts, worked):
    words = ("encode", tree_folder, "rows", "-o", "out")
    assert run(*words).code == 0
    worked.clear()
    parts[0][:50].to_parquet("rows/1.parquet")
    assert run(*words).code == 0
    assert worked == ["1.parquet"]
    assert np.load("out/1.parquet.npy").shape == (50, fivefold.load(tree_folder).latent_dim)


def test_false_discoveries_are_decided_anew_with_another_file(run, tree_folder, parts, worked):
    words = ("detect", tree_folder, "rows", "-o", "out", "--fdr", 0.3)
    assert run(*words).code == 0
    worked.clear()
    Path("rows/3.parquet").unlink()
    assert run(*words).code == 0
    assert worked == ["0.parquet", "1.parquet", "2.parquet"]
    assert len(index()) == 3


def test_other_options_need_another_place(run, tree_folder, parts):
    assert run("impute", tree_folder, "rows", "-o", "out").code == 0
    refused = run("impute", tree_folder, "rows", "-o", "out", "--seed", 1)
    assert (refused.code, "another model or other options" in refused.err) == (2, True)
    assert run("impute", tree_folder, "rows", "-o", "out", "--seed", 1, "--force").code == 0


def test_archives_and_their_index(run, tree_folder, parts):
    assert run("compress", tree_folder, "rows/*", "-o", "out", "--workers", 1).code == 0
    assert [entry["items"] for entry in index().values()] == [100] * 4
    assert run("decompress", "out/3.parquet.ff", "--model", tree_folder, "-o", "back.parquet").code == 0
    assert pq.read_table("back.parquet").equals(pq.read_table("rows/3.parquet"))


def test_names_keep_their_folders(run, tree_folder, parts):
    for name in ("a", "b"):
        Path(f"years/{name}").mkdir(parents=True)
        parts[0][:20].to_csv(f"years/{name}/rows.csv", index=False)
    assert run("denoise", tree_folder, "years/*/rows.csv", "-o", "out").code == 0
    assert sorted(index()) == ["a/rows.csv", "b/rows.csv"]
    assert len(pd.read_csv("out/b/rows.csv")) == 20


def test_arrays_of_images(run, model_folder, digits):
    Path("sets").mkdir()
    for number in range(2):
        np.save(f"sets/{number}.npy", digits[600 + 5 * number : 605 + 5 * number])
    assert run("detect", model_folder, "sets/*.npy", "-o", "out").code == 0
    assert len(pd.read_csv("out/1.npy.csv")) == 5


def test_what_is_strict_leaves_nothing(run, tree_folder, parts):
    refused = run("detect", tree_folder, "rows", "-o", "out", "--strict")
    assert (refused.code, "detection compares with" in refused.err) == (1, True)
    assert not Path("out/shards.json").exists()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("rows/*.csv", "-o", "out"), "rows/*.csv: there is no such file"),
        (("pictures", "-o", "out"), "pictures: holds no files that end in .arrow, "),
        (("rows",), "--output must be given, a folder: there are 4 files"),
        (("rows", "-o", "taken/notes.txt"), "--output must be a folder for several files"),
        (("rows/**", "-o", "rows/out"), "choose another place"),
        (("rows", "-o", "taken"), "taken exists"),
        (("rows", "-o", "out", "--heatmaps", "maps.csv"), "--heatmaps goes with one file, not with 4"),
        (("rows", "-o", "out", "--false-alarm-rate", 2), "--false-alarm-rate must be"),
    ],
)
def test_refusals(run, tree_folder, parts, words, says):
    Path("rows/out").mkdir()
    Path("rows/out/old.parquet").touch()
    Path("pictures").mkdir()
    Path("pictures/1.png").touch()
    Path("taken").mkdir()
    Path("taken/notes.txt").touch()
    refused = run("detect", tree_folder, *words)
    assert refused.code in (1, 2)
    assert says in refused.err
    assert not Path("out").exists() or not any(path.is_file() for path in Path("out").rglob("*"))


def test_the_strangest_of_all_files_in_one_table(run, tree_folder, parts):
    done = run("detect", tree_folder, "rows/*.parquet", "--top", 5, "-o", "top.csv", "--json")
    assert done.code == 0, done.err
    found = pd.read_csv("top.csv")
    scores = [fivefold.detect(fivefold.load(tree_folder), part).score for part in parts]
    np.testing.assert_allclose(found["score"], np.sort(np.concatenate(scores))[:5])
    for name, row, score in zip(found["file"], found["row"], found["score"], strict=True):
        assert scores[int(name[0])][row] == pytest.approx(score)
    assert json.loads(done.out)["strangest"] == 5


def test_the_strangest_of_all_files_are_looked_for_in_turn(run, tree_folder, parts):
    done = run("detect", tree_folder, "rows/*.parquet", "--top", 5, "-o", "top.csv", "--workers", 2)
    assert done.code == 2
    assert "--workers does not go with --top of several files" in done.err
