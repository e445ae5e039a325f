"""The commands on series: from file to file, and what is wrong in one line."""

from __future__ import annotations

import io
import json
import wave

import numpy as np
import polars as pl
import pytest

from fivefold.series.results import CAUSES
from fivefold.storage import save

pytestmark = pytest.mark.filterwarnings("ignore:detection compares with:UserWarning", "default::UserWarning")
_QUICK = ("--window", 24, "--epochs", 1, "-q")


@pytest.fixture(scope="session")
def load_folder(series_model_of_table, tmp_path_factory):
    """The small model of hourly loads, saved."""
    folder = tmp_path_factory.mktemp("models") / "loads"
    save(series_model_of_table[0], folder)
    return folder


@pytest.fixture
def here(series_model_of_table, tmp_path):
    """The loads with a gap of rows and one of values, as CSV and Parquet."""
    frame = series_model_of_table[1]
    frame.write_csv(tmp_path / "all.csv")
    holey = frame.with_columns(load=pl.when(pl.int_range(pl.len()) == 100).then(None).otherwise("load"))
    holey = pl.concat([holey[:40], holey[45:]])
    holey.write_csv(tmp_path / "gaps.csv")
    holey.write_parquet(tmp_path / "gaps.parquet")
    return frame


@pytest.mark.parametrize("ending", [".csv", ".parquet"])
def test_impute_adds_the_rows_that_lack(run, here, load_folder, ending):
    done = run("impute", load_folder, f"gaps{ending}", "-o", f"o{ending}", "--draws", 1, "--interval", 0.9, "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out) == {"steps": 280, "missing": 6, "output": f"o{ending}"}
    read = pl.read_parquet if ending == ".parquet" else lambda path: pl.read_csv(path, try_parse_dates=True)
    whole, draw, lower, upper = (read(f"o{name}{ending}") for name in ("", "-draw1", "-lower", "-upper"))
    for each in (whole, draw, lower, upper):
        assert each.columns == ["hour", "load", "note"]
        assert each["hour"].to_list() == here["hour"].to_list()
        assert each["load"].null_count() == 0
        kept = np.delete(np.arange(280), [40, 41, 42, 43, 44, 100])
        assert np.allclose(each["load"].to_numpy()[kept], here["load"].to_numpy()[kept], rtol=1e-12)
    assert whole["note"].null_count() == 5
    assert (lower["load"] <= upper["load"]).all()


def test_detect_writes_steps_windows_and_events(run, here, load_folder):
    wrong = here.with_columns(load=pl.when(pl.int_range(pl.len()) == 150).then(9.0).otherwise("load"))
    wrong.write_csv("wrong.csv")
    done = run(
        "detect", load_folder, "wrong.csv", "-o", "s.csv", "--false-alarm-rate", 0.1, "--heatmaps", "bits.csv", "--json"
    )
    assert done.code == 0, done.err
    steps, events, windows, bits = (
        pl.read_csv(name, try_parse_dates=True) for name in ("s.csv", "s-events.csv", "s-windows.csv", "bits.csv")
    )
    assert steps.columns == ["hour", "score", "p_value", "anomaly"]
    assert steps["hour"].to_list() == here["hour"].to_list()
    assert int(steps["score"].arg_min()) == 150
    assert events.columns == ["start", "end", "peak", "steps", "score", "p_value", "change", *CAUSES]
    assert here["hour"][150] in events["peak"].to_list()
    assert windows.columns == ["start", "end", "score", "p_value"]
    assert bits.columns == ["hour", "load"]
    assert int(bits["load"].arg_max()) == 150
    event = events.filter(pl.col("peak") == here["hour"][150]).row(0, named=True)
    assert (event["channels"], event["farthest"], event["found"]) == ("load", here["hour"][150], 9.0)
    assert abs(event["expected"]) < 2
    assert json.loads(done.out)["events"] == len(events)


def test_the_strangest_steps_alone(run, here, load_folder):
    here.with_columns(load=pl.when(pl.int_range(pl.len()) == 150).then(9.0).otherwise("load")).write_csv("wrong.csv")
    done = run("detect", load_folder, "wrong.csv", "--top", 2)
    assert done.code == 0, done.err
    found = pl.read_csv(io.StringIO(done.out), try_parse_dates=True)
    assert found.columns == ["hour", "score", "p_value", "anomaly", *CAUSES]
    assert found["hour"][0] == here["hour"][150]
    assert len(found) == 2


def test_the_other_jobs(run, here, load_folder):
    for words in (
        ("denoise", load_folder, "all.csv", "-o", "clean.csv", "--std", "std.csv"),
        ("generate", load_folder, "-n", 3, "-o", "new.csv"),
        ("generate", load_folder, "-n", 3, "-o", "new.npy"),
        ("generate", load_folder, "-n", 2, "--after", "all.csv", "--steps", 5, "-o", "go.csv"),
        ("encode", load_folder, "all.csv", "-o", "z.npy"),
        ("decode", load_folder, "z.npy", "-o", "back.npy"),
        ("morph", load_folder, "all.csv", "--from", 0, "--to", 1, "-o", "between.csv"),
        ("info", load_folder),
    ):
        done = run(*words)
        assert done.code == 0, done.err
    clean = pl.read_csv("clean.csv", try_parse_dates=True)
    assert clean["hour"].to_list() == here["hour"].to_list()
    assert clean["note"].to_list() == here["note"].to_list()
    assert pl.read_csv("std.csv")["load"].min() > 0
    assert pl.read_csv("new.csv").columns == ["sample", "step", "load"]
    assert np.load("new.npy").shape == (3, 32, 1)
    assert len(pl.read_csv("go.csv")) == 10
    assert np.load("back.npy").shape == (len(np.load("z.npy")), 32, 1)
    assert "load: real in" in run("info", load_folder).out


def test_fit_arrays_and_sound(run, waves, tmp_path):
    np.save("waves.npy", waves)
    assert run("fit", "waves.npy", "--kind", "series", "-o", "m", *_QUICK).code == 0
    done = run("impute", "m", "waves.npy", "-o", "same.npy")
    assert done.code == 0, done.err
    assert np.array_equal(np.load("same.npy"), waves)
    with wave.open("a.wav", "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", ""))
        file.writeframes((8000 * waves).astype("<i2").tobytes())
    assert run("fit", "a.wav", "-o", "w", "--network", "lstm", *_QUICK).code == 0
    assert run("detect", "w", "a.wav", "-o", "s.parquet").code == 0
    assert len(pl.read_parquet("s.parquet")) == 600


def test_archives_of_tables(run, here, load_folder):
    done = run("compress", load_folder, "gaps.parquet", "-o", "a.ff", "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["items"] == 275
    assert "of 3 columns" in run("info", "a.ff").out
    assert run("decompress", "a.ff", "--model", load_folder, "-o", "back.parquet").code == 0
    assert pl.read_parquet("back.parquet").equals(pl.read_parquet("gaps.parquet"), null_equal=True)
    assert run("decompress", "a.ff", "--model", load_folder, "-o", "some.csv", "--items", "10:20").code == 0
    assert pl.read_csv("some.csv", try_parse_dates=True)["hour"].to_list() == here["hour"].to_list()[10:20]
    done = run("decompress", "a.ff", "--model", load_folder, "-o", "back.npy")
    assert done.code == 2
    assert "--output must be .csv" in done.err


def test_archives_of_sound_and_arrays(run, waves, tmp_path):
    samples = (8000 * waves).astype("<i4")
    with wave.open("a.wav", "wb") as file:
        file.setparams((1, 3, 8000, 0, "NONE", ""))
        file.writeframes(samples.view(np.uint8).reshape(-1, 4)[:, :3].tobytes())
    assert run("fit", "a.wav", "-o", "m", *_QUICK).code == 0
    assert run("compress", "m", "a.wav", "-o", "a.ff").code == 0
    for name in ("b.wav", "b.npy", "b.csv"):
        assert run("decompress", "a.ff", "--model", "m", "-o", name).code == 0
    assert (tmp_path / "b.wav").read_bytes() == (tmp_path / "a.wav").read_bytes()
    assert np.array_equal(np.load("b.npy"), samples.reshape(1, -1, 1))
    assert pl.read_csv("b.csv")["x0"].to_list() == samples[0].tolist()
    np.save("a.npy", waves)
    assert run("compress", "m", "a.npy", "-o", "c.ff").code == 0
    done = run("decompress", "c.ff", "--model", "m", "-o", "c.wav")
    assert done.code == 2
    assert "--output must be .npy or a table" in done.err
    assert run("decompress", "c.ff", "--model", "m", "-o", "c.npy").code == 0
    assert np.load("c.npy").tobytes() == waves.tobytes()


def test_many_series_in_one_table(run, here):
    both = pl.concat([here.with_columns(meter=pl.lit("a")), here[:200].with_columns(meter=pl.lit("b"))])
    both.write_csv("both.csv")
    done = run("fit", "both.csv", "--time", "hour", "--id", "meter", "-o", "m", "--json", *_QUICK[:-1])
    assert done.code == 0, done.err
    assert "column 'note': carried along" in done.err
    assert json.loads(done.out)["data"] == "both.csv: windows of 24 steps, 1 channel (1 real), from one to the next 6"
    assert run("detect", "m", "both.csv", "-o", "s.csv").code == 0
    assert pl.read_csv("s.csv")["meter"].value_counts(sort=True)["count"].to_list() == [280, 200]
    assert pl.read_csv("s-windows.csv").columns == ["meter", "start", "end", "score", "p_value"]
    assert run("generate", "m", "--after", "both.csv", "--steps", 3, "-n", 2, "-o", "go.csv").code == 0
    gone_on = pl.read_csv("go.csv", try_parse_dates=True)
    assert gone_on.columns[:3] == ["sample", "meter", "hour"]
    assert gone_on["meter"].to_list() == (["a"] * 3 + ["b"] * 3) * 2
    apart = here["hour"][1] - here["hour"][0]
    to_come = [here["hour"][last] + step * apart for last in (-1, 199) for step in (1, 2, 3)]
    assert gone_on["hour"].to_list() == to_come * 2


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("fit", "all.csv", "--time", "when", "-o", "m"), 1, "must have a column 'when' (--time)"),
        (
            ("fit", "all.csv", "--time", "hour", "--window", 400, "-o", "m"),
            2,
            "must not be longer than the longest series",
        ),
        (("fit", "all.csv", "--time", "hour", "--stride", 99, "-o", "m"), 2, "--stride must be from 1 to the window's"),
        (("fit", "all.csv", "--stride", 9, "-o", "m"), 2, "--stride goes with series"),
        (
            ("fit", "all.csv", "--time", "hour", "--preset", "paper", "-o", "m"),
            2,
            "--preset must be default for series",
        ),
        (
            ("fit", "all.csv", "--time", "hour", "--resize", "2x2", "-o", "m"),
            2,
            "--resize goes with images, not with series",
        ),
        (
            ("fit", "all.csv", "--time", "hour", "--network", "rnn", "-o", "m"),
            2,
            "--network must be one of tcn, lstm; got 'rnn'",
        ),
        (("fit", "all.csv", "--network", "lstm", "-o", "m"), 2, "--network goes with series, not with tables"),
        (("fit", "missing.wav", "-o", "m"), 1, "missing.wav: no such file"),
        (("impute", "MODEL", "all.csv", "-o", "o.png"), 2, "--output must be .npy or a table"),
        (
            ("impute", "MODEL", "all.csv", "-o", "o.npy"),
            2,
            "o.npy: must be a table (.csv, .parquet, …) for series from a table",
        ),
        (("impute", "MODEL", "lacks.csv", "-o", "o.csv"), 1, "must have column 'load'"),
        (("detect", "MODEL", "all.csv", "-o", "o.csv", "--fdr", 3), 2, "--fdr must be between 0 and 1"),
        (
            ("detect", "MODEL", "all.csv", "-o", "o.csv", "--mask", "m.npy"),
            2,
            "--mask goes with images, not with series",
        ),
        (("generate", "MODEL", "-o", "o.csv", "--steps", 3), 2, "--steps goes with --after"),
        (
            ("generate", "MODEL", "-o", "o.csv", "--after", "all.csv", "--temperature", 2),
            2,
            "--temperature does not go with",
        ),
        (("generate", "MODEL", "-o", "o.csv", "--given", "load=3"), 2, "--given goes with tables, not with series"),
        (("generate", "MODEL", "-o", "o.csv", "--after", "all.csv", "--steps", 0), 2, "--steps must be at least 1"),
        (
            ("denoise", "MODEL", "all.csv", "-o", "o.csv", "--report", "r.csv"),
            2,
            "--report goes with tables, not with series",
        ),
        (("compress", "MODEL", "all.csv", "-o", "o.ff", "--lossy"), 2, "--lossy goes with images, not with series"),
        (
            ("compress", "MODEL", "all.csv", "-o", "o.ff", "--resize", "2x2"),
            2,
            "--resize goes with images, not with series",
        ),
        (("compress", "MODEL", "lacks.csv", "-o", "o.ff"), 1, "must have column 'load'"),
        (("compress", "MODEL", "missing.npy", "-o", "o.ff"), 1, "missing.npy: no such file"),
    ],
)
def test_mistakes_are_one_line(run, here, load_folder, tmp_path, words, code, message):
    here.rename({"load": "lode"}).write_csv("lacks.csv")
    here.with_columns(hour=pl.col("hour").dt.date() + pl.duration(days=pl.int_range(pl.len()))).write_csv("daily.csv")
    before = sorted(tmp_path.iterdir())
    done = run(*(load_folder if word == "MODEL" else word for word in words))
    assert done.code == code, done.err
    assert message in done.err
    assert len(done.err.strip().splitlines()) == 1
    assert sorted(tmp_path.iterdir()) == before


def test_a_stream_goes_on_from_a_file(run, here, load_folder):
    assert run("detect", load_folder, "all.csv", "-o", "whole.csv", "--false-alarm-rate", 0.1).code == 0
    pieces = []
    for number, rows in enumerate((here[:130], here[130:200], here[200:])):
        rows.write_csv(f"{number}.csv")
        done = run(
            "detect", load_folder, f"{number}.csv", "--state", "s.safetensors", "-o", f"o{number}.csv",
            "--false-alarm-rate", 0.1, "--json",
        )  # fmt: skip
        assert done.code == 0, done.err
        pieces.append(pl.read_csv(f"o{number}.csv", try_parse_dates=True))
    steps, whole = pl.concat(pieces), pl.read_csv("whole.csv", try_parse_dates=True)
    assert json.loads(done.out)["delayed"] == len(whole) - len(steps)
    assert steps["hour"].to_list() == whole["hour"].to_list()[: len(steps)]
    np.testing.assert_allclose(steps["p_value"], whole["p_value"][: len(steps)], rtol=1e-4)
    assert steps["anomaly"].to_list() == whole["anomaly"].to_list()[: len(steps)]
    assert pl.read_csv("o2-events.csv").columns[:3] == ["start", "end", "peak"]


def test_what_a_stream_can_not_be(run, here, load_folder):
    for words, message in (
        (("--state", "s", "--top", 3), "--top does not go with --state"),
        (("--state", "s", "--adapt"), "--adapt does not go with --state"),
    ):
        done = run("detect", load_folder, "all.csv", *words)
        assert (done.code, message in done.err) == (2, True), done.err
