"""Models on the Hub, of which a small server here speaks as much as is used."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

import fivefold
from fivefold.errors import ModelError, UsageError
from fivefold.storage import fingerprint, read, save

hub = pytest.importorskip("huggingface_hub")
constants = pytest.importorskip("huggingface_hub.constants")
TOKEN = "hf_of_the_tests"


@dataclass
class Hub:
    """Repositories: commits by their names, each with its files."""

    url: str = ""
    commits: dict[str, dict[str, dict[str, bytes]]] = field(default_factory=dict)
    private: set[str] = field(default_factory=set)
    asked: list[str] = field(default_factory=list)

    def commit(self, name: str, files: dict[str, bytes]) -> str:
        commits = self.commits.setdefault(name, {})
        known = list(commits.values())[-1] if commits else {}
        number = hashlib.sha1(f"{name} {len(commits)}".encode()).hexdigest()
        commits[number] = known | files
        return number


class Answers(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    @property
    def hub(self) -> Hub:
        return self.server.hub

    def log_message(self, *_):
        pass

    def answer(self, status: int, content: bytes = b"{}", **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), "Content-Type": "application/json", **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def do_GET(self) -> None:
        self.hub.asked.append(f"{self.command} {self.path}")
        user, model, resolve, revision, *path = self.path.strip("/").split("/")
        commits = self.hub.commits.get(f"{user}/{model}")
        if resolve != "resolve" or commits is None:
            return self.answer(404, X_Error_Code="RepoNotFound")
        number = list(commits)[-1] if revision == "main" else revision
        if number not in commits:
            return self.answer(404, X_Error_Code="RevisionNotFound")
        content = commits[number].get("/".join(path))
        if content is None:
            return self.answer(404, X_Error_Code="EntryNotFound", X_Repo_Commit=number)
        return self.answer(200, content, ETag=f'"{hashlib.sha1(content).hexdigest()}"', X_Repo_Commit=number)

    do_HEAD = do_GET

    def do_POST(self) -> None:
        self.hub.asked.append(f"{self.command} {self.path}")
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/api/validate-yaml":
            return self.answer(200, b'{"errors": [], "warnings": []}')
        if self.headers["Authorization"] != f"Bearer {TOKEN}":
            return self.answer(401)
        if self.path == "/api/repos/create":
            asked = json.loads(body)
            name = f"{asked['organization']}/{asked['name']}"
            self.hub.commits.setdefault(name, {})
            if asked.get("visibility") == "private":
                self.hub.private.add(name)
            return self.answer(200, json.dumps({"url": f"{self.hub.url}/{name}"}).encode())
        _, _, user, model, verb, _ = self.path.strip("/").split("/")
        if verb == "preupload":
            files = [
                {"path": file["path"], "uploadMode": "regular", "shouldIgnore": False}
                for file in json.loads(body)["files"]
            ]
            return self.answer(200, json.dumps({"files": files}).encode())
        lines = [json.loads(line) for line in body.splitlines()]
        files = {
            line["value"]["path"]: base64.b64decode(line["value"]["content"]) for line in lines if line["key"] == "file"
        }
        number = self.hub.commit(f"{user}/{model}", files)
        said = {"commitUrl": f"{self.hub.url}/{user}/{model}/commit/{number}", "commitOid": number}
        return self.answer(200, json.dumps(said).encode())


def lead_to(url: str, cache: Path, monkeypatch) -> None:
    """This process and those that it starts go to the hub at `url`, with a cache of the test's own."""
    for name, value in {"HF_ENDPOINT": url, "HF_HUB_CACHE": cache, "HF_TOKEN": TOKEN}.items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.setattr(constants, "ENDPOINT", url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", url + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda _: None)


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A hub to which all go."""
    http = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    http.hub = Hub(f"http://127.0.0.1:{http.server_port}")
    threading.Thread(target=http.serve_forever, daemon=True).start()
    lead_to(http.hub.url, tmp_path / "cache", monkeypatch)
    yield http.hub
    http.shutdown()
    http.server_close()


@pytest.fixture
def folder(untrained, tmp_path) -> Path:
    golden = Path(__file__).parent / "golden" / "tables" / "model"
    save(fivefold.load(golden, "cpu"), tmp_path / "trees")
    return tmp_path / "trees"


def test_a_model_that_was_sent_comes_back(server, folder):
    url = fivefold.push(folder, "ann/trees")
    assert url.startswith(f"{server.url}/ann/trees/commit/")
    assert fingerprint(fivefold.load("hf://ann/trees", "cpu")) == fingerprint(read(folder))
    (files,) = server.commits["ann/trees"].values()
    assert set(files) == {"config.json", "model.safetensors", "README.md"}


def test_the_card_has_metadata(server, folder):
    yaml = pytest.importorskip("yaml")
    fivefold.push(fivefold.load(folder, "cpu"), "ann/trees", private=True)
    (files,) = server.commits["ann/trees"].values()
    _, metadata, card = files["README.md"].decode().split("---\n", 2)
    fields = yaml.safe_load(metadata)
    assert fields["library_name"] == "fivefold"
    assert {"tables", "anomaly-detection"} <= set(fields["tags"])
    measured = fields["model-index"][0]["results"][0]
    assert measured["metrics"][0]["value"] == pytest.approx(
        next(iter(read(folder).record["figures"].values()))["negative_elbo"]
    )
    assert card.lstrip().startswith("# A Fivefold model")
    assert server.private == {"ann/trees"}
    hub.ModelCard(files["README.md"].decode(), ignore_metadata_errors=False)


def test_a_revision_stays(server, folder, model):
    first = fivefold.push(folder, "ann/trees").rpartition("/")[2]
    fivefold.push(model, "ann/trees")
    assert read(f"hf://ann/trees@{first}").schema.kind == "table"
    assert read("hf://ann/trees").schema.kind == "image"


def test_what_was_fetched_needs_no_hub(server, folder, monkeypatch):
    fivefold.push(folder, "ann/trees")
    read("hf://ann/trees")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert read("hf://ann/trees").schema.kind == "table"


def test_on_the_command_line(server, folder, tmp_path):
    def run(*words: object) -> subprocess.CompletedProcess:
        command = [sys.executable, "-m", "fivefold", *map(str, words)]
        return subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ)

    sent = run("push", folder, "ann/trees", "--json")
    assert sent.returncode == 0, sent.stderr
    assert json.loads(sent.stdout)["model"] == "hf://ann/trees"
    shown = run("info", "hf://ann/trees")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "fingerprint" in shown.stdout


def test_functions_of_batches_take_addresses(server, folder):
    fivefold.push(folder, "ann/trees")
    assert fivefold.batch_function("hf://ann/trees", "encode").model == "hf://ann/trees"


def test_servers_take_addresses(server, folder):
    from fivefold.serve.settings import named_models

    fivefold.push(folder, "ann/trees")
    assert list(named_models(["hf://ann/trees@main", "mine=hf://ann/trees"])) == ["trees", "mine"]


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("hf://ann/none", "hf://ann/none: no such model on the Hub"),
        ("hf://ann/trees@v9", "hf://ann/trees@v9: the model has no such revision"),
        ("hf://ann/notes", "hf://ann/notes: is no model of Fivefold, it lacks config.json"),
        ("hf://trees", "hf://user/name or hf://user/name@revision, got hf://trees"),
    ],
)
def test_what_can_not_be_fetched(server, folder, address, says):
    fivefold.push(folder, "ann/trees")
    server.commit("ann/notes", {"README.md": b"notes"})
    with pytest.raises((ModelError, UsageError), match=says):
        fivefold.load(address)


def test_without_a_token(server, folder, monkeypatch):
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", "nowhere")
    with pytest.raises(ModelError, match="wants a token that may do this: hf auth login, or HF_TOKEN"):
        fivefold.push(folder, "ann/trees")


def test_without_a_network(tmp_path, folder, monkeypatch):
    lead_to("http://127.0.0.1:9", tmp_path / "cache", monkeypatch)
    with pytest.raises(
        ModelError, match="the Hub can't be reached, and it was not fetched before; give a model's folder"
    ):
        fivefold.load("hf://ann/trees")
    with pytest.raises(ModelError, match="the Hub can't be reached; is there a network"):
        fivefold.push(folder, "ann/trees")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(ModelError, match="HF_HUB_OFFLINE is set, and it was not fetched before"):
        fivefold.load("hf://ann/trees")


def test_models_are_not_saved_to_addresses(untrained):
    with pytest.raises(UsageError, match="models are sent to the Hub by push"):
        fivefold.save(untrained, "hf://ann/trees")


def test_the_extra_is_named(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    monkeypatch.setitem(sys.modules, "huggingface_hub.errors", None)
    with pytest.raises(UsageError, match=r"pip install fivefold\[hub\]"):
        fivefold.load("hf://ann/trees")
