"""Series in files of text whose dialect is given, by every job, from Python and from the command line."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import fivefold
from fivefold.cli import main
from fivefold.errors import DataError, UsageError
from fivefold.series.dataset import read_series

HOW = {"separator": "~", "decimal": ",", "encoding": "cp437", "header": "none"}
STATES = ("ä", "ö")


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """Hourly values with a hole, a row that lacks, and states."""
    path = tmp_path_factory.mktemp("dialects") / "a.csv"
    hours = [f"2026-01-{1 + at // 24:02d} {at % 24:02d}:00" for at in range(240)]
    cells = ["?" if at == 20 else f"{np.sin(at / 4):.2f}".replace(".", ",") for at in range(240)]
    lines = [f"{hours[at]}~{cells[at]}~{STATES[at % 2]}" for at in range(240) if at != 50]
    path.write_bytes("\n".join(lines).encode("cp437"))
    return path


@pytest.fixture(scope="module")
def fitted(path, series_settings):
    settings = {**series_settings, "epochs": 1, "window": 24, "verdicts": False}
    return fivefold.fit(path, kind="series", time="x0", missing={"x1": ["?"]}, **settings, **HOW)


@pytest.mark.situation(
    "series in a dialect that is not found", "`--separator --decimal --encoding --header` set it, as of tables"
)
def test_each_job_takes_the_dialect(path, fitted):
    assert fitted.schema.channels.names == ("x1", "x2")
    found = fivefold.check(path, kind="series", time="x0", missing={"x1": ["?"]}, **HOW)
    assert not found.doubts
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        whole = fivefold.impute(fitted, path, **HOW).data
        assert whole.num_rows == 240
        assert whole["x1"].null_count == 0
        assert fivefold.denoise(fitted, path, **HOW).data.num_rows == 239
        assert fivefold.detect(fitted, path, false_alarm_rate=0.2, **HOW).score.shape == (239,)
        assert fivefold.surprise(fitted, path, **HOW).num_rows == 240
    assert len(fivefold.encode(fitted, path, **HOW)[0]) > 0
    assert fivefold.generate(fitted, 2, after=path, steps=3, **HOW).shape == (2, 1, 3, 2)
    archive = fivefold.compress(fitted, path, verify=True, **HOW)
    assert fivefold.decompress(archive, fitted).num_rows == 239


def test_commands_take_the_dialect(path, fitted, tmp_path, monkeypatch):
    fivefold.save(fitted, tmp_path / "m")
    flags = [text for name, value in HOW.items() for text in (f"--{name}", value)]
    monkeypatch.chdir(tmp_path)
    for words in (
        ["impute", "m", str(path), "-o", "whole.csv"],
        ["generate", "m", "--after", str(path), "--steps", "3", "-n", "2", "-o", "next.csv"],
        ["compress", "m", str(path), "-o", "a.ff", "--workers", "1"],
    ):
        monkeypatch.setattr("sys.argv", ["fivefold", *words, *flags])
        with pytest.raises(SystemExit) as end:
            main()
        assert not end.value.code, words
    before, after = path.read_bytes().split(b"\n"), (tmp_path / "whole.csv").read_bytes().split(b"\n")
    assert [line for line in after if line in before] == before[:20] + before[21:]
    assert len(after) == 240
    assert (tmp_path / "next.csv").stat().st_size
    assert (tmp_path / "a.ff").stat().st_size


def test_messages_name_the_line(tmp_path):
    lines = ["loads of 2026", "", "hour,load", *(f"2026-01-01 {at:02d}:00,{at}.5" for at in range(20))]
    wrong = {
        "line 9: must hold time stamps of one layout, .* got 'soon'": "soon,5.5",
        "line 9: must be a time stamp, got nothing": ",5.5",
        "line 9: 2026-01-01 04:00 comes twice": "2026-01-01 04:00,5.5",
        "line 9: must have 2 columns, got 3": "2026-01-01 05:00,5,5",
    }
    for said, line in wrong.items():
        (tmp_path / "a.csv").write_text("\n".join([*lines[:8], line, *lines[9:]]))
        with pytest.raises(DataError, match=said):
            read_series(tmp_path / "a.csv", time="hour")
    (tmp_path / "a.csv").write_text("\n".join([*lines[:8], "2026-01-01 05:00,inf", *lines[9:]]))
    with pytest.raises(DataError, match="column 'load', line 9: must be finite"):
        read_series(tmp_path / "a.csv", time="hour")


def test_a_dialect_goes_with_files_of_text(path, fitted, waves, tmp_path):
    np.save(tmp_path / "a.npy", waves)
    for source in (waves, tmp_path / "a.npy"):
        with pytest.raises(UsageError, match="`separator` goes with files of text"):
            read_series(source, separator=";")
    with pytest.raises(UsageError, match="`decimal` goes with files of text"):
        read_series({"x": [1.0, 2.0]}, decimal=",")
    with pytest.raises(UsageError, match="`header` must be first or none"):
        read_series(path, header="second")
    with pytest.raises(UsageError, match="`encoding` goes with `after`"):
        fivefold.generate(fitted, 2, encoding="cp437")
