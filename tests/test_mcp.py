"""Models as an assistant's tools, asked by the protocol's own client."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import fivefold
from fivefold.errors import UsageError

pytest.importorskip("mcp")
from mcp import Client, StdioServerParameters

from fivefold.mcp import make_server

GOLDEN = Path(__file__).parent / "golden"
TABLES, IMAGES = ({name: GOLDEN / name / "model"} for name in ("tables", "images"))


@pytest.fixture
def place(trees, tmp_path) -> Path:
    """An allowed folder with a table, beside one that is not."""
    (tmp_path / "open").mkdir()
    (tmp_path / "closed").mkdir()
    for folder in ("open", "closed"):
        trees.to_csv(tmp_path / folder / "trees.csv", index=False)
    return tmp_path / "open"


def ask(server, *calls: tuple[str, dict]) -> list:
    """What tools answer, one after the other."""

    async def run() -> list:
        async with Client(server) as client:
            return [await client.call_tool(name, arguments) for name, arguments in calls]

    return asyncio.run(run())


def said(answer) -> str:
    return answer.content[0].text


def test_all_jobs_of_a_table(place):
    detected, imputed, encoded, packed, back, made, about = ask(
        make_server(TABLES, [place]),
        ("detect", {"data": "trees.csv", "output": "scores.csv"}),
        ("impute", {"data": "trees.csv", "output": "whole.parquet", "interval": 0.9}),
        ("encode", {"data": str(place / "trees.csv"), "output": "codes.npy", "std": True}),
        ("compress", {"data": "trees.csv", "output": "trees.ff"}),
        ("decompress", {"archive": "trees.ff", "output": "back.csv"}),
        ("generate", {"output": "new.csv", "n": 5, "given": ["kind=oak"]}),
        ("describe", {}),
    )
    answers = (detected, imputed, encoded, packed, back, made, about)
    assert not [said(answer) for answer in answers if answer.is_error]
    assert detected.structured_content["rows"] == len(pd.read_csv(place / "scores.csv")) == 400
    assert json.loads(said(detected)) == detected.structured_content
    assert any("held-out" in text for text in detected.structured_content["warnings"])
    assert not pd.read_parquet(place / "whole.parquet")["height"].isna().any()
    assert {"whole-lower.parquet", "codes.std.npy"} <= {path.name for path in place.iterdir()}
    assert pd.read_csv(place / "back.csv").equals(pd.read_csv(place / "trees.csv"))
    assert set(pd.read_csv(place / "new.csv")["kind"]) == {"oak"}
    assert "height" in about.structured_content["columns"]


def test_the_scores_are_those_of_python(place, trees):
    ask(make_server(TABLES, [place]), ("detect", {"data": "trees.csv", "output": "scores.parquet"}))
    model = fivefold.load(TABLES["tables"], "cpu")
    with pytest.warns(fivefold.errors.FivefoldWarning):
        known = fivefold.detect(model, str(place / "trees.csv"))
    np.testing.assert_array_equal(pd.read_parquet(place / "scores.parquet")["p_value"], known.p_value)


def test_schemas_say_what_may_be_asked(place):
    async def run():
        async with Client(make_server(TABLES | IMAGES, [place])) as client:
            return client.instructions, {tool.name: tool for tool in (await client.list_tools()).tools}

    instructions, tools = asyncio.run(run())
    assert "tables: tables, 6 columns" in instructions
    assert str(place) in instructions
    assert {"describe", "detect", "impute", "denoise", "encode", "generate", "compress", "decompress"} <= set(tools)
    detect = tools["detect"].input_schema
    assert detect["required"] == ["model", "data", "output"]
    assert detect["properties"]["model"]["enum"] == ["tables", "images"]
    assert detect["properties"]["fdr"] == {"type": "number"}
    assert "adapt" not in detect["properties"]
    assert detect["additionalProperties"] is False
    assert tools["generate"].input_schema["properties"]["prior"]["enum"] == ["standard", "fitted"]


@pytest.mark.parametrize(
    ("name", "given", "says"),
    [
        (
            "detect",
            {"data": "../closed/trees.csv", "output": "s.csv"},
            "`data` ../closed/trees.csv: lies or leads outside",
        ),
        ("detect", {"data": "/etc/passwd", "output": "s.csv"}, "lies or leads outside"),
        ("detect", {"data": "trees.csv", "output": "../closed/s.csv"}, "`output` ../closed/s.csv: lies"),
        ("detect", {"data": "link.csv", "output": "s.csv"}, "`data` link.csv: lies or leads outside"),
        ("detect", {"data": "within", "output": "s.csv"}, "`data` within: lies or leads outside"),
        ("detect", {"data": "trees.csv", "output": "s.csv", "heatmaps": "/tmp/h.csv"}, "`heatmaps` /tmp/h.csv: lies"),
        ("detect", {"data": "trees.csv", "output": "trees.csv"}, "exists"),
        ("detect", {"data": "trees.csv"}, "`output` must be given"),
        ("detect", {"data": "none.csv", "output": "s.csv"}, "no such file"),
        ("detect", {"data": "a\0b", "output": "s.csv"}, "can't be a path"),
        ("detect", {"data": "trees.csv", "output": "s.csv", "fdr": "high"}, "fdr must be a number"),
        ("detect", {"data": "trees.csv", "output": "s.csv", "fdr": {}}, "options must be texts"),
        ("detect", {"data": "trees.csv", "output": "s.csv", "force": True}, "force is no option of detect"),
        ("detect", {"model": "no", "data": "trees.csv", "output": "s.csv"}, "model must be one of tables"),
        ("detect", {"data": "trees.csv", "output": "s.csv", "strict": True}, "detection compares with"),
        ("destroy", {}, "there is no tool 'destroy'"),
    ],
)
def test_refusals(place, name, given, says):
    (place / "link.csv").symlink_to(place.parent / "closed" / "trees.csv")
    (place / "within").mkdir()
    (place / "within" / "link.csv").symlink_to(place.parent / "closed" / "trees.csv")
    before = sorted(place.rglob("*"))
    (answer,) = ask(make_server(TABLES, [place]), (name, given))
    assert answer.is_error
    assert says.replace("`", "") in said(answer)
    assert sorted(place.rglob("*")) == before


def test_a_folder_that_is_a_link_is_followed(place, tmp_path):
    (tmp_path / "door").symlink_to(place)
    (answer,) = ask(make_server(TABLES, [tmp_path / "door"]), ("encode", {"data": "trees.csv", "output": "codes.npy"}))
    assert not answer.is_error, said(answer)
    with pytest.raises(UsageError, match="`allow` must be a folder"):
        make_server(TABLES, [place / "trees.csv"])


def test_over_stdio(place):
    words = ["-m", "fivefold", "mcp", f"trees={TABLES['tables']}", "--allow", str(place)]
    server = StdioServerParameters(command=sys.executable, args=words, env=dict(os.environ))
    detected, refused = ask(
        server,
        ("detect", {"data": "trees.csv", "output": "scores.csv"}),
        ("detect", {"data": "trees.csv", "output": "scores.csv"}),
    )
    assert detected.structured_content["rows"] == 400
    assert (refused.is_error, "exists" in said(refused)) == (True, True)
