"""Every verb gives the same through HTTP as from the command line, and as from Python."""

from __future__ import annotations

import io
import sys
import zipfile
from pathlib import Path

import make
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import fivefold
from fivefold.cli import main

MEDIA = {".npy": "application/x-npy", ".csv": "text/csv", ".png": "image/png"}
VERBS = {
    "encode": "",
    "morph": "from=0&to=3&steps=4",
    "denoise": "seed=1",
    "detect": "false_alarm_rate=0.05",
    "impute": "draws=1&interval=0.9&seed=1",
    "compress": "block-items=50",
}


@pytest.fixture
def command(monkeypatch, tmp_path, capsys):
    """The command line, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("os.cpu_count", lambda: 1)

    def run(*words: object) -> None:
        monkeypatch.setattr(sys, "argv", ["fivefold", *map(str, words)])
        with pytest.raises(SystemExit) as end:
            main()
        assert end.value.code == 0, capsys.readouterr().err

    return run


def _flags(query: str) -> list[str]:
    pairs = (pair.partition("=") for pair in query.split("&") if pair)
    return [word for name, _, value in pairs for word in (f"--{name.replace('_', '-')}", value)]


@pytest.mark.filterwarnings("ignore:detection compares with", "ignore:nothing is missing")
@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("modality", ["images", "tables", "series"])
def test_files_come_back_as_from_the_command_line(verb, modality, client, command, files, models):
    name, content = files[modality]
    Path(name).write_bytes(content)
    ending = {"encode": ".npy", "detect": ".csv", "compress": ".ff"}.get(verb, Path(name).suffix)
    command(verb, models[modality], name, "-o", f"out{ending}", *_flags(VERBS[verb]))
    headers = {"content-type": MEDIA[Path(name).suffix], "accept": MEDIA.get(ending, "*/*")}
    answer = client.post(f"/v1/models/{modality}/{verb}?{VERBS[verb]}", content=content, headers=headers)
    assert answer.status_code == 200, answer.text
    assert answer.content == Path(f"out{ending}").read_bytes()
    for beside in Path().glob("out-*"):
        part = beside.stem.removeprefix("out-")
        url = f"/v1/models/{modality}/{verb}?{VERBS[verb]}&part={part}"
        assert client.post(url, content=content, headers=headers).content == beside.read_bytes()


@pytest.mark.filterwarnings("ignore:detection compares with")
@pytest.mark.parametrize(
    ("modality", "query", "ending"),
    [
        ("images", "n=3&prior=fitted&sharp=true", ".png"),
        ("tables", "n=5&given=kind%3Doak&seed=2", ".csv"),
        ("series", "n=2&temperature=0.5", ".csv"),
    ],
)
def test_new_items_are_those_of_the_command_line(modality, query, ending, client, command, models):
    words = _flags("items" + query[1:].replace("%3D", "=").replace("sharp=true", "sharp="))
    command("generate", models[modality], "-o", f"out{ending}", *[word for word in words if word])
    answer = client.post(f"/v1/models/{modality}/generate?{query}", headers={"accept": MEDIA[ending]})
    assert answer.content == Path(f"out{ending}").read_bytes()


def test_series_go_on_as_from_the_command_line(client, command, files, models):
    name, content = files["series"]
    Path(name).write_bytes(content)
    command("generate", models["series"], "-n", 2, "--after", name, "--steps", 5, "-o", "out.csv")
    url = "/v1/models/series/generate?n=2&steps=5"
    answer = client.post(url, files={"after": (name, content)}, headers={"accept": "text/csv"})
    assert answer.content == Path("out.csv").read_bytes()


@pytest.mark.parametrize("modality", ["images", "tables", "series"])
def test_archives_and_codes_come_back(modality, client, command, files, models):
    name, content = files[modality]
    media = MEDIA[Path(name).suffix]
    archive = client.post(f"/v1/models/{modality}/compress", content=content, headers={"content-type": media}).content
    Path("a.ff").write_bytes(archive)
    command("decompress", "a.ff", "--model", models[modality], "-o", f"out{Path(name).suffix}")
    headers = {"content-type": "application/octet-stream", "accept": media}
    back = client.post(f"/v1/models/{modality}/decompress", content=archive, headers=headers)
    assert back.content == Path(f"out{Path(name).suffix}").read_bytes()
    codes = client.post(
        f"/v1/models/{modality}/encode", content=content, headers={"content-type": media, "accept": "application/x-npy"}
    ).content
    Path("z.npy").write_bytes(codes)
    command("decode", models[modality], "z.npy", "-o", f"again{Path(name).suffix}")
    headers = {"content-type": "application/x-npy", "accept": media}
    decoded = client.post(f"/v1/models/{modality}/decode", content=codes, headers=headers)
    assert decoded.content == Path(f"again{Path(name).suffix}").read_bytes()


@pytest.mark.filterwarnings("ignore:detection compares with")
def test_json_gives_what_python_does(client):
    model, rows = fivefold.load(make.HERE / "tables" / "model"), make.rows(30)
    rows["planted"] = rows["planted"].dt.strftime("%Y-%m-%d")
    records = rows.astype(object).where(rows.notna(), None).to_dict("records")
    table = pa.Table.from_pylist(records)
    url = "/v1/models/tables/"
    found = client.post(f"{url}detect?false_alarm_rate=0.05", json={"rows": records}).json()
    expected = fivefold.detect(model, table, false_alarm_rate=0.05)
    np.testing.assert_allclose([row["score"] for row in found["rows"]], expected.score, rtol=1e-6)
    assert [row["anomaly"] for row in found["rows"]] == expected.anomaly.tolist()
    assert found["figures"] == {"rows": 30, "anomalies": int(expected.anomaly.sum()), "false_alarm_rate": 0.05} | {
        "calibrated_on": expected.calibrated_on
    }
    whole = client.post(f"{url}impute?interval=0.9&draws=1&seed=3", json={"rows": records}).json()
    filled = fivefold.impute(model, table, interval=0.9, n_draws=1, seed=3)
    for name, expected in {"draw1": filled.draws[0], "lower": filled.lower, "upper": filled.upper}.items():
        assert whole[name]["rows"] == expected.to_pylist()
    assert whole["rows"] == filled.data.to_pylist()
    surprise = client.post(f"{url}surprise", json={"rows": records}).json()["rows"]
    strange = fivefold.surprise(model, table).to_pandas()
    np.testing.assert_allclose(pd.DataFrame(surprise).astype(float), strange, rtol=1e-6)


@pytest.mark.parametrize("query", ["", "?strict=false"])  # answered from memory, and from file to file
def test_json_says_what_was_warned_of(client, query):
    answer = client.post(f"/v1/models/tables/detect{query}", json={"rows": [{"height": 20}]}).json()
    assert answer["figures"]["calibrated_on"] < 99
    assert "nothing can be flagged" in answer["warnings"][0]
    answer = client.post("/v1/models/tables/impute", json={"rows": [{"height": 20}]}).json()
    assert "warnings" not in answer


def test_whole_numbers_are_real_where_the_fit_has_real_ones(client):
    rows = [{"height": 20}, {"height": 31}, {"height": None}]
    filled = client.post("/v1/models/tables/impute", json={"rows": rows}).json()["rows"]
    assert [row["height"] for row in filled[:2]] == [20, 31]
    assert filled[2]["height"] % 1 != 0


def test_arrays_come_as_json_too(client):
    values = np.array(make.items()[:2])
    found = client.post("/v1/models/images/surprise", json={"values": values.tolist()}).json()
    expected = fivefold.surprise(fivefold.load(make.HERE / "images" / "model"), values)
    np.testing.assert_allclose(found["values"], expected, rtol=1e-6)
    assert found["shape"] == [2, 8, 6, 3]
    assert found["dtype"] == "float32"
    holes = values[0].astype(object)
    holes[2:4, 2:4] = None
    whole = client.post("/v1/models/images/impute", json={"values": holes.tolist()}).json()
    assert whole["figures"] == {"items": 1, "missing": 12}
    decoded = client.post("/v1/models/images/decode", json={"values": [[0, 0.5, -1]]}).json()
    assert np.shape(decoded["values"]) == (1, 8, 6, 3)


def test_a_mask_is_a_part(client, files):
    name, content = files["images"]
    mask = np.zeros((8, 6), np.uint8)
    mask[2:5] = 1
    part = io.BytesIO()
    np.save(part, mask)
    answer = client.post(
        "/v1/models/images/impute", files={"data": (name, content), "mask": ("m.npy", part.getvalue())}
    )
    filled = fivefold.impute(fivefold.load(make.HERE / "images" / "model"), make.items(), mask=mask)
    np.testing.assert_array_equal(np.load(io.BytesIO(answer.content)), filled.data)


def test_pictures_come_back_as_pictures(client, files):
    _, content = files["picture"]
    one = client.post("/v1/models/images/denoise", content=content, headers={"content-type": "image/png"})
    assert one.headers["content-type"] == "image/png"
    assert one.content.startswith(b"\x89PNG")
    parts = [("data", ("a.png", content, "image/png")), ("data", ("../b c.png", content, "image/png"))]
    several = client.post("/v1/models/images/denoise?std=true", files=parts)
    assert several.headers["content-type"] == "application/zip"
    assert several.headers["x-fivefold-parts"] == "data,std"
    assert zipfile.ZipFile(io.BytesIO(several.content)).namelist() == ["a.png", "b_c.png"]
    whole = client.post("/v1/models/images/denoise?std=true", files=parts, headers={"accept": "application/zip"})
    assert zipfile.ZipFile(io.BytesIO(whole.content)).namelist() == ["data/a.png", "data/b_c.png", "data-std.npy"]


@pytest.mark.parametrize("form", ["parquet", "arrow", "split"])
def test_tables_come_in_all_forms(form, client):
    frame = make.rows(10)
    sink = io.BytesIO()
    table = pa.Table.from_pandas(frame, preserve_index=False)
    if form == "split":
        columns = ["kind", "height", "girth"]
        body = {
            "columns": columns,
            "index": [0],
            "data": [["oak", None, 160.5]],
        }
        answer = client.post("/v1/models/tables/impute", json=body)
        assert answer.status_code == 422  # a column lacks, and is not to be guessed from its neighbours' names
        body = {"columns": [*columns, "age", "planted", "healthy"], "data": [["oak", None, 160.5, None, None, None]]}
        answer = client.post("/v1/models/tables/impute", json=body).json()
        assert answer["columns"] == body["columns"]
        assert None not in answer["data"][0]
        return
    if form == "parquet":
        frame.to_parquet(sink, index=False)
        media = "application/vnd.apache.parquet"
    else:
        media = "application/vnd.apache.arrow.stream"
        with pa.ipc.new_stream(sink, table.schema) as stream:
            stream.write_table(table)
    answer = client.post("/v1/models/tables/impute", content=sink.getvalue(), headers={"content-type": media})
    assert answer.headers["content-type"] == media
    if form == "parquet":
        found = pd.read_parquet(io.BytesIO(answer.content))
    else:
        found = pa.ipc.open_stream(answer.content).read_all().to_pandas()
    filled = fivefold.impute(fivefold.load(make.HERE / "tables" / "model"), table).data
    assert found["height"].tolist() == filled["height"].to_pylist()


def test_a_large_answer_is_streamed(client):
    answer = client.post("/v1/models/images/generate?n=9000", headers={"accept": "application/x-npy"})
    assert int(answer.headers["content-length"]) == len(answer.content) > 1 << 20
    assert np.load(io.BytesIO(answer.content)).shape == (9000, 8, 6, 3)
