"""The commands on tables: from file to file, and what is wrong in one line."""

from __future__ import annotations

import functools
import json

import numpy as np
import pandas as pd
import pytest

from fivefold.storage import save


@pytest.fixture(scope="session")
def tree_folder(table_model, tmp_path_factory):
    """The small model of a table, saved."""
    folder = tmp_path_factory.mktemp("models") / "trees"
    save(table_model, folder)
    return folder


@pytest.fixture
def here(tmp_path, trees):
    """The trees that the model was not fitted to, with holes, as CSV and Parquet."""
    few = trees[300:360].reset_index(drop=True)
    few.to_csv(tmp_path / "trees.csv", index=False)
    few.to_parquet(tmp_path / "trees.parquet")
    return few


@pytest.mark.filterwarnings("default::UserWarning")
def test_fit_and_info_say_what_the_columns_are(run, here, tmp_path):
    fitted = run("fit", "trees.csv", "-o", "model", "--epochs", 1, "--json")
    assert fitted.code == 0, fitted.err
    assert "column 'id': carried along" in fitted.err
    assert (
        json.loads(fitted.out)["data"] == "trees.csv: 6 columns (1 category, 2 real, 1 integer, 1 datetime, 1 boolean)"
    )
    told = run("info", "model").out
    for line in ("height: real in", "kind: category of 3", "age: integer in", "planted: datetime", "healthy: boolean"):
        assert line in told
    assert "id: carried along, not modelled (identifier: all values differ)" in told
    about = json.loads(run("info", "model", "--json").out)
    assert about["schema"]["kind"] == "table"
    assert [column["name"] for column in about["schema"]["columns"]][:2] == ["kind", "height"]


@pytest.mark.filterwarnings("default::UserWarning")
def test_a_schema_overrules(run, here, tmp_path):
    (tmp_path / "schema.json").write_text('{"columns": {"age": {"kind": "category"}, "girth": {"kind": "carried"}}}')
    assert run("fit", "trees.csv", "-o", "model", "--epochs", 1, "--schema", "schema.json", "-q").code == 0
    told = run("info", "model").out
    assert "age: category" in told
    assert "girth: carried" in told


@pytest.mark.parametrize("ending", [".csv", ".parquet"])
def test_impute_fills_and_leaves_the_rest(run, here, tree_folder, tmp_path, ending):
    done = run(
        "impute", tree_folder, f"trees{ending}", "-o", f"whole{ending}", "--draws", 2, "--interval", 0.9, "--json"
    )
    assert done.code == 0, done.err
    assert json.loads(done.out) == {"rows": 60, "missing": int(here.isna().sum().sum()), "output": f"whole{ending}"}
    read = pd.read_csv if ending == ".csv" else pd.read_parquet
    before, whole = read(tmp_path / f"trees{ending}"), read(tmp_path / f"whole{ending}")
    assert list(whole.columns) == list(here.columns)
    assert not whole.isna().any(axis=None)
    known = before.notna()
    pd.testing.assert_frame_equal(whole.where(known), before.where(known))
    assert set(whole["kind"]) <= {"oak", "elm", "ash"}
    one, other, lower, upper = (
        read(tmp_path / f"whole-{name}{ending}") for name in ("draw1", "draw2", "lower", "upper")
    )
    missing = before["height"].isna()
    assert missing.any()
    assert not one.equals(other)
    assert (lower["height"][missing] <= upper["height"][missing]).all()
    assert lower["kind"][before["kind"].isna()].isna().all()


@pytest.mark.situation("a table larger than memory", "result right")
def test_large_files_go_part_by_part(run, here, tree_folder, tmp_path, monkeypatch):
    whole = run("impute", tree_folder, "trees.csv", "-o", "whole.csv")
    from fivefold.tables import dataset

    monkeypatch.setattr(dataset, "_BLOCK_ROWS", 7)
    parts = run("impute", tree_folder, "trees.csv", "-o", "parts.csv")
    assert whole.code == parts.code == 0
    one, other = (pd.read_csv(tmp_path / name) for name in ("whole.csv", "parts.csv"))
    assert len(one) == len(other) == 60
    pd.testing.assert_frame_equal(one, other)


def test_detect_scores_and_explains(run, here, tree_folder, tmp_path):
    bad = here.copy()
    bad.loc[4, "girth"] = 5000.0
    bad.to_csv(tmp_path / "bad.csv", index=False)
    done = run(
        "detect", tree_folder, "bad.csv", "-o", "scores.csv", "--false-alarm-rate", 0.1, "--heatmaps", "why.parquet"
    )
    assert done.code == 0, done.err
    scores, why = pd.read_csv(tmp_path / "scores.csv"), pd.read_parquet(tmp_path / "why.parquet")
    assert list(scores.columns) == ["row", "score", "p_value", "anomaly"]
    assert scores["score"].idxmin() == 4
    assert scores["anomaly"][4]
    assert list(why.columns) == [name for name in here.columns if name != "id"]
    assert why.loc[4].idxmax() == "girth"
    assert np.array_equal(why["height"].isna(), bad["height"].isna())


def test_detect_prints_scores_where_no_file_is_given(run, here, tree_folder, tmp_path):
    here.to_csv(tmp_path / "trees.csv", index=False)
    rate = ("--false-alarm-rate", 0.05)
    assert run("detect", tree_folder, "trees.csv", "-o", "scores.csv", *rate).code == 0
    outcome = run("detect", tree_folder, "trees.csv", *rate)
    assert (outcome.code, outcome.out) == (0, (tmp_path / "scores.csv").read_text())
    outcome = run("detect", tree_folder, "trees.csv", "--json")
    assert (outcome.code, outcome.out) == (2, "")
    assert "--output" in outcome.err


def test_denoise_mends_and_says_why(run, here, tree_folder, tmp_path):
    bad = here.copy()
    bad.loc[9, "height"] = 7.1 if bad.loc[9, "girth"] > 130 else 21.7
    bad.to_csv(tmp_path / "bad.csv", index=False)
    done = run("denoise", tree_folder, "bad.csv", "-o", "mended.csv", "--report", "changes.csv", "--json")
    assert done.code == 0, done.err
    changes = pd.read_csv(tmp_path / "changes.csv")
    assert json.loads(done.out)["replaced"] == len(changes)
    (line,) = changes[(changes["row"] == 9) & (changes["column"] == "height")].to_dict("records")
    assert float(line["was"]) == pytest.approx(bad.loc[9, "height"])
    mended = pd.read_csv(tmp_path / "mended.csv")
    assert mended.loc[9, "height"] == pytest.approx(float(line["is"]))
    assert line["probability"] > 0.5


def test_generate_encode_and_decode(run, here, tree_folder, tmp_path):
    assert run("generate", tree_folder, "-n", 20, "-o", "new.parquet").code == 0
    new = pd.read_parquet(tmp_path / "new.parquet")
    assert len(new) == 20
    assert set(new["kind"].dropna()) <= {"oak", "elm", "ash"}
    given = run(
        "generate", tree_folder, "-n", 5, "-o", "elms.csv", "--given", "kind=elm", "--given", "planted=1990-05-01"
    )
    assert given.code == 0, given.err
    elms = pd.read_csv(tmp_path / "elms.csv")
    assert (elms["kind"] == "elm").all()
    assert elms["planted"].str.startswith("1990-05-01").all()
    assert run("encode", tree_folder, "trees.csv", "-o", "z.npy").code == 0
    assert run("decode", tree_folder, "z.npy", "-o", "back.csv").code == 0
    assert len(pd.read_csv(tmp_path / "back.csv")) == 60


@pytest.mark.situation("a 2-D array in a .npy file", "read right")
@pytest.mark.filterwarnings("default::UserWarning")
def test_arrays_in_files_are_tables(run, trees, tmp_path):
    numbers = trees[["height", "girth", "age"]].to_numpy()[:100]
    np.save("numbers.npy", numbers)
    assert run("fit", "numbers.npy", "-o", "model", "--epochs", 1, "-q").code == 0
    done = run("impute", "model", "numbers.npy", "-o", "whole.csv", "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out) == {"rows": 100, "missing": int(np.isnan(numbers).sum()), "output": "whole.csv"}
    whole = pd.read_csv("whole.csv")
    assert list(whole.columns) == ["x0", "x1", "x2"]
    assert not whole.isna().any(axis=None)
    np.testing.assert_array_equal(np.where(np.isnan(numbers), np.nan, whole), numbers)
    for words in (
        ("denoise", "model", "numbers.npy", "-o", "mended.csv", "--report", "changes.csv"),
        ("detect", "model", "numbers.npy", "-o", "scores.csv", "--heatmaps", "why.parquet"),
        ("generate", "model", "-n", 3, "-o", "new.csv"),
    ):
        assert run(*words).code == 0, words
    assert np.array_equal(pd.read_parquet("why.parquet").isna(), np.isnan(numbers))


FILES = {
    "empty.csv": b"",
    "header.csv": b"a,b\n",
    "one.csv": b"a,b\n1,2\n",
    "twice.csv": b"a,a\n1,2\n3,4\n",
    "nothing.csv": b"a,b\n,\n,\n",
    "infinite.csv": b"a,b\n1,2\ninf,4\n3,4\n",
    "ragged.csv": b"a,b\n1,2\n3\n4,5\n",
    "latin.csv": "a,b\n1,é\n2,ü\n".encode("latin-1"),
    "words.csv": b"a\n" + b"".join(b"text %d\n" % n for n in range(3000)),
    "damaged.parquet": b"PAR1 not really",
    "absent.csv": b"kind,girth\noak,100\n",
    "wrong.csv": b"kind,height,girth,age,planted,healthy\noak,tall,100,30,1990-01-01,true\n",
    "nonsense.json": b"nonsense",
    "unknown.json": b'{"columns": {"width": {"kind": "real"}}}',
    "other.json": b'{"kinds": 1}',
}
# words of the command ("M" is the model of trees, "I" one of images), exit code, what the line must name
MISTAKES = {
    "empty file": (("fit", "empty.csv", "-o", "new"), 1, ["empty.csv", "empty"]),
    "no rows": (("fit", "header.csv", "-o", "new"), 1, ["header.csv", "no rows"]),
    "one row": (("fit", "one.csv", "-o", "new"), 1, ["one.csv", "at least 2 rows"]),
    "names twice": (("fit", "twice.csv", "-o", "new"), 1, ["twice.csv", "'a'", "more than once"]),
    "all missing": (("fit", "nothing.csv", "-o", "new"), 1, ["nothing.csv", "all values are missing"]),
    "infinite": (("fit", "infinite.csv", "-o", "new"), 1, ["infinite.csv", "'a'", "line 3", "finite"]),
    "ragged": (("fit", "ragged.csv", "-o", "new"), 1, ["ragged.csv", "line 3", "2 columns", "got 1"]),
    "encoding": (("fit", "latin.csv", "-o", "new", "--encoding", "utf-8"), 1, ["latin.csv", "UTF-8", "--encoding"]),
    "too many categories": (("fit", "words.csv", "-o", "new"), 1, ["words.csv", "all values differ"]),
    "damaged": (("fit", "damaged.parquet", "-o", "new"), 1, ["damaged.parquet"]),
    "missing file": (("fit", "nowhere.csv", "-o", "new"), 1, ["nowhere.csv", "no such file"]),
    "no JSON": (("fit", "trees.csv", "-o", "new", "--schema", "nonsense.json"), 2, ["--schema", "nonsense.json"]),
    "unknown column": (("fit", "trees.csv", "-o", "new", "--schema", "unknown.json"), 2, ["--schema", "'width'"]),
    "other JSON": (("fit", "trees.csv", "-o", "new", "--schema", "other.json"), 2, ["--schema", "columns"]),
    "schema of images": (("fit", "mnist", "-o", "new", "--schema", "other.json"), 2, ["--schema", "not with images"]),
    "mask": (("fit", "trees.csv", "-o", "new", "--mask", "m.npy"), 2, ["--mask", "images"]),
    "preset": (("fit", "trees.csv", "-o", "new", "--preset", "paper"), 2, ["--preset", "default"]),
    "column absent": (("impute", "M", "absent.csv", "-o", "new.csv"), 1, ["absent.csv", "'height'"]),
    "words for numbers": (
        ("detect", "M", "wrong.csv", "-o", "new.csv"),
        1,
        ["wrong.csv", "'height'", "line 2", "'tall'"],
    ),
    "output": (("impute", "M", "trees.csv", "-o", "new.npy"), 2, ["--output", "new.npy"]),
    "taken": (("denoise", "M", "trees.csv", "-o", "trees.csv"), 2, ["trees.csv", "--force"]),
    "rate": (("detect", "M", "trees.csv", "-o", "new.csv", "--fdr", 2), 2, ["--fdr", "2"]),
    "threshold": (("denoise", "M", "trees.csv", "-o", "new.csv", "--threshold", 1), 2, ["--threshold", "1"]),
    "report": (("denoise", "M", "trees.csv", "-o", "new.csv", "--report", "r.png"), 2, ["--report", "r.png"]),
    "deviations": (("denoise", "M", "trees.csv", "-o", "new.csv", "--std", "s.npy"), 2, ["--std", "not with tables"]),
    "given column": (("generate", "M", "-o", "new.csv", "--given", "width=3"), 2, ["--given", "width"]),
    "given without a value": (
        ("generate", "M", "-o", "new.csv", "--given", "age"),
        2,
        ["--given", "COLUMN=VALUE", "'age'"],
    ),
    "given category": (("generate", "M", "-o", "new.csv", "--given", "kind=fir"), 2, ["kind", "oak", "'fir'"]),
    "given number": (("generate", "M", "-o", "new.csv", "--given", "age=old"), 2, ["age", "integer", "'old'"]),
    "given of images": (("generate", "I", "-o", "new.png", "--given", "a=1"), 2, ["--given", "tables"]),
    "like": (("generate", "M", "-o", "new.csv", "--like", "mnist#1"), 2, ["--like", "images"]),
    "images out": (("generate", "M", "-o", "new.png"), 2, ["--output", ".csv", "new.png"]),
    "table to images": (("impute", "I", "trees.csv", "-o", "new.npy"), 1, ["trees.csv", "must be an image"]),
    "table of images": (("impute", "I", "trees.csv", "-o", "new.csv"), 2, ["--output", "a folder", "new.csv"]),
    "images to table": (("encode", "M", "mnist", "-o", "new.npy"), 1, ["mnist", "table"]),
    "lossy archive": (
        ("compress", "M", "trees.csv", "-o", "new.ff", "--lossy"),
        2,
        ["--lossy goes with images, not"],
    ),
    "thorough": (("report", "M", "trees.csv", "-o", "new", "--thorough"), 2, ["--thorough", "images"]),
    "resized archive": (("compress", "M", "trees.csv", "-o", "new.ff", "--resize", "8x8"), 2, ["--resize", "images"]),
    "archive of what lacks": (("compress", "M", "absent.csv", "-o", "new.ff"), 1, ["absent.csv", "'height'"]),
}


def test_morph_goes_from_row_to_row(run, here, tree_folder, tmp_path):
    done = run("morph", tree_folder, "trees.csv", "-o", "between.csv", "--from", 0, "--to", 9, "--steps", 5)
    assert done.code == 0, done.err
    between = pd.read_csv(tmp_path / "between.csv")
    assert len(between) == 5
    assert between["girth"].is_monotonic_increasing or between["girth"].is_monotonic_decreasing
    assert "0 to 59" in run("morph", tree_folder, "trees.csv", "-o", "new.csv", "--from", 0, "--to", 60).err


@pytest.mark.parametrize("ending", [".csv", ".parquet", ".feather"])
def test_archives_come_back(run, here, tree_folder, tmp_path, ending):
    packed = run("compress", tree_folder, "trees.parquet", "-o", "trees.ff", "--block-items", 25, "--json")
    assert packed.code == 0, packed.err
    figures = json.loads(packed.out)
    assert figures["items"] == 60
    assert figures["bytes"] == (tmp_path / "trees.ff").stat().st_size
    told = run("info", "trees.ff").out
    for part in ("60 of 7 columns", "height (double)", "all checksums hold", "blocks "):
        assert part in told
    assert run("decompress", "trees.ff", "-o", f"back{ending}", "--model", tree_folder).code == 0
    read_csv = functools.partial(pd.read_csv, parse_dates=["planted"])
    read = {".csv": read_csv, ".parquet": pd.read_parquet, ".feather": pd.read_feather}[ending]
    given = read_csv(tmp_path / "trees.csv") if ending == ".csv" else here
    pd.testing.assert_frame_equal(read(tmp_path / f"back{ending}"), given, check_exact=True)
    some = run("decompress", "trees.ff", "-o", "some.csv", "--model", tree_folder, "--items", "20:30")
    assert some.code == 0, some.err
    assert pd.read_csv(tmp_path / "some.csv")["id"].tolist() == here["id"][20:30].tolist()
    assert "must be .csv" in run("decompress", "trees.ff", "-o", "back.npy", "--model", tree_folder).err


@pytest.mark.filterwarnings("default::UserWarning")
def test_reports(run, here, tree_folder, tmp_path):
    measured = run("evaluate", tree_folder, "trees.csv", "--jobs", "impute,compress", "--json", "figures.json")
    assert measured.code == 0, measured.err
    assert "RMSE of numbers" in measured.out
    assert set(json.loads((tmp_path / "figures.json").read_text())) >= {"impute", "compress"}
    made = run("report", tree_folder, "trees.csv", "-o", "report", "--train", "trees.csv")
    assert made.code == 0, made.err
    assert (tmp_path / "report" / "report.html").exists()


@pytest.mark.filterwarnings("default::UserWarning")
@pytest.mark.parametrize("case", MISTAKES)
def test_mistakes(run, here, tree_folder, model_folder, tmp_path, case):
    for name, content in FILES.items():
        (tmp_path / name).write_bytes(content)
    words, code, named = MISTAKES[case]
    before = sorted(path.name for path in tmp_path.iterdir())
    outcome = run(*({"M": tree_folder, "I": model_folder}.get(str(word), word) for word in words))
    assert outcome.code == code, outcome.err
    (line,) = [line for line in outcome.err.splitlines() if line.startswith("error: ")]
    for text in named:
        assert text in line
    assert sorted(path.name for path in tmp_path.iterdir()) == before, "nothing is left behind"


@pytest.mark.situation("new categories in a file", "result right")
@pytest.mark.filterwarnings("default::UserWarning")
def test_new_categories_are_survived(run, here, tree_folder, tmp_path):
    new = here.copy()
    new.loc[0, "kind"] = "ginkgo"
    new.to_csv(tmp_path / "new.csv", index=False)
    outcome = run("impute", tree_folder, "new.csv", "-o", "whole.csv")
    assert outcome.code == 0
    assert "warning" in outcome.err
    assert "ginkgo" in outcome.err
    assert pd.read_csv(tmp_path / "whole.csv").loc[0, "kind"] == "ginkgo"


def test_detect_says_whether_a_batch_has_drifted(run, here, tree_folder):
    here.assign(girth=here["girth"] * 2).to_csv("other.csv", index=False)
    done = run("detect", tree_folder, "other.csv", "--drift", "-o", "drift.csv", "--json")
    assert done.code == 0, done.err
    found = pd.read_csv("drift.csv")
    assert found["part"].tolist() == ["batch", "codes"] + ["column"] * 6
    assert found.loc[found["drift"] & (found["part"] == "column"), "column"].tolist() == ["girth"]
    assert json.loads(done.out)["drifted_columns"] == 1
    refused = run("detect", tree_folder, "other.csv", "--drift", "--top", 3)
    assert (refused.code, "--top does not go with --drift" in refused.err) == (2, True)
